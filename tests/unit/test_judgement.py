from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.judgement import judge, owner_holds, owner_matters
from check_portcheck.model import Failure, Owner, Process
from check_portcheck.policy import Policy
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

if TYPE_CHECKING:
    import random

    from check_portcheck.judgement import Finding, Verdict
    from check_portcheck.model import OpenService, ScanReport

SSH = service("22/tcp")
NOT_ROOT = owned(unseen="not root")
NO_PORTMAPPER = Failure("portmapper timed out", HERE, rpc_only=True)


def said(finding: Finding) -> str:
    """``missing 192.0.2.7:22/tcp: reason (rule)``."""
    text = f"{finding.kind} {finding.interface}:{finding.item}"
    text += f": {finding.reason}" if finding.reason else ""
    return text + (f" ({finding.rule.place})" if finding.rule else "")


def findings(of: ScanReport, *rules: str) -> list[str]:
    return [said(finding) for finding in judge(of, policy(*rules)).findings]


def allowed(verdict: Verdict) -> list[tuple[str, str | None]]:
    return [
        (f"{each.service.interface}:{each.service.port}", each.rule.place if each.rule else None)
        for each in verdict.judged
    ]


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
    assert [each.place for each in verdict.unused] == [other] * (not other.startswith("skip"))


@pytest.mark.parametrize("number", [32767, 32768, 60999, 61000])
def test_ephemeral_is_the_range_of_the_run(number: int) -> None:
    found = findings(report(service(f"{number}/udp")), "optional * ephemeral/udp")
    assert bool(found) == (number in (32767, 61000))


def test_a_required_service_that_is_not_open_is_missing_where_it_must_be() -> None:
    interfaces = (LOOPBACK, HERE, ALIAS, SIX)
    of = report(service("25/tcp", LOOPBACK), interfaces=interfaces)
    assert findings(of, "required * 25/tcp") == [
        "missing 192.0.2.7:25/tcp (required * 25/tcp)",
        "missing 192.0.2.8:25/tcp (required * 25/tcp)",
        "missing [2001:db8::7]:25/tcp (required * 25/tcp)",
    ]
    assert findings(of, "required eth0:1 25/tcp", "ignore * 25/tcp") == [
        "missing 192.0.2.8:25/tcp (required eth0:1 25/tcp)"
    ]
    assert findings(of, "required 127.0.0.1 25/tcp") == []


def test_optional_and_ignored_services_may_be_closed() -> None:
    verdict = judge(report(), policy("optional * 22/tcp", "ignore * 80/tcp"))
    assert verdict.findings == ()
    assert len(verdict.unused) == 2


def test_ignored_comes_before_required_and_required_before_optional() -> None:
    rules = ("optional * 22/tcp", "required 192.0.2.7 22/tcp", "ignore eth0 22/tcp")
    for number in (3, 2, 1):
        (judged,) = judge(report(SSH), policy(*rules[:number])).judged
        assert judged.rule
        assert judged.rule.place == rules[number - 1]


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


def test_a_single_required_port_is_told_once() -> None:
    of = report(unanswered=(unanswered("443/tcp"),))
    assert findings(of, "required * 443/tcp") == [
        "unverified 192.0.2.7:443/tcp: unanswered (required * 443/tcp)"
    ]


# Owners


@pytest.mark.parametrize(
    ("wanted", "owner", "holds"),
    [
        ("sshd", owned("sshd"), True),
        ("sshd", owned("ssh"), False),
        ("sshd", owned("systemd", "sshd"), True),
        ("/usr/sbin/sshd", owned("sshd"), True),
        ("/usr/sbin/ssh", owned("sshd"), False),
        ("unit:sshd.service", owned("sshd"), True),
        ("unit:sshd", owned("sshd"), False),
        ("user:root", owned("sshd"), True),
        ("user:daemon", owned("sshd"), False),
        ("sshd", NOT_ROOT, None),
        ("/usr/sbin/sshd", NOT_ROOT, None),
        ("user:root", NOT_ROOT, True),
        ("user:daemon", NOT_ROOT, None),
        ("user:www", Owner("root", (Process(1, "a", None, user="www"),)), True),
        ("kernel", Owner(kernel=True), True),
        ("kernel", owned("kernel"), False),
        ("kernel", NOT_ROOT, None),
        ("sshd", Owner(kernel=True), False),
        ("sshd", owned("sshd", unseen="one of two is hidden"), True),
    ],
)
def test_the_owner_of_a_socket(wanted: str, owner: Owner, *, holds: bool | None) -> None:
    asked = rule(f"optional * 22/tcp@{wanted}")
    assert owner_holds(service("22/tcp", owners=(owner,)), asked) is holds


