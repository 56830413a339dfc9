"""The second look: what it must see, and what it makes of the first. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from check_portcheck.model import PortRange, Protocol
from check_portcheck.policy.rules import RpcProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from check_portcheck.model import Interface, Look, OpenService, Port, Report, Target
    from check_portcheck.policy.verdict import Finding, Verdict

    Doubts = dict[Target, set[int]]
    """Numbers of ports that must be looked at again."""


def doubtful(report: Report, verdict: Verdict) -> Doubts:
    """The ports that a second look must see, those included on which a missing program may be."""
    # By identity: findings come by the ten thousand, and nearly all are on the same interfaces.
    alike: dict[tuple[int, Protocol], tuple[tuple[Interface, ...], set[int]]] = {}
    for finding in verdict.findings:
        for interfaces, port in _ports_of(report, finding):
            key = (id(interfaces), port.protocol)
            if key not in alike:
                alike[key] = (interfaces, set())
            alike[key][1].add(port.number)
    ports: Doubts = {}
    for (_, protocol), (interfaces, numbers) in alike.items():
        for interface in interfaces:
            known = ports.get((interface, protocol))
            ports[interface, protocol] = known | numbers if known else numbers
    return ports


def _ports_of(report: Report, finding: Finding) -> Iterator[tuple[tuple[Interface, ...], Port]]:
    """The ports on which a finding's item may be open, with the interfaces where that may be."""
    item = finding.item
    if isinstance(item, PortRange) and item.single:
        yield finding.interfaces, item.single
    elif isinstance(item, RpcProgram):
        for interface in finding.interfaces:
            for port in report.registered(interface).ports_of(item.program, item.protocol):
                yield (interface,), port


def clients(report: Report, doubts: Doubts) -> Doubts:
    """The open UDP ports among *doubts* that the kernel gives to clients, such as resolvers."""
    found: defaultdict[Target, set[int]] = defaultdict(set)
    for service in report.services:
        protocol, number = service.port
        if protocol is Protocol.UDP and number in report.ephemeral:
            for interface in service.interfaces:
                if number in doubts.get((interface, protocol), ()):
                    found[interface, protocol].add(number)
    return found


def replaced(before: Iterable[OpenService], report: Report, doubts: Doubts) -> Doubts:
    """The ports for clients among *doubts* that have none of the sockets that they had *before*."""
    had = {socket for service in before for socket in service.sockets}
    others = (each for each in report.services if each.sockets and had.isdisjoint(each.sockets))
    return clients(report._replace(services=tuple(others)), doubts)


def in_doubt(service: OpenService, doubts: Doubts) -> bool:
    """Whether a service is in doubt on any of its interfaces."""
    protocol, number = service.port
    return any(number in doubts.get((each, protocol), ()) for each in service.interfaces)


def without(doubts: Doubts, settled: Doubts) -> Doubts:
    """What is left of *doubts* once some of them are settled."""
    return {target: numbers - settled.get(target, set()) for target, numbers in doubts.items()}


def with_renamed(doubts: Doubts, before: Report, after: Report) -> Doubts:
    """*doubts*, and the ports on which other RPC programs are registered than before.

    A daemon that was restarted has left its old ports and has new ones, of which a rule that names
    the program speaks now.
    """
    renamed: defaultdict[Target, set[int]] = defaultdict(set)
    for interface, now in after.registrations.items():
        then = before.registered(interface)
        for port, _ in then.programs.items() ^ now.programs.items():
            renamed[interface, port.protocol].add(port.number)
    more = {target: doubts.get(target, set()) | numbers for target, numbers in renamed.items()}
    return {**doubts, **more}


def confirmed(report: Report, doubts: Doubts, second: Look) -> Iterator[OpenService]:
    """The services of a report as another look at what is in doubt leaves them.

    What was open and is not any more is left out; what was missing and is open now is put in. Where
    that look did not get to a port the service stays: not looked at is not closed.
    """
    doubtful_at = _doubtful_at(doubts)
    again: dict[Port, tuple[OpenService, ...]] = {}
    for service in second.services:
        again[service.port] = (*again.get(service.port, ()), service)
    known: dict[Port, tuple[Interface, ...]] = {}
    for first in report.services:
        known[first.port] = known.get(first.port, ()) + first.interfaces
        left = doubtful_at(first)
        if left != first.interfaces:
            yield first.on(_without(first.interfaces, left))
        yield from _settled(first, left, again.get(first.port, ()), second)
    for found in second.services:
        appeared = _without(found.interfaces, known.get(found.port, ()))
        if appeared:
            yield found.on(appeared)


def _doubtful_at(doubts: Doubts) -> Callable[[OpenService], tuple[Interface, ...]]:
    """Tells on which of its interfaces a service is in doubt.

    Which doubts are about a group of interfaces is worked out once: many services have the same.
    """
    about: dict[tuple[int, Protocol], list[tuple[Interface, Collection[int]]]] = {}

    def at(service: OpenService) -> tuple[Interface, ...]:
        protocol, number = service.port
        key = (id(service.interfaces), protocol)
        if key not in about:
            where = service.interfaces
            about[key] = [(each, doubts.get((each, protocol), ())) for each in where]
        if all(number in numbers for _, numbers in about[key]):
            return service.interfaces
        return tuple(each for each, numbers in about[key] if number in numbers)

    return at


def _settled(
    first: OpenService,
    left: tuple[Interface, ...],
    again: Iterable[OpenService],
    second: Look,
) -> Iterator[OpenService]:
    """What is left of one service where it is in doubt.

    *again* is what the other look saw on its port.
    """
    for found in again:
        seen = _among(left, found.interfaces)
        left = _without(left, seen)
        if seen:
            yield found.on(seen)
    unseen = tuple(each for each in left if _unseen(first, each, second))
    if unseen:
        yield first.on(unseen)


def _among(
    interfaces: tuple[Interface, ...], wanted: Collection[Interface]
) -> tuple[Interface, ...]:
    """Those of the interfaces that are wanted."""
    if interfaces is wanted:
        return interfaces
    return tuple(each for each in interfaces if each in wanted)


def _without(
    interfaces: tuple[Interface, ...], unwanted: Collection[Interface]
) -> tuple[Interface, ...]:
    """Those of the interfaces that are not unwanted."""
    if interfaces is unwanted:
        return ()
    return tuple(each for each in interfaces if each not in unwanted)


def _unseen(first: OpenService, interface: Interface, second: Look) -> bool:
    """Whether the second look did not get to a service, which is no proof that it has closed."""
    unknown = any(
        each.interface == interface and each.ports.protocol is first.port.protocol
        for each in second.unanswered
    )
    # A port without a socket is seen by a probe only, never by table or lookup; a probe over TCP is
    # silent where a server far away has not yet accepted the connections of the first look.
    unprobed = second.coverage.probed < second.coverage.ports
    silent = first.port.protocol is Protocol.TCP and second.coverage.filtered > 0
    return unknown or (first.no_socket and (unprobed or silent))
