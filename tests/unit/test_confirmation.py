from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.confirmation import clients, confirmed, doubtful, without
from check_portcheck.model import Coverage, Look, Protocol
from check_portcheck.policy.judgement import judge
from unit.samples import (
    HERE,
    LOOPBACK,
    SIX,
    Seen,
    policy,
    registration,
    report,
    service,
    unanswered,
)

if TYPE_CHECKING:
    from check_portcheck.model import Interface, OpenService, Unanswered

BOTH = (HERE, LOOPBACK)
ALL_PROBED = Coverage(ports=3, probed=3)
NO_TIME = Coverage(ports=3, probed=2, looked_up=1)
SILENT = Coverage(ports=3, probed=3, filtered=1)


def again(
    *seen: Seen,
    coverage: Coverage = ALL_PROBED,
    unanswered: tuple[Unanswered, ...] = (),
) -> Look:
    """A second look."""
    return Look(tuple(each.service for each in seen), unanswered, coverage)


def left(
    first: tuple[Seen, ...], second: Look, *rules: str, interfaces: tuple[Interface, ...] = BOTH
) -> list[OpenService]:
    """What the second look leaves of the first."""
    of = report(*first, interfaces=interfaces)
    return list(confirmed(of, doubtful(of, judge(of, policy(*rules))), second))


# What is seen twice, and what is not


SSH, RESTARTED = service("22/tcp"), service("22/tcp")
DNS, DNS_RESTARTED = service("53/udp"), service("53/udp")


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        pytest.param(SSH, RESTARTED, True, id="restarted"),
        pytest.param(DNS, DNS_RESTARTED, True, id="udp-server"),
        pytest.param(service("40000/tcp"), service("40000/tcp"), True, id="tcp-in-their-range"),
        pytest.param(
            service("80/tcp", no_socket=True), service("80/tcp"), True, id="had-no-socket-before"
        ),
    ],
)
def test_what_is_seen_twice_stays(first: Seen, second: Seen, *, stays: bool) -> None:
    assert left((first,), again(second)) == [second.service] * stays


@pytest.mark.parametrize(
    ("first", "coverage", "stays"),
    [
        pytest.param(SSH, ALL_PROBED, False, id="closed"),
        pytest.param(SSH, NO_TIME, False, id="left-the-table"),
        pytest.param(service("22/tcp", no_socket=True), ALL_PROBED, False, id="no-socket-closed"),
        pytest.param(service("22/tcp", no_socket=True), NO_TIME, True, id="no-socket-not-probed"),
        pytest.param(SSH, SILENT, False, id="filtered"),
        pytest.param(service("22/tcp", no_socket=True), SILENT, True, id="no-socket-silent"),
        pytest.param(service("53/udp", no_socket=True), SILENT, False, id="no-socket-silent-udp"),
    ],
)
def test_only_what_was_looked_at_can_be_gone(
    first: Seen, coverage: Coverage, *, stays: bool
) -> None:
    assert left((first,), again(coverage=coverage)) == [first.service] * stays


@pytest.mark.parametrize(
    ("undecided", "stays"),
    [
        (unanswered("0-65535/tcp"), True),
        (unanswered("0-65535/udp"), False),
        (unanswered("0-65535/tcp", LOOPBACK), False),
    ],
)
def test_a_port_that_the_second_look_left_undecided_stays(
    undecided: Unanswered, *, stays: bool
) -> None:
    assert left((SSH,), again(unanswered=(undecided,))) == [SSH.service] * stays


def test_what_the_policy_allows_needs_no_second_look() -> None:
    assert left((SSH,), again(), "optional * 22/tcp") == [SSH.service]


def test_what_was_missing_and_is_open_now_is_put_in() -> None:
    assert left((), again(SSH), "required * 22/tcp") == [SSH.service]


# Several interfaces


def test_a_service_is_confirmed_as_one() -> None:
    first, second = service("22/tcp", *BOTH), service("22/tcp", *BOTH)
    assert left((first,), again(second)) == [second.service]


def test_a_service_that_left_one_of_its_interfaces_stays_on_the_other() -> None:
    first, second = service("22/tcp", *BOTH), service("22/tcp", LOOPBACK)
    assert left((first,), again(second)) == [second.service]


def test_a_service_that_came_to_an_interface_is_put_in_there() -> None:
    first, second = service("22/tcp", HERE), service("22/tcp", *BOTH)
    assert left((first,), again(second)) == [
        second.service.on((HERE,)),
        second.service.on((LOOPBACK,)),
    ]


def test_only_the_interfaces_in_doubt_are_settled_anew() -> None:
    first, second = service("22/tcp", *BOTH), service("22/tcp", HERE)
    assert left((first,), again(second), "optional lo 22/tcp") == [
        first.service.on((LOOPBACK,)),
        second.service,
    ]


def test_a_port_that_closed_on_one_interface_and_was_not_seen_on_another() -> None:
    first = service("22/tcp", *BOTH, SIX)
    second = again(unanswered=(unanswered("22/tcp", SIX),))
    assert left((first,), second, interfaces=(*BOTH, SIX)) == [first.service.on((SIX,))]


# What a second look must see


def test_each_finding_is_in_doubt_where_it_was_found() -> None:
    of = report(
        service("22/tcp", *BOTH),
        service("80/tcp", HERE),
        service("53/udp", LOOPBACK),
        interfaces=BOTH,
    )
    verdict = judge(of, policy("optional lo 22/tcp", "required * 25/tcp"))
    assert doubtful(of, verdict) == {
        (HERE, Protocol.TCP): {22, 80, 25},
        (LOOPBACK, Protocol.TCP): {25},
        (LOOPBACK, Protocol.UDP): {53},
    }


def test_a_missing_program_is_looked_for_where_it_is_registered() -> None:
    of = report(
        interfaces=BOTH,
        registered=(
            registration("2049/tcp", "nfs"),
            registration("2050/udp", "nfs"),
            registration("20048/tcp", "mountd"),
            registration("2051/tcp", "nfs", LOOPBACK),
        ),
    )
    verdict = judge(of, policy("required 192.0.2.7 nfs/tcp"))
    assert doubtful(of, verdict) == {(HERE, Protocol.TCP): {2049}}


def test_stretches_without_an_answer_are_not_asked_again() -> None:
    of = report(unanswered=(unanswered("1-9/tcp"),))
    assert doubtful(of, judge(of, policy())) == {}


# Clients over UDP


def test_clients_are_open_udp_ports_in_the_range_of_the_kernel() -> None:
    seen = [service(f"{n}/{p}", *BOTH) for p in ("tcp", "udp") for n in (53, 32768, 60999, 61000)]
    of = report(*seen, interfaces=BOTH)
    doubts = doubtful(of, judge(of, policy("optional lo 32768/udp", "required * 40000/udp")))
    assert clients(of, doubts) == {
        (HERE, Protocol.UDP): {32768, 60999},
        (LOOPBACK, Protocol.UDP): {60999},
    }


def test_what_is_settled_is_no_longer_in_doubt() -> None:
    here, there = (HERE, Protocol.UDP), (LOOPBACK, Protocol.UDP)
    assert without({here: {1, 2}, there: {3}}, {here: {2, 9}}) == {here: {1}, there: {3}}
