"""From interfaces, method and policy to a report of what is open: the only conductor."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from check_portcheck import sockettable
from check_portcheck.judgement import judge, owner_matters
from check_portcheck.look import Look, Target, look
from check_portcheck.model import (
    PORTMAPPER_PORT,
    Failure,
    Interface,
    OpenService,
    Port,
    Protocol,
    RpcService,
    ScanReport,
)
from check_portcheck.policy import PortRange, RpcProgram
from check_portcheck.portset import PortSet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from check_portcheck.config import Settings
    from check_portcheck.judgement import Verdict
    from check_portcheck.names import Names
    from check_portcheck.policy import Policy

_PAUSE_SHARE, _RESERVE_SHARE, _RPC_SHARE = 0.3, 0.15, 0.3
"""Parts of the time limit: the pause at most, what is kept for the second look, portmappers."""

_RPC_TIME = 3.0
"""Seconds for the portmappers of all interfaces together."""


_LOOPBACK = tuple(Interface(address, "lo", 1, "lo") for address in ("127.0.0.1", "::1"))


@dataclass(frozen=True)
class Scan:
    """What one run looks at, and until when."""

    settings: Settings
    interfaces: tuple[Interface, ...]
    policy: Policy
    names: Names
    began: float
    """When the run began, as of time.monotonic()."""
    end: float
    """When the report is due, as of time.monotonic()."""
    start: int | None = None
    """Where an earlier run stopped to probe (Coverage.resume), None for anywhere."""

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The protocols that are scanned."""
        return tuple(Protocol) if self.settings.udp else (Protocol.TCP,)

    @property
    def pause(self) -> float:
        """Seconds before the second look."""
        return min(self.settings.confirm, (self.end - self.began) * _PAUSE_SHARE)

    @property
    def reserve(self) -> float:
        """Seconds kept for the second look and for the owners of what it confirms."""
        return (self.end - self.began) * _RESERVE_SHARE


def run(scan: Scan, failures: Sequence[Failure] = ()) -> ScanReport:
    """Look, look again at what is not as the policy wants it, and name who is behind it.

    *failures* came before the scan and go into the report. Raises ScanError where nothing could
    be learnt.
    """
    report = ScanReport(
        method=scan.settings.method,
        interfaces=scan.interfaces,
        protocols=scan.protocols,
        lowest=scan.settings.lowest,
        highest=scan.settings.highest,
        ephemeral=sockettable.ephemeral_ports(),
        failures=tuple(failures),
    )
    if scan.policy.names_rpc:
        report = _with_registrations(scan, report, report.interfaces)
    report = _judgeable(scan, _first_look(scan, report))
    verdict = judge(report, scan.policy)
    if verdict.findings and scan.settings.confirm:
        report = _judgeable(scan, _confirmed(scan, report, verdict))
        verdict = judge(report, scan.policy)
    report = _explained(scan, report, verdict)
    return replace(report, seconds=time.monotonic() - scan.began)


def _first_look(scan: Scan, report: ScanReport) -> ScanReport:
    """The report with what is open in the whole range."""
    wanted = {
        (interface, protocol): _ports(scan, interface, protocol)
        for interface in scan.interfaces
        for protocol in scan.protocols
    }
    until = scan.end - scan.pause - scan.reserve
    found = look(scan.settings.method, wanted, until, scan.start)
    return replace(
        report, services=found.services, unanswered=found.unanswered, coverage=found.coverage
    )


def _ports(scan: Scan, interface: Interface, protocol: Protocol) -> PortSet:
    """The ports in the range that are not skipped."""
    ports = PortSet(range(scan.settings.lowest, scan.settings.highest + 1))
    for lowest, highest in scan.policy.skips(interface, protocol):
        ports = ports.minus(range(lowest, highest + 1))
    return ports


def _confirmed(scan: Scan, report: ScanReport, verdict: Verdict) -> ScanReport:
    """The report after a second look at all that is not as the policy wants it.

    What was open and is not any more is left out; what was missing and is open now is put in. A
    UDP socket in the range for clients must be the very same one, since resolvers and the like
    open new ones all the time.
    """
    time.sleep(max(0.0, min(scan.pause, scan.end - time.monotonic() - scan.reserve)))
    concerned = {finding.interface for finding in verdict.findings}
    if scan.policy.names_rpc:
        report = _with_registrations(scan, report, concerned)
    wanted: defaultdict[Target, set[int]] = defaultdict(set)
    for interface, port in _doubtful(report, verdict):
        wanted[interface, port.protocol].add(port.number)
    ports: dict[Target, PortSet] = {}
    for target, numbers in wanted.items():
        allowed = _ports(scan, *target)
        ports[target] = PortSet(sorted(number for number in numbers if number in allowed))
    second = look(scan.settings.method, ports, scan.end, start=0)
    again = {(service.interface, service.port): service for service in second.services}
    found_open = {(f.interface, f.service.port) for f in verdict.findings if f.service}
    kept: list[OpenService] = []
    for service in report.services:
        place = (service.interface, service.port)
        found = again.pop(place, None)
        left = (
            confirmed(service, found, second, report.ephemeral) if place in found_open else service
        )
        kept += [left] if left else []
    return replace(report, services=(*kept, *again.values()))


