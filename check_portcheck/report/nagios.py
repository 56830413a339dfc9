"""Text for Nagios and all that understand its plugins: one line, performance data, details."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import State
from check_portcheck.report.form import INACTIVE
from check_portcheck.report.narrative import LONGEST_HEADLINE, Narrative, bounded
from check_portcheck.report.wording import reason_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_portcheck.outcome import Outcome
    from check_portcheck.report.form import Answer, Assessment

_LONGEST_OUTPUT = 8000
"""Bytes: Nagios keeps 8192 (MAX_PLUGIN_OUTPUT_LENGTH)."""


class Nagios:
    """The first line with performance data, then the details, cut to what Nagios keeps."""

    def finished(self, outcome: Outcome, assessment: Assessment) -> Answer:
        """The result of a run."""
        first = f"{assessment.headline} | {' '.join(assessment.perfdata)}"
        return _answer(assessment.state, [first, *Narrative(outcome).details()])

    def reused(self, text: str, taken: float, age: float, interval: int) -> str:
        """The age stands before the performance data."""
        del taken, interval
        first, newline, rest = text.partition("\n")
        headline, bar, perfdata = first.partition(" | ")
        return f"{headline} ({age:.0f} s ago){bar}{perfdata}{newline}{rest}"

    def inactive(self) -> Answer:
        """The check is switched off."""
        return _answer(State.OK, [INACTIVE])

    def unknown(self, reason: str) -> Answer:
        """Nothing could be checked at all."""
        return _answer(State.UNKNOWN, reason_lines(reason, LONGEST_HEADLINE))


def _answer(state: State, lines: Sequence[str]) -> Answer:
    first = f"PORTCHECK {state.name} - {lines[0]}"
    return "\n".join(bounded([first, *lines[1:]], _LONGEST_OUTPUT)) + "\n", state
