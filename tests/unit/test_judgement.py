from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.policy.judgement import judge
from check_portcheck.policy.rules import Policy
from unit.samples import (
    ALIAS,
    HERE,
    LOOPBACK,
    SIX,
    owned,
    policy,
    registration,
    report,
    rule,
    service,
    unanswered,
)
from unit.verdicts import NO_PORTMAPPER, NOT_ROOT, SSH, allowed, by, findings, said

if TYPE_CHECKING:
    import random

    from check_portcheck.policy.verdict import Verdict


@pytest.mark.parametrize(
    "allowing",
    [
        "required 192.0.2.7 22/tcp",
        "optional 192.0.2.7 22/tcp",
        "ignore 192.0.2.7 22/tcp",
        "optional * 22/tcp",
        "optional eth0 22/tcp",
        "optional 192.0.2.0/24 22/tcp",
        "optional * 20-29/tcp",
        "optional * 22-22/tcp",
        "optional * */tcp",
    ],
)
def test_a_listed_service_is_expected(allowing: str) -> None:
    verdict = judge(report(SSH), policy(allowing))
    assert allowed(verdict) == [("192.0.2.7:22/tcp", allowing)]
    assert (verdict.findings, verdict.unused) == ((), ())


@pytest.mark.parametrize(
    "other",
    [
        "optional 192.0.2.8 22/tcp",
        "optional eth1 22/tcp",
        "optional eth0:1 22/tcp",
        "optional 198.51.100.0/24 22/tcp",
        "optional 2001:db8::/32 22/tcp",
        "optional * 22/udp",
        "optional * 23/tcp",
        "optional * 23-99/tcp",
        "optional * 0-21/tcp",
        "optional * */udp",
        "optional * ephemeral/tcp",
        "optional * nfs/tcp",
        "skip * 22/tcp",
    ],
)
def test_an_unlisted_service_is_unexpected(other: str) -> None:
    verdict = judge(report(SSH), policy(other))
    assert allowed(verdict) == [("192.0.2.7:22/tcp", None)]
    assert [said(each) for each in verdict.findings] == ["unexpected 192.0.2.7:22/tcp"]
    told = [each.source for each in (*verdict.unused, *verdict.idle)]
    assert told == [other] * (not other.startswith("skip"))


@pytest.mark.parametrize("number", [32767, 32768, 60999, 61000])
def test_ephemeral_is_the_range_of_the_run(number: int) -> None:
    found = findings(report(service(f"{number}/udp")), "optional * ephemeral/udp")
    assert bool(found) == (number in (32767, 61000))


def test_optional_and_ignored_services_may_be_closed() -> None:
    verdict = judge(report(), policy("optional * 22/tcp", "ignore * 80/tcp"))
    assert verdict.findings == ()
    assert len(verdict.unused) == 2


def test_ignored_comes_before_required_and_required_before_optional() -> None:
    rules = ("optional * 22/tcp", "required 192.0.2.7 22/tcp", "ignore eth0 22/tcp")
    for number in (3, 2, 1):
        (judged,) = judge(report(SSH), policy(*rules[:number])).judged
        assert judged.rule
        assert judged.rule.source == rules[number - 1]


def test_a_service_is_cut_where_other_rules_speak_of_it() -> None:
    every = (HERE, ALIAS, SIX, LOOPBACK)
    found = service("22/tcp", *every)
    verdict = judge(
        report(found, interfaces=every), policy("optional lo 22/tcp", "ignore 192.0.2.0/24 22/tcp")
    )
    assert allowed(verdict) == [
        ("192.0.2.7+192.0.2.8:22/tcp", "ignore 192.0.2.0/24 22/tcp"),
        ("[2001:db8::7]:22/tcp", None),
        ("127.0.0.1:22/tcp", "optional lo 22/tcp"),
    ]
    assert [said(each) for each in verdict.findings] == ["unexpected [2001:db8::7]:22/tcp"]
    assert {each.service.sockets for each in verdict.judged} == {found.service.sockets}


def test_a_judged_service_has_its_finding_and_the_finding_its_service() -> None:
    of = report(SSH, service("23/tcp"), unreachable=NO_PORTMAPPER)
    verdict = judge(of, policy("optional * 23/tcp"))
    (finding,) = verdict.findings
    unexpected, expected = verdict.judged
    assert (unexpected.finding, unexpected.service) == (finding, finding.service)
    assert (expected.finding, expected.service.port.number) == (None, 23)


def test_of_rules_of_one_kind_the_first_by_source_and_text_is_named() -> None:
    one = rule("optional * 22/tcp")._replace(source="a:1")
    other = rule("optional * 20-29/tcp")._replace(source="a:1")
    later = rule("optional eth0 22/tcp")._replace(source="b:1")
    for rules in itertools.permutations((one, other, later)):
        (judged,) = judge(report(SSH), Policy(rules)).judged
        assert judged.rule == other


def test_a_rule_is_used_where_it_names_what_is_open_whoever_holds_it() -> None:
    rules = ("optional * 22/tcp@nobody", "optional 192.0.2.0/24 23/tcp", "skip * 9/tcp")
    verdict = judge(report(by(owned("sshd"))), policy(*rules))
    assert [each.source for each in verdict.unused] == ["optional 192.0.2.0/24 23/tcp"]


def test_findings_come_by_interface_protocol_and_number() -> None:
    services = [
        service(f"{number}/{protocol}", interface)
        for interface in (LOOPBACK, HERE)
        for protocol in ("udp", "tcp")
        for number in (100, 20, 3)
    ]
    of = report(*services, interfaces=(HERE, LOOPBACK))
    assert findings(of) == [
        f"unexpected {interface}:{number}/{protocol}"
        for interface in (HERE, LOOPBACK)
        for protocol in ("tcp", "udp")
        for number in (3, 20, 100)
    ]


RULES = (
    "required * 22/tcp@sshd",
    "required 192.0.2.7 25/tcp",
    "required * nfs/tcp",
    "optional eth0 22/tcp@user:root",
    "optional * ephemeral/udp",
    "optional lo */tcp",
    "ignore 192.0.2.0/24 8000-8099/tcp",
    "skip * 9100/tcp",
)
SERVICES = (
    by(owned("nc")),
    service("22/tcp", LOOPBACK, owners=(NOT_ROOT,)),
    service("22/tcp", SIX, owners=(NOT_ROOT,)),
    service("8080/tcp"),
    service("8080/tcp", SIX),
    service("40000/udp"),
    service("111/tcp"),
    service("2049/tcp", rpc=("nfs",)),
)


@given(st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_the_order_of_anything(shuffled: random.Random) -> None:
    def mixed(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(shuffled.sample(values, len(values)))

    def verdict(*, mix: bool) -> Verdict:
        order = mixed if mix else tuple
        return judge(
            report(
                *order(SERVICES),
                interfaces=(LOOPBACK, HERE, SIX),
                unanswered=order((unanswered("400-499/tcp"), unanswered("22/udp", SIX))),
                registered=order(
                    (registration("2049/tcp", "nfs"), registration("2049/tcp", "nfs", LOOPBACK))
                ),
                unreachable=dict(order(((SIX, "portmapper timed out"),))),
            ),
            Policy(order(tuple(rule(each) for each in RULES))),
        )

    one, other = verdict(mix=False), verdict(mix=True)
    assert (one.judged, one.findings) == (other.judged, other.findings)
    assert set(one.unused) == set(other.unused)
