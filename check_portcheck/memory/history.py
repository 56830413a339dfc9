"""What changed since the last run: since when findings exist, what closed, what moved. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from check_portcheck.model import NOTHING, Port, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from check_portcheck.model import Interface, Report, Target
    from check_portcheck.names import Names
    from check_portcheck.policy.rules import Item
    from check_portcheck.policy.verdict import FindingKind, Verdict

_T = TypeVar("_T")

Ports = Mapping[str, list[str]]
"""Open ports, ``22/tcp``, each with the names of the RPC programs on it."""

Opened = Mapping[str, Ports]
"""What was open: by the interfaces, with blanks between them, on which the same ports were."""


Since = Mapping[str, Mapping[str, float]]
"""When findings were first seen, seconds since the epoch: by interfaces as above, then by what is
wrong there, ``unexpected 22/tcp``."""


class Memory(NamedTuple):
    """What one run leaves to the next."""

    taken: float
    """When the result was found, seconds since the epoch."""
    settings: str
    """Fingerprint of the settings under which it was found."""
    output: str
    """The result as it was printed."""
    code: int
    """Its exit code."""
    since: Since = NOTHING
    open: Opened = NOTHING
    resume: int = 0
    """Where the next run should begin to probe."""


class Event(NamedTuple):
    """Something that happened since the last run."""

    what: str
    """``closed`` or ``moved``."""
    interfaces: tuple[Interface, ...]
    """Where, in the order of the scan."""
    ports: tuple[Port, ...]
    """What closed, or where the program is now."""
    name: str = ""
    """The RPC program that moved."""
    before: tuple[Port, ...] = ()
    """Where it was."""


class History(NamedTuple):
    """A run's findings and services against those of the last one."""

    since: Since = NOTHING
    """Empty where nothing is remembered."""
    events: tuple[Event, ...] = ()

    def first_seen(
        self, kind: FindingKind, item: Item, interfaces: Iterable[Interface]
    ) -> float | None:
        """When a finding was first seen on any of the interfaces; None where nothing is known."""
        return next(self.each_first_seen(kind, (item,), interfaces), None)

    def each_first_seen(
        self, kind: FindingKind, items: Iterable[Item], interfaces: Iterable[Interface]
    ) -> Iterator[float]:
        """The same of several findings on the same interfaces, left out where nothing is known."""
        places = set(map(str, interfaces))
        here = [
            known
            for where, known in self.since.items()
            if not places or not places.isdisjoint(where.split())
        ]
        for item in items:
            what = _what(kind, item)
            times = [known[what] for known in here if what in known]
            if times:
                yield min(times)


def compare(
    memory: Memory | None, report: Report, verdict: Verdict, names: Names, now: float
) -> History:
    """What *report* and *verdict*, found at *now*, mean after *memory*."""
    since = _since(memory.since if memory else NOTHING, verdict, now)
    return History(since, tuple(_events(memory.open, report, names)) if memory else ())


def remembered(memory: Memory, interfaces: Iterable[Interface]) -> dict[Target, set[int]]:
    """What was open on some interfaces when the last run ended."""
    before = _by_interface(memory.open)
    found: defaultdict[Target, set[int]] = defaultdict(set)
    for interface in interfaces:
        for port in _ports(before.get(str(interface), ())):
            found[interface, port.protocol].add(port.number)
    return found


def opened(report: Report, names: Names, before: Opened = NOTHING) -> Opened:
    """What is open, in the form in which it is remembered.

    What was open *before* is so still where this run did not get to look at it.
    """
    found: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    places = _Places()
    ports_before = _by_interface(before)
    for interface in map(str, report.interfaces):
        for port, known in ports_before.get(interface, {}).items():
            if not _looked_at(report, interface, port):
                found[interface][port] = known
    for service in report.services:
        for part, programs in report.by_programs(service):
            where = places.text(part.interfaces)
            found[where][str(part.port)] = [names.rpc(program) for program in programs]
    return dict(found)


def _since(known: Since, verdict: Verdict, now: float) -> dict[str, dict[str, float]]:
    """When the findings of a verdict were first seen on any of the interfaces where they are."""
    before = _by_interface(known)
    since: defaultdict[str, dict[str, float]] = defaultdict(dict)
    places = _Places()
    for finding in verdict.findings:
        what = _what(finding.kind, finding.item)
        where = places.text(finding.interfaces)
        known_there = (before.get(each, NOTHING) for each in where.split())
        times = [found[what] for found in known_there if what in found]
        since[where][what] = min(times, default=now)
    return dict(since)


