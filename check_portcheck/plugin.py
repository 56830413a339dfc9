"""The check in nagiosplugin's terms: resource, contexts, summary, and the ranking of states."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING

import nagiosplugin

from check_portcheck import history, scan
from check_portcheck.history import History
from check_portcheck.judgement import FindingKind, Verdict, judge
from check_portcheck.model import ScanError, ScanReport, Severity, State
from check_portcheck.narrative import LONGEST_HEADLINE, Narrative
from check_portcheck.wording import short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.history import Memory
    from check_portcheck.interfaces import Chosen


class Portcheck(nagiosplugin.Resource):
    """The ports of this machine: runs the scan and has it judged."""

    report: ScanReport
    verdict: Verdict
    history: History
    taken: float
    """When the result was found, seconds since the epoch."""

    def __init__(
        self,
        task: scan.Scan,
        chosen: Chosen,
        memory: Memory | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.task = task
        self.chosen = chosen
        self.memory = memory
        self.notes = (*chosen.notes, *notes)
        self.scanned = False

    def probe(self) -> list[nagiosplugin.Metric]:
        """The counts per chosen interface, in the order of perfdata; all at once, at the end."""
        try:
            self.report = scan.run(self.task, self.chosen.failures)
        except ScanError as failed:
            raise nagiosplugin.CheckError(str(failed)) from failed
        self.verdict = judge(self.report, self.task.policy)
        self.taken = time.time()
        self.history = History()
        if self.task.settings.state:
            self.history = history.compare(self.memory, self.report, self.verdict, self.taken)
        self.scanned = True
        counts = self.counts()
        labels = perfdata_labels(counts)
        metrics = [
            nagiosplugin.Metric(f"{kind}_{labels[name]}", count[kind], min=0, context=kind)
            for name, count in counts.items()
            for kind in ("open", FindingKind.UNEXPECTED.value, FindingKind.MISSING.value)
        ]
        unverified = sum(count[FindingKind.UNVERIFIED] for count in counts.values())
        unseen = unverified + len(self.verdict.failures)
        metrics.append(nagiosplugin.Metric("unverified", unseen, context="unverified"))
        metrics.append(nagiosplugin.Metric("time", self.report.seconds, "s", context="time"))
        return metrics

    def note(self, text: str) -> None:
        """Add what came up after the scan."""
        self.notes = (*self.notes, text)

    @property
    def narrative(self) -> Narrative:
        """The text of the result."""
        return Narrative.of(self.task, self.report, self.verdict, self.history, self.notes)

    def counts(self) -> dict[str, Counter[str]]:
        """Open services and findings by kind, for each name by which interfaces were chosen."""
        counts: dict[str, Counter[str]] = {
            name: Counter() for interface in self.report.interfaces for name in interface.chosen
        }
        for name in self.chosen.absent_devices:
            counts[name] = Counter()
        for judged in self.verdict.judged:
            for name in judged.service.interface.chosen:
                counts[name]["open"] += 1
        for finding in self.verdict.findings:
            for name in finding.interface.chosen:
                counts[name][finding.kind] += 1
        return counts


class FindingContext(nagiosplugin.ScalarContext):
    """Any finding of a kind brings the state of its severity."""

    def __init__(self, name: str, severity: Severity) -> None:
        # Strings, since nagiosplugin takes Range(0) for no threshold at all.
        super().__init__(
            name,
            warning="0" if severity.state is State.WARNING else None,
            critical="0" if severity.state is State.CRITICAL else None,
        )


class UnexpectedContext(FindingContext):
    """Open services that the policy does not list."""

    def __init__(self, severity: Severity) -> None:
        super().__init__(FindingKind.UNEXPECTED, severity)


class MissingContext(FindingContext):
    """Required services that are not open."""

    def __init__(self, severity: Severity) -> None:
        super().__init__(FindingKind.MISSING, severity)


class UnverifiedContext(nagiosplugin.Context):
    """Anything that could not be determined is UNKNOWN."""

    def evaluate(
        self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource
    ) -> nagiosplugin.Result:
        """UNKNOWN as soon as there is one."""
        del resource
        state = nagiosplugin.Unknown if metric.value else nagiosplugin.Ok
        return nagiosplugin.Result(state, metric=metric)


class TimeContext(nagiosplugin.Context):
    """How long the scan took; never a problem by itself."""

    def performance(
        self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource
    ) -> nagiosplugin.Performance:
        """Seconds in fixed point: some graphers read 1e-05s as 1."""
        del resource
        return nagiosplugin.Performance(metric.name, f"{metric.value:.3f}", metric.uom)


class RankedResults(nagiosplugin.Results):
    """Results whose worst state is CRITICAL, then UNKNOWN, WARNING, OK."""

    @property
    def most_significant_state(self) -> nagiosplugin.state.ServiceState:
        """The worst state; raises ValueError without results."""
        return max((result.state for result in self.results), key=lambda s: State(int(s)).rank)

    @property
    def most_significant(self) -> list[nagiosplugin.Result]:
        """All results of the worst state."""
        worst = self.most_significant_state if self.results else None
        return [result for result in self.results if result.state == worst]


class PortcheckSummary(nagiosplugin.Summary):
    """The text of the check: one line that says it all, then a line per finding."""

    def __init__(self, resource: Portcheck) -> None:
        self.resource = resource

    def ok(self, results: nagiosplugin.Results) -> str:
        """The first line when nothing is wrong: what was covered."""
        del results
        return self.resource.narrative.headline()

    def problem(self, results: nagiosplugin.Results) -> str:
        """The first line otherwise: the counts, then the worst findings that fit."""
        if not self.resource.scanned:
            return short(str(results.first_significant), LONGEST_HEADLINE)
        return self.resource.narrative.headline()

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        """The lines below: findings, worst first, then notes and what -v asks for."""
        del results
        return self.resource.narrative.details() if self.resource.scanned else []


def check(resource: Portcheck) -> nagiosplugin.Check:
    """The finished check; *resource* then holds report and verdict."""
    task = resource.task
    finished = nagiosplugin.Check(
        resource,
        nagiosplugin.ScalarContext("open"),
        UnexpectedContext(task.settings.severity_unexpected),
        MissingContext(task.settings.severity_missing),
        UnverifiedContext("unverified"),
        TimeContext("time"),
        RankedResults(),
        PortcheckSummary(resource),
    )
    finished()
    return finished


def perfdata_labels(names: Iterable[str]) -> dict[str, str]:
    """For each name of an interface what stands for it in a label: ``192_0_2_7``, unique."""
    labels: dict[str, str] = {}
    for name in names:
        label = base = re.sub("[^a-z0-9]", "_", name.lower())
        count = 1
        while label in labels.values():
            count += 1
            label = f"{base}_{count}"
        labels[name] = label
    return labels
