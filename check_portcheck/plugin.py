"""The check in nagiosplugin's terms: resource, contexts, summary, and the ranking of states."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import nagiosplugin

from check_portcheck import scan
from check_portcheck.judgement import FindingKind, Verdict, judge
from check_portcheck.model import Method, ScanReport, Severity, State
from check_portcheck.policy import Kind
from check_portcheck.sockettable import SocketTableError
from check_portcheck.sweep import SweepError
from check_portcheck.wording import clean, finding_text, folded, judged_text, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from check_portcheck.interfaces import Chosen

LONGEST_FIRST_LINE = 200
"""Characters of the first line's text, which lists of services show."""

_INTERFACES_FIRST_LINE, _INTERFACES_LINE = 4, 16
"""How many interfaces a folded finding names."""

_STATES = {
    State.OK: nagiosplugin.Ok,
    State.WARNING: nagiosplugin.Warn,
    State.CRITICAL: nagiosplugin.Critical,
    State.UNKNOWN: nagiosplugin.Unknown,
}

# nagiosplugin's own order has UNKNOWN on top: what was found must not be hidden by what could not
# be seen.
_RANK = {
    nagiosplugin.Ok: 0,
    nagiosplugin.Warn: 1,
    nagiosplugin.Unknown: 2,
    nagiosplugin.Critical: 3,
}


class Portcheck(nagiosplugin.Resource):
    """The ports of this machine: runs the scan and has it judged."""

    report: ScanReport
    verdict: Verdict

    def __init__(self, task: scan.Scan, chosen: Chosen) -> None:
        self.task = task
        self.chosen = chosen
        self.scanned = False

    def probe(self) -> list[nagiosplugin.Metric]:
        """The counts per chosen interface, in the order of perfdata; all at once, at the end."""
        try:
            self.report = scan.run(self.task, self.chosen.failures)
        except (SocketTableError, SweepError) as failed:
            raise nagiosplugin.CheckError(str(failed)) from failed
        self.verdict = judge(self.report, self.task.policy)
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
        return max((result.state for result in self.results), key=_RANK.__getitem__)


class PortcheckSummary(nagiosplugin.Summary):
    """The text of the check: one line that says it all, then a line per finding."""

    def __init__(self, resource: Portcheck) -> None:
        self.resource = resource

    def ok(self, results: nagiosplugin.Results) -> str:
        """The first line when nothing is wrong: what was covered."""
        report = self.resource.report
        if self.resource.verdict.findings:
            return self.problem(results)
        services = number_of(len(report.services), "open service")
        interfaces = number_of(len(report.interfaces), "interface")
        return f"{services} on {interfaces}, all expected ({coverage_text(report)})"

    def problem(self, results: nagiosplugin.Results) -> str:
        """The first line otherwise: the counts, then the worst findings that fit."""
        if not self.resource.scanned:
            return short(str(results.first_significant), LONGEST_FIRST_LINE)
        counted: list[str] = []
        items: list[str] = []
        for kind in self._kinds():
            if texts := self._texts(kind, _INTERFACES_FIRST_LINE):
                counted.append(f"{len(texts)} {kind}")
                items += texts
        if failures := self.resource.verdict.failures:
            counted.append(f"{len(failures)} not looked at")
            items += [short(failure.reason) for failure in failures]
        return fitted(", ".join(counted) + ": ", items, LONGEST_FIRST_LINE)

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        """The lines below: findings, worst first, then notes and what -v asks for."""
        del results
        if not self.resource.scanned:
            return []
        lines = [
            f"{kind}: {text}"
            for kind in self._kinds()
            for text in self._texts(kind, _INTERFACES_LINE)
        ]
        failures = self.resource.verdict.failures
        lines += [f"not looked at: {short(failure.reason, 200)}" for failure in failures]
        lines += [f"note: {short(note, 300)}" for note in self.resource.chosen.notes]
        verbosity = self.resource.task.settings.verbosity
        return lines + (list(self._more(verbosity)) if verbosity else [])

    def _kinds(self) -> list[FindingKind]:
        """The kinds of findings, the worst state first."""
        settings = self.resource.task.settings
        states = {
            FindingKind.UNEXPECTED: _STATES[settings.severity_unexpected.state],
            FindingKind.MISSING: _STATES[settings.severity_missing.state],
            FindingKind.UNVERIFIED: nagiosplugin.Unknown,
        }
        return sorted(states, key=lambda kind: -_RANK[states[kind]])

    def _texts(self, kind: FindingKind, most: int) -> list[str]:
        names = self.resource.task.names
        findings = [each for each in self.resource.verdict.findings if each.kind is kind]
        return folded(((each.interface, finding_text(each, names)) for each in findings), most)

    def _more(self, verbosity: int) -> Iterator[str]:
        """What -v, -vv and -vvv add."""
        names, verdict, report = (
            self.resource.task.names,
            self.resource.verdict,
            self.resource.report,
        )
        allowed = [each for each in verdict.judged if each.rule]
        texts = ((each.service.interface, judged_text(each, names)) for each in allowed)
        yield from (f"open: {text}" for text in folded(texts, _INTERFACES_LINE))
        if verbosity > 1:
            policy = self.resource.task.policy
            yield from (f"unused: {clean(f'{rule}, {rule.place}')}" for rule in verdict.unused)
            skipped = policy.of_kind(Kind.SKIP)
            yield from (f"skipped: {clean(f'{rule}, {rule.place}')}" for rule in skipped)
        if verbosity > 2:
            yield f"coverage: {report.coverage}"
            yield f"scan: {report.seconds:.3f} s, method {report.method}"


def check(task: scan.Scan, chosen: Chosen) -> nagiosplugin.Check:
    """The finished check; its one resource holds report and verdict."""
    resource = Portcheck(task, chosen)
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


def coverage_text(report: ScanReport) -> str:
    """What was looked at: ``full scan of 65536 TCP and UDP ports each``."""
    way = {
        Method.FULL: "full scan of",
        Method.PROBE: "probe of",
        Method.TABLE: "socket table for",
    }[report.method]
    ports = report.highest - report.lowest + 1
    protocols = " and ".join(protocol.upper() for protocol in report.protocols)
    text = f"{way} {ports} {protocols} port{'s' * (ports > 1)} each"
    covered = report.coverage
    if covered.probed < covered.ports:
        addresses = number_of(len(report.interfaces), "address", "addresses")
        text += f", swept {covered.probed * 100 // covered.ports} % of {addresses}"
    return text


def number_of(count: int, one: str, many: str = "") -> str:
    """``1 interface``, ``2 interfaces``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def fitted(head: str, items: Sequence[str], longest: int) -> str:
    """The head and as many whole items as fit, then how many more there are."""
    text = head
    for place, item in enumerate(items):
        left = len(items) - place - 1
        more = f" and {left} more" if left else ""
        joined = f"{text}{', ' if place else ''}{item}"
        if len(joined + more) > longest:
            if place:
                return f"{text} and {left + 1} more"
            return joined[: longest - len(more) - 3] + "..." + more
        text = joined
    return text
