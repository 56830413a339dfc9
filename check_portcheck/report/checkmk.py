"""Lines of a Checkmk local check, one service for each name by which interfaces were chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import Severity, State
from check_portcheck.policy.verdict import FindingKind
from check_portcheck.report.fitting import bounded, each, lines
from check_portcheck.report.form import INACTIVE
from check_portcheck.report.narrative import LONGEST_HEADLINE, LONGEST_REMARK, Narrative
from check_portcheck.report.parts import everything
from check_portcheck.report.wording import clean, reason_lines, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_portcheck.outcome import Counts, Outcome
    from check_portcheck.policy.verdict import Severities
    from check_portcheck.report.form import Answer, Assessment

_LONGEST_DETAILS = 4000
"""Characters of one service's details."""

# Quotes end names, and a backslash with n is the end of a line.
_FORBIDDEN = str.maketrans({'"': None, "'": None, "\\": "/"})


class Checkmk:
    """A line per service; the exit code is always 0, else the agent drops the lines."""

    def finished(self, outcome: Outcome, assessment: Assessment) -> Answer:
        """A line for each chosen name."""
        severities = outcome.task.settings.severities
        whole = assessment.part or everything(outcome)
        text = ""
        for index, (name, count) in enumerate(outcome.counts().items()):
            told = Narrative(outcome, whole.of(name, first=index == 0))
            words = [told.headline(), *bounded(told.details(), _LONGEST_DETAILS)]
            service = f"Portcheck {clean(name)}"
            text += _line(told.state(), service, _metrics(count, severities), words)
        return text, State.OK

    def reused(self, text: str, taken: float, age: float, interval: int) -> str:
        """Each line says when it was found and how long it is good for."""
        del age
        found = text.splitlines(keepends=True)
        return "".join(f"cached({taken:.0f},{interval}) {line}" for line in found)

    def cut_short(self, text: str, reason: str) -> str:
        """The reason stands before the details of each service."""
        remark = f" ({short(reason, LONGEST_REMARK).translate(_FORBIDDEN)})"
        parted = (line.partition("\\n") for line in text.splitlines())
        return "".join(f"{first}{remark}{end}{rest}\n" for first, end, rest in parted)

    def inactive(self) -> Answer:
        """One service for all."""
        return _line(State.OK, "Portcheck", "-", [INACTIVE]), State.OK

    def unknown(self, reason: str) -> Answer:
        """One service for all."""
        first, *details = reason_lines(reason, LONGEST_HEADLINE)
        words = [first, *bounded(lines([each(details)]), _LONGEST_DETAILS)]
        return _line(State.UNKNOWN, "Portcheck", "-", words), State.OK


def _line(state: State, service: str, metrics: str, words: Sequence[str]) -> str:
    text = "\\n".join(line.translate(_FORBIDDEN) for line in words)
    return f'{state:d} "{service.translate(_FORBIDDEN)}" {metrics} {text}\n'


def _metrics(count: Counts, severities: Severities) -> str:
    unexpected = _metric(FindingKind.UNEXPECTED, count.unexpected, severities.unexpected)
    missing = _metric(FindingKind.MISSING, count.missing, severities.missing)
    return f"open={count.open}|{unexpected}|{missing}"


def _metric(kind: FindingKind, value: int, severity: Severity) -> str:
    """Value and levels in Checkmk's sense: the alarm begins at the level."""
    levels = {State.OK: "", State.WARNING: ";1", State.CRITICAL: ";1;1"}[severity.state]
    return f"{kind}={value}{levels}"
