from __future__ import annotations

import pytest

from unit.samples import (
    ALIAS,
    HERE,
    LOOPBACK,
    SIX,
    report,
    service,
    unanswered,
)
from unit.verdicts import findings


def test_a_required_service_that_is_not_open_is_missing_where_it_must_be() -> None:
    interfaces = (LOOPBACK, HERE, ALIAS, SIX)
    of = report(service("25/tcp", LOOPBACK), interfaces=interfaces)
    assert findings(of, "required * 25/tcp") == [
        "missing 192.0.2.7+192.0.2.8+[2001:db8::7]:25/tcp (required * 25/tcp)"
    ]
    assert findings(of, "required eth0:1 25/tcp", "ignore * 25/tcp") == [
        "missing 192.0.2.8:25/tcp (required eth0:1 25/tcp)"
    ]
    assert findings(of, "required 127.0.0.1 25/tcp") == []


def test_only_what_names_one_port_or_program_can_be_missing() -> None:
    assert findings(report(), "required * 20-29/tcp", "required * ephemeral/udp") == []


# Unanswered ports


def test_a_required_port_that_did_not_answer_is_unverified() -> None:
    of = report(unanswered=(unanswered("400-499/tcp"),))
    rules = ("required * 443/tcp", "required * 500/tcp", "required * 443/udp")
    assert findings(of, *rules) == [
        "unverified 192.0.2.7:400-499/tcp: unanswered",
        "unverified 192.0.2.7:443/tcp: unanswered (required * 443/tcp)",
        "missing 192.0.2.7:500/tcp (required * 500/tcp)",
        "missing 192.0.2.7:443/udp (required * 443/udp)",
    ]


def test_a_required_port_is_missing_where_another_interface_did_not_answer() -> None:
    of = report(interfaces=(HERE, SIX), unanswered=(unanswered("443/tcp", SIX),))
    assert findings(of, "required * 443/tcp") == [
        "missing 192.0.2.7:443/tcp (required * 443/tcp)",
        "unverified [2001:db8::7]:443/tcp: unanswered (required * 443/tcp)",
    ]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (["optional * */tcp"], False),
        (["ignore * 400-499/tcp"], False),
        (["optional * 400-450/tcp", "optional * 451-499/tcp"], True),
        (["optional * 400-499/tcp@sshd"], True),
        (["optional * 400/tcp", "optional * 499/tcp"], True),
        (["optional * */udp"], True),
        (["optional 192.0.2.8 */tcp"], True),
    ],
)
def test_unanswered_ports_do_not_matter_where_the_policy_allows_all_of_them(
    rules: list[str], *, told: bool
) -> None:
    of = report(unanswered=(unanswered("400-499/tcp"),))
    assert findings(of, *rules) == ["unverified 192.0.2.7:400-499/tcp: unanswered"] * told


@pytest.mark.parametrize("required", ["required * 443/tcp", "required * 443/tcp@nginx"])
def test_a_single_required_port_is_told_once(required: str) -> None:
    of = report(unanswered=(unanswered("443/tcp"),))
    assert findings(of, required) == [f"unverified 192.0.2.7:443/tcp: unanswered ({required})"]


def test_why_ports_could_not_be_asked_is_told() -> None:
    reason = "no source port to be had"
    of = report(unanswered=(unanswered("400-499/tcp")._replace(reason=reason),))
    assert findings(of, "required * 443/tcp") == [
        f"unverified 192.0.2.7:400-499/tcp: unanswered: {reason}",
        f"unverified 192.0.2.7:443/tcp: unanswered: {reason} (required * 443/tcp)",
    ]


def test_stretches_that_did_not_answer_on_several_interfaces_are_one_finding() -> None:
    every = (HERE, SIX, LOOPBACK)
    of = report(
        interfaces=every,
        unanswered=(*(unanswered("400-499/tcp", each) for each in every), unanswered("1/udp", SIX)),
    )
    assert findings(of, "optional 127.0.0.1 */tcp") == [
        "unverified 192.0.2.7+[2001:db8::7]:400-499/tcp: unanswered",
        "unverified [2001:db8::7]:1/udp: unanswered",
    ]


def test_a_program_s_rule_says_nothing_of_a_stretch_that_did_not_answer() -> None:
    of = report(unanswered=(unanswered("400-499/tcp"),))
    assert findings(of, "optional * nfs/tcp", "optional * ephemeral/tcp") == [
        "unverified 192.0.2.7:400-499/tcp: unanswered"
    ]
    clients = report(unanswered=(unanswered("40000-40099/tcp"),))
    assert findings(clients, "optional * ephemeral/tcp") == []