def _what(kind: FindingKind, item: Item) -> str:
    """What makes a finding the same one in the next run, besides where it is."""
    return f"{kind} {item}"


class _Places:
    """Groups of interfaces as they are remembered; many services are on the same one."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[str, tuple[Interface, ...]]] = {}
        """By identity, with the group itself, so that no other gets its identity meanwhile."""

    def text(self, interfaces: tuple[Interface, ...]) -> str:
        """The interfaces with blanks between them."""
        if id(interfaces) not in self._texts:
            self._texts[id(interfaces)] = (" ".join(map(str, interfaces)), interfaces)
        return self._texts[id(interfaces)][0]


def _events(before: Opened, report: Report, names: Names) -> Iterator[Event]:
    """RPC programs on another port, then services that are open no more; both still scanned."""
    ports_before = _by_interface(before)
    ports_now = _by_interface(opened(report, names))
    moved: defaultdict[_Move, list[Interface]] = defaultdict(list)
    closed: defaultdict[str, list[Interface]] = defaultdict(list)
    for interface in _places(report):
        old = ports_before.get(str(interface), {})
        new = ports_now.get(str(interface), {})
        moves = list(_moves(old, new))
        for move in moves:
            moved[move].append(interface)
        accounted = set(new).union(*(move.left for move in moves))
        for port in old:
            if port not in accounted and _looked_at(report, str(interface), port):
                closed[port].append(interface)
    for move, where in moved.items():
        now, left = map(_ports, (move.arrived, move.left))
        yield Event("moved", tuple(where), now, move.name, left)
    yield from _closed(closed, report)


def _closed(closed: Mapping[str, Sequence[Interface]], report: Report) -> Iterator[Event]:
    """An event for all ports that closed at the same places, clients over UDP left out."""
    by_place: defaultdict[tuple[Interface, ...], list[Port]] = defaultdict(list)
    for port, where in zip(_ports(closed), closed.values(), strict=True):
        if port.protocol is not Protocol.UDP or port.number not in report.ephemeral:
            by_place[tuple(where)].append(port)
    for where, ports in by_place.items():
        yield Event("closed", where, tuple(ports))


class _Move(NamedTuple):
    """An RPC program that left some ports for others."""

    name: str
    arrived: tuple[str, ...]
    left: tuple[str, ...]


def _places(report: Report) -> Iterable[Interface]:
    """Where a service may be found: all that is scanned, and where else sockets are bound."""
    found = (each for service in report.services for each in service.interfaces if not each.scanned)
    return (*report.interfaces, *dict.fromkeys(found))


def _ports(texts: Iterable[str]) -> tuple[Port, ...]:
    """Ports as they are remembered."""
    parted = (text.partition("/") for text in texts)
    return tuple(Port(Protocol(protocol), int(number)) for number, _, protocol in parted)


def _moves(before: Ports, now: Ports) -> Iterator[_Move]:
    """The RPC programs that left ports of an interface for others."""
    ports_now = _by_program(now)
    for (name, protocol), old in _by_program(before).items():
        new = ports_now.get((name, protocol), [])
        left, arrived = _without(old, new), _without(new, old)
        if left and arrived:
            yield _Move(name, arrived, left)


def _without(ports: Iterable[str], others: Collection[str]) -> tuple[str, ...]:
    return tuple(port for port in ports if port not in others)


def _looked_at(report: Report, interface: str, port: str) -> bool:
    """Whether the report would have the service of an earlier one if it were open."""
    number, _, protocol = port.partition("/")
    return not any(
        (str(each.interface), each.ports.protocol) == (interface, protocol)
        and int(number) in each.ports.span
        for each in report.unanswered
    )


def _by_interface(remembered: Mapping[str, Mapping[str, _T]]) -> dict[str, dict[str, _T]]:
    """What is remembered of each interface."""
    found: defaultdict[str, dict[str, _T]] = defaultdict(dict)
    for interfaces, known in remembered.items():
        for interface in interfaces.split():
            found[interface].update(known)
    return found


def _by_program(ports: Ports) -> dict[tuple[str, str], list[str]]:
    """The ports of each RPC program, by name and protocol."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for port, programs in ports.items():
        for program in programs:
            found[program, port.partition("/")[2]].append(port)
    return found
