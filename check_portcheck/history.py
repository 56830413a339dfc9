"""What changed since the last run: since when findings exist, what closed, what moved. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_portcheck.judgement import Finding, Verdict
    from check_portcheck.model import OpenService, ScanReport


@dataclass(frozen=True)
class Memory:
    """What one run leaves to the next."""

    taken: float
    """When the result was found, seconds since the epoch."""
    settings: str
    """Fingerprint of the settings under which it was found."""
    output: str
    """The result as it was printed."""
    code: int
    """Its exit code."""
    since: dict[str, float] = field(default_factory=dict)
    """When each finding was first seen, by its key."""
    open: dict[str, list[str]] = field(default_factory=dict)
    """The RPC programs of each open service, by its place."""
    resume: int = 0
    """Where the next run should begin to probe."""


@dataclass(frozen=True)
class History:
    """A run's findings and services against those of the last one."""

    since: dict[str, float] = field(default_factory=dict)
    """When each finding was first seen, by its key; empty where nothing is remembered."""
    events: tuple[str, ...] = ()
    """What happened since the last run, a line each: closed, moved."""


def key(finding: Finding) -> str:
    """What makes a finding the same one in the next run."""
    return f"{finding.kind} {finding.interface}:{finding.item}"


def place(service: OpenService) -> str:
    """What makes an open service the same one in the next run."""
    return f"{service.interface}:{service.port}"


def compare(memory: Memory | None, report: ScanReport, verdict: Verdict, now: float) -> History:
    """What *report* and *verdict*, found at *now*, mean after *memory*."""
    known = memory.since if memory else {}
    since = {key(finding): known.get(key(finding), now) for finding in verdict.findings}
    return History(since, tuple(_events(memory, report)) if memory else ())


def services(report: ScanReport) -> dict[str, list[str]]:
    """The open services in the form in which they are remembered.

    Left out are those without a socket: a later run may have no time to probe them again.
    """
    return {
        place(each): [str(rpc) for rpc in each.rpc]
        for each in report.services
        if not each.no_socket
    }


def _events(memory: Memory, report: ScanReport) -> Iterator[str]:
    """RPC programs on another port, then services that are open no more; both still scanned."""
    present = services(report)
    open_now = {place(each) for each in report.services}
    gone = [spot for spot in memory.open if spot not in open_now and _looked_at(report, spot)]
    ports_before, ports_now = _by_program(memory.open.items()), _by_program(present.items())
    moved: set[str] = set()
    for (interface, name, protocol), before in ports_before.items():
        after = ports_now.get((interface, name, protocol), [])
        left = [port for port in before if port not in after]
        arrived = [port for port in after if port not in before]
        if left and arrived:
            yield f"moved: {interface}:{', '.join(arrived)} ({name}), was {', '.join(left)}"
            moved.update(f"{interface}:{port}" for port in left)
    yield from (f"closed: {spot}" for spot in gone if spot not in moved)


def _looked_at(report: ScanReport, spot: str) -> bool:
    """Whether the report would have the service of an earlier one if it were open."""
    interface, _, port = spot.rpartition(":")
    number, _, protocol = port.partition("/")
    return interface in map(str, report.interfaces) and not any(
        (str(each.interface), each.protocol) == (interface, protocol)
        and each.lowest <= int(number) <= each.highest
        for each in report.unanswered
    )


def _by_program(
    opened: Iterable[tuple[str, list[str]]],
) -> dict[tuple[str, str, str], list[str]]:
    """The ports of each RPC program, by interface, name and protocol."""
    ports: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for spot, programs in opened:
        interface, _, port = spot.rpartition(":")
        for program in programs:
            ports[interface, program, port.partition("/")[2]].append(port)
    return ports
