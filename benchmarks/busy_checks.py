"""One run of the check on a busy host: what it complains of, and what was really down then."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_FINDING = re.compile(r"^(?!PORTCHECK|note: |\s|\.\.\. and ).+", re.MULTILINE)
"""A line of the output that is no headline, note or explanation."""


_LAST = 10.0
"""Seconds that the last look of a check and what follows it may take on a busy machine."""


class Check(NamedTuple):
    """One run of the check, with the moments of its beginning and end."""

    policy: str
    began: float
    ended: float
    output: str

    @property
    def is_ok(self) -> bool:
        """Whether all is as the policy says."""
        return self.output.startswith("PORTCHECK OK ")

    @property
    def findings(self) -> list[str]:
        """What it complains of."""
        return _FINDING.findall(self.output)

    @property
    def headline(self) -> str:
        """The first line, without its performance data."""
        return self.output.partition("\n")[0].partition(" | ")[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of its performance data."""
        first = self.output.partition("\n")[0]
        return tuple(re.findall(r"(\w+)=", first.partition(" | ")[2]))


class Absence(NamedTuple):
    """Something that was down for a while."""

    name: str
    items: frozenset[str]
    """What was missing: ``22/tcp``, ``mountd``."""
    since: float
    until: float
    """Infinite while it is down."""

    def explains(self, finding: str, check: Check) -> bool:
        """Whether a check that met it in its last look may complain; never of what is open."""
        met = self.since <= check.ended and check.ended - _LAST <= self.until
        missing = finding.startswith(("missing: ", "unverified: ")) or self._orphans(finding)
        return met and missing and any(_names(finding, item) for item in self.items)

    def _orphans(self, finding: str) -> bool:
        """Whether a port has lost its name with the portmapper, which alone knows it."""
        return finding.startswith("unexpected: ") and "portmapper" in self.items

    def beside(self, check: Check) -> str:
        """When it was down, in seconds from the end of a check."""
        return f"{self.name}, {self.since - check.ended:.1f} to {self.until - check.ended:.1f} s"


def _names(finding: str, item: str) -> bool:
    """Whether a finding is about a port, or an RPC program or its daemon."""
    return re.search(rf"[:,]{item}\b|rpc\.{item}\[", finding) is not None


def explanations(check: Check, absences: Iterable[Absence]) -> dict[str, list[Absence]]:
    """What was down, for each finding of a check."""
    met = list(absences)
    return {each: [one for one in met if one.explains(each, check)] for each in check.findings}
