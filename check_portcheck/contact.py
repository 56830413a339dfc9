"""Contact ports and decide which of them are open: by answer, by lookup, by a fresh table."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from check_portcheck import probes, sockettable, sweep
from check_portcheck.model import (
    Coverage,
    Evidence,
    Interface,
    OpenService,
    Port,
    Protocol,
    Unanswered,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from check_portcheck.portset import PortSet

_PROBE_SHARE, _LOOKUP_SHARE = 0.75, 0.9
"""Parts of the time after which probes give way to lookups, and lookups end."""

_PATIENCE = 0.25
"""Seconds for a silent TCP port to answer after all: a redirect to a slow or distant socket."""

_PATIENT_PORTS = 4096
"""So many silent ports get that patience; more of them are a filter's doing."""

_OWN_PORTS = 64
"""At most so many silent UDP ports may be the sweep's own; more of them are a filter's doing."""

Target = tuple[Interface, Protocol]


@dataclass(frozen=True)
class Contacted:
    """What contacting some ports showed."""

    services: tuple[OpenService, ...]
    results: Sequence[sweep.Result]
    coverage: Coverage

    def unknown(self) -> Iterator[Unanswered]:
        """The ports of which nothing was learnt."""
        left: defaultdict[Target, list[tuple[int, int]]] = defaultdict(list)
        for result in self.results:
            left[result.block.interface, result.block.protocol] += _runs(result.unknown)
        for target, runs in left.items():
            for lowest, highest in _joined(runs):
                yield Unanswered(*target, lowest, highest)


@dataclass
class _Suspects:
    """Ports of one interface and protocol that did not simply refuse."""

    answered: set[int] = field(default_factory=set)
    undecided: list[int] = field(default_factory=list)
    held: set[int] = field(default_factory=set)
    """Undecided ones at which the lookup finds a socket."""


def contact(wanted: Mapping[Target, PortSet], until: float, start: int | None = None) -> Contacted:
    """Ask the ports until *until*, as of time.monotonic(), from where an earlier run stopped.

    Raises SocketTableError or SweepError.
    """
    blocks = [
        block for target, ports in wanted.items() for block in sweep.blocks_of(*target, ports)
    ]
    if not blocks:
        return Contacted((), (), Coverage())
    # Runs that cannot probe all of it shall probe another part each time.
    first = (int.from_bytes(os.urandom(4), "big") if start is None else start) % len(blocks)
    now = time.monotonic()
    results = sweep.run(
        blocks[first:] + blocks[:first],
        now + (until - now) * _PROBE_SHARE,
        now + (until - now) * _LOOKUP_SHARE,
    )
    suspects = _suspects(results)
    filtered = _decide(suspects, until)
    total = sum(len(ports) for ports in wanted.values())
    done = next((number for number, result in enumerate(results) if result.unprobed), 0)
    coverage = Coverage(
        ports=total,
        probed=total - sum(result.unprobed for result in results),
        looked_up=sum(result.looked_up for result in results),
        filtered=filtered,
        untracked=sum(result.untracked for result in results),
        resume=(first + done) % len(blocks),
    )
    return Contacted(tuple(_services(suspects)), results, coverage)


def _suspects(results: Iterable[sweep.Result]) -> dict[Target, _Suspects]:
    suspects: defaultdict[Target, _Suspects] = defaultdict(_Suspects)
    for result in results:
        if result.open or result.undecided:
            each = suspects[result.block.interface, result.block.protocol]
            each.answered.update(result.open)
            each.undecided += result.undecided
    return dict(suspects)


def _decide(suspects: Mapping[Target, _Suspects], until: float) -> int:
    """Look up the silent ports; those without a socket may answer late, else they are filtered.

    Gives how many are filtered. The scan's own sockets are closed by now.
    """
    filtered = 0
    patient = _PATIENT_PORTS
    for (interface, protocol), each in suspects.items():
        each.held = set(_held(interface, protocol, each.undecided))
        silent = [port for port in each.undecided if port not in each.held]
        if protocol is Protocol.UDP:
            filtered += _unrefused(interface, silent)
            continue
        asked = silent[:patient] if time.monotonic() < until else []
        filtered += len(silent) - len(asked)
        if asked:
            patient -= len(asked)
            late = probes.ask_patiently(interface, asked, _PATIENCE)
            each.answered.update(late.open)
            filtered += len(late.undecided)
    return filtered


def _unrefused(interface: Interface, ports: Sequence[int]) -> int:
    """How many UDP ports stay silent now that those of the sweep's own sockets are closed."""
    if len(ports) > _OWN_PORTS:
        return len(ports)
    try:
        again = probes.sweep_udp(interface, ports)
    except OSError:
        return len(ports)
    return len(again.undecided) + len(again.unasked)


def _services(suspects: Mapping[Target, _Suspects]) -> Iterator[OpenService]:
    """What is open for certain.

    Compared with a table read after the lookups, since a daemon may have started after an earlier
    one; what that table does not list must be open once more, asked alone.
    """
    if not any(each.answered or each.held for each in suspects.values()):
        return
    table = sockettable.read()
    for (interface, protocol), each in suspects.items():
        rows = sockettable.answering(table, interface)
        for number in sorted(each.answered | each.held):
            port = Port(protocol, number)
            evidence = Evidence.PROBE if number in each.answered else Evidence.LOOKUP
            if port in rows:
                yield OpenService(interface, port, evidence, rows[port])
            elif _still_open(interface, port, evidence):
                yield OpenService(interface, port, evidence, no_socket=True)


def _held(interface: Interface, protocol: Protocol, ports: Sequence[int]) -> Sequence[int]:
    """Those of *ports* that have a socket, by the kernel's lookup or else by its table."""
    if not ports:
        return ()
    try:
        return sockettable.lookup(interface, protocol, ports)
    except OSError:
        rows = sockettable.answering(sockettable.read(), interface)
        return [port for port in ports if Port(protocol, port) in rows]


def _still_open(interface: Interface, port: Port, evidence: Evidence) -> bool:
    """Whether a port without a row in the table is open once more, asked alone."""
    if evidence is Evidence.PROBE:
        return bool(probes.ask_patiently(interface, [port.number], _PATIENCE).open)
    return bool(_held(interface, port.protocol, [port.number]))


def _runs(ports: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Unbroken runs of ascending ports, both ends included."""
    if isinstance(ports, range):  # may stand for millions
        if ports:
            yield ports[0], ports[-1]
        return
    start = 0
    for place in range(1, len(ports) + 1):
        if place == len(ports) or ports[place] != ports[place - 1] + 1:
            yield ports[start], ports[place - 1]
            start = place


def _joined(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The runs in ascending order, with those that follow each other as one."""
    ordered = sorted(runs)
    start = 0
    for place in range(1, len(ordered) + 1):
        if place == len(ordered) or ordered[place][0] != ordered[place - 1][1] + 1:
            yield ordered[start][0], ordered[place - 1][1]
            start = place
