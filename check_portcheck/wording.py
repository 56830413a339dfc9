"""How services, rules and findings read in a line of text; foreign text is cleaned here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.judgement import Finding, FindingKind
from check_portcheck.policy import Kind, PortRange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.judgement import Judged
    from check_portcheck.model import Interface, OpenService, Owner, Port, Process
    from check_portcheck.names import Names
    from check_portcheck.policy import Rule

_LONGEST_FOREIGN = 120


def clean(text: str) -> str:
    """*text* without anything that a monitoring system could take for more than text.

    That is control characters, line ends, bytes that are no UTF-8 (lone surrogates here), invisible
    and bidirectional marks, and ``|``, behind which performance data is looked for.
    """
    return "".join(char if char.isprintable() and char != "|" else "?" for char in text)


def short(text: str, longest: int = _LONGEST_FOREIGN) -> str:
    """*text*, cleaned, cut to a length that leaves room for others."""
    cleaned = clean(text)
    return cleaned if len(cleaned) <= longest else cleaned[: longest - 3] + "..."


def port_name(port: Port, service: OpenService | None, names: Names) -> str | None:
    """``nfs`` for registered RPC programs, ``maybe_http`` for a name of /etc/services."""
    if service and service.rpc:
        return short("/".join(str(rpc) for rpc in service.rpc))
    name = names.service(port)
    return f"maybe_{short(name)}" if name else None


def _in_parentheses(name: str | None) -> str:
    return f" ({name})" if name else ""


def owner_text(owner: Owner) -> str:
    """`` python3[4711] user www-data``, or as much of it as is known."""
    if owner.kernel:
        return " kernel"
    holder = ""
    if owner.processes:
        first = owner.processes[0]
        more = f" and {len(owner.processes) - 1} more" if len(owner.processes) > 1 else ""
        holder = f" {process_text(first)}{more}"
    user = owner.processes[0].user if owner.processes else owner.user
    return holder + (f" user {short(user)}" if user is not None else "")


def process_text(process: Process) -> str:
    """``python3[4711]``, for an interpreter with the script: ``python3[4711] /srv/app.py``."""
    from check_portcheck.owners import script

    running = script(process)
    return f"{short(process.name, 40)}[{process.pid}]" + (f" {short(running)}" if running else "")


def service_text(service: OpenService, names: Names) -> str:
    """What follows the interface: ``8080/tcp (maybe_http-alt) python3[4711] user www-data``."""
    mark = ""
    if service.no_socket:
        mark = " forwarded" if service.forwarded else " no socket"
    owners = dict.fromkeys(owner_text(owner) for owner in service.owners or ())
    name = _in_parentheses(port_name(service.port, service, names))
    return f"{service.port}{name}{mark}{','.join(owners)}"


def finding_text(finding: Finding, names: Names) -> str:
    """What follows the interface in the report of a finding."""
    if finding.service:
        text = service_text(finding.service, names)
    else:
        text = str(finding.item)
        if isinstance(finding.item, PortRange) and finding.item.single:
            text += _in_parentheses(port_name(finding.item.single, None, names))
    if finding.reason:
        text += f": {short(finding.reason, 200)}"
    if finding.kind is not FindingKind.UNEXPECTED and finding.rule:
        text += _named_by(finding.rule)
    return text


def judged_text(judged: Judged, names: Names) -> str:
    """What follows the interface for an open service that a rule allows."""
    text = service_text(judged.service, names)
    if judged.rule:
        text += _named_by(judged.rule)
    return text


def _named_by(rule: Rule) -> str:
    kind = "ignored" if rule.kind is Kind.IGNORE else rule.kind
    return f", {kind} by {clean(rule.place)}"


def folded(entries: Iterable[tuple[Interface, str]], most: int) -> list[str]:
    """Entries that differ only in the interface as one: ``{192.0.2.7,127.0.0.1}:8080/tcp``.

    Of more than *most* interfaces the rest is counted.
    """
    interfaces: dict[str, list[str]] = {}
    for interface, text in entries:
        interfaces.setdefault(text, []).append(clean(str(interface)))
    lines: list[str] = []
    for text, where in interfaces.items():
        named = where[:most] + ([f"{len(where) - most} more"] if len(where) > most else [])
        lines.append(f"{named[0]}:{text}" if len(where) == 1 else f"{{{','.join(named)}}}:{text}")
    return lines
