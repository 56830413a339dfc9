"""One look at some ports by the chosen method: table, probes, and the kernel's lookup.

What calls what: a look reads the table and makes a sweep of what it does not list; a sweep is of
blocks, which processes share among them; a block is probed port by port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import conntrack, sockettable
from check_portcheck.model import Coverage, Look, Method, PortRange, Unanswered
from check_portcheck.probing.portset import PortSet, spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from check_portcheck.deadline import Deadline
    from check_portcheck.kernel.sockettable import Table
    from check_portcheck.model import Earlier, Interface, OpenService, Protocol, Socket, Target

    _Wanted = Mapping[Target, PortSet]

_UNTOLD = "the socket table does not tell, --method full asks the port"
_NO_TIME = "no time was left to ask the port"


def look(
    method: Method,
    interfaces: Sequence[Interface],
    wanted: _Wanted,
    deadline: Deadline,
    earlier: Earlier,
) -> Look:
    """The open services among the wanted ports; what takes longer than *deadline* is left out.

    *interfaces* are all that are scanned: sockets that answer on none of them are told apart.

    Raises SocketTableError or SweepError where nothing could be learnt.
    """
    if method is Method.TABLE:
        return _by_table(interfaces, wanted)
    if method is Method.PROBE:
        return _by_probes(sockettable.Table(()), interfaces, wanted, deadline, earlier)
    found = _by_probes(sockettable.read(), interfaces, wanted, deadline, earlier)
    # Of what was left for want of time the table said before that it has no socket.
    return found._replace(unanswered=tuple(each for each in found.unanswered if each.reason))


def _by_table(interfaces: Sequence[Interface], wanted: _Wanted) -> Look:
    """What the table lists; what it does not tell for certain is unanswered."""
    table = sockettable.read()
    listed = _Listed(wanted, sockettable.open_services(table.rows, interfaces))
    doubtful = _doubtful(table.rows, listed, interfaces)
    total = sum(len(ports) for ports in wanted.values())
    in_doubt = sum(len(ports) for ports in doubtful.values())
    return Look(
        tuple(listed.services),
        tuple(_unanswered(doubtful)),
        Coverage(ports=total, probed=total - in_doubt),
        sockettable.unreached(table.rows, interfaces),
        table.degraded,
    )


def _by_probes(
    table: Table,
    interfaces: Sequence[Interface],
    wanted: _Wanted,
    deadline: Deadline,
    earlier: Earlier,
) -> Look:
    """What the table lists, and what answers of all else.

    First is asked what a degraded table lists, and what was open earlier: whatever the time left,
    it must not pass for closed.
    """
    from check_portcheck.probing import sweep  # what only a run that contacts ports needs

    certain = [row for row in table.rows if row.device is not None]
    listed = _Listed(wanted, sockettable.open_services(certain, interfaces))
    doubtful = _doubtful(table.rows, listed, interfaces)
    rest = listed.left()
    urgent = _urgent(rest, doubtful, earlier)
    for target, ports in urgent.items():
        rest[target] = rest[target].minus(ports.numbers())
    room = conntrack.room()
    settled = sweep.sweep(urgent, deadline, room, start=0)
    found = sweep.sweep(rest, deadline, room, earlier.resume)
    unreached = sockettable.unreached(table.rows, interfaces)
    return Look(
        (*listed.services, *settled.services, *found.services),
        (*map(_for_want_of_time, settled.unanswered), *found.unanswered),
        _sum(Coverage(listed.count, listed.count), settled.coverage, found.coverage),
        (*unreached, *_nowhere(urgent, table.rows, interfaces, settled)),
        tuple(dict.fromkeys((*table.degraded, *settled.notes, *found.notes))),
    )


def _doubtful(
    rows: Sequence[Socket], listed: _Listed, interfaces: Sequence[Interface]
) -> dict[Target, PortSet]:
    """The wanted ports at which only rows that do not tell it answer perhaps."""
    degraded = [row for row in rows if row.device is None]
    services = sockettable.open_services(degraded, interfaces, perhaps=True)
    perhaps = _Listed(listed.wanted, services).numbers()
    certain = listed.numbers()
    numbers = {target: sorted({*found} - {*certain[target]}) for target, found in perhaps.items()}
    return {target: PortSet(found) for target, found in numbers.items() if found}


def _urgent(left: _Wanted, doubtful: _Wanted, earlier: Earlier) -> dict[Target, PortSet]:
    """Those of the ports *left* that are in doubt or were open earlier."""
    urgent = dict(doubtful)
    for target, numbers in earlier.open.items():
        if target in left:
            known = urgent.get(target, PortSet(()))
            more = {number for number in numbers if number in left[target]}
            urgent[target] = PortSet(sorted(more.union(known.numbers())))
    return {target: ports for target, ports in urgent.items() if ports}


def _unanswered(doubtful: _Wanted) -> Iterator[Unanswered]:
    """What the table does not tell."""
    for (interface, protocol), ports in doubtful.items():
        for span in spans(ports.numbers()):
            yield Unanswered(interface, PortRange(protocol, span), _UNTOLD)


def _for_want_of_time(unanswered: Unanswered) -> Unanswered:
    """The same with its reason: nothing has said that it is closed."""
    return unanswered._replace(reason=unanswered.reason or _NO_TIME)


def _nowhere(
    asked: _Wanted, rows: Sequence[Socket], interfaces: Sequence[Interface], settled: Look
) -> Iterator[Socket]:
    """The rows that turned out to answer nowhere, once each interface was asked where they might.

    They are bound to other devices, or to IPv6 alone.
    """
    if not asked:
        return
    unknown = {(each.interface, each.ports.protocol) for each in settled.unanswered}
    candidates = list(_not_shown(rows, settled.services))
    nowhere: dict[Socket, bool] = {}
    for service in sockettable.open_services(candidates, interfaces, perhaps=True):
        refused = _all_refused(service, asked, unknown)
        for row in service.sockets:
            nowhere[row] = nowhere.get(row, True) and refused
    yield from (row for row, refused in nowhere.items() if refused)


def _not_shown(rows: Sequence[Socket], services: Sequence[OpenService]) -> Iterator[Socket]:
    """The rows of which the table does not tell where they answer, and no service does."""
    shown = {row for service in services for row in service.sockets}
    yield from (row for row in rows if row.device is None and row not in shown)


def _all_refused(service: OpenService, asked: _Wanted, unknown: set[Target]) -> bool:
    """Whether a service that is not among the open ones was asked for wherever it might answer.

    *unknown* is where asking taught nothing.
    """
    targets = [(each, service.port.protocol) for each in service.interfaces]
    everywhere = all(service.port.number in asked.get(target, ()) for target in targets)
    return everywhere and unknown.isdisjoint(targets)


def _sum(*parts: Coverage) -> Coverage:
    """How far some looks got together; the last of them is the one to go on with."""
    last = parts[-1]
    together = Coverage(*map(sum, zip(*parts, strict=True)))
    return together._replace(resume=last.resume, runs=last.runs)


class _Listed:
    """The wanted ports that the socket table lists.

    Services come by the ten thousand, and most of them answer on the same few groups of interfaces:
    what depends on the group is worked out once for each.
    """

    def __init__(self, wanted: _Wanted, services: Sequence[OpenService]) -> None:
        """What is wanted of some services."""
        self.wanted = wanted
        self._parts: dict[tuple[int, Protocol], list[_Part]] = {}
        self.services: list[OpenService] = []
        self.count = 0
        """How many there are, each once per interface."""
        self._add(services)

    def _add(self, services: Sequence[OpenService]) -> None:
        for service in services:
            protocol, number = service.port
            # By identity: comparing the addresses of every service is what takes the time.
            key = (id(service.interfaces), protocol)
            if key not in self._parts:
                self._parts[key] = _parts(service.interfaces, protocol, self.wanted)
            wanting = [part for part in self._parts[key] if number in part.ports]
            for part in wanting:
                part.listed.append(number)
                self.count += len(part.interfaces)
            if wanting:
                self.services.append(service.on(_together(wanting, service.interfaces)))

    def left(self) -> dict[Target, PortSet]:
        """The wanted ports that are not listed."""
        listed = self.numbers()
        return {target: ports.minus(listed[target]) for target, ports in self.wanted.items()}

    def numbers(self) -> dict[Target, list[int]]:
        """The wanted ports that are listed."""
        listed: dict[Target, list[int]] = {target: [] for target in self.wanted}
        for (_, protocol), parts in self._parts.items():
            for part in parts:
                for interface in part.interfaces:
                    listed[interface, protocol] += part.listed
        return listed


class _Part(NamedTuple):
    """Interfaces on which the same services answer and the same ports are wanted."""

    interfaces: tuple[Interface, ...]
    ports: PortSet
    listed: list[int]
    """Those of the ports that turned out to be listed."""


def _together(parts: Sequence[_Part], interfaces: tuple[Interface, ...]) -> tuple[Interface, ...]:
    """The interfaces of some parts of a whole, in its order."""
    if len(parts) == 1:
        return parts[0].interfaces
    some = {interface for part in parts for interface in part.interfaces}
    return tuple(interface for interface in interfaces if interface in some)


def _parts(
    interfaces: tuple[Interface, ...], protocol: Protocol, wanted: Mapping[Target, PortSet]
) -> list[_Part]:
    """The interfaces, cut where other ports are wanted; left out are those where none are."""
    alike: dict[int, tuple[PortSet, list[Interface]]] = {}
    for interface in interfaces:
        if ports := wanted.get((interface, protocol)):
            alike.setdefault(id(ports), (ports, []))[1].append(interface)
    whole = [(tuple(each), ports) for ports, each in alike.values()]
    return [
        _Part(interfaces if where == interfaces else where, ports, []) for where, ports in whole
    ]