def confirmed(
    first: OpenService, found: OpenService | None, second: Look, ephemeral: tuple[int, int]
) -> OpenService | None:
    """What a second look leaves of a service, *found* being what it saw there; None: it is gone.

    Where that look did not get to the port the service stays: not looked at is not closed.
    """
    if found:
        return found if _same(first, found, ephemeral) else None
    target = (first.interface, first.port.protocol)
    unknown = target in {(each.interface, each.protocol) for each in second.unanswered}
    # A port without a socket is seen by a probe only, never by table or lookup.
    unprobed = first.no_socket and second.coverage.probed < second.coverage.ports
    return first if unknown or unprobed else None


def _doubtful(report: ScanReport, verdict: Verdict) -> Iterator[tuple[Interface, Port]]:
    """The ports that a second look must see, those included on which a missing program may be."""
    for finding in verdict.findings:
        if isinstance(finding.item, PortRange) and finding.item.single:
            yield finding.interface, finding.item.single
        elif isinstance(finding.item, RpcProgram):
            for each in report.registrations:
                if each.interface == finding.interface and (
                    each.service.program == finding.item.program
                    and each.port.protocol is finding.item.protocol
                ):
                    yield each.interface, each.port


def _same(first: OpenService, second: OpenService, ephemeral: tuple[int, int]) -> bool:
    """Whether what is open on a port is the service that was open there before."""
    port = first.port
    if port.protocol is Protocol.TCP or not ephemeral[0] <= port.number <= ephemeral[1]:
        return True
    before = {row.cookie for row in first.sockets}
    return not before or bool(before.intersection(row.cookie for row in second.sockets))


def _judgeable(scan: Scan, report: ScanReport) -> ScanReport:
    """The report with the RPC names and owners on which the verdict depends."""
    report = _with_rpc_names(report)
    return _with_owners(scan, report, lambda each: owner_matters(report, scan.policy, each))


def _explained(scan: Scan, report: ScanReport, verdict: Verdict) -> ScanReport:
    """The report with RPC names and owners of all that will be shown."""
    shown = {f.service for f in verdict.findings if f.service}
    if scan.settings.verbosity or scan.settings.print_policy:
        shown.update(report.services)
    if shown and not scan.policy.names_rpc:
        asked = {
            service.interface
            for service in report.services
            if service.port.number == PORTMAPPER_PORT
        }
        report = replace(_with_registrations(scan, report, asked), failures=report.failures)
    if any(service.no_socket for service in shown):
        report = _with_forwards(report, scan.end)
    places = {(service.interface, service.port) for service in shown}
    return _with_owners(
        scan, _with_rpc_names(report), lambda each: (each.interface, each.port) in places
    )


def _with_registrations(
    scan: Scan, report: ScanReport, interfaces: Collection[Interface]
) -> ScanReport:
    """The report with what the portmappers of these interfaces say now."""
    from check_portcheck import rpcbind

    until = time.monotonic() + min(_RPC_TIME, (scan.end - time.monotonic()) * _RPC_SHARE)
    registrations = [each for each in report.registrations if each.interface not in interfaces]
    failures = [
        each for each in report.failures if not (each.rpc_only and each.interface in interfaces)
    ]
    loopback = not any(_skips_portmapper(scan, interface) for interface in _LOOPBACK)
    for interface in interfaces:
        if _skips_portmapper(scan, interface):
            failures.append(Failure("the portmapper's port is skipped", interface, rpc_only=True))
            continue
        try:
            registrations += rpcbind.registrations(interface, scan.names, until, loopback=loopback)
        except rpcbind.RpcbindError as unreachable:
            failures.append(Failure(str(unreachable), interface, rpc_only=True))
    return replace(report, registrations=tuple(registrations), failures=tuple(failures))


def _skips_portmapper(scan: Scan, interface: Interface) -> bool:
    """Whether the portmapper must not be asked there; over UDP it is asked where TCP fails."""
    return any(
        low <= PORTMAPPER_PORT <= high
        for protocol in Protocol
        for low, high in scan.policy.skips(interface, protocol)
    )


def _with_rpc_names(report: ScanReport) -> ScanReport:
    """The report with each service naming the RPC programs that are registered on it."""
    programs: defaultdict[tuple[Interface, Port], list[RpcService]] = defaultdict(list)
    for each in report.registrations:
        programs[each.interface, each.port].append(each.service)
    if not programs:
        return report
    return replace(
        report,
        services=tuple(
            replace(service, rpc=tuple(programs.get((service.interface, service.port), ())))
            for service in report.services
        ),
    )


def _with_forwards(report: ScanReport, until: float) -> ScanReport:
    """The report with the mark of a packet filter's rule on what has no socket."""
    from check_portcheck import forwards

    ports = [service.port for service in report.services if service.no_socket]
    explained = forwards.forwarded(ports, until - time.monotonic())
    return replace(
        report,
        services=tuple(
            replace(service, forwarded=service.no_socket and service.port in explained)
            for service in report.services
        ),
    )


def _with_owners(
    scan: Scan, report: ScanReport, needed: Callable[[OpenService], bool]
) -> ScanReport:
    """The report with the owners of those services that need them."""
    asked = {service for service in report.services if service.owners is None and needed(service)}
    if not asked:
        return report
    from check_portcheck import owners

    rows = {row for service in asked for row in service.sockets}
    found = owners.find(rows, scan.end, sockettable.read)
    return replace(
        report,
        services=tuple(
            replace(service, owners=tuple(found[row] for row in service.sockets))
            if service in asked
            else service
            for service in report.services
        ),
    )