@pytest.mark.parametrize(
    ("owners", "holds"),
    [
        ((owned("sshd"), owned("sshd")), True),
        ((owned("sshd"), owned("nc")), False),
        ((owned("sshd"), NOT_ROOT), None),
        ((owned("nc"), NOT_ROOT), False),
        ((), None),
        (None, None),
    ],
)
def test_every_socket_of_a_port_must_have_the_owner(
    owners: tuple[Owner, ...] | None, *, holds: bool | None
) -> None:
    asked = rule("optional * 22/tcp@sshd")
    assert owner_holds(service("22/tcp", owners=owners), asked) is holds


def test_without_an_owner_in_the_rule_anybody_will_do() -> None:
    assert owner_holds(service("22/tcp", owners=(NOT_ROOT,)), rule("optional * 22/tcp")) is True


def by(*owners: Owner) -> OpenService:
    return service("22/tcp", owners=owners)


@pytest.mark.parametrize(
    ("found", "rules", "told"),
    [
        (by(owned("sshd")), ["optional * 22/tcp@sshd"], []),
        (
            by(owned("nc", user="www")),
            ["required * 22/tcp@sshd"],
            ["unexpected 192.0.2.7:22/tcp: owner nc, expected sshd"],
        ),
        (
            by(owned("nc"), owned("sshd"), owned("nc")),
            ["optional * 22/tcp@sshd", "optional * 20-30/tcp@user:www"],
            [
                (
                    "unexpected 192.0.2.7:22/tcp: owner nc user:root and sshd user:root,"
                    " expected sshd or user:www"
                )
            ],
        ),
        (
            by(Owner(kernel=True)),
            ["optional * 22/tcp@sshd"],
            ["unexpected 192.0.2.7:22/tcp: owner kernel, expected sshd"],
        ),
        (by(owned("nc")), ["optional * 22/tcp@sshd", "optional eth0 22/tcp"], []),
        (by(NOT_ROOT), ["optional * 22/tcp@sshd", "optional * 22/tcp@user:root"], []),
        (
            by(NOT_ROOT),
            ["optional * 22/tcp@sshd", "required * 22/tcp@/sbin/sshd"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (not root: run it by sudo),"
                    " expected /sbin/sshd or sshd (required * 22/tcp@/sbin/sshd)"
                )
            ],
        ),
        (
            service("22/tcp", no_socket=True, owners=()),
            ["optional * 22/tcp@sshd"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (no socket),"
                    " expected sshd (optional * 22/tcp@sshd)"
                )
            ],
        ),
    ],
)
def test_the_verdict_on_an_owner(found: OpenService, rules: list[str], told: list[str]) -> None:
    assert findings(report(found), *rules) == told


def test_a_required_service_with_another_owner_is_unexpected_and_not_missing() -> None:
    of = report(by(owned("nc")))
    assert findings(of, "required * 22/tcp@sshd", "required * 23/tcp@sshd") == [
        "unexpected 192.0.2.7:22/tcp: owner nc, expected sshd",
        "missing 192.0.2.7:23/tcp (required * 23/tcp@sshd)",
    ]


@pytest.mark.parametrize(
    ("rules", "matters"),
    [
        ([], False),
        (["optional * 22/tcp"], False),
        (["optional * 22/tcp@sshd"], True),
        (["optional * 22/tcp@sshd", "optional * 20-29/tcp"], False),
        (["optional * 23/tcp@sshd"], False),
    ],
)
def test_when_the_owner_matters(rules: list[str], *, matters: bool) -> None:
    assert owner_matters(report(SSH), policy(*rules), SSH) is matters


# RPC


