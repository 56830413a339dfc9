"""The finished check as text for Nagios, Checkmk or programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nagiosplugin

_LONGEST_OUTPUT = 8000
"""Bytes: Nagios keeps 8192 (MAX_PLUGIN_OUTPUT_LENGTH)."""


def nagios(check: nagiosplugin.Check) -> str:
    """The first line with performance data, then the details, cut to what Nagios keeps."""
    perfdata = " ".join(
        str(performance)
        for result in check.results.results
        if result.metric and (performance := result.metric.performance())
    )
    first = f"{check.name.upper()} {str(check.state).upper()} - {check.summary_str}"
    if perfdata:
        first += f" | {perfdata}"
    return _bounded([first, *check.summary.verbose(check.results)])


def _bounded(lines: list[str]) -> str:
    """As many lines as fit, then how many more there are."""
    text = ""
    for place, line in enumerate(lines):
        left = len(lines) - place
        more = f"... and {left} more\n"
        if len((text + line + more).encode()) > _LONGEST_OUTPUT and place:
            return text + more
        text += line + "\n"
    return text
