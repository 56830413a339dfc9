from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.memory.history import Event, History, Memory, compare, opened
from check_portcheck.model import Endpoint, Interface
from check_portcheck.policy.judgement import judge
from unit.samples import (
    HERE,
    LOOPBACK,
    NAMES,
    SIX,
    Seen,
    policy,
    registration,
    report,
    service,
    unanswered,
)

if TYPE_CHECKING:
    from check_portcheck.memory.history import Opened, Since
    from check_portcheck.model import Report, Unanswered

NOW = 1_700_000_000.0


EARLIER = Memory(NOW - 300, "settings", "output", 0)


def since(known: Since, now: Report, *rules: str) -> Since:
    """Since when there are findings, where some were known before."""
    memory = EARLIER._replace(since=known)
    verdict = judge(now, policy(*rules))
    history = compare(memory, now, verdict, NAMES, NOW)
    for kind, interfaces, item, *_ in verdict.findings:
        where = " ".join(map(str, interfaces))
        assert history.first_seen(kind, item, interfaces) == history.since[where][f"{kind} {item}"]
    return history.since


def told(event: Event) -> str:
    """``closed: 192.0.2.7+127.0.0.1:80/tcp``, ``moved: 192.0.2.7:2/tcp (nfs), was 1/tcp``."""
    text = (
        f"{event.what}: {'+'.join(map(str, event.interfaces))}:{', '.join(map(str, event.ports))}"
    )
    text += f" ({event.name})" if event.name else ""
    return text + (f", was {', '.join(map(str, event.before))}" if event.before else "")


def events(before: Opened, now: Report) -> list[str]:
    """What happened since certain services were open."""
    memory = EARLIER._replace(open=before)
    return [told(each) for each in compare(memory, now, judge(now, policy()), NAMES, NOW).events]


def remembered(*of: Seen) -> Opened:
    """Services as an earlier run left them."""
    return opened(report(*of), NAMES)


def test_open_ports_are_remembered_by_the_interfaces_that_have_the_same() -> None:
    assert remembered(
        service("22/tcp", HERE, SIX),
        service("2049/udp", HERE, SIX, rpc=("nfs", "mountd")),
        service("53/udp", SIX),
    ) == {
        "192.0.2.7 [2001:db8::7]": {"22/tcp": [], "2049/udp": ["nfs", "mountd"]},
        "[2001:db8::7]": {"53/udp": []},
    }


def test_a_program_is_remembered_where_it_is_registered() -> None:
    of = report(
        service("2049/tcp", HERE, SIX),
        interfaces=(HERE, SIX),
        registered=(registration("2049/tcp", "nfs", SIX),),
    )
    assert opened(of, NAMES) == {
        "192.0.2.7": {"2049/tcp": []},
        "[2001:db8::7]": {"2049/tcp": ["nfs"]},
    }


# Since when


def test_without_memory_findings_begin_now_and_nothing_happened() -> None:
    now = report(service("80/tcp"))
    verdict = judge(now, policy("required * 22/tcp"))
    history = compare(None, now, verdict, NAMES, NOW)
    assert history.since == {"192.0.2.7": {"unexpected 80/tcp": NOW, "missing 22/tcp": NOW}}
    assert history.events == ()


def test_a_known_finding_keeps_its_time_and_a_new_one_begins_now() -> None:
    known = {"192.0.2.7": {"unexpected 80/tcp": 5.0, "missing 22/tcp": 6.0}}
    assert since(known, report(service("80/tcp"), service("81/tcp"))) == {
        "192.0.2.7": {"unexpected 80/tcp": 5.0, "unexpected 81/tcp": NOW}
    }


def test_a_finding_of_another_kind_or_interface_is_another_one() -> None:
    known = {"192.0.2.7": {"missing 80/tcp": 5.0}, "127.0.0.1": {"unexpected 80/tcp": 6.0}}
    now = report(service("80/tcp"), interfaces=(HERE, LOOPBACK))
    assert since(known, now) == {"192.0.2.7": {"unexpected 80/tcp": NOW}}


def test_a_finding_that_ended_is_forgotten() -> None:
    known = {"192.0.2.7": {"unexpected 80/tcp": 5.0}}
    assert since(known, report(service("80/tcp")), "optional * 80/tcp") == {}


