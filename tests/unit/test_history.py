from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.history import Memory, compare, key, place, services
from check_portcheck.judgement import judge
from unit.samples import HERE, LOOPBACK, SIX, policy, report, service, unanswered

if TYPE_CHECKING:
    from check_portcheck.model import OpenService, ScanReport, Unanswered

NOW = 1_700_000_000.0


EARLIER = Memory(NOW - 300, "settings", "output", 0)


def since(known: dict[str, float], now: ScanReport, *rules: str) -> dict[str, float]:
    """Since when there are findings, where some were known before."""
    memory = dataclasses.replace(EARLIER, since=known)
    return compare(memory, now, judge(now, policy(*rules)), NOW).since


def events(before: dict[str, list[str]], now: ScanReport) -> tuple[str, ...]:
    """What happened since certain services were open."""
    memory = dataclasses.replace(EARLIER, open=before)
    return compare(memory, now, judge(now, policy()), NOW).events


def remembered(*of: OpenService) -> dict[str, list[str]]:
    """Services as an earlier run left them."""
    return services(report(*of))


def test_what_makes_findings_and_services_the_same() -> None:
    found = judge(
        report(service("22/tcp"), service("53/udp", SIX), interfaces=(HERE, SIX)), policy()
    )
    assert [key(each) for each in found.findings] == [
        "unexpected 192.0.2.7:22/tcp",
        "unexpected [2001:db8::7]:53/udp",
    ]
    assert place(service("53/udp", SIX)) == "[2001:db8::7]:53/udp"


# Since when


def test_without_memory_findings_begin_now_and_nothing_happened() -> None:
    now = report(service("80/tcp"))
    verdict = judge(now, policy("required * 22/tcp"))
    history = compare(None, now, verdict, NOW)
    assert history.since == {
        "unexpected 192.0.2.7:80/tcp": NOW,
        "missing 192.0.2.7:22/tcp": NOW,
    }
    assert history.events == ()


def test_a_known_finding_keeps_its_time_and_a_new_one_begins_now() -> None:
    known = {"unexpected 192.0.2.7:80/tcp": 5.0, "missing 192.0.2.7:22/tcp": 6.0}
    assert since(known, report(service("80/tcp"), service("81/tcp"))) == {
        "unexpected 192.0.2.7:80/tcp": 5.0,
        "unexpected 192.0.2.7:81/tcp": NOW,
    }


def test_a_finding_of_another_kind_or_interface_is_another_one() -> None:
    known = {"missing 192.0.2.7:80/tcp": 5.0, "unexpected 127.0.0.1:80/tcp": 6.0}
    now = report(service("80/tcp"), interfaces=(HERE, LOOPBACK))
    assert since(known, now) == {"unexpected 192.0.2.7:80/tcp": NOW}


def test_a_finding_that_ended_is_forgotten() -> None:
    known = {"unexpected 192.0.2.7:80/tcp": 5.0}
    assert since(known, report(service("80/tcp")), "optional * 80/tcp") == {}


# What happened


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, report(service("80/tcp")), ()),
        ({"192.0.2.7:80/tcp": []}, report(service("80/tcp")), ()),
        ({"192.0.2.7:80/tcp": []}, report(), ("closed: 192.0.2.7:80/tcp",)),
        (
            {"192.0.2.7:80/tcp": []},
            report(service("80/udp"), service("81/tcp")),
            ("closed: 192.0.2.7:80/tcp",),
        ),
        (
            {"192.0.2.7:80/tcp": []},
            report(service("80/tcp", LOOPBACK), interfaces=(HERE, LOOPBACK)),
            ("closed: 192.0.2.7:80/tcp",),
        ),
        (
            {"[2001:db8::7]:80/tcp": [], "192.0.2.7:1/udp": []},
            report(interfaces=(HERE, SIX)),
            ("closed: [2001:db8::7]:80/tcp", "closed: 192.0.2.7:1/udp"),
        ),
    ],
)
def test_what_was_open_and_is_not_has_closed(
    before: dict[str, list[str]], now: ScanReport, expected: tuple[str, ...]
) -> None:
    assert events(before, now) == expected


def test_what_is_not_scanned_any_more_did_not_close() -> None:
    assert events({"127.0.0.1:80/tcp": [], "[::1]:80/tcp": ["nfs"]}, report()) == ()


@pytest.mark.parametrize(
    ("silent", "expected"),
    [
        (unanswered("80/tcp"), ()),
        (unanswered("1-80/tcp"), ()),
        (unanswered("80-90/tcp"), ()),
        (unanswered("81-90/tcp"), ("closed: 192.0.2.7:80/tcp",)),
        (unanswered("1-79/tcp"), ("closed: 192.0.2.7:80/tcp",)),
        (unanswered("80/udp"), ("closed: 192.0.2.7:80/tcp",)),
        (unanswered("80/tcp", LOOPBACK), ("closed: 192.0.2.7:80/tcp",)),
    ],
)
def test_what_did_not_answer_did_not_close(silent: Unanswered, expected: tuple[str, ...]) -> None:
    now = dataclasses.replace(report(interfaces=(HERE, LOOPBACK)), unanswered=(silent,))
    assert events({"192.0.2.7:80/tcp": []}, now) == expected


