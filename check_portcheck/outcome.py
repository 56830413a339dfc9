"""What one run is given and what it has to tell: the two ends of the straight line. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.policy.verdict import FindingKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_portcheck.config.settings import Settings
    from check_portcheck.deadline import Deadline
    from check_portcheck.memory.history import History, Memory
    from check_portcheck.model import Failure, Interface, Report, Span
    from check_portcheck.names import Names
    from check_portcheck.policy.rules import Policy
    from check_portcheck.policy.verdict import Verdict


_OPEN = "open"


class Task(NamedTuple):
    """What one run is about."""

    settings: Settings
    policy: Policy
    names: Names
    interfaces: tuple[Interface, ...]
    ephemeral: Span
    """The kernel's range of ports for clients (ip_local_port_range)."""
    deadline: Deadline
    """When the outcome is due."""
    failures: tuple[Failure, ...] = ()
    """What was chosen and cannot be looked at."""
    notes: tuple[str, ...] = ()
    """What the user should know of the choice and of what is remembered, one line each."""
    memory: Memory | None = None
    """What the last run left."""


class Counts(NamedTuple):
    """How many there are under one of the names by which interfaces were chosen."""

    open: int
    """Open services."""
    unexpected: int
    missing: int
    unverified: int


class Outcome(NamedTuple):
    """All that one run has to tell; complete, and the same from then on."""

    task: Task
    report: Report
    verdict: Verdict
    history: History
    notes: tuple[str, ...]
    """What the user should know, one line each."""
    taken: float
    """When the result was found, seconds since the epoch."""

    def noted(self, note: str) -> Outcome:
        """The same with one more note."""
        return self._replace(notes=(*self.notes, note))

    def counts(self) -> dict[str, Counts]:
        """Open services and findings for each chosen name, in the order of choice.

        Each counts once per interface on which it is.
        """
        names = [*_chosen(self.report.interfaces), *(each.name for each in self.report.failures)]
        counted: dict[str, Counter[str]] = {name: Counter() for name in names}
        for (what, interfaces), number in self._by_interfaces().items():
            for name in _chosen(interfaces):
                counted[name][what] += number
        return {
            name: Counts(found[_OPEN], *(found[kind] for kind in FindingKind))
            for name, found in counted.items()
        }

    def _by_interfaces(self) -> Counter[tuple[str, tuple[Interface, ...]]]:
        """Open services and findings by the interfaces on which they are; many share the same."""
        found = Counter((_OPEN, judged.service.interfaces) for judged in self.verdict.judged)
        found.update((finding.kind, finding.interfaces) for finding in self.verdict.findings)
        return found


def _chosen(interfaces: Iterable[Interface]) -> Iterator[str]:
    """The names by which interfaces were chosen, each as often as it stands for one of them."""
    for interface in interfaces:
        yield from interface.chosen
