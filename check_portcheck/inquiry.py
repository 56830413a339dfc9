"""What is asked beyond the ports: owners, RPC programs, and where a forwarded port leads. Pure.

What was asked lies beside the services of a report, so asking more makes none of them anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.config.settings import Format
from check_portcheck.model import (
    PORTMAPPER_PORT,
    Interface,
    Owner,
    Protocol,
    Registrations,
    Unseen,
)
from check_portcheck.policy.judgement import owner_matters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_portcheck.model import OpenService, Report, Socket
    from check_portcheck.outcome import Task
    from check_portcheck.policy.verdict import Verdict
    from check_portcheck.questions import Machine

_RPC_SHARE, _RPC_TIME = 0.3, 3.0
"""For the portmappers of all interfaces: part of the time that is left, and seconds at most."""

_FORWARDS_SHARE = 0.3
"""Part of the time that is left in the end to ask where ports without a socket lead."""

_NOT_ASKED = Registrations(unreachable="not asked yet")
_NOT_LOOKED_UP = Owner(unseen=Unseen.NOT_YET)

_LOOPBACK = tuple(Interface(address, "lo", 1, "lo") for address in ("127.0.0.1", "::1"))


class Inquiry:
    """The questions of one run; each takes a report and gives one that knows more."""

    def __init__(self, task: Task, machine: Machine) -> None:
        self._task = task
        self._machine = machine
        self._policy = task.policy

    def with_decisive_owners(self, report: Report) -> Report:
        """The report with the owners on which the verdict depends."""
        if not self._policy.names_owners:
            return report
        return self.with_owners(report, self._decisive(report))

    def _decisive(self, report: Report) -> Iterator[OpenService]:
        """The services on whose owners the verdict depends."""
        for service in report.services:
            if owner_matters(report, self._policy, service):
                yield service

    def unasked(self, report: Report) -> Report:
        """The report where portmappers and owners on which the verdict depends were not asked."""
        if self._policy.names_rpc:
            known = dict.fromkeys(report.interfaces, _NOT_ASKED) | {**report.registrations}
            report = report._replace(registrations=known)
        if self._policy.names_owners:
            sockets = [socket for each in self._decisive(report) for socket in each.sockets]
            owners = dict.fromkeys(sockets, _NOT_LOOKED_UP) | {**report.owners}
            report = report._replace(owners=owners)
        return report

    def with_owners_again(self, report: Report, verdict: Verdict) -> Report:
        """The report with the owners on which the verdict depends, those of findings as of now.

        They may have been seen at a bad moment: what systemd starts has all sockets of process 1
        until it runs its program, and a daemon's children come and go.
        """
        doubted = _found_sockets(verdict)
        before = {each: owner for each, owner in report.owners.items() if each in doubted}
        sure = {each: owner for each, owner in report.owners.items() if each not in doubted}
        again = self.with_decisive_owners(report._replace(owners=sure))
        for each, owner in again.owners.items():
            if owner.unseen is not Unseen.TIME_LIMIT:
                before.pop(each, None)
        known = {each: owner for each, owner in before.items() if each in again.owners}
        return again._replace(owners={**again.owners, **known})

    def with_owners(self, report: Report, services: Iterable[OpenService]) -> Report:
        """The report with the owners of some services."""
        asked = {
            socket
            for service in services
            for socket in service.sockets
            if socket not in report.owners
        }
        if not asked:
            return report
        found = self._machine.owners(
            asked, self._task.deadline, executables=self._policy.executables
        )
        # One object for all sockets of a process: there may be very many.
        shared: dict[Owner, Owner] = {}
        same = {socket: shared.setdefault(owner, owner) for socket, owner in found.items()}
        return report._replace(owners={**report.owners, **same})

    def with_registrations(self, report: Report, interfaces: Iterable[Interface]) -> Report:
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
                    interface, deadline, loopback=loopback, programs=self._policy.rpc_programs
                )
        return report._replace(registrations=registrations)

    def _skips_portmapper(self, interface: Interface) -> bool:
        """Whether the portmapper must not be asked there; over UDP it is asked where TCP fails."""
        return any(
            PORTMAPPER_PORT in skip
            for protocol in Protocol
            for skip in self._policy.skips(interface, protocol)
        )

    def explained(self, report: Report, verdict: Verdict) -> Report:
        """The report with RPC names, owners and forwards of all that will be shown."""
        shown = self._shown(verdict)
        if shown and not self._policy.names_rpc:
            report = self._with_rpc_names(report)
        unexplained = [
            (interface, service.port)
            for service in shown
            if service.no_socket
            for interface in service.interfaces
        ]
        if unexplained:
            deadline = self._task.deadline.part(_FORWARDS_SHARE)
            report = report._replace(forwarded=self._machine.forwarded(unexplained, deadline))
        return self.with_owners(report, shown)

    def _shown(self, verdict: Verdict) -> list[OpenService]:
        """The services of which the text will tell."""
        settings = self._task.settings
        if settings.verbosity or settings.print_policy or settings.format is Format.JSON:
            return [judged.service for judged in verdict.judged]
        return [finding.service for finding in verdict.findings if finding.service]

    def _with_rpc_names(self, report: Report) -> Report:
        """The report with registrations that only name services: none where nobody answers."""
        with_portmapper = [
            interface
            for service in report.services
            if service.port.number == PORTMAPPER_PORT
            for interface in service.interfaces
            if interface.scanned
        ]
        asked = self.with_registrations(report, dict.fromkeys(with_portmapper))
        answers = {
            interface: known
            for interface, known in asked.registrations.items()
            if known.unreachable is None
        }
        return report._replace(registrations=answers)


def _found_sockets(verdict: Verdict) -> set[Socket]:
    """The sockets of the findings."""
    found = [finding.service for finding in verdict.findings if finding.service]
    return {socket for service in found for socket in service.sockets}
