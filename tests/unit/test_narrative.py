from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config.settings import Settings
from check_portcheck.memory.history import Event, History
from check_portcheck.model import Coverage, Failure, Method, Protocol, Severity, Span, State, Unseen
from check_portcheck.policy.verdict import Severities
from check_portcheck.report.narrative import LONGEST_HEADLINE, Narrative, bounded, fitted
from check_portcheck.report.wording import number_of
from unit.samples import (
    HERE,
    LOOPBACK,
    SIX,
    outcome,
    owned,
    registration,
    report,
    service,
    unanswered,
)

if TYPE_CHECKING:
    from check_portcheck.model import Report

GONE = Failure("device eth7 is gone", "eth7")


def story(
    of: Report,
    *rules: str,
    name: str | None = None,
    settings: Settings | None = None,
    history: History | None = None,
    notes: tuple[str, ...] = (),
) -> Narrative:
    """What is told of a report, or of the part that concerns one chosen name."""
    return Narrative(outcome(of, *rules, settings=settings, history=history, notes=notes), name)


def severities(unexpected: Severity = Severity.CRIT, missing: Severity = Severity.CRIT) -> Settings:
    """Settings with these severities."""
    return Settings(severities=Severities(unexpected, missing))


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


@pytest.mark.parametrize("length", [1, 50, 1000])
@pytest.mark.parametrize("count", [1, 100, 10000])
@pytest.mark.parametrize("char", ["x", "\u4e2d"])
def test_lines_are_kept_while_they_fit(char: str, count: int, length: int) -> None:
    lines = [char * length] * count
    kept = bounded(lines, 8000)
    if kept == lines:
        return
    *kept, last = kept
    assert kept == lines[: len(kept)]
    assert last == f"... and {count - len(kept)} more"
    size = sum(len(line.encode()) + 1 for line in kept)
    assert size + len(last) + 1 <= 8000
    # No line was left out that would have fitted.
    more = f"... and {count - len(kept) - 1} more\n"
    assert size + len(lines[0].encode()) + 1 + len(more) > 8000


def test_one_line_is_kept_whatever_its_length() -> None:
    assert bounded(["first line", "b", "c"], 3) == ["first line", "... and 2 more"]
    assert bounded([], 3) == []


# The first line


def test_a_clean_run_says_what_was_covered() -> None:
    of = report(service("22/tcp"), interfaces=(HERE, LOOPBACK))
    assert story(of, "optional * 22/tcp").headline() == (
        "1 open service on 2 interfaces, all expected (full scan of 65536 TCP and UDP ports each)"
    )


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (report()._replace(method=Method.TABLE), "socket table for 65536 TCP and UDP ports each"),
        (report()._replace(method=Method.PROBE), "probe of 65536 TCP and UDP ports each"),
        (
            report()._replace(protocols=(Protocol.TCP,), span=Span(22, 22)),
            "full scan of 1 TCP port each",
        ),
        (
            report()._replace(coverage=Coverage(ports=1000, probed=999)),
            "full scan of 65536 TCP and UDP ports each, swept 99 % of 1 address",
        ),
        (
            report(interfaces=(HERE, SIX))._replace(
                coverage=Coverage(1000, 5, 900, 0, untracked=95)
            ),
            "full scan of 65536 TCP and UDP ports each, swept 0 % of 2 addresses",
        ),
        (
            report()._replace(coverage=Coverage(ports=1000, probed=1000, filtered=900)),
            "full scan of 65536 TCP and UDP ports each",
        ),
    ],
)
def test_coverage(changed: Report, text: str) -> None:
    count = number_of(len(changed.interfaces), "interface")
    assert story(changed).headline() == f"0 open services on {count}, all expected ({text})"


def test_counts_come_first_and_the_worst_before_the_rest() -> None:
    of = report(
        service("80/tcp"),
        service("22/tcp"),
        unanswered=(unanswered("400-499/tcp"),),
        failures=(GONE,),
    )
    settings = severities(unexpected=Severity.WARN)
    assert story(of, "required * 25/tcp", settings=settings).headline() == (
        "1 missing, 1 unverified, 2 unexpected, 1 not looked at: "
        "25/tcp, required by required * 25/tcp"
    ).replace("25/tcp, req", "192.0.2.7:25/tcp, req") + (
        ", 192.0.2.7:400-499/tcp: unanswered and 3 more"
    )


@pytest.mark.parametrize("count", [0, 1, 10, 5000])
def test_the_first_line_has_its_length(count: int) -> None:
    services = [
        service(f"{number}/tcp", interface, owners=(owned("a" * 30, user="u" * 30),))
        for number in range(1, count + 1)
        for interface in (HERE, LOOPBACK, SIX)
    ]
    told = story(report(*services, interfaces=(HERE, LOOPBACK, SIX)))
    assert len(told.headline()) <= LONGEST_HEADLINE
    assert len("PORTCHECK CRITICAL - ") + LONGEST_HEADLINE + len(" (86400 s ago)") == 200
    if count > 1:
        assert told.headline().startswith(f"{count} unexpected: {{192.0.2.7,127.0.0.1,[2001:")
        assert told.headline().endswith(" more")


