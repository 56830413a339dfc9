"""The judgement: which open services are expected, which are not, which are missing.

Pure: no I/O, no clock, and the same verdict whatever the order of services and rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import (
    PORTMAPPER_PORT,
    PORTMAPPER_PROGRAM,
    Interface,
    OpenService,
    PortRange,
    Report,
    Socket,
)
from check_portcheck.policy import missing, ownership
from check_portcheck.policy.idle import idle
from check_portcheck.policy.ownership import Held
from check_portcheck.policy.rules import Kind, OwnerPattern, Policy, Rule, concerning
from check_portcheck.policy.verdict import Finding, FindingKind, Judged, Verdict, order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from check_portcheck.model import Owner

    _Known = dict[tuple[tuple[int, ...], tuple[int, ...]], Judged]
    """What is said of the first service, by the identities of rules and owners."""


def judge(report: Report, policy: Policy) -> Verdict:
    """What *policy* says of *report*."""
    judged: list[Judged] = []
    used: set[int] = set()
    known: _Known = {}
    for service in report.services:
        for part, rules in parts(report, policy, service):
            used.update(map(id, rules))
            judged += _judged_alike(report, policy, part, rules, known)
    findings = [each.finding for each in judged if each.finding]
    findings += missing.missing(report, policy)
    findings += missing.unanswered(report, policy)
    without_effect = idle(policy.rules, [*report.interfaces, *_bound_elsewhere(report)])
    used.update(map(id, without_effect))
    position = order(report.interfaces)
    return Verdict(
        judged=tuple(sorted(judged, key=lambda each: position(each.interfaces, each.item))),
        findings=tuple(sorted(findings, key=lambda each: position(each.interfaces, each.item))),
        unused=tuple(_unused(policy, used)),
        idle=without_effect,
    )


def _bound_elsewhere(report: Report) -> set[Interface]:
    """Where sockets are bound that no scanned address reaches."""
    return {each for service in report.services for each in service.interfaces if not each.scanned}


def _unused(policy: Policy, used: Collection[int]) -> Iterator[Rule]:
    """The rules that no open service needed, by the identities of the others."""
    for rule in policy.rules:
        if rule.kind is not Kind.SKIP and id(rule) not in used:
            yield rule


def parts(
    report: Report, policy: Policy, service: OpenService
) -> Iterator[tuple[OpenService, Sequence[Rule]]]:
    """The service, cut where other rules speak of it, with these rules, whoever its owner is."""
    named = policy.naming(service.port, report.ephemeral)
    if not named:
        yield service, ()
        return
    groups: dict[tuple[int, ...], tuple[list[Interface], list[Rule]]] = {}
    for interface in service.interfaces:
        programs = report.programs_at(interface, service.port)
        rules = list(concerning(named, interface, programs))
        # By identity: rules are many and long, and comparing them is what takes the time.
        interfaces, _ = groups.setdefault(tuple(map(id, rules)), ([], rules))
        interfaces.append(interface)
    for interfaces, rules in groups.values():
        yield service.on(tuple(interfaces)), rules


def owner_held(report: Report, service: OpenService, rule: Rule) -> Held:
    """Whether the service has the owner that the rule asks for.

    Every socket must have it: several may share a port (SO_REUSEPORT), each with its own clients.
    """
    if rule.owner is None:
        return Held.YES
    answers = {_socket_held(report, socket, rule.owner) for socket in service.sockets}
    if Held.NO in answers:
        return Held.NO
    return Held.YES if answers == {Held.YES} else Held.UNTOLD


def owner_matters(report: Report, policy: Policy, service: OpenService) -> bool:
    """Whether the verdict on *service* depends on who holds it."""
    for _, rules in parts(report, policy, service):
        if rules and all(rule.owner for rule in rules):
            return True
    return False


def _socket_held(report: Report, socket: Socket, pattern: OwnerPattern) -> Held:
    """Whether one socket has the owner; whoever was not asked for cannot be told."""
    owner = report.owners.get(socket)
    return ownership.held(pattern, owner) if owner else Held.UNTOLD


def _precedence(rule: Rule) -> tuple[bool, bool, str, str]:
    """Ignored comes first, since it is never judged, then required; then any order will do."""
    return (rule.kind is not Kind.IGNORE, rule.kind is not Kind.REQUIRED, rule.source, str(rule))


def _judged_alike(
    report: Report, policy: Policy, service: OpenService, rules: Sequence[Rule], known: _Known
) -> Iterator[Judged]:
    """As _judged(), which says the same of all services with the same owners and rules.

    They come by the ten thousand, and putting the reason into words is what takes the time.
    """
    if not rules or service.port.number == PORTMAPPER_PORT:
        yield from _judged(report, policy, service, rules)
        return
    owners = tuple(id(report.owners.get(socket)) for socket in service.sockets)
    key = (tuple(map(id, rules)), owners)
    if key not in known:
        (known[key],) = _judged(report, policy, service, rules)
    _, rule, finding = known[key]
    if finding:
        item = PortRange.of(service.port)
        finding = finding._replace(interfaces=service.interfaces, item=item, service=service)
    yield Judged(service, rule, finding)


def _judged(
    report: Report, policy: Policy, service: OpenService, rules: Sequence[Rule]
) -> Iterator[Judged]:
    """What is said of a service, *rules* being about it; cut where something else is said."""
    allowing = [rule for rule in rules if owner_held(report, service, rule) is Held.YES]
    if allowing:
        yield Judged(service, min(allowing, key=_precedence))
        return
    for finding in _disallowed(report, policy, service, rules):
        yield Judged(service.on(finding.interfaces), None, finding)


def _disallowed(
    report: Report, policy: Policy, service: OpenService, rules: Sequence[Rule]
) -> Iterator[Finding]:
    """The findings for a service that no rule allows as it stands, *rules* being about it."""
    if service.port.number != PORTMAPPER_PORT:
        yield _not_allowed(report, service, rules)
        return
    left: list[Interface] = []
    for interface in service.interfaces:
        unsure = _unsure_portmapper(report, policy, service, interface)
        if unsure:
            yield unsure
        else:
            left.append(interface)
    if left:
        yield _not_allowed(report, service.on(tuple(left)), rules)


def _unsure_portmapper(
    report: Report, policy: Policy, service: OpenService, interface: Interface
) -> Finding | None:
    """The finding for port 111, which may be the portmapper a rule allows, but does not say so.

    The portmapper is at that port wherever it runs (RFC 1833, 3.2).
    """
    reason = report.registered(interface).unreachable
    if reason is None:
        return None
    named = policy.naming(service.port, report.ephemeral)
    rules = list(concerning(named, interface, (PORTMAPPER_PROGRAM,)))
    if not rules:
        return None
    return Finding(
        FindingKind.UNVERIFIED,
        (interface,),
        PortRange.of(service.port),
        service.on((interface,)),
        min(rules, key=_precedence),
        reason,
    )


def _not_allowed(report: Report, service: OpenService, rules: Sequence[Rule]) -> Finding:
    """The finding for a service that none of *rules*, which are about it, allows."""
    item = PortRange.of(service.port)
    unexpected = Finding(FindingKind.UNEXPECTED, service.interfaces, item, service)
    if not rules:
        return unexpected
    wanted = sorted({rule.owner for rule in rules if rule.owner}, key=str)
    expected = " or ".join(map(str, wanted))
    owners = [report.owners[socket] for socket in service.sockets if socket in report.owners]
    untold = [rule for rule in rules if owner_held(report, service, rule) is Held.UNTOLD]
    if untold:
        reason = f"owner not determined ({_why_untold(owners, untold)}), expected {expected}"
        rule = min(untold, key=_precedence)
        return unexpected._replace(kind=FindingKind.UNVERIFIED, rule=rule, reason=reason)
    names = sorted({ownership.described(owner, wanted) for owner in owners})
    return unexpected._replace(reason=f"owner {' and '.join(names)}, expected {expected}")


def _why_untold(owners: Sequence[Owner], rules: Sequence[Rule]) -> str:
    """Why it cannot be told whether *rules* hold, with what helps."""
    reasons = {
        ownership.why_untold(rule.owner, owner)
        for rule in rules
        for owner in owners
        if rule.owner and ownership.held(rule.owner, owner) is Held.UNTOLD
    }
    return "; ".join(sorted(reasons)) or "no socket"
