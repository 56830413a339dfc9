"""The finished check as text for Nagios, Checkmk or programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from check_portcheck import __version__
from check_portcheck.config import Format
from check_portcheck.history import key
from check_portcheck.judgement import FindingKind
from check_portcheck.model import Severity, State
from check_portcheck.narrative import LONGEST_HEADLINE
from check_portcheck.policy import Kind
from check_portcheck.wording import clean, port_name, short

if TYPE_CHECKING:
    import nagiosplugin

    from check_portcheck.judgement import Finding
    from check_portcheck.model import Owner
    from check_portcheck.plugin import Portcheck
    from check_portcheck.policy import Rule

_LONGEST_OUTPUT = 8000
"""Bytes: Nagios keeps 8192 (MAX_PLUGIN_OUTPUT_LENGTH)."""

_LONGEST_CHECKMK_DETAILS = 4000
"""Characters of one service's details."""

_JSON_FORMAT = 1

# Checkmk takes quotes for ends of names and a backslash with n for the end of a line.
_CHECKMK = str.maketrans({'"': None, "'": None, "\\": "/"})


def nagios(check: nagiosplugin.Check) -> tuple[str, int]:
    """The first line with performance data, then the details, cut to what Nagios keeps."""
    perfdata = " ".join(
        str(performance)
        for result in check.results.results
        if result.metric and (performance := result.metric.performance())
    )
    first = f"{check.name.upper()} {str(check.state).upper()} - {check.summary_str}"
    if perfdata:
        first += f" | {perfdata}"
    lines = [first, *check.summary.verbose(check.results)]
    return "\n".join(_bounded(lines, _LONGEST_OUTPUT)) + "\n", check.exitcode


def checkmk(check: nagiosplugin.Check, resource: Portcheck) -> tuple[str, int]:
    """One local-check line per chosen interface; the exit code is 0, else the agent drops them."""
    if not resource.scanned:
        return unknown(check.summary_str, Format.CHECKMK)
    settings = resource.task.settings
    failures = dict(zip(resource.chosen.absent_devices, resource.chosen.failures, strict=True))
    lines: list[str] = []
    for name, count in resource.counts().items():
        failure = failures.get(name)
        part = resource.narrative.about(name, [failure] if failure else [])
        metrics = [
            f"open={count['open']}",
            _metric(FindingKind.UNEXPECTED, count, settings.severity_unexpected),
            _metric(FindingKind.MISSING, count, settings.severity_missing),
        ]
        details = _bounded(part.details(), _LONGEST_CHECKMK_DETAILS)
        text = "\\n".join(line.translate(_CHECKMK) for line in (part.headline(), *details))
        service = clean(name).translate(_CHECKMK)
        lines.append(f'{part.state():d} "Portcheck {service}" {"|".join(metrics)} {text}\n')
    return "".join(lines), State.OK


def aged(text: str, form: Format, taken: float, age: float, interval: int) -> str:
    """A remembered output, with its age where the format has a place for it."""
    match form:
        case Format.NAGIOS:
            first, newline, rest = text.partition("\n")
            headline, bar, perfdata = first.partition(" | ")
            return f"{headline} ({age:.0f} s ago){bar}{perfdata}{newline}{rest}"
        case Format.CHECKMK:
            lines = text.splitlines(keepends=True)
            return "".join(f"cached({taken:.0f},{interval}) {line}" for line in lines)
        case Format.JSON:
            import json

            return json.dumps(json.loads(text) | {"age": round(age)}, indent=2) + "\n"


def inactive(form: Format) -> str:
    """What is said when the check is switched off."""
    reason = "inactive (PortCheckActive = no)"
    match form:
        case Format.NAGIOS:
            return f"PORTCHECK OK - {reason}\n"
        case Format.CHECKMK:
            return f'0 "Portcheck" - {reason}\n'
        case Format.JSON:
            import json

            answer = {"format": _JSON_FORMAT, "version": __version__, "state": "OK"}
            return json.dumps(answer | {"exit_code": 0, "summary": reason}, indent=2) + "\n"


def unknown(reason: str, form: Format) -> tuple[str, int]:
    """What is said when nothing could be checked at all; *reason* may have several lines."""
    details = [clean(line) for line in reason.splitlines()] or ["no reason given"]
    first = short(details[0], LONGEST_HEADLINE)
    if first == details[0]:
        del details[0]
    match form:
        case Format.NAGIOS:
            lines = _bounded([f"PORTCHECK UNKNOWN - {first}", *details], _LONGEST_OUTPUT)
            return "\n".join(lines) + "\n", State.UNKNOWN
        case Format.CHECKMK:
            lines = [first, *_bounded(details, _LONGEST_CHECKMK_DETAILS)]
            text = "\\n".join(line.translate(_CHECKMK) for line in lines)
            return f'3 "Portcheck" - {text}\n', State.OK
        case Format.JSON:
            import json

            answer = {"format": _JSON_FORMAT, "version": __version__, "state": "UNKNOWN"}
            answer |= {"exit_code": State.UNKNOWN, "summary": first, "details": details}
            return json.dumps(answer, indent=2) + "\n", State.UNKNOWN


