"""Contact ports and decide which of them are open: by answer, by lookup, by a fresh table."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import conntrack, sockettable
from check_portcheck.model import (
    Coverage,
    Evidence,
    Look,
    OpenService,
    Port,
    PortRange,
    Protocol,
    Unanswered,
)
from check_portcheck.probing import blocks, forwards, patience
from check_portcheck.probing.portset import joined, spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import Interface, Socket, Span, Target
    from check_portcheck.probing.answers import Answers
    from check_portcheck.probing.portset import PortSet

_PROBE_SHARE, _LOOKUP_SHARE = 0.75, 0.9
"""Parts of the time after which probes give way to lookups, and lookups end."""

_PATIENCE = 0.25
"""Seconds for a silent port to answer after all: a redirect to a slow or distant socket."""

_PATIENT_PORTS = 4096
"""So many silent ports get that patience; more of them are a filter's doing."""


def sweep(wanted: Mapping[Target, PortSet], deadline: Deadline, start: int | None = None) -> Look:
    """What contacting the ports shows, until *deadline*, from where an earlier run stopped.

    Raises SocketTableError or SweepError.
    """
    parts = [block for target, ports in wanted.items() for block in blocks.cut(*target, ports)]
    if not any(block.ports for block in parts):
        return Look(())
    # Runs that cannot probe all of it shall probe another part each time.
    first = (int.from_bytes(os.urandom(4), "big") if start is None else start) % len(parts)
    room = conntrack.room()
    results = blocks.examine(
        parts[first:] + parts[:first],
        deadline.part(_PROBE_SHARE),
        deadline.part(_LOOKUP_SHARE),
        room,
    )
    suspects = _suspects(results)
    filtered = _decide(suspects, deadline, room)
    done = next((index for index, result in enumerate(results) if result.unprobed), 0)
    coverage = _coverage(results, filtered)._replace(resume=(first + done) % len(parts))
    return Look(
        tuple(_services(suspects, deadline)), tuple(_unanswered(results, suspects)), coverage
    )


def _coverage(results: Sequence[blocks.Result], filtered: int) -> Coverage:
    """How far the blocks got."""
    total = sum(len(result.block.ports) for result in results)
    return Coverage(
        ports=total,
        probed=total - sum(result.unprobed for result in results),
        looked_up=sum(result.looked_up for result in results),
        filtered=filtered,
        untracked=sum(result.untracked for result in results),
    )


class _Suspects:
    """Ports of one interface and protocol that did not simply refuse."""

    __slots__ = ("answered", "failure", "held", "unasked", "undecided")

    def __init__(self) -> None:
        self.answered: set[int] = set()
        self.undecided: list[int] = []
        self.held: set[int] = set()
        """Undecided ones at which the lookup finds a socket."""
        self.unasked: list[int] = []
        """Undecided ones that could not be asked again."""
        self.failure = ""
        """Why they could not."""

    @property
    def open(self) -> set[int]:
        """Those that seem to be open."""
        return self.answered | self.held


def _unanswered(
    results: Iterable[blocks.Result], suspects: Mapping[Target, _Suspects]
) -> Iterator[Unanswered]:
    """The ports of which nothing was learnt, by the reason."""
    left: defaultdict[tuple[Target, str], list[Span]] = defaultdict(list)
    for result in results:
        target = result.block.interface, result.block.protocol
        left[target, result.failure] += result.unknown
    for target, each in suspects.items():
        if each.failure:
            left[target, each.failure] += spans(sorted(each.unasked))
    for ((interface, protocol), reason), found in left.items():
        for span in joined(found):
            yield Unanswered(interface, PortRange(protocol, span), reason)


def _suspects(results: Iterable[blocks.Result]) -> dict[Target, _Suspects]:
    suspects: defaultdict[Target, _Suspects] = defaultdict(_Suspects)
    for result in results:
        if result.open or result.undecided:
            each = suspects[result.block.interface, result.block.protocol]
            each.answered.update(result.open)
            each.undecided += result.undecided
    return dict(suspects)


