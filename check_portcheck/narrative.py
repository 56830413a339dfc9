"""What a finished check has to tell: one line with the counts and the worst, then the details."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from check_portcheck.history import History, key
from check_portcheck.judgement import Finding, FindingKind, Judged, Verdict
from check_portcheck.model import Failure, Method, ScanReport, State
from check_portcheck.policy import Kind, Rule
from check_portcheck.wording import clean, finding_text, folded, judged_text, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from check_portcheck.config import Settings
    from check_portcheck.model import OpenService
    from check_portcheck.names import Names
    from check_portcheck.scan import Scan

LONGEST_HEADLINE = 165
"""Characters; with ``PORTCHECK CRITICAL - `` and the age of a reused result it stays below 200."""

_INTERFACES_HEADLINE, _INTERFACES_DETAIL = 4, 16
"""How many interfaces a folded finding names."""


@dataclass(frozen=True)
class Narrative:
    """The text of a report and its verdict, or of the part that concerns one chosen interface."""

    settings: Settings
    names: Names
    report: ScanReport
    judged: tuple[Judged, ...]
    findings: tuple[Finding, ...]
    failures: tuple[Failure, ...]
    history: History
    notes: tuple[str, ...]
    unused: tuple[Rule, ...]
    skips: tuple[Rule, ...]

    @classmethod
    def of(
        cls,
        task: Scan,
        report: ScanReport,
        verdict: Verdict,
        history: History,
        notes: tuple[str, ...],
    ) -> Narrative:
        """The whole story."""
        return cls(
            settings=task.settings,
            names=task.names,
            report=report,
            judged=verdict.judged,
            findings=verdict.findings,
            failures=verdict.failures,
            history=history,
            notes=notes,
            unused=verdict.unused,
            skips=task.policy.of_kind(Kind.SKIP),
        )

    def about(self, name: str, failures: Sequence[Failure]) -> Narrative:
        """The part that concerns the interfaces chosen by *name*."""
        interfaces = tuple(each for each in self.report.interfaces if name in each.chosen)
        services = tuple(each for each in self.report.services if each.interface in interfaces)
        return dataclasses.replace(
            self,
            report=dataclasses.replace(self.report, interfaces=interfaces, services=services),
            judged=tuple(each for each in self.judged if each.service.interface in interfaces),
            findings=tuple(each for each in self.findings if each.interface in interfaces),
            failures=tuple(failures),
        )

    def state(self) -> State:
        """The worst state that findings and failures bring."""
        states = [self._state(finding.kind) for finding in self.findings]
        states += [State.UNKNOWN for _ in self.failures]
        return max(states, key=lambda state: state.rank, default=State.OK)

    def headline(self) -> str:
        """The counts and as many findings as fit; in a clean run what was covered."""
        if self._clean():
            services = _number_of(len(self.report.services), "open service")
            interfaces = _number_of(len(self.report.interfaces), "interface")
            covered = coverage_text(self.report)
            return f"{services} on {interfaces}, all expected ({covered})"
        counted: list[str] = []
        items: list[str] = []
        for kind in self._kinds():
            if texts := self._texts(kind, _INTERFACES_HEADLINE):
                counted.append(f"{len(texts)} {kind}")
                items += texts
        if self.failures:
            counted.append(f"{len(self.failures)} not looked at")
            items += [short(failure.reason) for failure in self.failures]
        return fitted(", ".join(counted) + ": ", items, LONGEST_HEADLINE)

    def details(self) -> list[str]:
        """A line per finding, worst first, then notes and what -v asks for."""
        lines = [
            f"{kind}: {text}"
            for kind in self._kinds()
            for text in self._texts(kind, _INTERFACES_DETAIL, dated=True)
        ]
        lines += [f"not looked at: {short(failure.reason, 200)}" for failure in self.failures]
        lines += [short(event, 200) for event in self.history.events]
        lines += [f"note: {short(note, 300)}" for note in (*self.notes, *self._remarks())]
        return [*lines, *self._more()]

    def _clean(self) -> bool:
        """Whether the first line tells what was covered."""
        return not self.findings and not self.failures

    def _state(self, kind: FindingKind) -> State:
        match kind:
            case FindingKind.UNEXPECTED:
                return self.settings.severity_unexpected.state
            case FindingKind.MISSING:
                return self.settings.severity_missing.state
            case FindingKind.UNVERIFIED:
                return State.UNKNOWN

    def _kinds(self) -> list[FindingKind]:
        """The kinds of findings, the worst state first."""
        return sorted(FindingKind, key=lambda kind: -self._state(kind).rank)

    def _texts(self, kind: FindingKind, most: int, *, dated: bool = False) -> list[str]:
        findings = [each for each in self.findings if each.kind is kind]
        texts = (
            (each.interface, finding_text(each, self.names) + (self._since(each) if dated else ""))
            for each in findings
        )
        return folded(texts, most)

    def _since(self, finding: Finding) -> str:
        """Since when it exists, where that is remembered."""
        first = self.history.since.get(key(finding))
        if first is None:
            return ""
        return time.strftime(", since %Y-%m-%d %H:%M:%S", time.localtime(first))

    def _remarks(self) -> Iterator[str]:
        """What limits the answer without being a problem."""
        unseen = {
            owner.unseen
            for service in self._shown()
            for owner in service.owners or ()
            if owner.unseen
        }
        if unseen:
            yield f"processes not seen: {', '.join(sorted(unseen))}"
        nameless = [failure.reason for failure in self.report.failures if failure.rpc_only]
        yield from (f"RPC services have no names: {reason}" for reason in dict.fromkeys(nameless))
        covered = self.report.coverage
        if covered.probed < covered.ports and not self._clean():
            yield _swept(self.report)
        if covered.untracked:
            yield (
                f"{covered.untracked} UDP ports looked up in place of probed, to leave room for "
                "connection tracking"
            )

    def _shown(self) -> list[OpenService]:
        if self.settings.verbosity:
            return [each.service for each in self.judged]
        return [each.service for each in self.findings if each.service]

    def _more(self) -> Iterator[str]:
        """What -v, -vv and -vvv add."""
        if self.settings.verbosity > 0:
            allowed = [each for each in self.judged if each.rule]
            texts = ((each.service.interface, judged_text(each, self.names)) for each in allowed)
            yield from (f"open: {text}" for text in folded(texts, _INTERFACES_DETAIL))
        if self.settings.verbosity > 1:
            yield from (f"unused: {clean(str(rule))}, {clean(rule.place)}" for rule in self.unused)
            yield from (f"skipped: {clean(str(rule))}, {clean(rule.place)}" for rule in self.skips)
            if self.report.coverage.filtered:
                yield f"filtered: {self.report.coverage.filtered} silent ports without a socket"
        if self.settings.verbosity > 2:
            covered = self.report.coverage
            yield (
                f"coverage: {covered.probed} of {covered.ports} ports probed or listed, "
                f"{covered.looked_up + covered.untracked} looked up"
            )
            yield f"scan: {self.report.seconds:.3f} s by method {self.report.method}"


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
    if report.coverage.probed < report.coverage.ports:
        text += f", {_swept(report)}"
    return text


def _swept(report: ScanReport) -> str:
    """How much of a partial sweep was done: ``swept 41 % of 63 addresses``."""
    addresses = _number_of(len(report.interfaces), "address", "addresses")
    return f"swept {report.coverage.probed * 100 // report.coverage.ports} % of {addresses}"


def _number_of(count: int, one: str, many: str = "") -> str:
    """``1 interface``, ``2 interfaces``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def fitted(head: str, items: Sequence[str], longest: int) -> str:
    """The head and as many whole items as fit, then how many more there are."""
    whole = head + ", ".join(items)
    if len(whole) <= longest:
        return whole
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
