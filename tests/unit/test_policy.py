from __future__ import annotations

import pytest

from check_portcheck.model import Interface, Protocol
from check_portcheck.policy import Kind
from unit.samples import ALIAS, HERE, LOOPBACK, SIX, pattern, policy, port, rule

LINK_LOCAL = Interface("fe80::7%eth0", "eth0", 2, "eth0")


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("*", [HERE, ALIAS, SIX, LINK_LOCAL, LOOPBACK]),
        ("192.0.2.7", [HERE]),
        ("eth0", [HERE, ALIAS, SIX, LINK_LOCAL]),
        ("eth0:1", [ALIAS]),
        ("lo", [LOOPBACK]),
        ("fe80::7%eth0", [LINK_LOCAL]),
        ("fe80::7", []),
        ("192.0.2.0/24", [HERE, ALIAS]),
        ("192.0.2.8/32", [ALIAS]),
        ("0.0.0.0/0", [HERE, ALIAS, LOOPBACK]),
        ("2001:db8::/32", [SIX]),
        ("fe80::/10", [LINK_LOCAL]),
        ("::/0", [SIX, LINK_LOCAL]),
    ],
)
def test_interfaces_that_a_pattern_matches(text: str, matched: list[Interface]) -> None:
    every = [HERE, ALIAS, SIX, LINK_LOCAL, LOOPBACK]
    assert [each for each in every if pattern(text).matches(each)] == matched


@pytest.mark.parametrize(
    ("text", "one"),
    [("*", False), ("192.0.2.0/24", False), ("eth0", True), ("eth0:1", True), ("::1", True)],
)
def test_patterns_that_name_one_interface(text: str, *, one: bool) -> None:
    assert pattern(text).names_one is one


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("required * 22/tcp", "*:22/tcp"),
        ("required 2001:db8::7 22/tcp", "[2001:db8::7]:22/tcp"),
        ("required fe80::7%eth0 22/tcp", "[fe80::7%eth0]:22/tcp"),
        ("optional 2001:db8::/32 6000-6063/tcp", "2001:db8::/32:6000-6063/tcp"),
        ("optional eth0:1 ephemeral/udp", "eth0:1:ephemeral/udp"),
        ("ignore lo nfs/udp@kernel", "lo:nfs/udp@kernel"),
        ("ignore lo */udp@user:www", "lo:0-65535/udp@user:www"),
        ("optional * 80/tcp@unit:nginx.service", "*:80/tcp@unit:nginx.service"),
        ("optional * 22/tcp@/usr/sbin/sshd", "*:22/tcp@/usr/sbin/sshd"),
    ],
)
def test_a_rule_reads_as_in_a_file(text: str, written: str) -> None:
    assert str(rule(text)) == written


def test_rules_that_concern_a_port() -> None:
    rules = policy(
        "required * 22/tcp",
        "optional eth0 22/tcp@sshd",
        "optional * 20-29/tcp",
        "optional * 22/udp",
        "optional lo 22/tcp",
        "skip * 22/tcp",
        "ignore * ephemeral/tcp",
        "ignore * nfs/tcp",
    )
    assert [each.place for each in rules.concerning(HERE, port("22/tcp"))] == [
        "required * 22/tcp",
        "optional eth0 22/tcp@sshd",
        "optional * 20-29/tcp",
    ]
    assert [each.place for each in rules.concerning(HERE, port("40/tcp"), [100003])] == [
        "ignore * nfs/tcp"
    ]
    assert [each.place for each in rules.concerning(HERE, port("40/tcp"), [], (40, 41))] == [
        "ignore * ephemeral/tcp"
    ]
    assert rules.concerning(HERE, port("40/udp"), [100003], (40, 41)) == []
    assert rules.concerning(HERE, port("39/tcp"), [], (40, 41)) == []


def test_skips_are_per_interface_and_protocol() -> None:
    rules = policy(
        "skip 192.0.2.7 3306/tcp",
        "skip lo 3306/tcp",
        "skip * 9100-9199/tcp",
        "skip * 9/udp",
        "ignore * 5/tcp",
    )
    assert rules.skips(HERE, Protocol.TCP) == [(3306, 3306), (9100, 9199)]
    assert rules.skips(LOOPBACK, Protocol.TCP) == [(3306, 3306), (9100, 9199)]
    assert rules.skips(ALIAS, Protocol.TCP) == [(9100, 9199)]
    assert rules.skips(ALIAS, Protocol.UDP) == [(9, 9)]


def test_rules_of_one_kind_keep_their_order() -> None:
    rules = policy("optional * 2/tcp", "required * 9/tcp", "optional * 1/tcp")
    assert [each.place for each in rules.of_kind(Kind.OPTIONAL)] == [
        "optional * 2/tcp",
        "optional * 1/tcp",
    ]
    assert rules.of_kind(Kind.SKIP) == ()


def test_whether_any_rule_needs_the_portmapper() -> None:
    assert policy("optional * nfs/udp").names_rpc
    assert not policy("optional * 111/udp", "skip * 2049/tcp").names_rpc
