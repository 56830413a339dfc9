"""What an outcome tells: of everything, or of one name by which interfaces were chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.policy.verdict import FindingKind
from check_portcheck.report.entries import Subject, entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from check_portcheck.model import Failure, Interface
    from check_portcheck.outcome import Outcome
    from check_portcheck.policy.verdict import Judged
    from check_portcheck.report.entries import Entry


class Part(NamedTuple):
    """All that is told, or what concerns one chosen name."""

    interfaces: Sequence[Interface]
    """Those that are scanned."""
    findings: Mapping[FindingKind, Sequence[Entry]]
    """By kind, those of few ports first."""
    judged: Sequence[Judged]
    """Open services."""
    failures: Sequence[Failure]
    counted: Sequence[str]
    """The names under which services count."""

    def of(self, name: str, *, first: bool) -> Part:
        """What concerns a chosen name; the *first* one has what concerns none, too."""

        def concerned(interfaces: Sequence[Interface]) -> bool:
            return any(name in each.chosen for each in interfaces) or (first and not interfaces)

        return Part(
            [each for each in self.interfaces if name in each.chosen],
            {
                kind: [each for each in found if concerned(each.interfaces)]
                for kind, found in self.findings.items()
            },
            [each for each in self.judged if concerned(each.service.interfaces)],
            [
                each
                for each in self.failures
                if each.name == name or (first and each.name not in self.counted)
            ],
            self.counted,
        )

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing that the user should do something about."""
        return not any(self.findings.values()) and not self.failures


def everything(outcome: Outcome) -> Part:
    """All that an outcome tells."""
    report, verdict = outcome.report, outcome.verdict
    findings = {
        kind: entries(
            report, (Subject.found(each) for each in verdict.findings if each.kind is kind)
        )
        for kind in FindingKind
    }
    counted = outcome.task.chosen.counted
    return Part(report.interfaces, findings, verdict.judged, report.failures, counted)
