"""A strict reader of the lines that Checkmk's agent takes from local checks.

The grammar is that of the chapter on local checks in Checkmk's handbook. Where the server forgives
more than the handbook promises, this reader does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"-?\d+(?:\.\d+)?"
_LEVEL = rf"(?:(?:{_NUMBER}:)?{_NUMBER})?"
_METRIC = re.compile(
    rf"(?P<name>[a-z][a-z0-9_]*)=(?P<value>{_NUMBER})"
    rf"(?:;(?P<warn>{_LEVEL})(?:;(?P<crit>{_LEVEL})(?:;(?:{_NUMBER})?(?:;(?:{_NUMBER})?)?)?)?)?"
)
_LINE = re.compile(
    r"(?:cached\((?P<time>\d+),(?P<interval>\d+)\) )?"
    r"(?P<state>[0-3P]) "
    r"(?:\"(?P<quoted>[^\"']+)\"|(?P<bare>[^\"' ]+)) "
    r"(?P<metrics>\S+) "
    r"(?P<text>\S.*)"
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number with its levels: reaching one raises the state."""

    value: float
    warn: float | None
    crit: float | None

    @property
    def state(self) -> int:
        """The state by the levels alone."""
        if self.crit is not None and self.value >= self.crit:
            return 2
        return int(self.warn is not None and self.value >= self.warn)


@dataclass(frozen=True, slots=True)
class Service:
    """What one line says."""

    state: int
    metrics: dict[str, Metric]
    summary: str
    """The text's first line."""
    details: tuple[str, ...]
    """Its other lines."""
    cached: tuple[int, int] | None
    """Since when the line is old, seconds since the epoch, and how many seconds it may be."""


def services(output: str) -> dict[str, Service]:
    """The services of an output by name; raises ValueError where it breaks the grammar."""
    found: dict[str, Service] = {}
    *lines, rest = output.split("\n")
    if rest or not lines:
        raise ValueError(f"no whole lines: {output!r}")
    for line in lines:
        if not line.isprintable():
            raise ValueError(f"control characters: {line!r}")
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"not STATE NAME METRICS TEXT: {line!r}")
        name = match["quoted"] or match["bare"]
        if name in found:
            raise ValueError(f"two lines for {name!r}")
        found[name] = _service(match)
    return found


def _service(match: re.Match[str]) -> Service:
    metrics = _metrics(match["metrics"])
    computed = max((metric.state for metric in metrics.values()), default=0)
    summary, *details = match["text"].split("\\n")
    return Service(
        computed if match["state"] == "P" else int(match["state"]),
        metrics,
        summary,
        tuple(details),
        (int(match["time"]), int(match["interval"])) if match["time"] else None,
    )


def _metrics(text: str) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for part in text.split("|") if text != "-" else []:
        match = _METRIC.fullmatch(part)
        if match is None:
            raise ValueError(f"not NAME=VALUE;WARN;CRIT: {part!r}")
        if match["name"] in found:
            raise ValueError(f"two metrics {match['name']}")
        found[match["name"]] = Metric(
            float(match["value"]), _upper(match["warn"]), _upper(match["crit"])
        )
    return found


def _upper(level: str | None) -> float | None:
    return float(level.rpartition(":")[2]) if level else None
