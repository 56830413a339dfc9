"""The present state as a policy file, to start one from."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.config.options import effective
from check_portcheck.model import State
from check_portcheck.policy.rules import Kind
from check_portcheck.report.wording import Wording, owner_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from check_portcheck.model import Interface, OpenService, Port
    from check_portcheck.outcome import Outcome
    from check_portcheck.policy.verdict import Verdict
    from check_portcheck.report.form import Answer


class _Entry(NamedTuple):
    """An item of a list."""

    kind: str
    """``Required`` or ``Optional``."""
    item: str
    """``22/tcp``, ``nfs/tcp``."""


class _Open(NamedTuple):
    """Where what an entry stands for is open, and who holds it."""

    interfaces: list[Interface]
    owners: dict[str, None]


def policy_file(outcome: Outcome) -> Answer:
    """A file that, given as --config, calls what is open now expected; and the exit code.

    What may be on another port next time (the kernel's range for clients) is optional, an RPC
    service goes by its name, and what the present policy ignores or skips stays so.
    """
    present = outcome.task.settings
    kept = tuple(rule for rule in present.rules if rule.kind in (Kind.IGNORE, Kind.SKIP))
    text = effective(present._replace(rules=kept, print_policy=False))
    for entry, found in _found(outcome).items():
        if found.owners:
            text += f"# {', '.join(found.owners)}\n"
        for pattern in _patterns(found.interfaces, outcome.report.interfaces):
            text += f"PortCheck{entry.kind} = {pattern}:{entry.item}\n"
    return text, State.OK


def _found(outcome: Outcome) -> dict[_Entry, _Open]:
    """What is open and not ignored, by the entries that stand for it."""
    wording = Wording(outcome.report, outcome.task.names)
    entries: defaultdict[_Entry, _Open] = defaultdict(lambda: _Open([], {}))
    for service in _to_be_allowed(outcome.verdict):
        owners = {owner_text(owner).strip(): None for owner in wording.owners(service)}
        for part, programs in outcome.report.by_programs(service):
            for entry in _entries(outcome, part.port, programs):
                entries[entry].interfaces.extend(part.interfaces)
                entries[entry].owners.update(owners)
    return entries


def _to_be_allowed(verdict: Verdict) -> Iterator[OpenService]:
    for judged in verdict.judged:
        if not (judged.rule and judged.rule.kind is Kind.IGNORE):
            yield judged.service


def _entries(outcome: Outcome, port: Port, programs: Sequence[int]) -> Iterable[_Entry]:
    """The items that allow a port on which some RPC programs are registered."""
    protocol, number = port
    if programs:
        names = outcome.task.names
        return [_Entry("Required", f"{names.rpc(program)}/{protocol}") for program in programs]
    changing = number in outcome.report.ephemeral
    return [_Entry("Optional" if changing else "Required", str(port))]


def _patterns(interfaces: Collection[Interface], scanned: Collection[Interface]) -> list[str]:
    """``*`` for all that are scanned, a device for all of its addresses, else addresses."""
    left = set(interfaces)
    if left == set(scanned):
        return ["*"]
    patterns: list[str] = []
    for device in _chosen_devices(scanned):
        addresses = {each for each in scanned if each.device == device}
        if addresses <= left:
            patterns.append(device)
            left -= addresses
    return patterns + [str(each) for each in scanned if each in left]


def _chosen_devices(scanned: Collection[Interface]) -> list[str]:
    """The devices that were chosen as such, so that their addresses may change."""
    names = (name for each in scanned for name in each.chosen if name == each.device)
    return list(dict.fromkeys(names))