def as_json(check: nagiosplugin.Check, resource: Portcheck) -> tuple[str, int]:
    """One object with all that is known; exit code as for Nagios."""
    import json

    answer: dict[str, Any] = {
        "format": _JSON_FORMAT,
        "version": __version__,
        "state": str(check.state).upper(),
        "exit_code": check.exitcode,
        "summary": check.summary_str,
    }
    if resource.scanned:
        answer |= _json_report(resource)
    return json.dumps(answer, indent=2, ensure_ascii=True) + "\n", check.exitcode


def _bounded(lines: list[str], longest: int) -> list[str]:
    """As many lines as fit into *longest* bytes, then how many more there are."""
    kept: list[str] = []
    size = 0
    for place, line in enumerate(lines):
        more = f"... and {len(lines) - place} more\n"
        size += len(line.encode()) + 1
        if size + len(more) > longest and place:
            return [*kept, more.rstrip()]
        kept.append(line)
    return kept


def _metric(kind: FindingKind, count: dict[str, int], severity: Severity) -> str:
    """Value and levels in Checkmk's sense: the alarm begins at the level."""
    levels = {State.OK: "", State.WARNING: ";1", State.CRITICAL: ";1;1"}[severity.state]
    return f"{kind}={count[kind]}{levels}"


def _json_report(resource: Portcheck) -> dict[str, Any]:
    report, covered = resource.report, resource.report.coverage
    settings = resource.task.settings
    return {
        "method": report.method,
        "protocols": list(report.protocols),
        "ports": [report.lowest, report.highest],
        "severity": {
            FindingKind.UNEXPECTED: settings.severity_unexpected,
            FindingKind.MISSING: settings.severity_missing,
        },
        "interfaces": [
            {"address": each.address, "device": each.device, "chosen": list(each.chosen)}
            for each in report.interfaces
        ],
        "counts": {
            clean(name): {kind: count[kind] for kind in ("open", *FindingKind)}
            for name, count in resource.counts().items()
        },
        "services": _json_services(resource),
        "findings": [
            _json_finding(each) | {"since": resource.history.since.get(key(each))}
            for each in resource.verdict.findings
        ],
        "failures": [clean(failure.reason) for failure in resource.verdict.failures],
        "notes": [clean(note) for note in resource.notes],
        "events": [clean(event) for event in resource.history.events],
        "unused_rules": [
            {"rule": clean(str(rule)), "place": clean(rule.place)}
            for rule in resource.verdict.unused
        ],
        "coverage": {
            "ports": covered.ports,
            "probed": covered.probed,
            "looked_up": covered.looked_up,
            "untracked": covered.untracked,
            "filtered": covered.filtered,
        },
        "seconds": round(report.seconds, 3),
    }


def _json_services(resource: Portcheck) -> list[dict[str, Any]]:
    """Every open service with its verdict, the rule that allows it, evidence and owners."""
    found = {(e.interface, e.service.port): e for e in resource.verdict.findings if e.service}
    services: list[dict[str, Any]] = []
    for judged in resource.verdict.judged:
        service, rule = judged.service, judged.rule
        finding = found.get((service.interface, service.port))
        ignored = rule and rule.kind is Kind.IGNORE
        services.append(
            {
                "interface": service.interface.address,
                "port": service.port.number,
                "protocol": service.port.protocol,
                "name": port_name(service.port, service, resource.task.names),
                "rpc": [{"program": rpc.program, "name": str(rpc)} for rpc in service.rpc],
                "verdict": finding.kind if finding else "ignored" if ignored else "expected",
                "rule": _json_rule(rule),
                "evidence": service.evidence,
                "no_socket": service.no_socket,
                "forwarded": service.forwarded,
                "owners": [_json_owner(owner) for owner in service.owners or ()],
            }
        )
    return services


def _json_finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "interface": finding.interface.address,
        "item": clean(str(finding.item)),
        "rule": _json_rule(finding.rule),
        "reason": clean(finding.reason) or None,
    }


def _json_rule(rule: Rule | None) -> dict[str, str] | None:
    if rule is None:
        return None
    return {"kind": rule.kind, "text": clean(str(rule)), "place": clean(rule.place)}


def _json_owner(owner: Owner) -> dict[str, Any]:
    return {
        "user": owner.user and clean(owner.user),
        "kernel": owner.kernel,
        "unseen": owner.unseen and clean(owner.unseen),
        "processes": [
            {
                "pid": process.pid,
                "name": clean(process.name),
                "executable": process.executable and clean(process.executable),
                "command": [clean(argument) for argument in process.command],
                "user": process.user and clean(process.user),
                "started": process.started,
                "unit": process.unit and clean(process.unit),
            }
            for process in owner.processes
        ],
    }