NFS = service("2049/tcp", rpc=("nfs",))
DEAD = registration("2050/tcp", "nfs")


@pytest.mark.parametrize(
    "allowing", ["required * nfs/tcp", "optional * nfs/tcp", "optional * 2049/tcp"]
)
def test_an_rpc_service_is_matched_by_program_and_by_port(allowing: str) -> None:
    of = report(NFS, registrations=(registration("2049/tcp", "nfs"),))
    assert findings(of, allowing) == []


def test_one_of_several_programs_on_a_port_is_enough() -> None:
    of = report(service("2049/tcp", rpc=("nfs", "mountd")))
    assert findings(of, "required * nfs/tcp", "required * mountd/tcp") == []
    assert findings(of, "optional * mountd/tcp") == []


def test_one_program_may_be_on_several_ports() -> None:
    of = report(service("2049/tcp", rpc=("nfs",)), service("2050/tcp", rpc=("nfs",)))
    assert findings(of, "required * nfs/tcp") == []


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (report(), "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)"),
        (
            report(registrations=(registration("2049/udp", "nfs"),)),
            "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)",
        ),
        (
            report(registrations=(registration("2049/tcp", "nfs", LOOPBACK),)),
            "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)",
        ),
        (
            report(
                registrations=(registration("2050/tcp", "nfs"), registration("2049/tcp", "nfs"))
            ),
            (
                "missing 192.0.2.7:nfs/tcp: registered on 2049/tcp, 2050/tcp, not listening"
                " (required * nfs/tcp)"
            ),
        ),
        (
            report(failures=(NO_PORTMAPPER,)),
            "unverified 192.0.2.7:nfs/tcp: portmapper timed out (required * nfs/tcp)",
        ),
        (
            report(failures=(Failure("not here", LOOPBACK, rpc_only=True),)),
            "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)",
        ),
    ],
)
def test_a_required_program_that_is_on_no_port(of: ScanReport, told: str) -> None:
    assert findings(of, "required * nfs/tcp") == [told]


def test_a_portmapper_that_fails_leaves_ports_to_be_judged() -> None:
    verdict = judge(report(SSH, failures=(NO_PORTMAPPER,)), policy("optional * 80/tcp"))
    assert [said(each) for each in verdict.findings] == ["unexpected 192.0.2.7:22/tcp"]
    assert verdict.failures == ()


@pytest.mark.parametrize(
    ("services", "told"),
    [
        ((), "missing 192.0.2.7:portmapper/tcp: portmapper timed out (required * portmapper/tcp)"),
        (
            (service("111/tcp"),),
            "unverified 192.0.2.7:111/tcp: portmapper timed out (required * portmapper/tcp)",
        ),
    ],
)
def test_the_portmapper_itself_is_looked_for_at_its_port(
    services: tuple[OpenService, ...], told: str
) -> None:
    of = report(*services, failures=(NO_PORTMAPPER,))
    assert findings(of, "required * portmapper/tcp") == [told]


def test_port_111_is_unexpected_when_no_rule_speaks_of_the_portmapper() -> None:
    of = report(service("111/tcp"), failures=(NO_PORTMAPPER,))
    assert findings(of, "required * nfs/tcp") == [
        "unverified 192.0.2.7:nfs/tcp: portmapper timed out (required * nfs/tcp)",
        "unexpected 192.0.2.7:111/tcp",
    ]
    assert findings(of, "optional * 111/tcp") == []


def test_other_failures_are_part_of_the_verdict() -> None:
    absent = Failure("device eth7 does not exist")
    assert judge(report(failures=(absent, NO_PORTMAPPER)), policy()).failures == (absent,)


# The whole


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
    NFS,
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
                registrations=order(
                    (registration("2049/tcp", "nfs"), registration("2049/tcp", "nfs", LOOPBACK))
                ),
                failures=order((NO_PORTMAPPER, Failure("one"))),
            ),
            Policy(order(tuple(rule(each) for each in RULES))),
        )

    one, other = verdict(mix=False), verdict(mix=True)
    assert (one.judged, one.findings) == (other.judged, other.findings)
    assert set(one.failures) == set(other.failures)
    assert set(one.unused) == set(other.unused)
