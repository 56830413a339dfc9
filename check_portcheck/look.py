"""One look at some ports by the chosen method: table, probes, and the kernel's lookup."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from check_portcheck import probes, sockettable, sweep
from check_portcheck.model import (
    Coverage,
    Evidence,
    Interface,
    Method,
    OpenService,
    Port,
    Protocol,
    Unanswered,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_PROBE_SHARE, _LOOKUP_SHARE = 0.6, 0.8
"""Parts of the time after which probes give way to lookups, and lookups end."""

_PATIENCE = 0.25
"""Seconds for a silent TCP port to answer after all: a redirect to a slow or distant socket."""

_PATIENT_PORTS = 4096
"""So many silent ports get that patience; more of them are a filter's doing."""

Target = tuple[Interface, Protocol]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at some ports found."""

    services: tuple[OpenService, ...]
    unanswered: tuple[Unanswered, ...]
    coverage: Coverage


def look(
    method: Method, wanted: Mapping[Target, Sequence[int]], until: float, start: int | None = None
) -> Look:
    """The open services among the wanted ports; what takes longer than *until* is left out.

    *until* is as of time.monotonic(); *start* is where an earlier run stopped (Coverage.resume).
    Raises SocketTableError or SweepError where nothing could be learnt.
    """
    table = () if method is Method.PROBE else sockettable.read()
    services: list[OpenService] = []
    blocks: list[sweep.Block] = []
    for interface in dict.fromkeys(interface for interface, _ in wanted):
        listed = sockettable.answering(table, interface)
        for protocol in Protocol:
            ports = wanted.get((interface, protocol), ())
            members = ports if isinstance(ports, range) else frozenset(ports)
            known = {p.number for p in listed if p.protocol is protocol and p.number in members}
            for number in sorted(known):
                port = Port(protocol, number)
                services.append(OpenService(interface, port, Evidence.TABLE, listed[port]))
            if method is not Method.TABLE:
                rest = [port for port in ports if port not in known] if known else ports
                blocks += sweep.blocks_of(interface, protocol, rest)
    total = sum(len(ports) for ports in wanted.values())
    if not blocks:
        return Look(tuple(services), (), Coverage(ports=total, probed=total))
    # Runs that cannot probe all of it shall probe another part each time.
    first = (int.from_bytes(os.urandom(4), "big") if start is None else start) % len(blocks)
    now = time.monotonic()
    results = sweep.run(
        blocks[first:] + blocks[:first],
        now + (until - now) * _PROBE_SHARE,
        now + (until - now) * _LOOKUP_SHARE,
    )
    answered, unanswered, filtered = _settle(results, complete=method is Method.FULL)
    looked_up = sum(result.looked_up for result in results)
    untracked = sum(result.untracked for result in results)
    left = sum(len(result.left) for result in results)
    done = next((n for n, each in enumerate(results) if each.unprobed), 0)
    return Look(
        (*services, *answered),
        tuple(unanswered),
        Coverage(
            ports=total,
            probed=total - looked_up - untracked - left,
            looked_up=looked_up,
            filtered=filtered,
            untracked=untracked,
            resume=(first + done) % len(blocks),
        ),
    )


def _settle(
    results: Iterable[sweep.Result], *, complete: bool
) -> tuple[list[OpenService], list[Unanswered], int]:
    """The open services of a sweep, the ports nothing is known of, and how many are filtered.

    *complete*: the socket table was read before, so that a port which nothing was learnt of is one
    that it does not list.
    """
    opened: defaultdict[Target, list[int]] = defaultdict(list)
    undecided: defaultdict[Target, list[int]] = defaultdict(list)
    unknown: defaultdict[Target, list[int]] = defaultdict(list)
    for result in results:
        target = (result.block.interface, result.block.protocol)
        opened[target] += result.open
        undecided[target] += result.undecided
        if not complete:
            unknown[target] += result.left
    filtered = 0
    services: list[OpenService] = []
    for target in dict.fromkeys((*opened, *undecided)):
        if opened[target] or undecided[target]:
            found, silent = _decide(target, opened[target], undecided[target])
            services += found
            filtered += silent
    unanswered = [
        Unanswered(*target, lowest, highest)
        for target, ports in unknown.items()
        for lowest, highest in _stretches(ports)
    ]
    return services, unanswered, filtered


def _decide(
    target: Target, opened: list[int], undecided: list[int]
) -> tuple[list[OpenService], int]:
    """What is open among ports that answered or stayed silent, and how many are filtered.

    A silent port at which the kernel's lookup finds a socket is open; without one it is filtered,
    unless it answers after all. The scan's own sockets are closed by now.
    """
    interface, protocol = target
    held = set(_held(interface, protocol, undecided))
    silent = [port for port in undecided if port not in held]
    filtered = len(silent)
    answering = set(opened)
    if protocol is Protocol.TCP and silent:
        late = probes.ask_patiently(interface, silent[:_PATIENT_PORTS], _PATIENCE)
        answering.update(late.open)
        filtered = len(late.undecided) + len(silent[_PATIENT_PORTS:])
    # A fresh table, since a daemon may have started after the first one was read.
    rows = sockettable.answering(sockettable.read(), interface)
    services: list[OpenService] = []
    for number in sorted(answering | held):
        port = Port(protocol, number)
        evidence = Evidence.PROBE if number in answering else Evidence.LOOKUP
        if port in rows:
            services.append(OpenService(interface, port, evidence, rows[port]))
        elif _still_open(interface, port, evidence):
            services.append(OpenService(interface, port, evidence, no_socket=True))
    return services, filtered


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


def _stretches(ports: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Unbroken runs of ports, both ends included."""
    ordered = sorted(ports)
    start = 0
    for place in range(1, len(ordered) + 1):
        if place == len(ordered) or ordered[place] != ordered[place - 1] + 1:
            yield ordered[start], ordered[place - 1]
            start = place
