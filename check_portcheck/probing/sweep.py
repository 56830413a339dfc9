"""Contact ports and decide which of them are open: by answer, by lookup, by a fresh table."""

from __future__ import annotations

import os
from collections import defaultdict
from functools import cache
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

_UNTOLD = "silent, and the socket table does not tell whether a socket is there"

_PATIENT_PORTS = 4096
"""So many silent ports get that patience; more of them are a filter's doing."""


def sweep(
    wanted: Mapping[Target, PortSet], deadline: Deadline, room: conntrack.Room, start: int | None
) -> Look:
    """What contacting the ports shows, until *deadline*, from where an earlier run stopped.

    UDP probes leave their entries in *room*. Raises SocketTableError or SweepError.
    """
    parts = [block for target, ports in wanted.items() for block in blocks.cut(*target, ports)]
    if not any(block.ports for block in parts):
        return Look(())
    # Runs that cannot probe all of it shall probe another part each time.
    first = (int.from_bytes(os.urandom(4), "big") if start is None else start) % len(parts)
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
    anything = any(each.open for each in suspects.values())
    table = sockettable.read() if anything else sockettable.Table(())
    return Look(
        tuple(_services(suspects, table.rows, deadline)),
        tuple(_unanswered(results, suspects)),
        coverage,
        notes=table.degraded,
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

    __slots__ = ("answered", "failure", "held", "unasked", "undecided", "untold")

    def __init__(self) -> None:
        self.answered: set[int] = set()
        self.undecided: list[int] = []
        self.held: set[int] = set()
        """Undecided ones at which the lookup finds a socket."""
        self.untold: set[int] = set()
        """Undecided ones of which a degraded table does not tell whether a socket is there."""
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
        left[target, _UNTOLD] += spans(sorted(each.untold))
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
    _look_up(suspects)
    filtered = 0
    patient = _PATIENT_PORTS
    for (interface, protocol), each in suspects.items():
        silent = [port for port in each.undecided if port not in each.held]
        asked = [] if deadline.passed else silent[: _affordable(protocol, patient, room)]
        still = silent[len(asked) :]
        if asked:
            patient -= len(asked)
            late = _asked_again(interface, protocol, asked, deadline)
            each.answered.update(late.open)
            each.unasked, each.failure = late.unasked, late.failure
            still += late.undecided
        each.untold.intersection_update(still)
        filtered += len(still) - len(each.untold)
    return filtered


def _look_up(suspects: Mapping[Target, _Suspects]) -> None:
    """Note which of the silent ports have a socket, by the kernel's lookup or else by its table.

    What a degraded table lists there perhaps is open over UDP, since a datagram that nothing keeps
    from its socket is silent; over TCP it accepts, but where its queue is full or a filter drops.
    """
    rows = cache(sockettable.rows)
    for (interface, protocol), each in suspects.items():
        if not each.undecided:
            continue
        try:
            each.held = set(sockettable.lookup(interface, protocol, each.undecided))
        except OSError:
            each.held, perhaps = _listed(rows(), interface, protocol, each.undecided)
            if protocol is Protocol.UDP:
                each.held = perhaps
            each.untold = perhaps - each.held


def _listed(
    rows: Sequence[Socket], interface: Interface, protocol: Protocol, ports: Iterable[int]
) -> tuple[set[int], set[int]]:
    """Those of *ports* at which a socket of the table answers for certain, and perhaps."""
    some = set(ports)
    rows = [row for row in rows if row.protocol is protocol and row.port in some]
    certain, perhaps = (
        {each.port.number for each in sockettable.open_services(rows, [interface], perhaps=unsure)}
        for unsure in (False, True)
    )
    return certain, perhaps


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


def _services(
    suspects: Mapping[Target, _Suspects], table: Sequence[Socket], deadline: Deadline
) -> Iterator[OpenService]:
    """What is open for certain.

    Compared with a *table* read after the lookups, since a daemon may have started after an earlier
    one; what that table does not list must be open once more, asked alone.
    """
    found = {target: each for target, each in suspects.items() if each.open}
    rows = _rows(found, table)
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
    suspects: Mapping[Target, _Suspects], table: Sequence[Socket]
) -> dict[tuple[Interface, Port], tuple[Socket, ...]]:
    """The sockets that the table lists for ports that are open, by interface."""
    interfaces = list(dict.fromkeys(interface for interface, _ in suspects))
    ports = {
        Port(protocol, number) for (_, protocol), each in suspects.items() for number in each.open
    }
    return {
        (interface, service.port): service.sockets
        for service in sockettable.open_services(table, interfaces, perhaps=True)
        if service.port in ports
        for interface in service.interfaces
    }


def _still_open(interface: Interface, port: Port, evidence: Evidence, deadline: Deadline) -> bool:
    """Whether a port without a row in the table is open once more, asked alone.

    It is, too, where nothing can be sent any more: not asked is not closed.
    """
    if evidence is Evidence.PROBE:
        again = _asked_again(interface, port.protocol, [port.number], deadline)
        return bool(again.open or again.failure)
    try:
        return bool(sockettable.lookup(interface, port.protocol, [port.number]))
    except OSError:
        return False  # the table has just told so
