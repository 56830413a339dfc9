"""One look at some ports by the chosen method: table, probes, and the kernel's lookup.

What calls what: a look reads the table and makes a sweep of what it does not list; a sweep is of
blocks, which processes share among them; a block is probed port by port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import sockettable
from check_portcheck.model import Coverage, Look, Method

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import Interface, OpenService, Protocol, Socket, Target
    from check_portcheck.probing.portset import PortSet


def look(
    method: Method,
    interfaces: Sequence[Interface],
    wanted: Mapping[Target, PortSet],
    deadline: Deadline,
    start: int | None = None,
) -> Look:
    """The open services among the wanted ports; what takes longer than *deadline* is left out.

    *interfaces* are all that are scanned: sockets that answer on none of them are told apart.

    *start* is where an earlier run stopped (Coverage.resume), None for anywhere. Raises
    SocketTableError or SweepError where nothing could be learnt.
    """
    listed = _Listed(wanted)
    table: tuple[Socket, ...] = ()
    if method is not Method.PROBE:
        table = sockettable.read()
    listed.add(sockettable.open_services(table, interfaces))
    unreached = sockettable.unreached(table, interfaces)
    if method is Method.TABLE:
        total = sum(len(ports) for ports in wanted.values())
        coverage = Coverage(ports=total, probed=total)
        return Look(tuple(listed.services), coverage=coverage, unreached=unreached)
    from check_portcheck.probing import sweep  # what only a run that contacts ports needs

    found = sweep.sweep(listed.left(), deadline, start)
    coverage = found.coverage._replace(
        ports=found.coverage.ports + listed.count, probed=found.coverage.probed + listed.count
    )
    unanswered = found.unanswered
    if method is Method.FULL:
        # Of what was left for want of time the table said before that it has no socket.
        unanswered = tuple(each for each in unanswered if each.reason)
    return Look((*listed.services, *found.services), unanswered, coverage, unreached)


class _Listed:
    """The wanted ports that the socket table lists.

    Services come by the ten thousand, and most of them answer on the same few groups of interfaces:
    what depends on the group is worked out once for each.
    """

    def __init__(self, wanted: Mapping[Target, PortSet]) -> None:
        self._wanted = wanted
        self._parts: dict[tuple[int, Protocol], list[_Part]] = {}
        self.services: list[OpenService] = []
        self.count = 0
        """How many there are, each once per interface."""

    def add(self, services: Sequence[OpenService]) -> None:
        """Take what is wanted of some services."""
        for service in services:
            protocol, number = service.port
            # By identity: comparing the addresses of every service is what takes the time.
            key = (id(service.interfaces), protocol)
            if key not in self._parts:
                self._parts[key] = _parts(service.interfaces, protocol, self._wanted)
            wanting = [part for part in self._parts[key] if number in part.ports]
            for part in wanting:
                part.listed.append(number)
                self.count += len(part.interfaces)
            if wanting:
                self.services.append(service.on(_together(wanting, service.interfaces)))

    def left(self) -> dict[Target, PortSet]:
        """The wanted ports that are not listed."""
        listed: dict[Target, list[int]] = {target: [] for target in self._wanted}
        for (_, protocol), parts in self._parts.items():
            for part in parts:
                for interface in part.interfaces:
                    listed[interface, protocol] += part.listed
        return {target: ports.minus(listed[target]) for target, ports in self._wanted.items()}


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