# The state


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        (Settings(), State.CRITICAL),
        (severities(unexpected=Severity.INFO), State.CRITICAL),
        (severities(missing=Severity.WARN), State.CRITICAL),
        (
            severities(Severity.INFO, Severity.WARN),
            State.UNKNOWN,
        ),
    ],
)
def test_the_state_is_that_of_the_worst_finding(settings: Settings, state: State) -> None:
    of = report(service("80/tcp"), unanswered=(unanswered("400-499/tcp"),))
    assert story(of, "required * 25/tcp", settings=settings).state() is state


def test_a_failure_is_unknown() -> None:
    assert story(report(failures=(GONE,))).state() is State.UNKNOWN
    assert story(report()).state() is State.OK


# The other lines


def test_each_finding_has_its_line_and_notes_follow() -> None:
    of = report(
        service("80/tcp", owners=(owned("nc", user="www"),)),
        service("80/tcp", LOOPBACK, owners=(owned("nc", user="www"),)),
        service("22/tcp"),
        interfaces=(HERE, LOOPBACK),
        failures=(GONE,),
    )
    told = story(of, "optional * 22/tcp", "required 127.0.0.1 25/tcp", notes=("a|note",))
    assert told.details() == [
        "unexpected: {192.0.2.7,127.0.0.1}:80/tcp nc[4711] user www",
        "missing: 127.0.0.1:25/tcp, required by required 127.0.0.1 25/tcp",
        "not looked at: device eth7 is gone",
        "note: a?note",
    ]


def test_a_remembered_finding_tells_its_age_and_what_happened() -> None:
    of = report(service("80/tcp"))
    since = {"192.0.2.7": {"unexpected 80/tcp": 86400.0 * 365}}
    history = History(since, (Event("closed", ("192.0.2.7",), "25/tcp\n"),))
    first, second = story(of, history=history).details()
    assert first.startswith("unexpected: 192.0.2.7:80/tcp, since 197")
    assert second == "closed: 192.0.2.7:25/tcp?"
    assert "since" not in story(of, history=history).headline()


def test_the_age_is_in_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History({"192.0.2.7": {"unexpected 80/tcp": 86400.0 * 365 + 3661}})
    told = story(report(service("80/tcp")), history=history)
    with monkeypatch.context() as local:
        local.setenv("TZ", "XXX-02:30")
        time.tzset()
        assert told.details() == ["unexpected: 192.0.2.7:80/tcp, since 1971-01-01 03:31:01"]
    time.tzset()


def test_many_interfaces_are_counted() -> None:
    many = tuple(HERE._replace(address=f"192.0.2.{n}") for n in range(1, 19))
    told = story(report(service("80/tcp", *many), interfaces=many))
    four = ",".join(f"192.0.2.{n}" for n in range(1, 5))
    sixteen = ",".join(f"192.0.2.{n}" for n in range(1, 17))
    assert told.headline() == f"1 unexpected: {{{four},14 more}}:80/tcp"
    assert told.details() == [f"unexpected: {{{sixteen},2 more}}:80/tcp"]
    told = story(
        report(service("80/tcp", *many), interfaces=many),
        "optional * 80/tcp",
        settings=Settings(verbosity=1),
        history=History(events=(Event("closed", tuple(map(str, many)), "25/tcp"),)),
    )
    assert told.details() == [
        f"closed: {{{sixteen},2 more}}:25/tcp"[:200],
        f"open: {{{sixteen},2 more}}:80/tcp, optional by optional * 80/tcp",
    ]


@pytest.mark.parametrize(
    ("length", "headline", "details"),
    [(120, "x" * 120, "x" * 120), (121, "x" * 117 + "...", "x" * 121)],
)
def test_why_something_was_not_looked_at_is_cut_in_the_first_line(
    length: int, headline: str, details: str
) -> None:
    told = story(report(failures=(Failure("x" * length, "eth7"),)))
    assert told.headline() == f"1 not looked at: {headline}"
    assert told.details() == [f"not looked at: {details}"]


def test_lines_of_foreign_text_have_their_lengths() -> None:
    events = (Event("closed", ("x" * 186,), "1/tcp"), Event("closed", ("x" * 187,), "1/tcp"))
    told = story(
        report(failures=(Failure("f" * 200, "eth7"), Failure("f" * 201, "eth8"))),
        history=History(events=events),
        notes=("n" * 300, "n" * 301),
    )
    assert told.details() == [
        f"not looked at: {'f' * 200}",
        f"not looked at: {'f' * 197}...",
        f"closed: {'x' * 186}:1/tcp",
        f"closed: {'x' * 187}:1...",
        f"note: {'n' * 300}",
        f"note: {'n' * 297}...",
    ]


