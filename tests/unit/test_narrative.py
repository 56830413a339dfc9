from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config.settings import Settings
from check_portcheck.memory.history import Event, History
from check_portcheck.model import (
    Coverage,
    Failure,
    Interface,
    Owner,
    Process,
    Severity,
    State,
    Unseen,
)
from check_portcheck.policy.verdict import Severities
from check_portcheck.report.narrative import LONGEST_HEADLINE, Narrative
from check_portcheck.report.parts import everything
from unit.samples import (
    HERE,
    LOOPBACK,
    SIX,
    outcome,
    owned,
    port,
    registration,
    report,
    service,
    unanswered,
)

if TYPE_CHECKING:
    from check_portcheck.model import Report
    from unit.samples import Seen

GONE = Failure("device eth7 is gone", "eth7")


class Story:
    """What is told of a report, or of the part that concerns one chosen name."""

    def __init__(
        self,
        of: Report,
        *rules: str,
        name: str | None = None,
        settings: Settings | None = None,
        history: History | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        told = outcome(of, *rules, settings=settings, history=history, notes=notes)
        whole = everything(told)
        part = whole.of(name, first=name == told.task.chosen.counted[0]) if name else whole
        self._narrative = Narrative(told, part)

    def headline(self) -> str:
        return self._narrative.headline()

    def state(self) -> State:
        return self._narrative.state()

    def lines(self) -> list[str]:
        """The details."""
        return [line.text for line in self._narrative.details()]

    def details(self) -> list[str]:
        """The details without what would allow a finding."""
        return [line for line in self.lines() if not line.startswith("  ")]


def story(
    of: Report,
    *rules: str,
    name: str | None = None,
    settings: Settings | None = None,
    history: History | None = None,
    notes: tuple[str, ...] = (),
) -> Story:
    return Story(of, *rules, name=name, settings=settings, history=history, notes=notes)


def severities(unexpected: Severity = Severity.CRIT, missing: Severity = Severity.CRIT) -> Settings:
    """Settings with these severities."""
    return Settings(severities=Severities(unexpected, missing))


# The first line


def test_a_clean_run_says_what_was_covered() -> None:
    of = report(service("22/tcp"), interfaces=(HERE, LOOPBACK))
    assert story(of, "optional * 22/tcp").headline() == (
        "1 open service on 2 interfaces, all expected (full scan of 65536 TCP and UDP ports each)"
    )


def test_a_clean_run_says_what_was_left_out() -> None:
    partial = report()._replace(coverage=Coverage(ports=1000, probed=160, runs=7))
    assert story(partial, settings=Settings(state="/x")).headline() == (
        "0 open services on 1 interface, all expected"
        " (socket table of all, 16 % probed, the whole in 7 runs)"
    )


def test_a_service_on_several_interfaces_is_one() -> None:
    of = report(service("22/tcp", HERE, LOOPBACK), service("22/udp"), interfaces=(HERE, LOOPBACK))
    told = story(of, "optional * 22/tcp,22/udp".replace(",22/udp", ""), "optional * 22/udp")
    assert told.headline().startswith("2 open services on 2 interfaces, all expected (")


def test_a_name_without_addresses_has_services_all_the_same() -> None:
    place = Interface("224.0.0.251", "", 0, "224.0.0.251", chosen=("other",), scanned=False)
    of = report(service("5353/udp", place))
    told = story(of, "optional * 5353/udp", name="other")
    assert told.headline().startswith("1 open service, all expected (")


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
        assert told.headline().startswith(f"{count} unexpected: *:1-{count}/tcp {'a' * 30}[4711]")


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
        "unexpected: *:80/tcp nc[4711] user www",
        "missing: 127.0.0.1:25/tcp, required by required 127.0.0.1 25/tcp",
        "not looked at: device eth7 is gone",
        "note: a?note",
    ]


