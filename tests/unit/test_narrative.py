from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config import Settings
from check_portcheck.history import History, key
from check_portcheck.judgement import judge
from check_portcheck.model import Coverage, Failure, Method, Protocol, Severity, State
from check_portcheck.narrative import LONGEST_HEADLINE, Narrative, coverage_text, fitted
from unit.samples import (
    HERE,
    LOOPBACK,
    SIX,
    names,
    owned,
    policy,
    report,
    service,
    task,
    unanswered,
)

if TYPE_CHECKING:
    from pathlib import Path

    from check_portcheck.model import ScanReport
    from check_portcheck.names import Names


@pytest.fixture(name="known")
def known_fixture(tmp_path: Path) -> Names:
    return names(tmp_path)


def story(
    known: Names,
    of: ScanReport,
    *rules: str,
    settings: Settings | None = None,
    history: History | None = None,
    notes: tuple[str, ...] = (),
) -> Narrative:
    allowed = policy(*rules)
    scan = task(settings or Settings(), allowed, known, of.interfaces)
    return Narrative.of(scan, of, judge(of, allowed), history or History(), notes)


# Fitting


@given(
    st.text(max_size=20),
    st.lists(st.text(min_size=1, max_size=60)),
    st.integers(40, 200),
)
def test_what_does_not_fit_is_counted(head: str, items: list[str], longest: int) -> None:
    text = fitted(head, items, longest)
    assert text.startswith(head)
    if items:
        assert len(text) <= longest
    whole = head + ", ".join(items)
    if len(whole) <= longest:
        assert text == whole


@pytest.mark.parametrize(
    ("longest", "text"),
    [
        (100, "3 found: one, two, three"),
        (24, "3 found: one, two, three"),
        (23, "3 found: one and 2 more"),
        (22, "3 found:... and 2 more"),
    ],
)
def test_items_stay_whole(longest: int, text: str) -> None:
    assert fitted("3 found: ", ["one", "two", "three"], longest) == text


# The first line


def test_a_clean_run_says_what_was_covered(known: Names) -> None:
    of = report(service("22/tcp"), interfaces=(HERE, LOOPBACK))
    assert story(known, of, "optional * 22/tcp").headline() == (
        "1 open service on 2 interfaces, all expected (full scan of 65536 TCP and UDP ports each)"
    )


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (replace(report(), method=Method.TABLE), "socket table for 65536 TCP and UDP ports each"),
        (replace(report(), method=Method.PROBE), "probe of 65536 TCP and UDP ports each"),
        (
            replace(report(), protocols=(Protocol.TCP,), lowest=22, highest=22),
            "full scan of 1 TCP port each",
        ),
        (
            replace(report(), coverage=Coverage(ports=1000, probed=999)),
            "full scan of 65536 TCP and UDP ports each, swept 99 % of 1 address",
        ),
        (
            replace(
                report(interfaces=(HERE, SIX)), coverage=Coverage(1000, 5, 900, 0, untracked=95)
            ),
            "full scan of 65536 TCP and UDP ports each, swept 0 % of 2 addresses",
        ),
        (
            replace(report(), coverage=Coverage(ports=1000, probed=1000, filtered=900)),
            "full scan of 65536 TCP and UDP ports each",
        ),
    ],
)
def test_coverage(changed: ScanReport, text: str) -> None:
    assert coverage_text(changed) == text


def test_counts_come_first_and_the_worst_before_the_rest(known: Names) -> None:
    of = report(
        service("80/tcp"),
        service("22/tcp"),
        unanswered=(unanswered("400-499/tcp"),),
        failures=(Failure("device eth7 is gone"),),
    )
    settings = Settings(severity_unexpected=Severity.WARN)
    assert story(known, of, "required * 25/tcp", settings=settings).headline() == (
        "1 missing, 1 unverified, 2 unexpected, 1 not looked at: "
        "25/tcp, required by required * 25/tcp"
    ).replace("25/tcp, req", "192.0.2.7:25/tcp, req") + (
        ", 192.0.2.7:400-499/tcp: unanswered and 3 more"
    )


@pytest.mark.parametrize("count", [0, 1, 10, 5000])
def test_the_first_line_has_its_length(known: Names, count: int) -> None:
    services = [
        service(f"{number}/tcp", interface, owners=(owned("a" * 30, user="u" * 30),))
        for number in range(1, count + 1)
        for interface in (HERE, LOOPBACK, SIX)
    ]
    told = story(known, report(*services, interfaces=(HERE, LOOPBACK, SIX)))
    assert len(told.headline()) <= LONGEST_HEADLINE
    assert len("PORTCHECK CRITICAL - ") + LONGEST_HEADLINE + len(" (86400 s ago)") <= 200
    if count > 1:
        assert told.headline().startswith(f"{count} unexpected: {{192.0.2.7,127.0.0.1,[2001:")
        assert told.headline().endswith(" more")


