"""What an outcome has to tell: one line with the counts and the worst, then the details."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from check_portcheck.model import PortRange
from check_portcheck.policy.rules import Kind
from check_portcheck.policy.verdict import FindingKind
from check_portcheck.report.coverage import covered, limited
from check_portcheck.report.entries import Subject, entries, told
from check_portcheck.report.fitting import Section, each, fitted, lines
from check_portcheck.report.parts import everything
from check_portcheck.report.rulelines import allowing
from check_portcheck.report.wording import (
    Wording,
    clean,
    number_of,
    ports_text,
    rule_text,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from check_portcheck.memory.history import Event
    from check_portcheck.model import Owner, Report, State
    from check_portcheck.outcome import Outcome
    from check_portcheck.report.entries import Entry
    from check_portcheck.report.fitting import Line
    from check_portcheck.report.parts import Part

    _Texts = Callable[[FindingKind, Entry], Iterable[str]]
    """The lines of a finding."""

LONGEST_HEADLINE = 165
"""Characters; with ``PORTCHECK CRITICAL - `` and the age of a reused result it stays below 200."""

LONGEST_REMARK = 60
"""Characters of the reason why a run was cut short; its first line gives way."""

_HEADLINE, _DETAIL = 4, 16
"""How many places, and stretches of ports, are named in one line."""


class Narrative:
    """The text of an outcome, or of the part that concerns one chosen name."""

    def __init__(self, outcome: Outcome, part: Part | None = None) -> None:
        self._outcome = outcome
        self._settings = outcome.task.settings
        self._wording = Wording(outcome.report, outcome.task.names)
        self._part = part or everything(outcome)

    def state(self) -> State:
        """The worst state that findings and failures bring."""
        kinds = (kind for kind, found in self._part.findings.items() if found)
        return self._settings.severities.worst(kinds, self._part.failures)

    def headline(self) -> str:
        """The counts and as many findings as fit; in a clean run what was covered."""
        if self._part.is_clean:
            return self._all_expected()
        sections = dict(self._findings(self._short))
        counted = [f"{section.number} {kind}" for kind, section in sections.items()]
        failures = [short(failure.reason) for failure in self._part.failures]
        if failures:
            counted.append(f"{len(failures)} not looked at")
        items = lines([*sections.values(), each(failures)])
        longest = LONGEST_HEADLINE - (LONGEST_REMARK if self._outcome.unfinished else 0)
        return fitted(", ".join(counted) + ": ", items, longest)

    def details(self) -> Iterator[Line]:
        """The lines of findings, worst first, then notes and what -v asks for."""
        findings = [section for _, section in self._findings(self._explained)]
        failures = list(self._not_looked_at())
        events = list(map(self._event, self._outcome.history.events))
        notes = list(self._noted())
        return lines([*findings, each(failures), each(events), each(notes), *self._more()])

    def reservations(self) -> Iterator[str]:
        """The lines of what could not be determined, and of what limits the answer."""
        kind = FindingKind.UNVERIFIED
        for entry in self._part.findings[kind]:
            yield from self._explained(kind, entry)
        yield from self._not_looked_at()
        yield from self._noted()

    def _all_expected(self) -> str:
        ports = {judged.service.port for judged in self._part.judged}
        text = number_of(len(ports), "open service")
        if self._part.interfaces:
            text += f" on {number_of(len(self._part.interfaces), 'interface')}"
        return f"{text}, all expected ({covered(self._outcome.report, remembered=self._goes_on)})"

    @property
    def _goes_on(self) -> bool:
        """Whether the next run probes where this one stopped."""
        return self._settings.state is not None

    # Findings

    def _findings(self, texts: _Texts) -> Iterator[tuple[FindingKind, Section]]:
        """The findings of each kind that there are, the worst first."""
        for kind in self._settings.severities.kinds():
            if found := self._part.findings[kind]:
                yield kind, _section(found, partial(texts, kind))

    def _short(self, kind: FindingKind, entry: Entry) -> Iterator[str]:
        del kind
        yield self._wording.entry(entry, _HEADLINE)

    def _explained(self, kind: FindingKind, entry: Entry) -> Iterator[str]:
        """The line of a finding, then what helps to decide and what would allow it."""
        yield f"{kind}: {self._wording.entry(entry, _DETAIL)}{self._since(kind, entry)}"
        if known := _process_known(entry.owners):
            yield f"  {known}"
        if kind is FindingKind.UNEXPECTED:
            names = self._outcome.task.names
            for line in allowing(entry, self._wording.places, names):
                yield f"  allow: {clean(line)}"

    def _since(self, kind: FindingKind, entry: Entry) -> str:
        """Since when it exists, where that is remembered; of several ports the newest, too."""
        history = self._outcome.history
        if not history.since:
            return ""
        times = sorted(set(history.each_first_seen(kind, entry.items, entry.interfaces)))
        if not times:
            return ""
        newest = f", the newest {_moment(times[-1])}" if len(times) > 1 else ""
        return f", since {_moment(times[0])}{newest}"

    # What else there is to tell

    def _not_looked_at(self) -> Iterator[str]:
        return (f"not looked at: {short(each.reason, 200)}" for each in self._part.failures)

    def _noted(self) -> Iterator[str]:
        return (f"note: {short(note, 300)}" for note in self._notes())

    def _event(self, event: Event) -> str:
        """What happened since the last run."""
        where = clean(self._wording.places.text(event.interfaces, _DETAIL))
        text = f"{event.what}: {where}:{ports_text(map(PortRange.of, event.ports), _DETAIL)}"
        if event.name:
            text += f" ({event.name})"
        if event.before:
            text += f", was {ports_text(map(PortRange.of, event.before), _DETAIL)}"
        return short(text, 200)

    def _notes(self) -> Iterator[str]:
        """What the user should know, and what limits the answer without being a problem."""
        if self._outcome.unfinished:
            yield "the run had to end: these are the findings so far, which need not last"
        yield from self._outcome.notes
        if unseen := {owner.unseen for owner in self._owners() if owner.unseen}:
            yield f"processes not seen: {', '.join(sorted(unseen))}"
        registrations = self._outcome.report.registrations.values()
        nameless = dict.fromkeys(known.unreachable for known in registrations if known.unreachable)
        yield from (f"RPC services have no names: {reason}" for reason in nameless)
        yield from _limits(self._outcome.report, self._part, remembered=self._goes_on)
        if idle := self._outcome.verdict.idle:
            yield _without_effect(len(idle), named=self._settings.verbosity > 1)

    def _owners(self) -> Iterator[Owner]:
        """The owners of all services of which the text tells."""
        shown = [entry for found in self._part.findings.values() for entry in found]
        if self._settings.verbosity:
            shown += self._allowed()
        return (owner for entry in shown for owner in entry.owners)

    # What -v, -vv and -vvv add

    def _more(self) -> Iterator[Section]:
        if self._settings.verbosity > 1:
            yield each(list(self._passed_over()))
        if self._settings.verbosity > 2:
            yield each(list(_figures(self._outcome.report)))
        if self._settings.verbosity > 0:
            yield _section(self._allowed(), self._open)

    def _open(self, entry: Entry) -> Iterator[str]:
        yield f"open: {self._wording.entry(entry, _DETAIL)}"

    def _allowed(self) -> list[Entry]:
        """Services that a rule allows."""
        allowed = (Subject.allowed(judged) for judged in self._part.judged if judged.rule)
        return entries(self._outcome.report, allowed, by_program=True)

    def _passed_over(self) -> Iterator[str]:
        """Rules without effect, and ports that were not contacted or of which nothing is known."""
        verdict = self._outcome.verdict
        skips = self._outcome.task.policy.of_kind(Kind.SKIP)
        yield from (f"unused: {rule_text(rule)}" for rule in verdict.unused)
        yield from (f"no effect: {rule_text(rule)}" for rule in verdict.idle)
        yield from (f"skipped: {rule_text(rule)}" for rule in skips)
        filtered = self._outcome.report.coverage.filtered
        if filtered:
            yield f"filtered: {filtered} silent ports without a socket"


def _section(found: Iterable[Entry], texts: Callable[[Entry], Iterable[str]]) -> Section:
    """Entries to be told, of which each service counts once."""
    found = list(found)
    count = len({item for entry in found for item in entry.items})
    return Section(count, ((new, texts(entry)) for new, entry in told(found)))


def _process_known(owners: Sequence[Owner]) -> str:
    """``started 2026-11-25 01:02:03, unit cron.service``, as much of it as is known."""
    process = next((owner.processes[0] for owner in owners if owner.processes), None)
    known: list[str] = []
    if process and process.started:
        known.append(f"started {_moment(process.started)}")
    if process and process.unit:
        known.append(f"unit {short(process.unit)}")
    return ", ".join(known)


def _moment(seconds: float) -> str:
    """A time of day in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _limits(report: Report, part: Part, *, remembered: bool) -> Iterator[str]:
    """What was not probed; a clean first line tells that itself."""
    limits = limited(report, remembered=remembered)
    if limits and not part.is_clean:
        yield covered(report, remembered=remembered)
    if untracked := report.coverage.untracked:
        yield (
            f"{untracked} UDP ports looked up in place of probed, to leave room for "
            "connection tracking"
        )


def _without_effect(count: int, *, named: bool) -> str:
    rules = "1 rule has no effect now: what it names" if count == 1 else ""
    rules = rules or f"{count} rules have no effect now: what they name"
    return f"{rules} is not here or not scanned" + ("" if named else " (-vv names them)")


def _figures(report: Report) -> Iterator[str]:
    """What -vvv adds."""
    figures = report.coverage
    yield (
        f"coverage: {figures.probed} of {figures.ports} ports probed or listed, "
        f"{figures.looked_up + figures.untracked} looked up"
    )
    yield f"scan: {report.seconds:.3f} s by method {report.method}"
