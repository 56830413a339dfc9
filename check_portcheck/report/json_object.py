"""One JSON object with all that is known, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from check_portcheck import __version__
from check_portcheck.model import State
from check_portcheck.policy.rules import Kind
from check_portcheck.report.form import INACTIVE
from check_portcheck.report.narrative import LONGEST_HEADLINE
from check_portcheck.report.wording import Wording, clean, folded, reason_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from check_portcheck.memory.history import Event, History
    from check_portcheck.model import Coverage, Interface, OpenService, Owner, Process
    from check_portcheck.outcome import Outcome
    from check_portcheck.policy.rules import Rule
    from check_portcheck.policy.verdict import Finding, Judged
    from check_portcheck.report.form import Answer, Assessment

_FORMAT = 2
"""The version of the object's form."""


class JsonObject:
    """One object; the exit code is that of the state."""

    def finished(self, outcome: Outcome, assessment: Assessment) -> Answer:
        """All that is known."""
        return _answer(assessment.state, assessment.headline, _known(outcome))

    def reused(self, text: str, taken: float, age: float, interval: int) -> str:
        """The object has one more member: its age."""
        del taken, interval
        import json

        return _text(json.loads(text) | {"age": round(age)})

    def inactive(self) -> Answer:
        """The check is switched off."""
        return _answer(State.OK, INACTIVE, {})

    def unknown(self, reason: str) -> Answer:
        """Nothing could be checked at all."""
        first, *details = reason_lines(reason, LONGEST_HEADLINE)
        return _answer(State.UNKNOWN, first, {"details": details})


def _answer(state: State, summary: str, more: Mapping[str, Any]) -> Answer:
    head = {"format": _FORMAT, "version": __version__, "state": state.name, "exit_code": state}
    return _text({**head, "summary": summary, **more}), state


def _text(members: Mapping[str, Any]) -> str:
    import json

    return json.dumps(members, indent=2, ensure_ascii=True) + "\n"


def _known(outcome: Outcome) -> dict[str, Any]:
    """What a run has to tell beyond its state."""
    report, verdict = outcome.report, outcome.verdict
    return {
        "method": report.method,
        "protocols": list(report.protocols),
        "ports": list(report.span),
        "severity": outcome.task.settings.severities._asdict(),
        "interfaces": list(map(_interface, report.interfaces)),
        "counts": {clean(name): count._asdict() for name, count in outcome.counts().items()},
        "services": list(_services(outcome)),
        "findings": [_finding(finding, outcome.history) for finding in verdict.findings],
        "failures": [clean(failure.reason) for failure in report.failures],
        "notes": list(map(clean, outcome.notes)),
        "events": list(map(_event, outcome.history.events)),
        "unused_rules": list(map(_rule, verdict.unused)),
        "coverage": _coverage(report.coverage),
        "seconds": round(report.seconds, 3),
    }


def _interface(interface: Interface) -> dict[str, Any]:
    return {
        "address": interface.address,
        "device": interface.device,
        "chosen": list(interface.chosen),
    }


def _services(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Every open service, by what is said of it and what is registered on it."""
    for judged in outcome.verdict.judged:
        for service, programs in outcome.report.by_programs(judged.service):
            yield _service(outcome, judged, service, programs)


def _service(
    outcome: Outcome, judged: Judged, service: OpenService, programs: Sequence[int]
) -> dict[str, Any]:
    """A judged service with its verdict, the rule that allows it, evidence and owners.

    *service* is the part of it on which *programs* are registered.
    """
    names = outcome.task.names
    wording = Wording(outcome.report, names)
    return {
        "interfaces": [each.address for each in service.interfaces],
        "port": service.port.number,
        "protocol": service.port.protocol,
        "name": wording.service_name(service),
        "rpc": [{"program": program, "name": names.rpc(program)} for program in programs],
        "verdict": _verdict(judged),
        "rule": judged.rule and _rule(judged.rule),
        "evidence": service.evidence,
        "no_socket": service.no_socket,
        "forwarded": service.port in outcome.report.forwarded,
        "owners": [_owner(owner) for owner in wording.owners(service)],
    }


def _verdict(judged: Judged) -> str:
    """``expected``, ``ignored``, or the kind of finding that it is."""
    if judged.finding:
        return judged.finding.kind
    return "ignored" if judged.rule and judged.rule.kind is Kind.IGNORE else "expected"


def _finding(finding: Finding, history: History) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "interfaces": [each.address for each in finding.interfaces],
        "item": clean(str(finding.item)),
        "rule": finding.rule and _rule(finding.rule),
        "reason": clean(finding.reason) or None,
        "since": history.first_seen(finding),
    }


def _rule(rule: Rule) -> dict[str, str]:
    return {"kind": rule.kind, "text": clean(str(rule)), "source": clean(rule.source)}


def _event(event: Event) -> str:
    (text,) = folded([(event.interfaces, event.text)], len(event.interfaces))
    return clean(f"{event.what}: {text}")


def _coverage(coverage: Coverage) -> dict[str, int]:
    """The figures, but for where the next run begins, which is nobody else's business."""
    figures = coverage._asdict()
    del figures["resume"]
    return figures


def _owner(owner: Owner) -> dict[str, Any]:
    return {
        "user": owner.user and clean(owner.user),
        "kernel": owner.kernel,
        "unseen": owner.unseen,
        "processes": [_process(process) for process in owner.processes],
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
    }