# The state


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        (Settings(), State.CRITICAL),
        (Settings(severity_unexpected=Severity.INFO), State.CRITICAL),
        (Settings(severity_missing=Severity.WARN), State.CRITICAL),
        (
            Settings(severity_unexpected=Severity.INFO, severity_missing=Severity.WARN),
            State.UNKNOWN,
        ),
    ],
)
def test_the_state_is_that_of_the_worst_finding(
    known: Names, settings: Settings, state: State
) -> None:
    of = report(service("80/tcp"), unanswered=(unanswered("400-499/tcp"),))
    assert story(known, of, "required * 25/tcp", settings=settings).state() is state


def test_a_failure_is_unknown(known: Names) -> None:
    assert story(known, report(failures=(Failure("gone"),))).state() is State.UNKNOWN
    assert story(known, report()).state() is State.OK


# The other lines


def test_each_finding_has_its_line_and_notes_follow(known: Names) -> None:
    of = report(
        service("80/tcp", owners=(owned("nc", user="www"),)),
        service("80/tcp", LOOPBACK, owners=(owned("nc", user="www"),)),
        service("22/tcp"),
        interfaces=(HERE, LOOPBACK),
        failures=(Failure("device eth7 is gone"),),
    )
    told = story(known, of, "optional * 22/tcp", "required 127.0.0.1 25/tcp", notes=("a|note",))
    assert told.details() == [
        "unexpected: {192.0.2.7,127.0.0.1}:80/tcp nc[4711] user www",
        "missing: 127.0.0.1:25/tcp, required by required 127.0.0.1 25/tcp",
        "not looked at: device eth7 is gone",
        "note: a?note",
    ]


def test_a_remembered_finding_tells_its_age_and_what_happened(known: Names) -> None:
    of = report(service("80/tcp"))
    (finding,) = judge(of, policy()).findings
    history = History({key(finding): 86400.0 * 365}, ("closed: 192.0.2.7:25/tcp\n",))
    first, second = story(known, of, history=history).details()
    assert first.startswith("unexpected: 192.0.2.7:80/tcp, since 197")
    assert second == "closed: 192.0.2.7:25/tcp?"
    assert "since" not in story(known, of, history=history).headline()


def test_verbosity_adds_lines(known: Names) -> None:
    of = replace(
        report(service("22/tcp"), service("80/tcp")),
        coverage=Coverage(131072, 131000, 50, filtered=7, untracked=22),
    )
    rules = ("optional * 22/tcp", "ignore * 80/tcp", "optional * 25/tcp", "skip * 9/tcp")
    added = [
        ["note: 22 UDP ports looked up in place of probed, to leave room for connection tracking"],
        [
            "open: 192.0.2.7:22/tcp (maybe_ssh), optional by optional * 22/tcp",
            "open: 192.0.2.7:80/tcp, ignored by ignore * 80/tcp",
        ],
        [
            "unused: *:25/tcp, optional * 25/tcp",
            "skipped: *:9/tcp, skip * 9/tcp",
            "filtered: 7 silent ports without a socket",
        ],
        [
            "coverage: 131000 of 131072 ports probed or listed, 72 looked up",
            "scan: 1.500 s by method full",
        ],
    ]
    for verbosity in range(4):
        settings = Settings(verbosity=verbosity)
        assert story(known, of, *rules, settings=settings).details() == [
            line for lines in added[: verbosity + 1] for line in lines
        ]


def test_what_limits_the_answer_is_noted(known: Names) -> None:
    hidden = owned(unseen="not root")
    of = report(
        service("80/tcp", owners=(hidden,)),
        service("81/tcp", owners=(hidden,)),
        failures=(Failure("timed out", HERE, rpc_only=True),),
    )
    assert story(known, of, "optional * 80/tcp").details()[1:] == [
        "note: processes not seen: not root",
        "note: RPC services have no names: timed out",
    ]


def test_the_part_of_one_interface(known: Names) -> None:
    of = report(
        service("80/tcp"),
        service("22/tcp", LOOPBACK),
        interfaces=(HERE, LOOPBACK),
        failures=(Failure("device eth7 is gone"),),
    )
    whole = story(known, of, "optional * 22/tcp")
    assert whole.about("192.0.2.7", []).headline() == "1 unexpected: 192.0.2.7:80/tcp"
    clean = whole.about("127.0.0.1", [])
    assert clean.headline().startswith("1 open service on 1 interface, all expected (")
    assert (clean.state(), clean.details()) == (State.OK, [])
    absent = whole.about("eth7", of.failures)
    assert absent.headline() == "1 not looked at: device eth7 is gone"
    assert absent.state() is State.UNKNOWN
