"""Services and findings that are one incident: of one process, at the same places.

They come by the ten thousand and are told in a few lines, so they are put together by their values;
words are made only of what is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.model import PortRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from check_portcheck.model import Interface, OpenService, Owner, Report
    from check_portcheck.policy.rules import Item, Rule
    from check_portcheck.policy.verdict import Finding, Judged

Programs = tuple[int, ...]
"""The numbers of the RPC programs that are registered on a port."""


class Subject(NamedTuple):
    """A port or an RPC program of which something is told."""

    item: Item
    interfaces: tuple[Interface, ...]
    service: OpenService | None = None
    rule: Rule | None = None
    """The rule that is not met, or that allows it."""
    reason: str = ""

    @classmethod
    def found(cls, finding: Finding) -> Subject:
        """What a finding is about."""
        _, interfaces, item, service, rule, reason = finding
        return cls(item, interfaces, service, rule, reason)

    @classmethod
    def allowed(cls, judged: Judged) -> Subject:
        """A service that a rule allows."""
        service = judged.service
        return cls(PortRange.of(service.port), service.interfaces, service, judged.rule)


class Entry(NamedTuple):
    """What is told in one line."""

    interfaces: tuple[Interface, ...]
    """Where, in the order of the scan; empty where a rule's place is not here, or not scanned."""
    owners: tuple[Owner, ...]
    """Who holds the sockets, as far as that was asked for."""
    mark: str
    """``no socket``, ``forwarded to 172.17.0.2:80``, or nothing."""
    reason: str
    rule: Rule | None
    items: Mapping[Item, Programs]

    @property
    def size(self) -> int:
        """How many ports it has."""
        return sum(_size(item) for item in self.items)


class _Alike(NamedTuple):
    """What must be the same of all that is told in one line, besides where it is."""

    owners: tuple[Owner, ...]
    mark: str
    reason: str
    source: str | None
    """Of the rule, which may name many items."""
    kind: str | None
    apart: object
    """Sets apart what is not open: each is a fault of its own."""


def entries(
    report: Report, subjects: Iterable[Subject], *, by_program: bool = False
) -> list[Entry]:
    """What is told in one line each; those of few ports come first.

    *by_program* is whether other RPC programs make another entry. Any user may register thousands.
    """
    places = _Groups(report.interfaces)
    kinds: dict[_Alike, tuple[int, Rule | None]] = {}
    where: dict[tuple[int, Item, Programs], tuple[int, ...]] = {}
    for subject in subjects:
        number, _ = kinds.setdefault(_alike(report, subject), (len(kinds), subject.rule))
        for interfaces, programs in _parts(report, subject):
            spot = (number, subject.item, programs)
            where[spot] = (*where.get(spot, ()), places.number(interfaces))
    groups: dict[tuple[int, int, Programs], dict[Item, Programs]] = {}
    for (number, item, programs), parts in where.items():
        key = (number, places.together(parts), programs if by_program else ())
        groups.setdefault(key, {})[item] = programs
    alikes = list(kinds.items())
    found: list[Entry] = []
    for (number, place, _), items in groups.items():
        alike, (_, rule) = alikes[number]
        found.append(
            Entry(places.interfaces(place), alike.owners, alike.mark, alike.reason, rule, items)
        )
    return sorted(found, key=lambda entry: entry.size)


def told(of: Iterable[Entry]) -> Iterator[tuple[int, Entry]]:
    """Each entry with how many services it tells of that none before it did."""
    known: set[Item] = set()
    for entry in of:
        before = len(known)
        known.update(entry.items)
        yield len(known) - before, entry


def _size(item: Item) -> int:
    return item.span.last - item.span.first + 1 if isinstance(item, PortRange) else 1


def _alike(report: Report, subject: Subject) -> _Alike:
    item, interfaces, service, rule, reason = subject
    source, kind = (rule.source, rule.kind) if rule else (None, None)
    if service is None:
        apart = (item, None if interfaces else rule.where) if rule else None
        return _Alike((), "", reason, source, kind, apart)
    known = report.owners
    owners = tuple(known[socket] for socket in service.sockets if socket in known)
    if len(owners) > 1:
        owners = tuple(dict.fromkeys(owners))
    return _Alike(owners, mark(report, service), reason, source, kind, None)


def mark(report: Report, service: OpenService) -> str:
    """``forwarded to 172.17.0.2:80``, ``no socket`` where that is not known to explain it."""
    if service.sockets:
        return ""
    ends = report.destinations(service)
    return ", ".join(f"forwarded to {end}" if end else "no socket" for end in ends)


def _parts(report: Report, subject: Subject) -> Iterable[tuple[tuple[Interface, ...], Programs]]:
    """Where the subject is, cut where other RPC programs are registered."""
    if subject.service is None or not report.registrations:
        return ((subject.interfaces, ()),)
    cut = report.by_programs(subject.service)
    return ((service.interfaces, programs) for service, programs in cut)


class _Groups:
    """Groups of interfaces by number: comparing those of every service is what takes the time."""

    def __init__(self, scanned: Iterable[Interface]) -> None:
        self._order = {interface: index for index, interface in enumerate(scanned)}
        self._numbers: dict[tuple[Interface, ...], int] = {}
        self._groups: list[tuple[Interface, ...]] = []
        self._by_identity: dict[int, tuple[int, tuple[Interface, ...]]] = {}
        """With the group itself, so that no other gets its identity meanwhile."""
        self._together: dict[tuple[int, ...], int] = {}

    def number(self, group: tuple[Interface, ...]) -> int:
        """The number of a group, the same for an equal one."""
        known = self._by_identity.get(id(group))
        if known is None:
            known = self._by_identity[id(group)] = (self._number(group), group)
        return known[0]

    def together(self, numbers: tuple[int, ...]) -> int:
        """The number of the group that some make up, in the order of the scan."""
        if len(numbers) == 1:
            return numbers[0]
        if numbers not in self._together:
            every = dict.fromkeys(each for number in numbers for each in self._groups[number])
            group = sorted(every, key=lambda each: self._order.get(each, len(self._order)))
            self._together[numbers] = self._number(tuple(group))
        return self._together[numbers]

    def interfaces(self, number: int) -> tuple[Interface, ...]:
        """The group of that number."""
        return self._groups[number]

    def _number(self, group: tuple[Interface, ...]) -> int:
        if group not in self._numbers:
            self._numbers[group] = len(self._groups)
            self._groups.append(group)
        return self._numbers[group]
