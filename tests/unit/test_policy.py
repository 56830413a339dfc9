from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.model import Interface, Protocol, Span
from check_portcheck.policy.rules import EphemeralPorts, Kind, RpcProgram, concerning
from unit.samples import ALIAS, HERE, LOOPBACK, SIX, pattern, policy, port, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_portcheck.policy.rules import Policy

LINK_LOCAL = Interface("fe80::7%eth0", "eth0", 2, "eth0")


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("*", [HERE, ALIAS, SIX, LINK_LOCAL, LOOPBACK]),
        ("192.0.2.7", [HERE]),
        ("eth0", [HERE, ALIAS, SIX, LINK_LOCAL]),
        ("eth0:1", [ALIAS]),
        ("lo", [LOOPBACK]),
        ("eth*", [HERE, ALIAS, SIX, LINK_LOCAL]),
        ("*th0", [HERE, ALIAS, SIX, LINK_LOCAL]),
        ("eth0:*", [ALIAS]),
        ("et*1", [ALIAS]),
        ("eth0*0", []),
        ("192*", []),
        ("*l*", [LOOPBACK]),
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


NO_PORTS = Span(1, 0)


def named(
    rules: Policy,
    interface: Interface,
    on: str,
    programs: Sequence[int] = (),
    ephemeral: Span = NO_PORTS,
) -> list[str]:
    """The rules that concern a port of an interface."""
    found = concerning(rules.naming(port(on), ephemeral), interface, tuple(programs))
    return [each.source for each in found]


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
    assert named(rules, HERE, "22/tcp") == [
        "required * 22/tcp",
        "optional eth0 22/tcp@sshd",
        "optional * 20-29/tcp",
    ]
    assert named(rules, HERE, "40/tcp", [100003]) == ["ignore * nfs/tcp"]
    assert named(rules, HERE, "40/tcp", [], Span(40, 41)) == ["ignore * ephemeral/tcp"]
    assert named(rules, HERE, "40/udp", [100003], Span(40, 41)) == []
    assert named(rules, HERE, "39/tcp", [], Span(40, 41)) == []


def test_skips_are_per_interface_and_protocol() -> None:
    rules = policy(
        "skip 192.0.2.7 3306/tcp",
        "skip lo 3306/tcp",
        "skip * 9100-9199/tcp",
        "skip * 9/udp",
        "ignore * 5/tcp",
    )
    assert rules.skips(HERE, Protocol.TCP) == [Span(3306, 3306), Span(9100, 9199)]
    assert rules.skips(LOOPBACK, Protocol.TCP) == [Span(3306, 3306), Span(9100, 9199)]
    assert rules.skips(ALIAS, Protocol.TCP) == [Span(9100, 9199)]
    assert rules.skips(ALIAS, Protocol.UDP) == [Span(9, 9)]


def test_rules_of_one_kind_keep_their_order() -> None:
    rules = policy("optional * 2/tcp", "required * 9/tcp", "optional * 1/tcp")
    assert [each.source for each in rules.of_kind(Kind.OPTIONAL)] == [
        "optional * 2/tcp",
        "optional * 1/tcp",
    ]
    assert rules.of_kind(Kind.SKIP) == ()


def test_whether_any_rule_needs_the_portmapper() -> None:
    assert policy("optional * nfs/udp").names_rpc
    assert policy("optional * nfs/udp", "required * nfs/tcp").rpc_programs == (100003,)
    assert not policy("optional * 111/udp", "skip * 2049/tcp").names_rpc


def test_whether_any_rule_asks_for_an_owner() -> None:
    assert policy("optional * 80/tcp", "optional * 22/tcp@sshd").names_owners
    assert not policy("optional * 80/tcp", "optional * nfs/tcp").names_owners
    assert not policy().names_owners


def test_only_ports_can_be_skipped() -> None:
    assert policy("skip * ephemeral/udp", "skip * nfs/udp").skips(HERE, Protocol.UDP) == []


def test_a_program_is_the_same_by_all_its_names() -> None:
    one = RpcProgram(Protocol.TCP, 100000, "portmapper")
    other = RpcProgram(Protocol.TCP, 100000, "sunrpc")
    assert one == other
    assert not one != other  # noqa: SIM202 what a tuple would say by itself
    assert hash(one) == hash(other)
    assert {one, other} == {one}
    assert (str(one), str(other)) == ("portmapper/tcp", "sunrpc/tcp")


@pytest.mark.parametrize(
    "other",
    [
        RpcProgram(Protocol.UDP, 100000, "portmapper"),
        RpcProgram(Protocol.TCP, 100003, "portmapper"),
        EphemeralPorts(Protocol.TCP),
    ],
)
def test_another_program_is_another_one(other: object) -> None:
    one = RpcProgram(Protocol.TCP, 100000, "portmapper")
    assert one != other
    assert not one == other  # noqa: SIM201 what a tuple would say by itself
    assert len({one, other}) == 2


def test_rules_that_differ_in_anything_are_others() -> None:
    """As few as two of them are told apart by each of their parts."""
    texts = ["optional * 22/tcp", "required * 22/tcp", "optional lo 22/tcp", "optional * 22/udp"]
    texts += ["optional * nfs/tcp", "optional * ephemeral/tcp", "optional * 22/tcp@sshd"]
    rules = [rule(text)._replace(source="a:1") for text in texts]
    assert len(set(rules)) == len(rules)
    assert len({*rules, *(each._replace(source="b:1") for each in rules)}) == 2 * len(rules)
