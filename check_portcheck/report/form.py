"""A form of output: what each of them must be able to say."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from check_portcheck.model import State
    from check_portcheck.outcome import Outcome
    from check_portcheck.report.parts import Part

Answer = tuple[str, int]
"""Text and exit code."""

INACTIVE = "inactive (PortCheckActive = no)"
"""What is said when the check is switched off."""


class Assessment(NamedTuple):
    """What nagiosplugin makes of an outcome."""

    state: State
    headline: str
    """The text of the first line, without state and performance data."""
    perfdata: tuple[str, ...]
    """``label=value;warn;crit;min``, one by one."""
    part: Part | None = None
    """All that the outcome tells, where that has been put together already."""


class Form(typing.Protocol):
    """One form of output, with all that it may have to say."""

    def finished(self, outcome: Outcome, assessment: Assessment) -> Answer:
        """The result of a run."""

    def reused(self, text: str, taken: float, age: float, interval: int) -> str:
        """A remembered text of the same form, with its age.

        *taken* is in seconds since the epoch, *age* and *interval* are in seconds.
        """

    def cut_short(self, text: str, reason: str) -> str:
        """A text of the same form that tells what was known when the run had to end for a reason.

        The reason is one line, and may hold foreign text.
        """

    def inactive(self) -> Answer:
        """The check is switched off."""

    def unknown(self, reason: str) -> Answer:
        """Nothing could be checked at all; *reason* may have several lines."""
