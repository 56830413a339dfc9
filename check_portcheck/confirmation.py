"""The second look: what it must see, and what it makes of the first. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from check_portcheck.model import PortRange, Protocol
from check_portcheck.policy.rules import RpcProgram

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from check_portcheck.model import Interface, Look, OpenService, Port, Report, Target
    from check_portcheck.policy.rules import Item
    from check_portcheck.policy.verdict import Verdict

    Doubts = dict[Target, set[int]]
    """Numbers of ports that must be looked at again."""


def doubtful(report: Report, verdict: Verdict) -> Doubts:
    """The ports that a second look must see, those included on which a missing program may be."""
    ports: defaultdict[Target, set[int]] = defaultdict(set)
    for finding in verdict.findings:
        for interface in finding.interfaces:
            for port in _ports_of(report, finding.item, interface):
                ports[interface, port.protocol].add(port.number)
    return ports


def _ports_of(report: Report, item: Item, interface: Interface) -> Iterator[Port]:
    """The ports on which a finding's item may be open on an interface."""
    if isinstance(item, PortRange) and item.single:
        yield item.single
    elif isinstance(item, RpcProgram):
        yield from report.registered(interface).ports_of(item.program, item.protocol)


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


def in_doubt(service: OpenService, doubts: Doubts) -> bool:
    """Whether a service is in doubt on any of its interfaces."""
    protocol, number = service.port
    return any(number in doubts.get((each, protocol), ()) for each in service.interfaces)


def without(doubts: Doubts, settled: Doubts) -> Doubts:
    """What is left of *doubts* once some of them are settled."""
    return {target: numbers - settled.get(target, set()) for target, numbers in doubts.items()}


def confirmed(report: Report, doubts: Doubts, second: Look) -> Iterator[OpenService]:
    """The services of a report as another look at what is in doubt leaves them.

    What was open and is not any more is left out; what was missing and is open now is put in. Where
    that look did not get to a port the service stays: not looked at is not closed.
    """
    again: defaultdict[Port, list[OpenService]] = defaultdict(list)
    for service in second.services:
        again[service.port].append(service)
    known: defaultdict[Port, set[Interface]] = defaultdict(set)
    for first in report.services:
        known[first.port].update(first.interfaces)
        yield from _settled(first, doubts, again.get(first.port, ()), second)
    for port, services in again.items():
        for found in services:
            appeared = tuple(each for each in found.interfaces if each not in known[port])
            if appeared:
                yield found.on(appeared)


def _settled(
    first: OpenService, doubts: Doubts, again: Iterable[OpenService], second: Look
) -> Iterator[OpenService]:
    """What is left of one service, *again* being what the other look saw on its port."""
    protocol, number = first.port
    left = tuple(each for each in first.interfaces if number in doubts.get((each, protocol), ()))
    certain = _without(first.interfaces, left)
    if certain:
        yield first.on(certain)
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
    return tuple(each for each in interfaces if each in wanted)


def _without(
    interfaces: tuple[Interface, ...], unwanted: Collection[Interface]
) -> tuple[Interface, ...]:
    """Those of the interfaces that are not unwanted."""
    return tuple(each for each in interfaces if each not in unwanted)


def _unseen(first: OpenService, interface: Interface, second: Look) -> bool:
    """Whether the second look did not get to a service, which is no proof that it has closed."""
    unknown = any(
        each.interface == interface and each.ports.protocol is first.port.protocol
        for each in second.unanswered
    )
    # A port without a socket is seen by a probe only, never by table or lookup.
    unprobed = first.no_socket and second.coverage.probed < second.coverage.ports
    return unknown or unprobed
