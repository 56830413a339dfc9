"""One look at some ports by the chosen method: table, probes, and the kernel's lookup."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from check_portcheck import sockettable
from check_portcheck.model import (
    Coverage,
    Evidence,
    Interface,
    Method,
    OpenService,
    Port,
    Protocol,
    Unanswered,
)
from check_portcheck.portset import PortSet

if TYPE_CHECKING:
    from collections.abc import Mapping

Target = tuple[Interface, Protocol]


@dataclass(frozen=True)
class Look:
    """What one look at some ports found."""

    services: tuple[OpenService, ...]
    unanswered: tuple[Unanswered, ...]
    coverage: Coverage


def look(
    method: Method, wanted: Mapping[Target, PortSet], until: float, start: int | None = None
) -> Look:
    """The open services among the wanted ports; what takes longer than *until* is left out.

    *until* is as of time.monotonic(); *start* is where an earlier run stopped (Coverage.resume).
    Raises SocketTableError or SweepError where nothing could be learnt.
    """
    table = () if method is Method.PROBE else sockettable.read()
    services: list[OpenService] = []
    unlisted: dict[Target, PortSet] = {}
    for interface in dict.fromkeys(interface for interface, _ in wanted):
        listed = sockettable.answering(table, interface)
        for protocol in Protocol:
            ports = wanted.get((interface, protocol), PortSet(()))
            known = sorted(p.number for p in listed if p.protocol is protocol and p.number in ports)
            for number in known:
                port = Port(protocol, number)
                services.append(OpenService(interface, port, Evidence.TABLE, listed[port]))
            unlisted[interface, protocol] = ports.minus(known)
    if method is Method.TABLE:
        total = sum(len(ports) for ports in wanted.values())
        return Look(tuple(services), (), Coverage(ports=total, probed=total))
    from check_portcheck.contact import contact  # what only a run that contacts ports needs

    found = contact(unlisted, until, start)
    covered = replace(
        found.coverage,
        ports=found.coverage.ports + len(services),
        probed=found.coverage.probed + len(services),
    )
    # Of what was left the table said before that it has no socket.
    unanswered = tuple(found.unknown()) if method is Method.PROBE else ()
    return Look((*services, *found.services), unanswered, covered)
