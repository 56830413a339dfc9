"""What was looked at: "full scan" only of a full one."""

from __future__ import annotations

import pytest

from check_portcheck.model import Coverage, Method, Protocol, Span
from check_portcheck.report.coverage import covered
from unit.samples import HERE, LOOPBACK, SIX, report, service

BOTH = report(service("22/tcp", HERE, SIX), interfaces=(HERE, SIX, LOOPBACK))
EACH = "65536 TCP and UDP ports each"


@pytest.mark.parametrize(
    ("method", "coverage", "text"),
    [
        (Method.FULL, Coverage(), f"full scan of {EACH}"),
        (Method.FULL, Coverage(1000, 1000, filtered=997), f"full scan of {EACH}"),
        (
            Method.FULL,
            Coverage(1000, 1000, filtered=998),
            "socket table of all, every probe filtered",
        ),
        (Method.FULL, Coverage(1000, 999), "socket table of all, 99 % probed"),
        (Method.FULL, Coverage(1000, 5, 900, untracked=95), "socket table of all, 0 % probed"),
        (Method.FULL, Coverage(1000, 0), "socket table of all, 0 % probed"),
        (
            Method.FULL,
            Coverage(1000, 500, filtered=498),
            "socket table of all, 50 % probed, every probe filtered",
        ),
        (Method.TABLE, Coverage(1000, 1000), f"socket table for {EACH}"),
        (Method.PROBE, Coverage(1000, 1000), f"probe of {EACH}"),
        (Method.PROBE, Coverage(1000, 160), f"probe of {EACH}, 16 % probed"),
    ],
)
def test_what_was_covered(method: Method, coverage: Coverage, text: str) -> None:
    of = BOTH._replace(method=method, coverage=coverage)
    assert covered(of, remembered=False) == text


@pytest.mark.parametrize(
    ("runs", "text"),
    [(7, "16 % probed, the whole in 7 runs"), (0, "16 % probed")],
)
def test_what_is_left_is_done_in_later_runs(runs: int, text: str) -> None:
    of = BOTH._replace(coverage=Coverage(1000, 160, runs=runs))
    assert covered(of, remembered=True) == f"socket table of all, {text}"
    assert covered(of, remembered=False) == "socket table of all, 16 % probed"


def test_one_port_of_one_protocol() -> None:
    of = report()._replace(protocols=(Protocol.TCP,), span=Span(22, 22))
    assert covered(of, remembered=True) == "full scan of 1 TCP port each"
