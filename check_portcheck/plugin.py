"""The check in nagiosplugin's terms: resource, contexts, summary, and the ranking of states."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import nagiosplugin

from check_portcheck.model import ScanError, State
from check_portcheck.policy.verdict import FindingKind
from check_portcheck.report.form import Assessment
from check_portcheck.report.narrative import LONGEST_HEADLINE, Narrative
from check_portcheck.report.parts import everything
from check_portcheck.report.wording import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from check_portcheck.outcome import Outcome
    from check_portcheck.policy.verdict import Severities
    from check_portcheck.report.parts import Part


class Portcheck(nagiosplugin.Resource):
    """The ports of this machine: runs the scan and has it judged."""

    def __init__(self, investigate: Callable[[], Outcome]) -> None:
        self._investigate = investigate
        self.outcome: Outcome | None = None
        """What came of it, None before probe() and where nothing could be learnt."""
        self.part: Part | None = None
        """All that it tells, put together once for first line and details."""

    def probe(self) -> list[nagiosplugin.Metric]:
        """The counts per chosen name, in the order of perfdata; all at once, at the end."""
        try:
            self.outcome = self._investigate()
        except ScanError as failed:
            raise nagiosplugin.CheckError(str(failed)) from failed
        self.part = everything(self.outcome)
        return list(_metrics(self.outcome))


class FindingContext(nagiosplugin.ScalarContext):
    """Any finding of a kind brings the state of its severity."""

    def __init__(self, kind: FindingKind, severities: Severities) -> None:
        state = severities.state(kind)
        # Strings, since nagiosplugin takes Range(0) for no threshold at all.
        super().__init__(
            kind.value,
            warning="0" if state is State.WARNING else None,
            critical="0" if state is State.CRITICAL else None,
        )


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
    """The text of the first line."""

    def __init__(self, resource: Portcheck) -> None:
        self.resource = resource

    def ok(self, results: nagiosplugin.Results) -> str:
        """What was covered, when nothing is wrong."""
        return self.problem(results)

    def problem(self, results: nagiosplugin.Results) -> str:
        """The counts, then the worst findings that fit; why, where nothing could be learnt."""
        if self.resource.outcome is None:
            return short(str(results.first_significant), LONGEST_HEADLINE)
        return Narrative(self.resource.outcome, self.resource.part).headline()


def assess(resource: Portcheck, severities: Severities) -> Assessment:
    """Run the check; *resource* then has the outcome."""
    check = nagiosplugin.Check(
        resource,
        nagiosplugin.ScalarContext("open"),
        FindingContext(FindingKind.UNEXPECTED, severities),
        FindingContext(FindingKind.MISSING, severities),
        UnverifiedContext("unverified"),
        TimeContext("time"),
        RankedResults(),
        PortcheckSummary(resource),
    )
    check()
    perfdata = (result.metric.performance() for result in check.results.results if result.metric)
    return Assessment(
        State(check.exitcode),
        check.summary_str,
        tuple(map(str, filter(None, perfdata))),
        resource.part,
    )


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


def _metrics(outcome: Outcome) -> Iterator[nagiosplugin.Metric]:
    """The metrics, in the order of performance data."""
    counts = outcome.counts()
    labels = perfdata_labels(counts)
    for name, count in counts.items():
        for kind, value in (
            ("open", count.open),
            (FindingKind.UNEXPECTED.value, count.unexpected),
            (FindingKind.MISSING.value, count.missing),
        ):
            yield nagiosplugin.Metric(f"{kind}_{labels[name]}", value, min=0, context=kind)
    unverified = [f for f in outcome.verdict.findings if f.kind is FindingKind.UNVERIFIED]
    unseen = len(unverified) + len(outcome.report.failures)
    yield nagiosplugin.Metric("unverified", unseen, context="unverified")
    yield nagiosplugin.Metric("time", outcome.report.seconds, "s", context="time")
