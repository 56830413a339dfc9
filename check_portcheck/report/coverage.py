"""What was looked at, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import Evidence, Method

if TYPE_CHECKING:
    from check_portcheck.model import Report


_MANY_FILTERED = 1000
"""So many filtered ports are more than daemons and rules of their own explain."""


def covered(report: Report, *, remembered: bool) -> str:
    """``full scan of 65536 TCP and UDP ports each``, or what there is of it.

    *remembered* is whether the next run goes on where this one stopped.
    """
    limits = limited(report, remembered=remembered)
    match report.method:
        case Method.TABLE:
            return f"socket table for {_ports(report)}"
        case Method.PROBE:
            return f"probe of {_ports(report)}" + (f", {limits}" if limits else "")
        case Method.FULL:
            return f"socket table of all, {limits}" if limits else f"full scan of {_ports(report)}"


def limited(report: Report, *, remembered: bool) -> str:
    """``16 % probed, the whole in 7 runs``; nothing where all were and could answer."""
    ports, probed, runs = report.coverage.ports, report.coverage.probed, report.coverage.runs
    limits: list[str] = []
    if probed < ports:
        limits.append(f"{probed * 100 // ports} % probed")
        if remembered and runs:
            limits.append(f"the whole in {runs} runs")
    if filtered := _filtered(report):
        limits.append(filtered)
    return ", ".join(limits)


def _filtered(report: Report) -> str:
    """``every probe filtered``, ``1999 of 2000 filtered``; nothing of no more than usual."""
    filtered = report.coverage.filtered
    if _all_filtered(report):
        return "every probe filtered"
    return f"{filtered} of {report.coverage.ports} filtered" if filtered >= _MANY_FILTERED else ""


def _all_filtered(report: Report) -> bool:
    """Whether no probe got an answer: then nothing was learnt beyond the socket table."""
    filtered, probed = report.coverage.filtered, report.coverage.probed
    return filtered > 0 and filtered >= probed - _listed(report)


def _listed(report: Report) -> int:
    """How many ports the socket table answered for, so that no probe went there."""
    return sum(
        len(service.interfaces)
        for service in report.services
        if service.evidence is Evidence.TABLE and service.interfaces[0].scanned
    )


def _ports(report: Report) -> str:
    count = report.span.last - report.span.first + 1
    protocols = " and ".join(protocol.upper() for protocol in report.protocols)
    return f"{count} {protocols} port{'s' * (count > 1)} each"
