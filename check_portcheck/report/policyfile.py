"""The present state as a policy file that one would keep: it holds when daemons start again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.config.options import chosen
from check_portcheck.model import Span, State
from check_portcheck.policy.rules import Kind
from check_portcheck.policy.verdict import FindingKind
from check_portcheck.report.bindings import Bindings
from check_portcheck.report.entries import mark
from check_portcheck.report.narrative import Narrative
from check_portcheck.report.rulelines import common_user, strongest
from check_portcheck.report.wording import Wording, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from check_portcheck.model import OpenService, Owner
    from check_portcheck.outcome import Outcome
    from check_portcheck.report.form import Answer

_RESERVED = Span(512, 1023)
"""Where RPC daemons get a port at each start (bindresvport(3))."""


class _Item(NamedTuple):
    """An item of a list."""

    text: str
    """``22/tcp``, ``nfs/tcp``, ``ephemeral/udp``."""
    kind: str
    """``Required`` or ``Optional``."""


class _Line(NamedTuple):
    """What one entry of a list says."""

    number: int
    """The lowest of its ports, by which it is sorted."""
    kind: str
    pattern: str
    item: str


def policy_file(outcome: Outcome) -> Answer:
    """A file that, given as --config, calls what is open now expected; and the exit code.

    What a daemon gets anew at each start is optional, an RPC service goes by its name, and what
    the present policy ignores or skips stays so. What could not be looked at stands before it.
    """
    present = outcome.task.settings
    kept = tuple(rule for rule in present.rules if rule.kind in (Kind.IGNORE, Kind.SKIP))
    text = "".join(f"# {line}\n" for line in _reservations(outcome))
    text += chosen(present._replace(rules=kept))
    for daemon, lines in _by_daemon(outcome):
        text += f"# {daemon}\n" if daemon else ""
        text += "".join(f"PortCheck{kind} = {where}:{item}\n" for _, kind, where, item in lines)
    return text, State.UNKNOWN if _is_in_doubt(outcome) else State.OK


def _reservations(outcome: Outcome) -> Iterator[str]:
    """What the policy may lack, and why."""
    yield from Narrative(outcome).reservations()
    if outcome.report.coverage.looked_up:
        yield "note: what is forwarded may be missing, a longer --timeout probes more"


def _is_in_doubt(outcome: Outcome) -> bool:
    """Whether something could not be determined, which the policy then says nothing of."""
    unverified = any(each.kind is FindingKind.UNVERIFIED for each in outcome.verdict.findings)
    return unverified or bool(outcome.report.failures)


def _by_daemon(outcome: Outcome) -> Iterator[tuple[str, list[_Line]]]:
    """The lines for each daemon, those of low ports first; each line once."""
    lines: defaultdict[str, list[_Line]] = defaultdict(list)
    known: set[tuple[str, str]] = set()
    for line, daemon in sorted(_Policy(outcome).lines()):
        entry = (line.pattern, line.item)
        if entry not in known:
            known.add(entry)
            lines[daemon].append(line)
    yield from lines.items()


class _Policy:
    """The lines that what is open stands for."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._report = outcome.report
        self._wording = Wording(outcome.report, outcome.task.names)
        self._bindings = Bindings(outcome.report.interfaces)
        self._rpc_daemons = self._holders_of_programs()

    def lines(self) -> Iterator[tuple[_Line, str]]:
        """Each line with the words for its daemon."""
        found: defaultdict[tuple[_Item, str, str], list[OpenService]] = defaultdict(list)
        for service in self._to_be_allowed():
            owners = self._wording.owners(service)
            daemon = self._daemon(service, owners)
            for part, programs in self._report.by_programs(service):
                for item in self._items(part, programs, owners):
                    found[item, self._owner(item, owners), daemon].append(part)
        for (item, owner, daemon), services in found.items():
            number = min(service.port.number for service in services)
            for pattern, everywhere in self._bindings.of(services):
                kind = item.kind if everywhere else "Optional"
                yield _Line(number, kind, pattern, item.text + owner), daemon

    def _to_be_allowed(self) -> Iterator[OpenService]:
        for judged in self._outcome.verdict.judged:
            if not (judged.rule and judged.rule.kind is Kind.IGNORE):
                yield judged.service

    def _items(
        self, service: OpenService, programs: Sequence[int], owners: Sequence[Owner]
    ) -> list[_Item]:
        """The items that allow a service on which some RPC programs are registered."""
        protocol, number = service.port
        if programs:
            names = map(self._outcome.task.names.rpc, programs)
            return [_Item(f"{name}/{protocol}", "Required") for name in names]
        if number in self._report.ephemeral:
            return [_Item(f"ephemeral/{protocol}", "Optional")]
        if number in _RESERVED and self._rpc_daemons.intersection(map(_holder, owners)):
            return [_Item(f"{_RESERVED}/{protocol}", "Optional")]
        return [_Item(str(service.port), "Required")]

    def _owner(self, item: _Item, owners: Sequence[Owner]) -> str:
        """The owner in a line: the strongest where more was asked for, the user of stretches."""
        if self._outcome.task.settings.verbosity:
            return strongest(owners)
        user = common_user(owners) if item.kind == "Optional" else None
        return f"@user:{user}" if user else ""

    def _holders_of_programs(self) -> set[object]:
        """Who holds ports on which RPC programs are registered."""
        holders: set[object] = set()
        for service in self._report.services:
            if any(programs for _, programs in self._report.by_programs(service)):
                holders.update(map(_holder, self._wording.owners(service)))
        return holders - {None}

    def _daemon(self, service: OpenService, owners: Iterable[Owner]) -> str:
        """``sshd, user root, unit ssh.service``, as much of it as is known."""
        if service.no_socket:
            return mark(self._report, service)
        return "; ".join(dict.fromkeys(filter(None, map(_words, owners))))


def _holder(owner: Owner) -> object:
    """What tells a daemon from others: its process, or else a user that no others have."""
    if owner.processes:
        return owner.processes[0].pid
    return owner.user if owner.user != "root" else None


def _words(owner: Owner) -> str:
    if owner.kernel:
        return "kernel"
    first = owner.processes[0] if owner.processes else None
    user = first.user if first else owner.user
    words = [
        short(first.name, 40) if first else "",
        f"user {short(user)}" if user else "",
        f"unit {short(first.unit)}" if first and first.unit else "",
    ]
    return ", ".join(filter(None, words))