@pytest.mark.parametrize(
    ("known", "first"),
    [
        # Its interfaces were the same, fewer, more, or others; one came or went before the others.
        ({"127.0.0.1 192.0.2.7 [2001:db8::7]": {"unexpected 80/tcp": 5.0}}, 5.0),
        ({"127.0.0.1": {"unexpected 80/tcp": 5.0}}, 5.0),
        ({"[2001:db8::7]": {"unexpected 80/tcp": 0.0}}, 0.0),
        ({"192.0.2.8 127.0.0.1": {"unexpected 80/tcp": 5.0}}, 5.0),
        ({"192.0.2.8": {"unexpected 80/tcp": 5.0}}, NOW),
        # Each daemon has had its own socket there.
        ({"127.0.0.1": {"unexpected 80/tcp": 6.0}, "192.0.2.7": {"unexpected 80/tcp": 5.0}}, 5.0),
    ],
)
def test_a_finding_of_several_interfaces_is_as_old_as_on_the_first_of_them(
    known: Since, first: float
) -> None:
    every = (LOOPBACK, HERE, SIX)
    assert since(known, report(service("80/tcp", *every), interfaces=every)) == {
        "127.0.0.1 192.0.2.7 [2001:db8::7]": {"unexpected 80/tcp": first}
    }


def test_a_finding_that_has_fewer_interfaces_now_is_as_old_as_before() -> None:
    known = {"127.0.0.1 192.0.2.7": {"unexpected 80/tcp": 5.0}}
    assert since(known, report(service("80/tcp"))) == {"192.0.2.7": {"unexpected 80/tcp": 5.0}}


def test_where_nothing_is_remembered_nobody_knows_since_when() -> None:
    (finding,) = judge(report(service("80/tcp")), policy()).findings
    assert History().first_seen(finding.kind, finding.item, finding.interfaces) is None


# What happened


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, report(service("80/tcp")), []),
        ({"192.0.2.7": {"80/tcp": []}}, report(service("80/tcp")), []),
        ({"192.0.2.7": {"80/tcp": []}}, report(), ["closed: 192.0.2.7:80/tcp"]),
        (
            {"192.0.2.7": {"80/tcp": []}},
            report(service("80/udp"), service("81/tcp")),
            ["closed: 192.0.2.7:80/tcp"],
        ),
        (
            {"192.0.2.7": {"80/tcp": []}},
            report(service("80/tcp", LOOPBACK), interfaces=(HERE, LOOPBACK)),
            ["closed: 192.0.2.7:80/tcp"],
        ),
        (
            {"[2001:db8::7]": {"80/tcp": []}, "192.0.2.7": {"1/udp": []}},
            report(interfaces=(HERE, SIX)),
            ["closed: 192.0.2.7:1/udp", "closed: [2001:db8::7]:80/tcp"],
        ),
    ],
)
def test_what_was_open_and_is_not_has_closed(
    before: Opened, now: Report, expected: list[str]
) -> None:
    assert events(before, now) == expected


def test_what_is_not_scanned_any_more_did_not_close() -> None:
    assert events({"127.0.0.1 [::1]": {"80/tcp": []}, "[::1]": {"1/tcp": ["nfs"]}}, report()) == []


@pytest.mark.parametrize(
    ("silent", "expected"),
    [
        (unanswered("80/tcp"), []),
        (unanswered("1-80/tcp"), []),
        (unanswered("80-90/tcp"), []),
        (unanswered("81-90/tcp"), ["closed: 192.0.2.7:80/tcp"]),
        (unanswered("1-79/tcp"), ["closed: 192.0.2.7:80/tcp"]),
        (unanswered("80/udp"), ["closed: 192.0.2.7:80/tcp"]),
        (unanswered("80/tcp", LOOPBACK), ["closed: 192.0.2.7:80/tcp"]),
    ],
)
def test_what_did_not_answer_did_not_close(silent: Unanswered, expected: list[str]) -> None:
    now = report(interfaces=(HERE, LOOPBACK), unanswered=(silent,))
    assert events({"192.0.2.7": {"80/tcp": []}}, now) == expected


