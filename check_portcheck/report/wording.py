"""How services, rules and findings read in a line of text; foreign text is cleaned here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import PortRange, Span
from check_portcheck.policy.rules import Kind
from check_portcheck.report.interpreter import script
from check_portcheck.report.places import Places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from check_portcheck.model import OpenService, Owner, Port, Process, Protocol, Report
    from check_portcheck.names import Names
    from check_portcheck.policy.rules import Item, Rule
    from check_portcheck.report.entries import Entry, Programs

_LONGEST_FOREIGN = 120


def clean(text: str) -> str:
    """*text* without anything that a monitoring system could take for more than text.

    That is control characters, line ends, bytes that are no UTF-8 (lone surrogates here), invisible
    and bidirectional marks, and ``|``, behind which performance data is looked for.
    """
    if text.isprintable() and "|" not in text:  # as nearly all is
        return text
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
    gone = " (deleted)" if process.deleted else ""
    name = f"{short(process.name, 40)}[{process.pid}]{gone}"
    return name + (f" {short(running)}" if running else "")


def spans(items: Iterable[Item]) -> dict[Protocol, list[Span]]:
    """The ports among the items by protocol, those that follow each other as one."""
    found: dict[Protocol, list[Span]] = {}
    for protocol, (first, last) in sorted(each for each in items if isinstance(each, PortRange)):
        known = found.setdefault(protocol, [])
        if known and first <= known[-1].last + 1:
            known[-1] = Span(known[-1].first, max(last, known[-1].last))
        else:
            known.append(Span(first, last))
    return found


def ports_text(items: Iterable[Item], most: int) -> str:
    """``20000-20199,45678/tcp,53/udp``; of each protocol *most* stretches, the rest is counted."""
    items = list(items)
    programs = [short(str(item)) for item in items if not isinstance(item, PortRange)]
    ports = (f"{_stretches(each, most)}/{protocol}" for protocol, each in spans(items).items())
    return ",".join((*programs, *ports))


def _stretches(of: Sequence[Span], most: int) -> str:
    named = [str(span) for span in of[:most]]
    if more := sum(last - first + 1 for first, last in of[most:]):
        named.append(f"{more} more")
    return ",".join(named)


class Wording:
    """The words for what a report shows, with the names that ports have."""

    def __init__(self, report: Report, names: Names) -> None:
        self._report = report
        self._names = names
        self.places = Places(report.interfaces)

    def port_name(self, port: Port, programs: Programs = ()) -> str | None:
        """``nfs`` for registered RPC programs, ``maybe_http`` for a name of /etc/services."""
        if programs:
            return short("/".join(map(self._names.rpc, programs)))
        name = self._names.services.get(port)
        return f"maybe_{short(name)}" if name else None

    def service_name(self, service: OpenService) -> str | None:
        """The name of an open service, the same on all its interfaces; None where it has none."""
        programs = self._report.programs_at(service.interfaces[0], service.port)
        return self.port_name(service.port, programs)

    def owners(self, service: OpenService) -> list[Owner]:
        """The owners of a service's sockets that were asked for."""
        owners = self._report.owners
        return [owners[socket] for socket in service.sockets if socket in owners]

    def entry(self, entry: Entry, most: int) -> str:
        """``*:8080/tcp (maybe_http-alt) python3[4711] user www-data``.

        Of more than *most* places, or stretches of ports, the rest is counted.
        """
        name = self._common_name(entry.items)
        words = [
            f"{self._where(entry, most)}:{ports_text(entry.items, most)}",
            f" ({name})" if name else "",
            f" {entry.mark}" if entry.mark else "",
            ",".join(dict.fromkeys(map(owner_text, entry.owners))),
            f": {short(entry.reason, 200)}" if entry.reason else "",
            _named_by(entry.rule) if entry.rule else "",
        ]
        return "".join(words)

    def _where(self, entry: Entry, most: int) -> str:
        """Where it is, which is what the rule names where that is not here, or not scanned."""
        if not entry.interfaces:
            return clean(str(entry.rule.where)) if entry.rule else ""
        return clean(self.places.text(entry.interfaces, most))

    def _common_name(self, items: Mapping[Item, Programs]) -> str | None:
        """The name that all ports have, None where there is no such."""
        names = self._port_names(items)
        first = next(names, None)
        return first if first and all(name == first for name in names) else None

    def _port_names(self, items: Mapping[Item, Programs]) -> Iterator[str | None]:
        for item, programs in items.items():
            port = item.single if isinstance(item, PortRange) else None
            yield self.port_name(port, programs) if port else None


def _named_by(rule: Rule) -> str:
    kind = "ignored" if rule.kind is Kind.IGNORE else rule.kind
    return f", {kind} by {clean(rule.source)}"
