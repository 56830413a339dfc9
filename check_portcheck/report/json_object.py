"""One JSON object with all that is known, for programs."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from check_portcheck import __version__
from check_portcheck.model import NOTHING, State
from check_portcheck.policy.rules import Kind
from check_portcheck.report.form import INACTIVE
from check_portcheck.report.narrative import LONGEST_HEADLINE
from check_portcheck.report.wording import Wording, clean, reason_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from check_portcheck.memory.history import Event
    from check_portcheck.model import Coverage, Interface, OpenService, Owner, Process, Report
    from check_portcheck.outcome import Outcome
    from check_portcheck.policy.rules import Rule
    from check_portcheck.policy.verdict import Finding, Judged, Verdict
    from check_portcheck.report.entries import Programs
    from check_portcheck.report.form import Answer, Assessment

_MOST_IN_NEED = 100
"""Services, and findings, of an object that is told only where a run cannot be finished."""

_CHUNK = 500
"""Items of a list that are put into text at a time."""

_FORMAT = 2
"""The version of the object's form."""


class JsonObject:
    """One object; the exit code is that of the state."""

    def finished(self, outcome: Outcome, assessment: Assessment) -> Answer:
        """All that is known; of what is told only in case of need no more than is quickly made."""
        most = _MOST_IN_NEED if outcome.unfinished else None
        services = islice(_services(outcome), most)
        findings = islice(_findings(outcome), most)
        lists = {"services": services, "findings": findings}
        return _answer(assessment.state, assessment.headline, _known(outcome), lists)

    def reused(self, text: str, taken: float, age: float, interval: int) -> str:
        """The object has one more member: its age."""
        del taken, interval
        import json

        return _text(json.loads(text) | {"age": round(age)})

    def cut_short(self, text: str, reason: str) -> str:
        """The object has one more member, the reason; it may be too late to read it all again."""
        import json

        return f'{{"unfinished": {json.dumps(clean(reason))}, {text[1:]}'

    def inactive(self) -> Answer:
        """The check is switched off."""
        return _answer(State.OK, INACTIVE, {})

    def unknown(self, reason: str) -> Answer:
        """Nothing could be checked at all."""
        first, *details = reason_lines(reason, LONGEST_HEADLINE)
        return _answer(State.UNKNOWN, first, {"details": details})


def _answer(
    state: State,
    summary: str,
    more: Mapping[str, Any],
    lists: Mapping[str, Iterable[object]] = NOTHING,
) -> Answer:
    """The object with some members, and some that are lists."""
    head = {"format": _FORMAT, "version": __version__, "state": state.name, "exit_code": state}
    return _text({**head, "summary": summary, **more}, lists), state


def _text(members: Mapping[str, Any], lists: Mapping[str, Iterable[object]] = NOTHING) -> str:
    """One line; of the lists only the text is kept: they may have 60,000 items."""
    import json

    # Without indentation: with it the module's encoder in C is left aside.
    parts = [json.dumps(members, ensure_ascii=True)[:-1]]
    for name, items in lists.items():
        texts = (json.dumps(chunk, ensure_ascii=True)[1:-1] for chunk in _chunks(items))
        parts += (f', "{name}": [', ", ".join(texts), "]")
    return "".join((*parts, "}\n"))


def _chunks(items: Iterable[object]) -> Iterator[list[object]]:
    """The items, many at a time: for each text the module makes an encoder anew."""
    left = iter(items)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk


def _known(outcome: Outcome) -> dict[str, Any]:
    """What a run has to tell beyond its state, services and findings."""
    report, verdict = outcome.report, outcome.verdict
    return {
        "method": report.method,
        "protocols": list(report.protocols),
        "ports": list(report.span),
        "severity": outcome.task.settings.severities._asdict(),
        "interfaces": list(map(_interface, report.interfaces)),
        "counts": {clean(name): count._asdict() for name, count in outcome.counts().items()},
        "failures": [clean(failure.reason) for failure in report.failures],
        "notes": list(map(clean, outcome.notes)),
        "events": list(map(_event, outcome.history.events)),
        "unused_rules": list(map(_rule, verdict.unused)),
        "rules_without_effect": list(map(_rule, verdict.idle)),
        "coverage": _coverage(report.coverage),
        **(_left_out(verdict) if outcome.unfinished else {}),
        "seconds": round(report.seconds, 3),
    }


def _left_out(verdict: Verdict) -> dict[str, Any]:
    """How much of the lists is left out where there was no time for more."""
    whole = {"services": len(verdict.judged), "findings": len(verdict.findings)}
    return {"left_out": {name: max(0, count - _MOST_IN_NEED) for name, count in whole.items()}}


def _interface(interface: Interface) -> dict[str, Any]:
    return {
        "address": clean(interface.address),
        "device": clean(interface.device),
        "chosen": list(map(clean, interface.chosen)),
    }


