"""What is known before a run has its result: told where the run has to end on the way. Pure.

A finding that was seen once is one all the same. What comes and goes on any healthy host, ports for
clients over UDP, is not called unexpected before it was looked at long enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.daemons import is_client
from check_portcheck.memory.history import History
from check_portcheck.model import PortRange, Unanswered
from check_portcheck.outcome import Outcome
from check_portcheck.policy.judgement import judge
from check_portcheck.policy.verdict import FindingKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from check_portcheck.inquiry import Inquiry
    from check_portcheck.model import Report
    from check_portcheck.outcome import Task
    from check_portcheck.policy.verdict import Finding, Verdict
    from check_portcheck.questions import Machine

    Tell = Callable[[str, Outcome | None], None]
    """Takes what is about to be done, and what is known by now where that has changed."""

_PERHAPS = "not looked at for long, may be a client's"


class Provisional:
    """What is known so far, told before each step that takes time; nothing as long as all is well.

    So a run without findings has nothing to put into words.
    """

    def __init__(self, task: Task, machine: Machine, inquiry: Inquiry, tell: Tell) -> None:
        self._task = task
        self._machine = machine
        self._inquiry = inquiry
        self._tell = tell
        self._told = _NOTHING
        self._began = task.deadline.left()

    def tell(self, report: Report, verdict: Verdict, step: str) -> None:
        """Tell of a verdict, where its findings are new."""
        outcome = None
        if (digest := _digest(verdict.findings)) != self._told:
            self._told = digest
            seconds = self._began - self._task.deadline.left()
            outcome = Outcome(
                self._task,
                report._replace(seconds=seconds),
                verdict,
                History(),
                self._task.notes,
                self._machine.time(),
                unfinished=True,
            )
        self._tell(step, outcome)

    def tell_step(self, step: str) -> None:
        """Tell of a step before which nothing new is known."""
        self._tell(step, None)

    def tell_unconfirmed(self, report: Report, verdict: Verdict, step: str) -> None:
        """Tell of the verdict after a single look."""
        self.tell(report, _unconfirmed(report, verdict), step)

    def tell_at_once(self, report: Report, step: str) -> None:
        """Tell of a report for which not everybody was asked yet, where that finds something."""
        report = self._inquiry.unasked(report)
        verdict = _unconfirmed(report, judge(report, self._task.policy))
        found = any(each.kind is FindingKind.UNEXPECTED for each in verdict.findings)
        if found or self._told != _NOTHING:
            self.tell(report, verdict, step)
        else:
            self.tell_step(step)


def not_probed(report: Report) -> tuple[Unanswered, ...]:
    """All ports, as long as none was contacted: any may be forwarded, or hidden."""
    return tuple(
        Unanswered(interface, PortRange(protocol, report.span), "not probed yet")
        for interface in report.interfaces
        for protocol in report.protocols
    )


def _digest(findings: Iterable[Finding]) -> int:
    """What is the same for the same findings, without keeping them."""
    return hash(tuple((each.kind, each.item, len(each.interfaces)) for each in findings))


_NOTHING = _digest(())


def _unconfirmed(report: Report, verdict: Verdict) -> Verdict:
    """The verdict, where ports for clients are not called unexpected."""
    if not any(is_client(report, service) for service in report.services):
        return verdict
    return verdict._replace(
        findings=tuple(_unsure(report, finding) for finding in verdict.findings),
        judged=tuple(
            each._replace(finding=_unsure(report, each.finding)) if each.finding else each
            for each in verdict.judged
        ),
    )


def _unsure(report: Report, finding: Finding) -> Finding:
    """The finding, unverified where a client may have the port."""
    if finding.service is None or not is_client(report, finding.service):
        return finding
    return finding._replace(kind=FindingKind.UNVERIFIED, reason=_PERHAPS)
