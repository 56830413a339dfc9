"""How services, rules and findings read in a line of text; foreign text is cleaned here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import PortRange
from check_portcheck.policy.rules import Kind
from check_portcheck.report.interpreter import script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from check_portcheck.model import OpenService, Owner, Port, Process, Report
    from check_portcheck.names import Names
    from check_portcheck.policy.rules import Rule
    from check_portcheck.policy.verdict import Finding, Judged

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


def reason_lines(reason: str, longest: int) -> list[str]:
    """The lines of a reason; where the first is longer than *longest*, its beginning before it."""
    lines = [clean(line) for line in reason.splitlines()] or ["no reason given"]
    first = short(lines[0], longest)
    return lines if first == lines[0] else [first, *lines]


def number_of(count: int, one: str, many: str = "") -> str:
    """``1 interface``, ``2 interfaces``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def rule_text(rule: Rule) -> str:
    """``*:22/tcp@sshd, policy.conf:7``."""
    return f"{clean(str(rule))}, {clean(rule.source)}"


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
    running = script(process)
    return f"{short(process.name, 40)}[{process.pid}]" + (f" {short(running)}" if running else "")


class Wording:
    """The words for what a report shows, with the names that ports have."""

    def __init__(self, report: Report, names: Names) -> None:
        self._report = report
        self._names = names

    def port_name(self, port: Port, programs: Sequence[int] = ()) -> str | None:
        """``nfs`` for registered RPC programs, ``maybe_http`` for a name of /etc/services."""
        if programs:
            return short("/".join(map(self._names.rpc, programs)))
        name = self._names.services.get(port)
        return f"maybe_{short(name)}" if name else None

    def service_name(self, service: OpenService) -> str | None:
        """The name of an open service, the same on all its interfaces; None where it has none."""
        programs = self._report.programs_at(service.interfaces[0], service.port)
        return self.port_name(service.port, programs)

    def service(self, service: OpenService) -> str:
        """What follows the interface: ``8080/tcp (maybe_http-alt) python3[4711] user www-data``."""
        mark = ""
        if service.no_socket:
            mark = " forwarded" if service.port in self._report.forwarded else " no socket"
        owners = dict.fromkeys(map(owner_text, self.owners(service)))
        name = _in_parentheses(self.service_name(service))
        return f"{service.port}{name}{mark}{','.join(owners)}"

    def owners(self, service: OpenService) -> list[Owner]:
        """The owners of a service's sockets that were asked for."""
        owners = self._report.owners
        return [owners[socket] for socket in service.sockets if socket in owners]

    def finding(self, finding: Finding) -> str:
        """What follows the interface in the report of a finding."""
        text = self.service(finding.service) if finding.service else self._absent(finding)
        if finding.reason:
            text += f": {short(finding.reason, 200)}"
        if finding.rule:
            text += _named_by(finding.rule)
        return text

    def judged(self, judged: Judged) -> str:
        """What follows the interface for an open service that a rule allows."""
        text = self.service(judged.service)
        return text + _named_by(judged.rule) if judged.rule else text

    def _absent(self, finding: Finding) -> str:
        """What a finding without an open service is about."""
        port = finding.item.single if isinstance(finding.item, PortRange) else None
        name = self.port_name(port) if port else None
        return f"{finding.item}{_in_parentheses(name)}"


def folded(entries: Iterable[tuple[Iterable[object], str]], most: int) -> list[str]:
    """Entries that differ only in the interfaces as one: ``{192.0.2.7,127.0.0.1}:8080/tcp``.

    Each is of interfaces and what follows them. Of more than *most* interfaces the rest is counted.
    """
    where: dict[str, list[str]] = {}
    for interfaces, text in entries:
        where.setdefault(text, []).extend(clean(str(each)) for each in interfaces)
    return [f"{_listed(interfaces, most)}:{text}" for text, interfaces in where.items()]


def _listed(interfaces: Sequence[str], most: int) -> str:
    """``192.0.2.7``, or of several ``{192.0.2.7,127.0.0.1,3 more}``."""
    if len(interfaces) == 1:
        return interfaces[0]
    named = list(interfaces[:most])
    if len(interfaces) > most:
        named.append(f"{len(interfaces) - most} more")
    return f"{{{','.join(named)}}}"


def _in_parentheses(name: str | None) -> str:
    return f" ({name})" if name else ""


def _named_by(rule: Rule) -> str:
    kind = "ignored" if rule.kind is Kind.IGNORE else rule.kind
    return f", {kind} by {clean(rule.source)}"
