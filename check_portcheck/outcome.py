"""What one run is given and what it has to tell: the two ends of the straight line. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.policy.verdict import FindingKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from check_portcheck.config.settings import Settings
    from check_portcheck.deadline import Deadline
    from check_portcheck.kernel.selection import Chosen
    from check_portcheck.memory.history import History, Memory
    from check_portcheck.model import Interface, Report, Span
    from check_portcheck.names import Names
    from check_portcheck.policy.rules import Policy
    from check_portcheck.policy.verdict import Verdict


_OPEN = "open"


class Task(NamedTuple):
    """What one run is about."""

    settings: Settings
    policy: Policy
    names: Names
    chosen: Chosen
    ephemeral: Span
    """The kernel's range of ports for clients (ip_local_port_range)."""
    deadline: Deadline
    """When the outcome is due."""
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
    """All that one run has to tell."""

    task: Task
    report: Report
    verdict: Verdict
    history: History
    notes: tuple[str, ...]
    """What the user should know, one line each."""
    taken: float
    """When the result was found, seconds since the epoch."""
    unfinished: bool = False
    """Whether it is what was known at a time, told only where the run cannot go on from there."""

    def noted(self, note: str) -> Outcome:
        """The same with one more note."""
        return self._replace(notes=(*self.notes, note))

    def counts(self) -> dict[str, Counts]:
        """Open services and findings for each chosen name, in the order of choice.

        Each counts once under a name, on however many of its interfaces it is; what is at no
        interface counts under the first one.
        """
        names = self.task.chosen.counted
        counted: dict[str, _Found] = {name: defaultdict(set) for name in names}
        for (what, _), (interfaces, items) in self._by_interfaces().items():
            for name in _chosen(interfaces) or names[:1]:
                counted[name][what] |= items
        return {
            name: Counts(len(found[_OPEN]), *(len(found[kind]) for kind in FindingKind))
            for name, found in counted.items()
        }

    def _by_interfaces(
        self,
    ) -> Mapping[tuple[str, int], tuple[tuple[Interface, ...], set[object]]]:
        """Open services and findings by the interfaces on which they are; many share the same.

        By identity: comparing the interfaces of each is what would take the time.
        """
        found: dict[tuple[str, int], tuple[tuple[Interface, ...], set[object]]] = {}
        for what, interfaces, item in self._counted():
            key = (what, id(interfaces))
            if key not in found:
                found[key] = (interfaces, set())
            found[key][1].add(item)
        return found

    def _counted(self) -> Iterator[tuple[str, tuple[Interface, ...], object]]:
        """What counts, where it is and what makes it another one."""
        for judged in self.verdict.judged:
            yield _OPEN, judged.service.interfaces, judged.service.port
        for finding in self.verdict.findings:
            yield finding.kind, finding.interfaces, finding.item


_Found = defaultdict[str, set[object]]
"""Open services and findings by kind."""


def _chosen(interfaces: Iterable[Interface]) -> Collection[str]:
    """The names by which interfaces were chosen, each once."""
    return dict.fromkeys(name for interface in interfaces for name in interface.chosen)
