"""Lines of a Checkmk local check, one service for each name by which interfaces were chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import Severity, State
from check_portcheck.policy.verdict import FindingKind
from check_portcheck.report.form import INACTIVE
from check_portcheck.report.narrative import LONGEST_HEADLINE, Narrative, bounded
from check_portcheck.report.wording import clean, reason_lines

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
        del assessment
        severities = outcome.task.settings.severities
        lines: list[str] = []
        for name, count in outcome.counts().items():
            part = Narrative(outcome, name)
            text = [part.headline(), *bounded(part.details(), _LONGEST_DETAILS)]
            service = f"Portcheck {clean(name)}"
            lines.append(_line(part.state(), service, _metrics(count, severities), text))
        return "".join(lines), State.OK

    def reused(self, text: str, taken: float, age: float, interval: int) -> str:
        """Each line says when it was found and how long it is good for."""
        del age
        lines = text.splitlines(keepends=True)
        return "".join(f"cached({taken:.0f},{interval}) {line}" for line in lines)

    def inactive(self) -> Answer:
        """One service for all."""
        return _line(State.OK, "Portcheck", "-", [INACTIVE]), State.OK

    def unknown(self, reason: str) -> Answer:
        """One service for all."""
        first, *details = reason_lines(reason, LONGEST_HEADLINE)
        text = [first, *bounded(details, _LONGEST_DETAILS)]
        return _line(State.UNKNOWN, "Portcheck", "-", text), State.OK


def _line(state: State, service: str, metrics: str, lines: Sequence[str]) -> str:
    text = "\\n".join(line.translate(_FORBIDDEN) for line in lines)
    return f'{state:d} "{service.translate(_FORBIDDEN)}" {metrics} {text}\n'


def _metrics(count: Counts, severities: Severities) -> str:
    unexpected = _metric(FindingKind.UNEXPECTED, count.unexpected, severities.unexpected)
    missing = _metric(FindingKind.MISSING, count.missing, severities.missing)
    return f"open={count.open}|{unexpected}|{missing}"


def _metric(kind: FindingKind, value: int, severity: Severity) -> str:
    """Value and levels in Checkmk's sense: the alarm begins at the level."""
    levels = {State.OK: "", State.WARNING: ";1", State.CRITICAL: ";1;1"}[severity.state]
    return f"{kind}={value}{levels}"