def test_a_remembered_finding_tells_its_age_and_what_happened() -> None:
    of = report(service("80/tcp"))
    since = {"192.0.2.7": {"unexpected 80/tcp": 86400.0 * 365}}
    history = History(since, (Event("closed", (HERE,), (port("25/tcp"),)),))
    first, second = story(of, history=history).details()
    assert first.startswith("unexpected: 192.0.2.7:80/tcp, since 197")
    assert second == "closed: 192.0.2.7:25/tcp"
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
    scanned = (*many, HERE._replace(address="192.0.2.99"))
    told = story(report(service("80/tcp", *many), interfaces=scanned))
    four = ",".join(f"192.0.2.{n}" for n in range(1, 5))
    sixteen = ",".join(f"192.0.2.{n}" for n in range(1, 17))
    assert told.headline() == f"1 unexpected: {{{four},14 more}}:80/tcp"
    assert told.details() == [f"unexpected: {{{sixteen},2 more}}:80/tcp"]
    told = story(
        report(service("80/tcp", *many), interfaces=scanned),
        "optional * 80/tcp",
        settings=Settings(verbosity=1),
        history=History(events=(Event("closed", many, (port("25/tcp"),)),)),
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
    ports = (port("1/tcp"),)
    events = [Event("moved", (HERE,), ports, "x" * length, ports) for length in (164, 165)]
    told = story(
        report(failures=(Failure("f" * 200, "eth7"), Failure("f" * 201, "eth8"))),
        history=History(events=tuple(events)),
        notes=("n" * 300, "n" * 301),
    )
    assert told.details() == [
        f"not looked at: {'f' * 200}",
        f"not looked at: {'f' * 197}...",
        f"moved: 192.0.2.7:1/tcp ({'x' * 164}), was 1/tcp",
        f"moved: 192.0.2.7:1/tcp ({'x' * 165}), was 1...",
        f"note: {'n' * 300}",
        f"note: {'n' * 297}...",
    ]


def test_a_partial_sweep_is_noted_where_the_first_line_tells_of_findings() -> None:
    partial = report(service("80/tcp"))._replace(coverage=Coverage(ports=1000, probed=415))
    assert story(partial).details() == [
        "unexpected: 192.0.2.7:80/tcp",
        "note: socket table of all, 41 % probed",
    ]
    assert story(partial, "optional * 80/tcp").details() == []
    absent = report(failures=(GONE,))._replace(coverage=Coverage(ports=1000, probed=999))
    assert story(absent).details()[1:] == ["note: socket table of all, 99 % probed"]


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


def test_the_part_of_a_name_tells_the_whole_incident() -> None:
    of = report(service("80/tcp", LOOPBACK, HERE), interfaces=(LOOPBACK, HERE, SIX))
    history = History({"127.0.0.1 192.0.2.7": {"unexpected 80/tcp": 86400.0 * 365}})
    for name in ("127.0.0.1", "192.0.2.7"):
        (line,) = story(of, name=name, history=history).details()
        assert line.startswith("unexpected: 0.0.0.0/0:80/tcp, since 197")
    assert story(of, name="2001:db8::7", history=history).details() == []


def test_ports_that_came_one_after_the_other_tell_the_first_and_the_newest() -> None:
    of = report(service("80/tcp"), service("81/tcp"))
    known = {"unexpected 80/tcp": 86400.0, "unexpected 81/tcp": 86400.0 * 365}
    (line,) = story(of, history=History({"192.0.2.7": known})).details()
    assert re.fullmatch(
        r"unexpected: 192.0.2.7:80-81/tcp, since 1970-\S+ \S+, the newest 197.*", line
    )


def test_what_happened_at_several_places_is_one_line() -> None:
    ports = (port("25/tcp"), port("80/tcp"), port("81/tcp"))
    history = History(
        events=(
            Event("moved", (HERE, SIX), ports[:1], "nfs", ports[1:2]),
            Event("closed", (LOOPBACK,), ports),
        )
    )
    assert story(report(interfaces=(HERE, SIX)), history=history).details() == [
        "moved: *:25/tcp (nfs), was 80/tcp",
        "closed: 127.0.0.1:25,80-81/tcp",
    ]


def test_a_program_is_named_where_it_is_registered() -> None:
    of = report(
        service("80/tcp", HERE, SIX, LOOPBACK),
        service("22/tcp", HERE, SIX),
        interfaces=(HERE, SIX, LOOPBACK),
        registered=(registration("80/tcp", "nfs", SIX), registration("22/tcp", "mountd", HERE)),
    )
    told = story(of, "optional * 22/tcp", settings=Settings(verbosity=1))
    assert told.headline() == "1 unexpected: 0.0.0.0/0:80/tcp, [2001:db8::7]:80/tcp (nfs)"
    assert told.details() == [
        "unexpected: 0.0.0.0/0:80/tcp",
        "unexpected: [2001:db8::7]:80/tcp (nfs)",
        "open: 192.0.2.7:22/tcp (mountd), optional by optional * 22/tcp",
        "open: [2001:db8::7]:22/tcp (maybe_ssh), optional by optional * 22/tcp",
    ]


def test_below_a_finding_stands_what_helps_to_decide() -> None:
    known = Process(7, "nc", None, (), "games", 86400.0 * 365, "cron.service", deleted=True)
    of = report(
        service("4444/tcp", HERE, LOOPBACK, owners=(Owner("games", (known,)),)),
        service("80/tcp", owners=(Owner("games", (known._replace(started=None, unit=None),)),)),
        unanswered=(unanswered("9/udp"),),
        interfaces=(HERE, LOOPBACK),
    )
    lines = story(of, "required * 25/tcp").lines()
    (started,) = [line for line in lines if line.startswith("  started")]
    assert re.fullmatch(r"  started 197\d-\d\d-\d\d \d\d:\d\d:\d\d, unit cron.service", started)
    assert [line for line in lines if line != started] == [
        "unexpected: 192.0.2.7:80/tcp nc[7] (deleted) user games",
        "  allow: PortCheckOptional = 192.0.2.7:80/tcp@user:games",
        "unexpected: *:4444/tcp nc[7] (deleted) user games",
        "  allow: PortCheckOptional = *:4444/tcp@user:games",
        "missing: *:25/tcp, required by required * 25/tcp",
        "unverified: 192.0.2.7:9/udp: unanswered",
    ]


def test_two_hundred_decoys_do_not_hide_the_one_port_that_matters() -> None:
    numbers = (*range(20000, 20199), 45678, 4444)
    owners = {4444: owned("sh", user="www-data")}
    decoy = owned("nc", user="games")
    of = report(*(service(f"{n}/tcp", owners=(owners.get(n, decoy),)) for n in numbers))
    told = story(of)
    assert told.headline() == (
        "201 unexpected: 192.0.2.7:4444/tcp sh[4711] user www-data,"
        " 192.0.2.7:20000-20198,45678/tcp nc[4711] user games"
    )
    assert len(told.lines()) == 6


def test_rules_without_effect_are_counted_and_named_on_request() -> None:
    of = report()
    one = ("optional eth7 22/tcp",)
    two = (*one, "skip 192.0.2.99 9/tcp")
    assert story(of, *one).details() == [
        "note: 1 rule has no effect now: what it names is not here or not scanned (-vv names them)"
    ]
    two_now = "note: 2 rules have no effect now: what they name is not here or not scanned"
    assert story(of, *two).details() == [f"{two_now} (-vv names them)"]
    assert story(of, *two, settings=Settings(verbosity=2)).details() == [
        two_now,
        "no effect: eth7:22/tcp, optional eth7 22/tcp",
        "no effect: 192.0.2.99:9/tcp, skip 192.0.2.99 9/tcp",
        "skipped: 192.0.2.99:9/tcp, skip 192.0.2.99 9/tcp",
    ]


def test_what_is_required_of_what_is_not_here_is_told_under_the_first_name() -> None:
    of = report(interfaces=(HERE, LOOPBACK))
    rules = ("required 192.0.2.99 25/tcp",)
    line = "192.0.2.99:25/tcp: is not here now, required by required 192.0.2.99 25/tcp"
    assert story(of, *rules).headline() == f"1 unverified: {line}"
    first = story(of, *rules, name="192.0.2.7")
    assert (first.state(), first.details()) == (State.UNKNOWN, [f"unverified: {line}"])
    assert story(of, *rules, name="127.0.0.1").state() is State.OK


def test_verbosity_adds_lines() -> None:
    of = report(service("22/tcp"), service("80/tcp"))._replace(
        coverage=Coverage(131072, 131000, 50, filtered=7, untracked=22)
    )
    rules = ("optional * 22/tcp", "ignore * 80/tcp", "optional * 25/tcp", "skip * 9/tcp")
    notes = [
        "note: 22 UDP ports looked up in place of probed, to leave room for connection tracking"
    ]
    passed_over = [
        "unused: *:25/tcp, optional * 25/tcp",
        "skipped: *:9/tcp, skip * 9/tcp",
        "filtered: 7 silent ports without a socket",
    ]
    figures = [
        "coverage: 131000 of 131072 ports probed or listed, 72 looked up",
        "scan: 1.500 s by method full",
    ]
    services = [
        "open: 192.0.2.7:22/tcp (maybe_ssh), optional by optional * 22/tcp",
        "open: 192.0.2.7:80/tcp, ignored by ignore * 80/tcp",
    ]
    expected = [
        notes,
        [*notes, *services],
        [*notes, *passed_over, *services],
        [*notes, *passed_over, *figures, *services],
    ]
    for verbosity in range(4):
        settings = Settings(verbosity=verbosity)
        assert story(of, *rules, settings=settings).details() == expected[verbosity]


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


EVERY = (HERE, SIX, LOOPBACK)
SEEN = st.dictionaries(
    st.sampled_from(["22/tcp", "80/tcp", "53/udp"]),
    st.lists(st.sampled_from([0, 1, 2]), min_size=3, max_size=3),
)


@given(SEEN)
def test_a_service_on_several_interfaces_is_told_as_one_on_each(
    found: dict[str, list[int]],
) -> None:
    """Of which the sockets of one daemon, one for each family, are told as one as well."""
    together: list[Seen] = []
    for text, whose in found.items():
        for daemon in (1, 2):
            where = [each for each, by_whom in zip(EVERY, whose, strict=True) if by_whom == daemon]
            if where:
                together.append(service(text, *where, owners=(owned("nc"),)))
    apart = [
        service(str(each.service.port), where, owners=(owned("nc"),))
        for each in together
        for where in each.service.interfaces
    ]
    rules = ("optional * 22/tcp", "required 192.0.2.0/24 25/tcp", "ignore lo 53/udp")
    settings = Settings(verbosity=1)
    one = story(report(*together, interfaces=EVERY), *rules, settings=settings)
    other = story(report(*apart, interfaces=EVERY), *rules, settings=settings)
    assert one.headline() == other.headline()
    assert one.details() == other.details()
    assert one.state() is other.state()
