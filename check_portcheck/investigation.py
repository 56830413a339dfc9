"""The conductor: what to look at, what to look at again, whom to ask, and what comes of it.

Pure: it meets the world through a Machine, which a test may write out. One run is

    first look -> judgement -> (findings: pause, second look -> judgement) -> explanation -> Outcome
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING

from check_portcheck.confirmation import confirmed, doubtful
from check_portcheck.memory.history import History, compare
from check_portcheck.model import (
    PORTMAPPER_PORT,
    Interface,
    Protocol,
    Registrations,
    Report,
)
from check_portcheck.outcome import Outcome
from check_portcheck.policy.judgement import judge, owner_matters
from check_portcheck.probing.portset import PortSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import Look, Method, OpenService, Owner, Port, Socket, Span, Target
    from check_portcheck.outcome import Task
    from check_portcheck.policy.verdict import Verdict

_PAUSE_SHARE, _RESERVE_SHARE, _RPC_SHARE = 0.3, 0.15, 0.3
"""Parts of the time limit: the pause at most, what is kept for the second look, portmappers."""

_RPC_TIME = 3.0
"""Seconds for the portmappers of all interfaces together."""

_LOOPBACK = tuple(Interface(address, "lo", 1, "lo") for address in ("127.0.0.1", "::1"))


class Machine(typing.Protocol):
    """What an investigation asks of the machine that it looks at."""

    def look(
        self,
        method: Method,
        wanted: Mapping[Target, PortSet],
        deadline: Deadline,
        start: int | None,
    ) -> Look:
        """What is open of the wanted ports; raises ScanError where nothing could be learnt."""

    def registrations(
        self, interface: Interface, deadline: Deadline, *, loopback: bool
    ) -> Registrations:
        """What the portmapper of an interface says, asked on loopback too if need be."""

    def owners(self, sockets: Collection[Socket], deadline: Deadline) -> Mapping[Socket, Owner]:
        """Who holds the sockets."""

    def forwarded(self, ports: Collection[Port], deadline: Deadline) -> Collection[Port]:
        """Those of the ports that the packet filter sends elsewhere."""

    def time(self) -> float:
        """The time of day, in seconds since the epoch."""

    def pause(self, seconds: float) -> None:
        """Let some time go by."""


def investigate(task: Task, machine: Machine) -> Outcome:
    """Look, look again at what is not as the policy wants it, and name who is behind it.

    Raises ScanError where nothing could be learnt.
    """
    return _Investigation(task, machine).outcome()


class _Investigation:
    """One run; the steps take a report and give the next one."""

    def __init__(self, task: Task, machine: Machine) -> None:
        self._task = task
        self._machine = machine
        self._policy = task.policy
        whole = task.deadline.left()
        self._pause = min(task.settings.confirm, whole * _PAUSE_SHARE)
        self._reserve = whole * _RESERVE_SHARE
        """Seconds kept for the second look and for the owners of what it confirms."""
        self._portsets: dict[tuple[Span, ...], PortSet] = {}

    def outcome(self) -> Outcome:
        """The outcome, from the first look to the last."""
        began = self._task.deadline.left()
        report = self._first_look()
        verdict = judge(report, self._policy)
        if verdict.findings and self._task.settings.confirm:
            report = self._second_look(report, verdict)
            verdict = judge(report, self._policy)
        report = self._explained(report, verdict)
        taken = self._machine.time()
        history = History()
        if self._task.settings.state:
            history = compare(self._task.memory, report, verdict, self._task.names, taken)
        seconds = began - self._task.deadline.left()
        return Outcome(
            self._task,
            report._replace(seconds=seconds),
            verdict,
            history,
            self._task.notes,
            taken,
        )

    # The looks

    def _first_look(self) -> Report:
        """What is open in the whole range, with all that the judgement needs."""
        settings = self._task.settings
        report = Report(
            method=settings.method,
            interfaces=self._task.interfaces,
            protocols=tuple(Protocol) if settings.udp else (Protocol.TCP,),
            span=settings.span,
            ephemeral=self._task.ephemeral,
            failures=self._task.failures,
        )
        if self._policy.names_rpc:
            report = self._with_registrations(report, report.interfaces)
        wanted = {
            (interface, protocol): self._ports(interface, protocol)
            for interface in report.interfaces
            for protocol in report.protocols
        }
        deadline = self._task.deadline.earlier(self._pause + self._reserve)
        start = self._task.memory.resume if self._task.memory else None
        found = self._machine.look(settings.method, wanted, deadline, start)
        report = report._replace(
            services=found.services, unanswered=found.unanswered, coverage=found.coverage
        )
        return self._with_decisive_owners(report)

    def _second_look(self, report: Report, verdict: Verdict) -> Report:
        """The report after a second look at all that is not as the policy wants it."""
        left = self._task.deadline.left()
        self._machine.pause(max(0.0, min(self._pause, left - self._reserve)))
        if self._policy.names_rpc:
            concerned = {each: None for finding in verdict.findings for each in finding.interfaces}
            report = self._with_registrations(report, concerned)
        wanted = self._again(doubtful(report, verdict))
        second = self._machine.look(report.method, wanted, self._task.deadline, 0)
        services = tuple(confirmed(report, verdict, second))
        return self._with_decisive_owners(report._replace(services=services))

    def _again(self, numbers: Mapping[Target, set[int]]) -> dict[Target, PortSet]:
        """The ports in doubt that are not skipped; where the same are, the same object."""
        alike: dict[tuple[int, ...], PortSet] = {}
        wanted: dict[Target, PortSet] = {}
        for (interface, protocol), doubted in numbers.items():
            allowed = self._ports(interface, protocol)
            again = tuple(sorted(number for number in doubted if number in allowed))
            wanted[interface, protocol] = alike.setdefault(again, PortSet(again))
        return wanted

    def _ports(self, interface: Interface, protocol: Protocol) -> PortSet:
        """The ports in the range that are not skipped; where the same are, the same object."""
        skips = tuple(self._policy.skips(interface, protocol))
        if skips not in self._portsets:
            first, last = self._task.settings.span
            ports = PortSet(range(first, last + 1))
            for skip in skips:
                ports = ports.minus(range(skip.first, skip.last + 1))
            self._portsets[skips] = ports
        return self._portsets[skips]

    # What else the judgement needs

    def _with_decisive_owners(self, report: Report) -> Report:
        """The report with the owners on which the verdict depends."""
        if not self._policy.names_owners:
            return report
        needed = (
            service for service in report.services if owner_matters(report, self._policy, service)
        )
        return self._with_owners(report, needed)

    def _with_owners(self, report: Report, services: Iterable[OpenService]) -> Report:
        """The report with the owners of some services."""
        asked = {
            socket
            for service in services
            for socket in service.sockets
            if socket not in report.owners
        }
        if not asked:
            return report
        found = self._machine.owners(asked, self._task.deadline)
        return report._replace(owners={**report.owners, **found})

    def _with_registrations(self, report: Report, interfaces: Iterable[Interface]) -> Report:
        """The report with what the portmappers of some interfaces say now."""
        seconds = min(_RPC_TIME, self._task.deadline.left() * _RPC_SHARE)
        deadline = self._task.deadline.within(seconds)
        loopback = not any(map(self._skips_portmapper, _LOOPBACK))
        registrations = dict(report.registrations)
        for interface in interfaces:
            if self._skips_portmapper(interface):
                reason = "the portmapper's port is skipped"
                registrations[interface] = Registrations(unreachable=reason)
            else:
                registrations[interface] = self._machine.registrations(
                    interface, deadline, loopback=loopback
                )
        return report._replace(registrations=registrations)

    def _skips_portmapper(self, interface: Interface) -> bool:
        """Whether the portmapper must not be asked there; over UDP it is asked where TCP fails."""
        return any(
            PORTMAPPER_PORT in skip
            for protocol in Protocol
            for skip in self._policy.skips(interface, protocol)
        )

    # What the reader wants to know

    def _explained(self, report: Report, verdict: Verdict) -> Report:
        """The report with RPC names, owners and forwards of all that will be shown."""
        shown = self._shown(verdict)
        if shown and not self._policy.names_rpc:
            report = self._with_rpc_names(report)
        unexplained = {service.port for service in shown if service.no_socket}
        if unexplained:
            forwarded = self._machine.forwarded(unexplained, self._task.deadline)
            report = report._replace(forwarded=frozenset(forwarded))
        return self._with_owners(report, shown)

    def _shown(self, verdict: Verdict) -> list[OpenService]:
        """The services of which the text will tell."""
        if self._task.settings.verbosity or self._task.settings.print_policy:
            return [judged.service for judged in verdict.judged]
        return [finding.service for finding in verdict.findings if finding.service]

    def _with_rpc_names(self, report: Report) -> Report:
        """The report with registrations that only name services: none where nobody answers."""
        with_portmapper = [
            interface
            for service in report.services
            if service.port.number == PORTMAPPER_PORT
            for interface in service.interfaces
        ]
        asked = self._with_registrations(report, dict.fromkeys(with_portmapper))
        answers = {
            interface: known
            for interface, known in asked.registrations.items()
            if known.unreachable is None
        }
        return report._replace(registrations=answers)