def _decide(suspects: Mapping[Target, _Suspects], deadline: Deadline, room: conntrack.Room) -> int:
    """Look up the silent ports; those without a socket may answer late, else they are filtered.

    Gives how many are filtered. The scan's own sockets are closed by now.
    """
    filtered = 0
    patient = _PATIENT_PORTS
    for (interface, protocol), each in suspects.items():
        each.held = set(_held(interface, protocol, each.undecided))
        silent = [port for port in each.undecided if port not in each.held]
        asked = [] if deadline.passed else silent[: _affordable(protocol, patient, room)]
        filtered += len(silent) - len(asked)
        if asked:
            patient -= len(asked)
            late = _asked_again(interface, protocol, asked, deadline)
            each.answered.update(late.open)
            each.unasked, each.failure = late.unasked, late.failure
            filtered += len(late.undecided)
    return filtered


def _affordable(protocol: Protocol, ports: int, room: conntrack.Room) -> int:
    """How many of so many ports may be asked again: of UDP, each leaves up to two entries."""
    return ports if protocol is Protocol.TCP else room.of(ports * 2) // 2


def _asked_again(
    interface: Interface, protocol: Protocol, ports: Sequence[int], deadline: Deadline
) -> Answers:
    """What silent ports answer when they get time.

    Over UDP silence is all that most services have to say: open is also what is forwarded.
    """
    answers = patience.ask(interface, protocol, ports, _PATIENCE)
    if protocol is Protocol.UDP:
        asked = [(interface, Port(protocol, number)) for number in answers.undecided]
        sent_on = {port.number for _, port in forwards.forwarded(asked, deadline)}
        answers.open += sent_on
        answers.undecided = [port for port in answers.undecided if port not in sent_on]
    return answers


class _Shown(NamedTuple):
    """What shows that a port is open; where the same shows it, it is the same service."""

    port: Port
    evidence: Evidence
    sockets: tuple[Socket, ...]


def _services(suspects: Mapping[Target, _Suspects], deadline: Deadline) -> Iterator[OpenService]:
    """What is open for certain.

    Compared with a table read after the lookups, since a daemon may have started after an earlier
    one; what that table does not list must be open once more, asked alone.
    """
    found = {target: each for target, each in suspects.items() if each.open}
    rows = _rows(found) if found else {}
    where: defaultdict[_Shown, list[Interface]] = defaultdict(list)
    for (interface, protocol), each in found.items():
        for number in sorted(each.open):
            port = Port(protocol, number)
            evidence = Evidence.PROBE if number in each.answered else Evidence.LOOKUP
            sockets = rows.get((interface, port), ())
            if sockets or _still_open(interface, port, evidence, deadline):
                where[_Shown(port, evidence, sockets)].append(interface)
    for shown, interfaces in where.items():
        yield OpenService(shown.port, tuple(interfaces), shown.evidence, shown.sockets)


def _rows(
    suspects: Mapping[Target, _Suspects],
) -> dict[tuple[Interface, Port], tuple[Socket, ...]]:
    """The sockets that the table lists now for ports that are open, by interface."""
    interfaces = list(dict.fromkeys(interface for interface, _ in suspects))
    ports = {
        Port(protocol, number) for (_, protocol), each in suspects.items() for number in each.open
    }
    return {
        (interface, service.port): service.sockets
        for service in sockettable.open_services(sockettable.read(), interfaces)
        if service.port in ports
        for interface in service.interfaces
    }


def _held(interface: Interface, protocol: Protocol, ports: Sequence[int]) -> Sequence[int]:
    """Those of *ports* that have a socket, by the kernel's lookup or else by its table."""
    if not ports:
        return ()
    try:
        return sockettable.lookup(interface, protocol, ports)
    except OSError:
        listed = sockettable.open_services(sockettable.read(), [interface])
        held = {service.port for service in listed}
        return [port for port in ports if Port(protocol, port) in held]


def _still_open(interface: Interface, port: Port, evidence: Evidence, deadline: Deadline) -> bool:
    """Whether a port without a row in the table is open once more, asked alone.

    It is, too, where nothing can be sent any more: not asked is not closed.
    """
    if evidence is Evidence.PROBE:
        again = _asked_again(interface, port.protocol, [port.number], deadline)
        return bool(again.open or again.failure)
    return bool(_held(interface, port.protocol, [port.number]))
