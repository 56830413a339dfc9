"""Text for Nagios and all that understand its plugins: one line, performance data, details."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import State
from check_portcheck.report.fitting import bounded, each, lines
from check_portcheck.report.form import INACTIVE
from check_portcheck.report.narrative import LONGEST_HEADLINE, LONGEST_REMARK, Narrative
from check_portcheck.report.wording import reason_lines, short

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
        return _with_remark(text, f"{age:.0f} s ago")

    def cut_short(self, text: str, reason: str) -> str:
        """The reason stands before the performance data."""
        return _with_remark(text, short(reason, LONGEST_REMARK))

    def inactive(self) -> Answer:
        """The check is switched off."""
        return _answer(State.OK, INACTIVE)

    def unknown(self, reason: str) -> Answer:
        """Nothing could be checked at all."""
        first, *details = reason_lines(reason, LONGEST_HEADLINE)
        return _answer(State.UNKNOWN, first, lines([each(details)]))


def _with_remark(text: str, remark: str) -> str:
    """The text with a remark in its first line, before the performance data."""
    first, newline, rest = text.partition("\n")
    headline, bar, perfdata = first.partition(" | ")
    return f"{headline} ({remark}){bar}{perfdata}{newline}{rest}"


def _answer(state: State, text: str, details: Iterable[Line] = ()) -> Answer:
    """The first line is told whole, whatever its length: the details give way."""
    first = f"PORTCHECK {state.name} - {text}"
    room = _LONGEST_OUTPUT - len(first.encode()) - 1
    return "\n".join([first, *bounded(details, room)]) + "\n", state