def test_what_only_a_probe_can_see_is_remembered_so_that_the_next_run_looks_there() -> None:
    forwarded = service("80/tcp", no_socket=True, forwarded=Endpoint("172.17.0.2", 80))
    assert remembered(forwarded, service("22/tcp")) == {"192.0.2.7": {"80/tcp": [], "22/tcp": []}}
    assert events({"192.0.2.7": {"80/tcp": []}}, report(forwarded)) == []
    assert events({"192.0.2.7": {"80/tcp": []}}, report()) == ["closed: 192.0.2.7:80/tcp"]


def test_what_a_run_did_not_get_to_stays_remembered() -> None:
    before: Opened = {"192.0.2.7 127.0.0.1": {"80/tcp": ["nfs"], "81/tcp": []}}
    now = report(service("22/tcp"), interfaces=(HERE, LOOPBACK), unanswered=(unanswered("80/tcp"),))
    assert opened(now, NAMES, before) == {"192.0.2.7": {"80/tcp": ["nfs"], "22/tcp": []}}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (
            [service("2049/tcp", rpc=("nfs",))],
            [service("2050/tcp", rpc=("nfs",))],
            ["moved: 192.0.2.7:2050/tcp (nfs), was 2049/tcp"],
        ),
        (
            [service("1/tcp", rpc=("mountd",)), service("2/tcp", rpc=("mountd",))],
            [service("2/tcp", rpc=("mountd",)), service("3/tcp", rpc=("mountd",))],
            ["moved: 192.0.2.7:3/tcp (mountd), was 1/tcp"],
        ),
        (
            [service("1/tcp", rpc=("mountd",)), service("2/tcp", rpc=("mountd",))],
            [service("3/tcp", rpc=("mountd",)), service("4/tcp", rpc=("mountd",))],
            ["moved: 192.0.2.7:3/tcp, 4/tcp (mountd), was 1/tcp, 2/tcp"],
        ),
        (
            [service("1/tcp", rpc=("nfs", "mountd"))],
            [service("2/tcp", rpc=("nfs",)), service("3/tcp", rpc=("mountd",))],
            [
                "moved: 192.0.2.7:2/tcp (nfs), was 1/tcp",
                "moved: 192.0.2.7:3/tcp (mountd), was 1/tcp",
            ],
        ),
        (
            [service("1/tcp", SIX, rpc=("nfs",)), service("9/tcp")],
            [service("2/tcp", SIX, rpc=("nfs",))],
            ["moved: [2001:db8::7]:2/tcp (nfs), was 1/tcp", "closed: 192.0.2.7:9/tcp"],
        ),
    ],
)
def test_a_program_that_left_a_port_for_another_has_moved_and_not_closed(
    before: list[Seen], now: list[Seen], expected: list[str]
) -> None:
    assert events(remembered(*before), report(*now, interfaces=(HERE, SIX))) == expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        # One more port, one fewer, another protocol, another interface.
        (
            [service("1/tcp", rpc=("nfs",))],
            [service("1/tcp", rpc=("nfs",)), service("2/tcp", rpc=("nfs",))],
            [],
        ),
        (
            [service("1/tcp", rpc=("nfs",)), service("2/tcp", rpc=("nfs",))],
            [service("1/tcp", rpc=("nfs",))],
            ["closed: 192.0.2.7:2/tcp"],
        ),
        (
            [service("1/tcp", rpc=("nfs",))],
            [service("1/udp", rpc=("nfs",))],
            ["closed: 192.0.2.7:1/tcp"],
        ),
        (
            [service("1/tcp", rpc=("nfs",))],
            [service("1/tcp", SIX, rpc=("nfs",))],
            ["closed: 192.0.2.7:1/tcp"],
        ),
        # The portmapper was not asked, this time or the last.
        ([service("1/tcp", rpc=("nfs",))], [service("1/tcp")], []),
        ([service("1/tcp")], [service("1/tcp", rpc=("nfs",))], []),
    ],
)
def test_other_changes_of_programs_are_no_moves(
    before: list[Seen], now: list[Seen], expected: list[str]
) -> None:
    assert events(remembered(*before), report(*now, interfaces=(HERE, SIX))) == expected


def test_what_happened_on_several_interfaces_is_one_event() -> None:
    both = (HERE, SIX)
    before = {"192.0.2.7 [2001:db8::7]": {"80/tcp": [], "1/tcp": ["nfs"]}}
    assert events(before, report(service("2/tcp", *both, rpc=("nfs",)), interfaces=both)) == [
        "moved: 192.0.2.7+[2001:db8::7]:2/tcp (nfs), was 1/tcp",
        "closed: 192.0.2.7+[2001:db8::7]:80/tcp",
    ]


