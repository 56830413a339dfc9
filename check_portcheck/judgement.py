"""The judgement: which open services are expected, which are not, which are missing.

Pure: no I/O, no clock, and the same verdict whatever the order of services and rules.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from check_portcheck.model import (
    PORTMAPPER_PORT,
    PORTMAPPER_PROGRAM,
    Failure,
    Interface,
    OpenService,
    Port,
    Process,
    ScanReport,
)
from check_portcheck.policy import (
    Item,
    Kind,
    OwnerKind,
    OwnerPattern,
    Policy,
    PortRange,
    RpcProgram,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEDIES = dict.fromkeys(("not root", "hidepid"), ": run it by sudo")
"""What helps where the owner could not be seen, by the reason."""

_LONGEST_NAME = 80
"""Characters of an owner's name or path in a reason, which shall leave room for the expected."""


@dataclass(frozen=True)
class Judged:
    """An open service with what the policy says of it."""

    service: OpenService
    rule: Rule | None
    """The rule that allows it, None when it is a finding."""


class FindingKind(enum.StrEnum):
    """What is wrong."""

    UNEXPECTED = "unexpected"
    MISSING = "missing"
    UNVERIFIED = "unverified"
    """It could not be determined whether something is wrong."""


@dataclass(frozen=True)
class Finding:
    """One service that is not as the policy wants it."""

    kind: FindingKind
    interface: Interface
    item: Item
    """The port or ports; an RPC program when it is on no port."""
    service: OpenService | None = None
    """The open service, None when nothing is open."""
    rule: Rule | None = None
    """The rule that is not met, if it is one."""
    reason: str = ""
    """What more there is to say: the wrong owner, why it could not be determined."""


@dataclass(frozen=True)
class Verdict:
    """What the policy says of a report."""

    judged: tuple[Judged, ...]
    """Every open service, by interface, protocol and number."""
    findings: tuple[Finding, ...]
    """Unexpected, missing, unverified, each by interface, protocol and number."""
    failures: tuple[Failure, ...]
    """What could not be looked at and matters to this policy."""
    unused: tuple[Rule, ...]
    """Rules that no open service needed."""


def judge(report: ScanReport, policy: Policy) -> Verdict:
    """What *policy* says of *report*."""
    judged: list[Judged] = []
    findings: list[Finding] = []
    used: set[Rule] = set()
    for service in report.services:
        concerning = _concerning(policy, report, service)
        used.update(concerning)
        allowing = [rule for rule in concerning if owner_holds(service, rule)]
        unsure = None if allowing else _unsure_portmapper(report, policy, service)
        judged.append(Judged(service, min(allowing, key=_precedence, default=None)))
        if not allowing:
            findings.append(unsure or _not_allowed(service, concerning))
    findings += _unmet(report, policy)
    findings += _unanswered(report, policy)
    places = {interface: place for place, interface in enumerate(report.interfaces)}

    def place(interface: Interface, item: Item | Port) -> tuple[int, str, int, str]:
        number = item.number if isinstance(item, Port) else getattr(item, "lowest", 0)
        return (places[interface], item.protocol, number, str(item))

    return Verdict(
        judged=tuple(sorted(judged, key=lambda e: place(e.service.interface, e.service.port))),
        findings=tuple(sorted(findings, key=lambda e: place(e.interface, e.item))),
        failures=tuple(failure for failure in report.failures if not failure.rpc_only),
        unused=tuple(r for r in policy.rules if r not in used and r.kind is not Kind.SKIP),
    )


def owner_holds(service: OpenService, rule: Rule) -> bool | None:
    """Whether the service has the owner that the rule asks for, None where that is unknown.

    Every socket must have it: several may share a port (SO_REUSEPORT), each with its own clients.
    """
    if rule.owner is None:
        return True
    answers = {rule.owner.matches(owner) for owner in service.owners or ()}
    if False in answers:
        return False
    return None if None in answers or not answers else True


def owner_matters(report: ScanReport, policy: Policy, service: OpenService) -> bool:
    """Whether the verdict on *service* depends on who holds it."""
    concerning = _concerning(policy, report, service)
    return any(r.owner for r in concerning) and not any(r.owner is None for r in concerning)


def _concerning(policy: Policy, report: ScanReport, service: OpenService) -> list[Rule]:
    programs = [rpc.program for rpc in service.rpc]
    return policy.concerning(service.interface, service.port, programs, report.ephemeral)


def _precedence(rule: Rule) -> tuple[bool, bool, str, str]:
    """Ignored comes first, since it is never judged, then required; then any order will do."""
    return (rule.kind is not Kind.IGNORE, rule.kind is not Kind.REQUIRED, rule.place, str(rule))


def _rpc_failure(report: ScanReport, interface: Interface) -> str | None:
    """Why the RPC programs of an interface are unknown, None when they are known."""
    failures = (f for f in report.failures if f.rpc_only and f.interface == interface)
    return next((failure.reason for failure in failures), None)


