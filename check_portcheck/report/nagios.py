"""Text for Nagios and all that understand its plugins: one line, performance data, details."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import State
from check_portcheck.report.fitting import bounded, each, lines
from check_portcheck.report.form import INACTIVE
from check_portcheck.report.narrative import LONGEST_HEADLINE, Narrative
from check_portcheck.report.wording import reason_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.outcome import Outcome
    from check_portcheck.report.fitting import Line
    from check_portcheck.report.form import Answer, Assessment

_LONGEST_OUTPUT = 8000
"""Bytes: Nagios keeps 8192 (MAX_PLUGIN_OUTPUT_LENGTH)."""


class Nagios:
    """The first line with performance data, then the details, cut to what Nagios keeps."""

    def finished(self, outcome: Outcome, assessment: Assessment) -> Answer:
        """The result of a run."""
        first = f"{assessment.headline} | {' '.join(assessment.perfdata)}"
        return _answer(assessment.state, first, Narrative(outcome, assessment.part).details())

    def reused(self, text: str, taken: float, age: float, interval: int) -> str:
        """The age stands before the performance data."""
        del taken, interval
        first, newline, rest = text.partition("\n")
        headline, bar, perfdata = first.partition(" | ")
        return f"{headline} ({age:.0f} s ago){bar}{perfdata}{newline}{rest}"

    def inactive(self) -> Answer:
        """The check is switched off."""
        return _answer(State.OK, INACTIVE)

    def unknown(self, reason: str) -> Answer:
        """Nothing could be checked at all."""
        first, *details = reason_lines(reason, LONGEST_HEADLINE)
        return _answer(State.UNKNOWN, first, lines([each(details)]))


def _answer(state: State, text: str, details: Iterable[Line] = ()) -> Answer:
    """The first line is told whole, whatever its length: the details give way."""
    first = f"PORTCHECK {state.name} - {text}"
    room = _LONGEST_OUTPUT - len(first.encode()) - 1
    return "\n".join([first, *bounded(details, room)]) + "\n", state