def test_what_happened_on_one_of_several_interfaces_is_told_of_it() -> None:
    both = (HERE, SIX)
    before = {"192.0.2.7 [2001:db8::7]": {"80/tcp": [], "22/tcp": [], "1/tcp": ["nfs"]}}
    now = report(
        service("1/tcp", HERE, rpc=("nfs",)),
        service("2/tcp", SIX, rpc=("nfs",)),
        service("22/tcp", *both),
        service("80/tcp", SIX),
        service("81/tcp", HERE),
        interfaces=both,
    )
    assert events(before, now) == [
        "moved: [2001:db8::7]:2/tcp (nfs), was 1/tcp",
        "closed: 192.0.2.7:80/tcp",
    ]


def test_what_has_lost_its_socket_on_one_interface_is_open_there_still() -> None:
    both = (HERE, SIX)
    before: Opened = {"192.0.2.7 [2001:db8::7]": {"80/tcp": [], "81/tcp": []}}
    now = report(service("80/tcp", SIX, no_socket=True), interfaces=both)
    assert events(before, now) == [
        "closed: 192.0.2.7:80/tcp",
        "closed: 192.0.2.7+[2001:db8::7]:81/tcp",
    ]


def test_ports_that_closed_at_the_same_places_are_one_event() -> None:
    before: Opened = {"192.0.2.7": {"80/tcp": [], "81/tcp": [], "53/udp": []}}
    assert events(before, report()) == ["closed: 192.0.2.7:80/tcp, 81/tcp, 53/udp"]


def test_clients_over_udp_come_and_go_untold() -> None:
    ports = ("32767/udp", "32768/udp", "60999/udp", "61000/udp", "40000/tcp")
    before: Opened = {"192.0.2.7": {each: [] for each in ports}}
    assert events(before, report()) == ["closed: 192.0.2.7:32767/udp, 61000/udp, 40000/tcp"]


def test_what_closed_at_a_place_that_is_not_scanned_is_told_while_others_are_there() -> None:
    place = Interface("224.0.0.251", "", 0, "224.0.0.251", scanned=False)
    before: Opened = {"224.0.0.251": {"5353/udp": [], "5355/udp": []}, "224.0.0.9": {"9/udp": []}}
    assert events(before, report(service("5353/udp", place))) == ["closed: 224.0.0.251:5355/udp"]


def test_the_age_of_a_finding_of_what_is_not_here() -> None:
    of = report()
    (finding,) = judge(of, policy("required 192.0.2.99 25/tcp")).findings
    history = compare(None, of, judge(of, policy("required 192.0.2.99 25/tcp")), NAMES, NOW)
    assert history.first_seen(finding.kind, finding.item, ()) == NOW


SOME = st.lists(
    st.builds(
        service,
        st.sampled_from(["1/tcp", "2/tcp", "1/udp", "2/udp"]),
        st.sampled_from([HERE, SIX]),
        rpc=st.sampled_from([(), ("nfs",), ("nfs", "mountd")]),
    ),
    unique_by=lambda seen: seen.service[:2],
)


def spots(services: list[Seen]) -> list[str]:
    """Where services are: ``192.0.2.7:22/tcp``."""
    return [f"{each.interfaces[0]}:{each.port}" for each, *_ in services]


@given(SOME, SOME)
def test_nothing_happens_without_a_change_and_each_closed_port_is_told_once(
    before: list[Seen], now: list[Seen]
) -> None:
    both = (HERE, SIX)
    assert events(remembered(*before), report(*before, interfaces=both)) == []
    happened = compare(
        EARLIER._replace(open=remembered(*before)),
        report(*now, interfaces=both),
        judge(report(), policy()),
        NAMES,
        NOW,
    ).events
    closed = [
        f"{where}:{port}"
        for event in happened
        if event.what == "closed"
        for where in event.interfaces
        for port in event.ports
    ]
    moved = any(each.what == "moved" for each in happened)
    assert len(set(closed)) == len(closed)
    for spot in spots(before):
        gone = spot not in spots(now)
        assert (spot in closed) <= gone
        assert gone <= (spot in closed or moved)
