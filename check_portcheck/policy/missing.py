"""What a policy requires and a report does not show: missing services, unanswered ports. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from check_portcheck.model import (
    PORTMAPPER_PORT,
    PORTMAPPER_PROGRAM,
    Interface,
    OpenService,
    Port,
    PortRange,
    Report,
    Unanswered,
)
from check_portcheck.policy.rules import Item, Kind, Policy, RpcProgram, concerning
from check_portcheck.policy.verdict import Finding, FindingKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from check_portcheck.policy.rules import Rule

Opened = dict[Port, list[OpenService]]
"""What is open, by port."""

Trouble = tuple[FindingKind, str]
"""What is wrong with a required service on an interface, and why."""


def missing(report: Report, policy: Policy) -> Iterator[Finding]:
    """The findings for required services that are not open where they must be."""
    opened: Opened = {}
    for service in report.services:
        opened.setdefault(service.port, []).append(service)
    for rule in policy.of_kind(Kind.REQUIRED):
        for (kind, reason), interfaces in _unmet(report, policy, opened, rule).items():
            yield Finding(kind, tuple(interfaces), rule.item, None, rule, reason)


def unanswered(report: Report, policy: Policy) -> Iterator[Finding]:
    """The findings for stretches of ports of which nothing could be learnt.

    Left out: what a required rule names already, and what the policy is content with either way.
    """
    where: defaultdict[tuple[PortRange, str], list[Interface]] = defaultdict(list)
    for each in report.unanswered:
        rules = _naming_both_ends(report, policy, each.interface, each.ports)
        if not any(map(_settles, rules)):
            where[each.ports, _why(each)].append(each.interface)
    for (ports, reason), interfaces in where.items():
        yield Finding(FindingKind.UNVERIFIED, tuple(interfaces), ports, reason=reason)


def _why(unanswered: Unanswered) -> str:
    """The reason of a finding for ports of which nothing could be learnt."""
    return f"unanswered: {unanswered.reason}" if unanswered.reason else "unanswered"


def _settles(rule: Rule) -> bool:
    """Whether nothing more need be said of ports that a rule names and that did not answer."""
    return rule.kind is Kind.REQUIRED or rule.owner is None


def _unmet(
    report: Report, policy: Policy, opened: Opened, rule: Rule
) -> Mapping[Trouble, Sequence[Interface]]:
    """The interfaces on which a rule is not met, by what is wrong there."""
    interfaces = list(filter(rule.where.matches, report.interfaces))
    if not interfaces and rule.where.names_one:
        here = rule.where.text in report.present
        return {(FindingKind.UNVERIFIED, f"is not {'scanned' if here else 'here now'}"): ()}
    unmet: defaultdict[Trouble, list[Interface]] = defaultdict(list)
    for interface in interfaces:
        trouble = _trouble(report, opened, rule.item, interface)
        if trouble:
            unmet[_skipped(policy, rule, interface) or trouble].append(interface)
    return unmet


def _skipped(policy: Policy, rule: Rule, interface: Interface) -> Trouble | None:
    """What is wrong where a skip rule that names the interface in another way defeats a rule."""
    port = rule.item.single if isinstance(rule.item, PortRange) else None
    skip = port and policy.skipping(interface, port)
    return (FindingKind.UNVERIFIED, f"skipped by {skip.source}") if skip else None


def _trouble(report: Report, opened: Opened, item: Item, interface: Interface) -> Trouble | None:
    """What is wrong with a required item on an interface, None when it is open there."""
    if isinstance(item, RpcProgram):
        return _program_trouble(report, opened, item, interface)
    port = item.single if isinstance(item, PortRange) else None
    return port and _port_trouble(report, opened, port, interface)


def _port_trouble(
    report: Report, opened: Opened, port: Port, interface: Interface
) -> Trouble | None:
    """What is wrong where a port must be open."""
    if _is_open(opened, port, interface):
        return None
    for each in report.unanswered:
        if each.interface == interface and each.ports.covers(port):
            return FindingKind.UNVERIFIED, _why(each)
    return FindingKind.MISSING, ""


def _program_trouble(
    report: Report, opened: Opened, item: RpcProgram, interface: Interface
) -> Trouble | None:
    """What is wrong where an open port must carry an RPC program."""
    known = report.registered(interface)
    ports = known.ports_of(item.program, item.protocol)
    if any(_is_open(opened, port, interface) for port in ports):
        return None
    if known.unreachable is None:
        named = ", ".join(map(str, ports))
        reason = f"registered on {named}, not listening" if ports else "not registered"
        return FindingKind.MISSING, reason
    if item.program != PORTMAPPER_PROGRAM:
        return FindingKind.UNVERIFIED, known.unreachable
    if _is_open(opened, Port(item.protocol, PORTMAPPER_PORT), interface):
        return None  # named as the open service that it may be
    return FindingKind.MISSING, known.unreachable


def _is_open(opened: Opened, port: Port, interface: Interface) -> bool:
    return any(interface in service.interfaces for service in opened.get(port, ()))


def _naming_both_ends(
    report: Report, policy: Policy, interface: Interface, ports: PortRange
) -> set[Rule]:
    """The rules that name the first and the last of some ports, and so all between."""
    ends = (Port(ports.protocol, number) for number in ports.span)
    first, last = (set(concerning(policy.naming(end, report.ephemeral), interface)) for end in ends)
    return first & last