def _unsure_portmapper(report: ScanReport, policy: Policy, service: OpenService) -> Finding | None:
    """The finding for a port 111 that may be the portmapper a rule allows, but does not say so.

    The portmapper is at that port wherever it runs (RFC 1833, 3.2).
    """
    reason = _rpc_failure(report, service.interface)
    if reason is None or service.port.number != PORTMAPPER_PORT:
        return None
    rules = policy.concerning(service.interface, service.port, [PORTMAPPER_PROGRAM])
    if not rules:
        return None
    rule, item = min(rules, key=_precedence), _single(service.port)
    return Finding(FindingKind.UNVERIFIED, service.interface, item, service, rule, reason)


def _single(port: Port) -> PortRange:
    return PortRange(port.protocol, port.number, port.number)


def _not_allowed(service: OpenService, concerning: list[Rule]) -> Finding:
    """The finding for a service that no rule allows as it stands."""
    interface, item = service.interface, _single(service.port)
    if not concerning:
        return Finding(FindingKind.UNEXPECTED, interface, item, service)
    wanted = {rule.owner for rule in concerning if rule.owner}
    expected = " or ".join(sorted(map(str, wanted)))
    undetermined = [rule for rule in concerning if owner_holds(service, rule) is None]
    if not undetermined:
        kinds = sorted({owner.kind for owner in wanted})
        reason = f"owner {_owner_name(service, kinds)}, expected {expected}"
        return Finding(FindingKind.UNEXPECTED, interface, item, service, None, reason)
    unseen = sorted({owner.unseen for owner in service.owners or () if owner.unseen})
    why = "; ".join(each + _REMEDIES.get(each, "") for each in unseen) or "no socket"
    reason = f"owner not determined ({why}), expected {expected}"
    rule = min(undetermined, key=_precedence)
    return Finding(FindingKind.UNVERIFIED, interface, item, service, rule, reason)


def _owner_name(service: OpenService, kinds: list[OwnerKind]) -> str:
    """Who the owners are, in the terms in which the rules ask for them."""
    names: list[str] = []
    for owner in service.owners or ():
        if owner.kernel:
            names.append("kernel")
        elif owner.processes:
            names.append(" ".join(_process_name(owner.processes[0], kind) for kind in kinds))
        else:
            names.append(f"user {owner.user}")
    return " and ".join(sorted(set(names))) or "unknown"


def _process_name(process: Process, kind: OwnerKind) -> str:
    """The property of a process that rules of a kind ask for, as they spell it."""
    value: str | None = getattr(process, kind)
    if not value:
        return f"without {kind}"
    if value == "kernel":
        return "process kernel"  # which any process may call itself
    return str(OwnerPattern(kind, value[:_LONGEST_NAME]))


def _unmet(report: ScanReport, policy: Policy) -> Iterator[Finding]:
    """A finding for each required service that is not open on an interface where it must be."""
    open_ports = {(service.interface, service.port) for service in report.services}
    for rule in policy.of_kind(Kind.REQUIRED):
        for interface in filter(rule.where.matches, report.interfaces):
            item = rule.item
            if isinstance(item, RpcProgram):
                finding = _missing_program(report, rule, item, interface)
                if finding:
                    yield finding
            elif isinstance(item, PortRange) and (port := item.single):
                if (interface, port) in open_ports:
                    continue
                silent = any(
                    each.interface == interface
                    and each.protocol is port.protocol
                    and each.lowest <= port.number <= each.highest
                    for each in report.unanswered
                )
                kind = FindingKind.UNVERIFIED if silent else FindingKind.MISSING
                yield Finding(kind, interface, item, None, rule, "unanswered" if silent else "")


def _missing_program(
    report: ScanReport, rule: Rule, item: RpcProgram, interface: Interface
) -> Finding | None:
    """The finding for a required RPC program, None when an open port of *interface* carries it."""
    here = [
        service
        for service in report.services
        if service.interface == interface and service.port.protocol is item.protocol
    ]
    if any(item.program == rpc.program for service in here for rpc in service.rpc):
        return None
    reason = _rpc_failure(report, interface)
    if reason is not None:
        if item.program != PORTMAPPER_PROGRAM:
            return Finding(FindingKind.UNVERIFIED, interface, item, None, rule, reason)
        if any(service.port.number == PORTMAPPER_PORT for service in here):
            return None  # named as the open service that it may be
        return Finding(FindingKind.MISSING, interface, item, None, rule, reason)
    registered = sorted(
        each.port.number
        for each in report.registrations
        if each.interface == interface
        and each.service.program == item.program
        and each.port.protocol is item.protocol
    )
    ports = ", ".join(f"{number}/{item.protocol}" for number in registered)
    reason = f"registered on {ports}, not listening" if registered else "not registered"
    return Finding(FindingKind.MISSING, interface, item, None, rule, reason)


def _unanswered(report: ScanReport, policy: Policy) -> Iterator[Finding]:
    """A finding for each stretch of ports of which nothing could be learnt.

    Left out: what a required rule names already, and what the policy is content with either way.
    """
    for each in report.unanswered:
        lowest, highest = (
            set(policy.concerning(each.interface, Port(each.protocol, end), (), report.ephemeral))
            for end in (each.lowest, each.highest)
        )
        if not any(r.kind is Kind.REQUIRED or r.owner is None for r in lowest & highest):
            item = PortRange(each.protocol, each.lowest, each.highest)
            yield Finding(FindingKind.UNVERIFIED, each.interface, item, None, None, "unanswered")