def _services(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Every open service, by what is said of it and what is registered on it."""
    wording = Wording(outcome.report, outcome.task.names)
    for judged in outcome.verdict.judged:
        for service, programs in outcome.report.by_programs(judged.service):
            yield {
                **_where(service.interfaces),
                **_service(outcome, service, programs, wording),
                "verdict": _verdict(judged),
                "rule": judged.rule and _rule(judged.rule),
            }


def _where(interfaces: Sequence[Interface]) -> dict[str, Any]:
    """The addresses; of sockets that no scanned address reaches also what they are bound to."""
    bound = next((each for each in interfaces if not each.scanned), None)
    return {
        "interfaces": [clean(each.address) for each in interfaces],
        "bound": bound and {"address": clean(bound.address), "device": clean(bound.device) or None},
    }


def _service(
    outcome: Outcome, service: OpenService, programs: Programs, wording: Wording
) -> dict[str, Any]:
    """A service on the interfaces where *programs* are registered, with evidence and owners."""
    names = outcome.task.names
    known = outcome.report.registered(service.interfaces[0])
    rpc = [{"program": program, "name": clean(names.rpc(program))} for program in programs]
    return {
        "port": service.port.number,
        "protocol": service.port.protocol,
        "name": wording.port_name(service.port, programs),
        "rpc": rpc if known.unreachable is None else None,
        "rpc_reason": known.unreachable and clean(known.unreachable),
        "evidence": service.evidence,
        "no_socket": service.no_socket,
        "forwarded_to": _forwarded_to(outcome.report, service),
        **_owners(wording.owners(service), service),
    }


def _forwarded_to(report: Report, service: OpenService) -> dict[str, str] | None:
    """Where a port without a socket leads, by interface; null where that is not known."""
    ends = {each.address: report.forwarded.get((each, service.port)) for each in service.interfaces}
    return {address: str(end) for address, end in ends.items() if end} or None


def _owners(owners: Sequence[Owner], service: OpenService) -> dict[str, Any]:
    """The owners of all sockets, null with the reason where there is none to look at."""
    reason = None
    if len(owners) < len(service.sockets):
        reason = "not looked up"
    if service.no_socket:
        reason = "no socket"
    return {
        "owners": None if reason else [_owner(owner) for owner in owners],
        "owners_reason": reason,
    }


def _verdict(judged: Judged) -> str:
    """``expected``, ``ignored``, or the kind of finding that it is."""
    if judged.finding:
        return judged.finding.kind
    return "ignored" if judged.rule and judged.rule.kind is Kind.IGNORE else "expected"


def _findings(outcome: Outcome) -> Iterator[dict[str, Any]]:
    wording = Wording(outcome.report, outcome.task.names)
    for finding in outcome.verdict.findings:
        yield _finding(outcome, finding, wording)


def _finding(outcome: Outcome, finding: Finding, wording: Wording) -> dict[str, Any]:
    """What is wrong, with the service that is open, if one is."""
    history = outcome.history
    since = history.first_seen(finding.kind, finding.item, finding.interfaces)
    service = finding.service
    programs = outcome.report.programs_at(service.interfaces[0], service.port) if service else ()
    return {
        "kind": finding.kind,
        **_where(finding.interfaces),
        "item": clean(str(finding.item)),
        "service": service and _service(outcome, service, programs, wording),
        "rule": finding.rule and _rule(finding.rule),
        "reason": clean(finding.reason) or None,
        "since": since,
        "since_reason": None if since is not None else "no state file",
    }


def _rule(rule: Rule) -> dict[str, str]:
    return {"kind": rule.kind, "text": clean(str(rule)), "source": clean(rule.source)}


def _event(event: Event) -> dict[str, Any]:
    """What happened since the last run."""
    return {
        "what": event.what,
        "interfaces": [clean(each.address) for each in event.interfaces],
        "ports": list(map(str, event.ports)),
        "name": clean(event.name) or None,
        "before": list(map(str, event.before)),
    }


def _coverage(coverage: Coverage) -> dict[str, int]:
    """The figures, but for where the next run begins and how many follow."""
    figures = coverage._asdict()
    del figures["resume"], figures["runs"]
    return figures


@lru_cache(maxsize=1024)
def _owner(owner: Owner) -> dict[str, Any]:
    """Who holds a socket; the processes are null where they could not be seen.

    The same object for all sockets of an owner, of which there may be very many.
    """
    unseen = None if owner.processes else owner.unseen
    return {
        "user": owner.user and clean(owner.user),
        "kernel": owner.kernel,
        "processes": None if unseen else [_process(process) for process in owner.processes],
        "processes_reason": unseen,
    }


def _process(process: Process) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "name": clean(process.name),
        "executable": process.executable and clean(process.executable),
        "command": [clean(argument) for argument in process.command],
        "user": process.user and clean(process.user),
        "started": process.started,
        "unit": process.unit and clean(process.unit),
        "deleted": process.deleted,
    }