def test_a_partial_sweep_is_noted_where_the_first_line_tells_of_findings() -> None:
    partial = report(service("80/tcp"))._replace(coverage=Coverage(ports=1000, probed=415))
    assert story(partial).details() == [
        "unexpected: 192.0.2.7:80/tcp",
        "note: swept 41 % of 1 address",
    ]
    assert story(partial, "optional * 80/tcp").details() == []
    absent = report(failures=(GONE,))._replace(coverage=Coverage(ports=1000, probed=999))
    assert story(absent).details()[1:] == ["note: swept 99 % of 1 address"]


def test_processes_that_were_not_seen_are_noted_of_what_is_shown() -> None:
    of = report(
        service("22/tcp", owners=(owned(unseen=Unseen.NOT_ROOT), owned(unseen=Unseen.ENDED))),
        service("80/tcp", owners=(owned(unseen=Unseen.HIDEPID), owned("nc"))),
    )
    rules = ("optional * 22/tcp",)
    assert story(of, *rules).details()[1:] == ["note: processes not seen: hidepid"]
    verbose = story(of, *rules, settings=Settings(verbosity=1)).details()
    assert verbose[1] == "note: processes not seen: hidepid, holder ended meanwhile, not root"


def test_a_portmapper_s_silence_is_noted_once_per_reason() -> None:
    every = (HERE, SIX, LOOPBACK)
    silent = {HERE: "timed out", SIX: "refused", LOOPBACK: "timed out"}
    assert story(report(interfaces=every, unreachable=silent)).details() == [
        "note: RPC services have no names: timed out",
        "note: RPC services have no names: refused",
    ]


def test_the_part_of_a_name_keeps_the_age_of_the_whole_finding() -> None:
    of = report(service("80/tcp", LOOPBACK, HERE), interfaces=(LOOPBACK, HERE))
    history = History({"127.0.0.1 192.0.2.7": {"unexpected 80/tcp": 86400.0 * 365}})
    for name in ("127.0.0.1", "192.0.2.7"):
        (line,) = story(of, name=name, history=history).details()
        assert line.startswith(f"unexpected: {name}:80/tcp, since 197")


def test_what_happened_on_several_interfaces_is_one_line() -> None:
    where = ("192.0.2.7", "[2001:db8::7]")
    history = History(
        events=(Event("moved", where, "2/tcp (nfs), was 1/tcp"), Event("closed", ("a",), "b"))
    )
    assert story(report(), history=history).details() == [
        "moved: {192.0.2.7,[2001:db8::7]}:2/tcp (nfs), was 1/tcp",
        "closed: a:b",
    ]


def test_a_program_is_named_where_it_is_registered() -> None:
    of = report(
        service("80/tcp", HERE, SIX, LOOPBACK),
        service("22/tcp", HERE, SIX),
        interfaces=(HERE, SIX, LOOPBACK),
        registered=(registration("80/tcp", "nfs", SIX), registration("22/tcp", "mountd", HERE)),
    )
    told = story(of, "optional * 22/tcp", settings=Settings(verbosity=1))
    assert (
        told.headline() == "2 unexpected: {192.0.2.7,127.0.0.1}:80/tcp, [2001:db8::7]:80/tcp (nfs)"
    )
    assert told.details() == [
        "unexpected: {192.0.2.7,127.0.0.1}:80/tcp",
        "unexpected: [2001:db8::7]:80/tcp (nfs)",
        "open: 192.0.2.7:22/tcp (mountd), optional by optional * 22/tcp",
        "open: [2001:db8::7]:22/tcp (maybe_ssh), optional by optional * 22/tcp",
    ]


def test_verbosity_adds_lines() -> None:
    of = report(service("22/tcp"), service("80/tcp"))._replace(
        coverage=Coverage(131072, 131000, 50, filtered=7, untracked=22)
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
        assert story(of, *rules, settings=settings).details() == [
            line for lines in added[: verbosity + 1] for line in lines
        ]


def test_what_limits_the_answer_is_noted() -> None:
    hidden = owned(unseen=Unseen.NOT_ROOT)
    of = report(
        service("80/tcp", owners=(hidden,)),
        service("81/tcp", owners=(hidden,)),
        unreachable={HERE: "timed out"},
    )
    assert story(of, "optional * 80/tcp").details()[1:] == [
        "note: processes not seen: not root",
        "note: RPC services have no names: timed out",
    ]


def test_the_part_of_one_interface() -> None:
    of = report(
        service("80/tcp"),
        service("22/tcp", LOOPBACK),
        interfaces=(HERE, LOOPBACK),
        failures=(GONE,),
    )
    rules = ("optional * 22/tcp",)
    assert story(of, *rules, name="192.0.2.7").headline() == "1 unexpected: 192.0.2.7:80/tcp"
    clean = story(of, *rules, name="127.0.0.1")
    assert clean.headline().startswith("1 open service on 1 interface, all expected (")
    assert (clean.state(), clean.details()) == (State.OK, [])
    absent = story(of, *rules, name="eth7")
    assert absent.headline() == "1 not looked at: device eth7 is gone"
    assert absent.state() is State.UNKNOWN