def test_what_only_a_probe_can_see_is_not_remembered_but_seen() -> None:
    forwarded = service("80/tcp", no_socket=True, forwarded=True)
    assert remembered(forwarded, service("22/tcp")) == {"192.0.2.7:22/tcp": []}
    assert events({"192.0.2.7:80/tcp": []}, report(forwarded)) == ()


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (
            [service("2049/tcp", rpc=("nfs",))],
            [service("2050/tcp", rpc=("nfs",))],
            ("moved: 192.0.2.7:2050/tcp (nfs), was 2049/tcp",),
        ),
        (
            [service("1/tcp", rpc=("mountd",)), service("2/tcp", rpc=("mountd",))],
            [service("2/tcp", rpc=("mountd",)), service("3/tcp", rpc=("mountd",))],
            ("moved: 192.0.2.7:3/tcp (mountd), was 1/tcp",),
        ),
        (
            [service("1/tcp", rpc=("mountd",)), service("2/tcp", rpc=("mountd",))],
            [service("3/tcp", rpc=("mountd",)), service("4/tcp", rpc=("mountd",))],
            ("moved: 192.0.2.7:3/tcp, 4/tcp (mountd), was 1/tcp, 2/tcp",),
        ),
        (
            [service("1/tcp", rpc=("nfs", "mountd"))],
            [service("2/tcp", rpc=("nfs",)), service("3/tcp", rpc=("mountd",))],
            (
                "moved: 192.0.2.7:2/tcp (nfs), was 1/tcp",
                "moved: 192.0.2.7:3/tcp (mountd), was 1/tcp",
            ),
        ),
        (
            [service("1/tcp", SIX, rpc=("nfs",)), service("9/tcp")],
            [service("2/tcp", SIX, rpc=("nfs",))],
            ("moved: [2001:db8::7]:2/tcp (nfs), was 1/tcp", "closed: 192.0.2.7:9/tcp"),
        ),
    ],
)
def test_a_program_that_left_a_port_for_another_has_moved_and_not_closed(
    before: list[OpenService], now: list[OpenService], expected: tuple[str, ...]
) -> None:
    assert events(remembered(*before), report(*now, interfaces=(HERE, SIX))) == expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        # One more port, one fewer, another protocol, another interface.
        (
            [service("1/tcp", rpc=("nfs",))],
            [service("1/tcp", rpc=("nfs",)), service("2/tcp", rpc=("nfs",))],
            (),
        ),
        (
            [service("1/tcp", rpc=("nfs",)), service("2/tcp", rpc=("nfs",))],
            [service("1/tcp", rpc=("nfs",))],
            ("closed: 192.0.2.7:2/tcp",),
        ),
        (
            [service("1/tcp", rpc=("nfs",))],
            [service("1/udp", rpc=("nfs",))],
            ("closed: 192.0.2.7:1/tcp",),
        ),
        (
            [service("1/tcp", rpc=("nfs",))],
            [service("1/tcp", SIX, rpc=("nfs",))],
            ("closed: 192.0.2.7:1/tcp",),
        ),
        # The portmapper was not asked, this time or the last.
        ([service("1/tcp", rpc=("nfs",))], [service("1/tcp")], ()),
        ([service("1/tcp")], [service("1/tcp", rpc=("nfs",))], ()),
    ],
)
def test_other_changes_of_programs_are_no_moves(
    before: list[OpenService], now: list[OpenService], expected: tuple[str, ...]
) -> None:
    assert events(remembered(*before), report(*now, interfaces=(HERE, SIX))) == expected


SOME = st.lists(
    st.builds(
        service,
        st.sampled_from(["1/tcp", "2/tcp", "1/udp", "2/udp"]),
        st.sampled_from([HERE, SIX]),
        rpc=st.sampled_from([(), ("nfs",), ("nfs", "mountd")]),
    ),
    unique_by=place,
)


@given(SOME, SOME)
def test_nothing_happens_without_a_change_and_each_closed_port_is_told_once(
    before: list[OpenService], now: list[OpenService]
) -> None:
    both = (HERE, SIX)
    assert events(remembered(*before), report(*before, interfaces=both)) == ()
    told = " ".join(events(remembered(*before), report(*now, interfaces=both)))
    for each in before:
        gone = place(each) not in map(place, now)
        assert (f"closed: {place(each)}" in told) <= gone
        assert gone <= (f"closed: {place(each)}" in told or "moved: " in told)
