"""What an outcome has to tell: one line with the counts and the worst, then the details."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from check_portcheck.model import Failure, Interface, Method, Report
from check_portcheck.policy.rules import Kind
from check_portcheck.report.wording import Wording, folded, number_of, rule_text, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from check_portcheck.model import OpenService, State, Unseen
    from check_portcheck.outcome import Outcome
    from check_portcheck.policy.verdict import Finding, FindingKind

LONGEST_HEADLINE = 165
"""Characters; with ``PORTCHECK CRITICAL - `` and the age of a reused result it stays below 200."""

_INTERFACES_HEADLINE, _INTERFACES_DETAIL = 4, 16
"""How many interfaces a folded finding names."""


class Narrative:
    """The text of an outcome, or of the part that concerns one chosen name."""

    def __init__(self, outcome: Outcome, name: str | None = None) -> None:
        self._outcome = outcome
        self._settings = outcome.task.settings
        self._wording = Wording(outcome.report, outcome.task.names)
        interfaces = outcome.report.interfaces
        self._interfaces = tuple(each for each in interfaces if name in (None, *each.chosen))
        self._whole = self._interfaces == interfaces
        verdict = outcome.verdict
        self._judged = [each for each in verdict.judged if self._among(each.service.interfaces)]
        self._findings = [each for each in verdict.findings if self._among(each.interfaces)]
        self._failures = _concerning(outcome.report.failures, name)

    def state(self) -> State:
        """The worst state that findings and failures bring."""
        kinds = (finding.kind for finding in self._findings)
        return self._settings.severities.worst(kinds, self._failures)

    def headline(self) -> str:
        """The counts and as many findings as fit; in a clean run what was covered."""
        if self._clean:
            count = sum(len(self._among(each.service.interfaces)) for each in self._judged)
            services = number_of(count, "open service")
            interfaces = number_of(len(self._interfaces), "interface")
            return f"{services} on {interfaces}, all expected ({self._covered()})"
        counted: list[str] = []
        items: list[str] = []
        for kind in self._settings.severities.kinds():
            if texts := self._texts(kind, _INTERFACES_HEADLINE):
                counted.append(f"{len(texts)} {kind}")
                items += texts
        if self._failures:
            counted.append(f"{len(self._failures)} not looked at")
            items += [short(failure.reason) for failure in self._failures]
        return fitted(", ".join(counted) + ": ", items, LONGEST_HEADLINE)

    def details(self) -> list[str]:
        """A line per finding, worst first, then notes and what -v asks for."""
        lines = [
            f"{kind}: {text}"
            for kind in self._settings.severities.kinds()
            for text in self._texts(kind, _INTERFACES_DETAIL, dated=True)
        ]
        lines += [f"not looked at: {short(failure.reason, 200)}" for failure in self._failures]
        lines += self._events()
        notes = (*self._outcome.notes, *self._remarks())
        lines += [f"note: {short(note, 300)}" for note in notes]
        return [*lines, *self._more()]

    @property
    def _clean(self) -> bool:
        """Whether the first line tells what was covered."""
        return not self._findings and not self._failures

    def _among(self, interfaces: tuple[Interface, ...]) -> tuple[Interface, ...]:
        """Those of the interfaces that are told of."""
        if self._whole:
            return interfaces
        return tuple(each for each in interfaces if each in self._interfaces)

    def _parts(self, service: OpenService) -> Iterator[OpenService]:
        """What is told of a service, cut where it has another name."""
        told = service.on(self._among(service.interfaces))
        return (part for part, _ in self._outcome.report.by_programs(told))

    def _finding_parts(self, finding: Finding) -> Iterator[Finding]:
        """What is told of a finding, cut where its service has another name."""
        if finding.service is None:
            yield finding.on(self._among(finding.interfaces))
            return
        for part in self._parts(finding.service):
            yield finding.on(part.interfaces)

    def _texts(self, kind: FindingKind, most: int, *, dated: bool = False) -> list[str]:
        """The findings of a kind, with since when they exist where they are to be dated."""
        entries = (
            (part.interfaces, self._wording.finding(part) + (self._since(each) if dated else ""))
            for each in self._findings
            if each.kind is kind
            for part in self._finding_parts(each)
        )
        return folded(entries, most)

    def _since(self, finding: Finding) -> str:
        """Since when it exists, where that is remembered."""
        first = self._outcome.history.first_seen(finding)
        if first is None:
            return ""
        return time.strftime(", since %Y-%m-%d %H:%M:%S", time.localtime(first))

    def _events(self) -> Iterator[str]:
        """What happened since the last run."""
        for event in self._outcome.history.events:
            (text,) = folded([(event.interfaces, event.text)], _INTERFACES_DETAIL)
            yield short(f"{event.what}: {text}", 200)

    def _remarks(self) -> Iterator[str]:
        """What limits the answer without being a problem."""
        unseen = self._unseen()
        if unseen:
            yield f"processes not seen: {', '.join(sorted(unseen))}"
        registrations = self._outcome.report.registrations.values()
        nameless = dict.fromkeys(known.unreachable for known in registrations if known.unreachable)
        yield from (f"RPC services have no names: {reason}" for reason in nameless)
        if self._swept and not self._clean:
            yield self._swept
        untracked = self._outcome.report.coverage.untracked
        if untracked:
            yield (
                f"{untracked} UDP ports looked up in place of probed, to leave room for "
                "connection tracking"
            )

    def _unseen(self) -> set[Unseen]:
        """Why some processes were not seen of the services of which the text tells."""
        owners = (owner for each in self._shown() for owner in self._wording.owners(each))
        return {owner.unseen for owner in owners if owner.unseen}

    def _shown(self) -> list[OpenService]:
        """The services of which the text tells."""
        if self._settings.verbosity:
            return [each.service for each in self._judged]
        return [each.service for each in self._findings if each.service]

    def _more(self) -> Iterator[str]:
        """What -v, -vv and -vvv add."""
        if self._settings.verbosity > 0:
            yield from (f"open: {text}" for text in folded(self._allowed(), _INTERFACES_DETAIL))
        if self._settings.verbosity > 1:
            yield from self._passed_over()
        if self._settings.verbosity > 2:
            yield from _figures(self._outcome.report)

    def _allowed(self) -> Iterator[tuple[Sequence[Interface], str]]:
        """Where there are services that a rule allows, and their text."""
        for judged in self._judged:
            if judged.rule:
                for part in self._parts(judged.service):
                    yield part.interfaces, self._wording.judged(judged._replace(service=part))

    def _passed_over(self) -> Iterator[str]:
        """Rules without effect, and ports that were not contacted or of which nothing is known."""
        skips = self._outcome.task.policy.of_kind(Kind.SKIP)
        yield from (f"unused: {rule_text(rule)}" for rule in self._outcome.verdict.unused)
        yield from (f"skipped: {rule_text(rule)}" for rule in skips)
        filtered = self._outcome.report.coverage.filtered
        if filtered:
            yield f"filtered: {filtered} silent ports without a socket"

    def _covered(self) -> str:
        """What was looked at: ``full scan of 65536 TCP and UDP ports each``."""
        text = coverage_text(self._outcome.report)
        return f"{text}, {self._swept}" if self._swept else text

    @property
    def _swept(self) -> str:
        """How much of a partial sweep was done: ``swept 41 % of 63 addresses``; else nothing."""
        covered = self._outcome.report.coverage
        if covered.probed >= covered.ports:
            return ""
        addresses = number_of(len(self._interfaces), "address", "addresses")
        return f"swept {covered.probed * 100 // covered.ports} % of {addresses}"


def coverage_text(report: Report) -> str:
    """Which ports were looked at, and how: ``full scan of 65536 TCP and UDP ports each``."""
    way = {
        Method.FULL: "full scan of",
        Method.PROBE: "probe of",
        Method.TABLE: "socket table for",
    }[report.method]
    ports = report.span.last - report.span.first + 1
    protocols = " and ".join(protocol.upper() for protocol in report.protocols)
    return f"{way} {ports} {protocols} port{'s' * (ports > 1)} each"


def fitted(head: str, items: Sequence[str], longest: int) -> str:
    """The head and as many whole items as fit, then how many more there are."""
    whole = head + ", ".join(items)
    if len(whole) <= longest or not items:
        return whole
    fitting = ""
    text = head
    for index, item in enumerate(items):
        text += f", {item}" if index else item
        counted = text + _more_than(index, items)
        if len(counted) > longest:
            break
        fitting = counted
    if fitting:
        return fitting
    more = _more_than(0, items)
    return f"{head}{items[0]}"[: longest - len(more) - 3] + "..." + more


def bounded(lines: Sequence[str], longest: int) -> list[str]:
    """As many lines as fit into *longest* bytes, then how many more there are."""
    kept: list[str] = []
    size = 0
    for index, line in enumerate(lines):
        more = f"... and {len(lines) - index} more\n"
        size += len(line.encode()) + 1
        if size + len(more) > longest and index:
            return [*kept, more.rstrip()]
        kept.append(line)
    return kept


def _more_than(index: int, items: Sequence[str]) -> str:
    """What stands for the items after the one at *index*."""
    left = len(items) - index - 1
    return f" and {left} more" if left else ""


def _concerning(failures: Sequence[Failure], name: str | None) -> list[Failure]:
    """The failures that concern a chosen name."""
    return [failure for failure in failures if name in (None, failure.name)]


def _figures(report: Report) -> Iterator[str]:
    """What -vvv adds."""
    covered = report.coverage
    yield (
        f"coverage: {covered.probed} of {covered.ports} ports probed or listed, "
        f"{covered.looked_up + covered.untracked} looked up"
    )
    yield f"scan: {report.seconds:.3f} s by method {report.method}"
