from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.policy.judgement import judge
from unit.samples import (
    ALIAS,
    HERE,
    LOOPBACK,
    SIX,
    Registered,
    Seen,
    policy,
    registration,
    report,
    service,
)
from unit.verdicts import NO_PORTMAPPER, SSH, allowed, findings

if TYPE_CHECKING:
    from check_portcheck.model import Report

NFS = service("2049/tcp", rpc=("nfs",))
DEAD = registration("2050/tcp", "nfs")


@pytest.mark.parametrize(
    "allowing", ["required * nfs/tcp", "optional * nfs/tcp", "optional * 2049/tcp"]
)
def test_an_rpc_service_is_matched_by_program_and_by_port(allowing: str) -> None:
    of = report(NFS, registered=(registration("2049/tcp", "nfs"),))
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
            report(registered=(registration("2049/udp", "nfs"),)),
            "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)",
        ),
        (
            report(registered=(registration("2049/tcp", "nfs", LOOPBACK),)),
            "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)",
        ),
        (
            report(registered=(registration("2050/tcp", "nfs"), registration("2049/tcp", "nfs"))),
            (
                "missing 192.0.2.7:nfs/tcp: registered on 2049/tcp, 2050/tcp, not listening"
                " (required * nfs/tcp)"
            ),
        ),
        (
            report(
                registered=(
                    registration("2048/tcp", "mountd"),
                    registration("2049/udp", "nfs"),
                    registration("2050/tcp", "nfs"),
                    registration("2050/tcp", "mountd"),
                ),
            ),
            (
                "missing 192.0.2.7:nfs/tcp: registered on 2050/tcp, not listening"
                " (required * nfs/tcp)"
            ),
        ),
        (
            report(unreachable=NO_PORTMAPPER),
            "unverified 192.0.2.7:nfs/tcp: portmapper timed out (required * nfs/tcp)",
        ),
        (
            report(unreachable={LOOPBACK: "not here"}),
            "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)",
        ),
    ],
)
def test_a_required_program_that_is_on_no_port(of: Report, told: str) -> None:
    assert findings(of, "required * nfs/tcp") == [told]


def test_a_portmapper_that_fails_leaves_ports_to_be_judged() -> None:
    of = report(SSH, unreachable=NO_PORTMAPPER)
    assert findings(of, "optional * 80/tcp") == ["unexpected 192.0.2.7:22/tcp"]


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
    services: tuple[Seen, ...], told: str
) -> None:
    of = report(*services, unreachable=NO_PORTMAPPER)
    assert findings(of, "required * portmapper/tcp") == [told]


def test_port_111_is_unexpected_when_no_rule_speaks_of_the_portmapper() -> None:
    of = report(service("111/tcp"), unreachable=NO_PORTMAPPER)
    assert findings(of, "required * nfs/tcp") == [
        "unverified 192.0.2.7:nfs/tcp: portmapper timed out (required * nfs/tcp)",
        "unexpected 192.0.2.7:111/tcp",
    ]
    assert findings(of, "optional * 111/tcp") == []


def test_a_required_program_on_one_interface_is_not_met_by_one_on_another() -> None:
    both = (HERE, LOOPBACK)
    of = report(service("2049/tcp", LOOPBACK, rpc=("nfs",)), interfaces=both)
    assert findings(of, "required * nfs/tcp") == [
        "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)"
    ]
    assert findings(of, "required lo nfs/tcp") == []
    # One socket answers on both, and the program is registered on one.
    of = report(
        service("2049/tcp", *both),
        interfaces=both,
        registered=(registration("2049/tcp", "nfs", LOOPBACK),),
    )
    assert findings(of, "required * nfs/tcp") == [
        "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)",
        "unexpected 192.0.2.7:2049/tcp",
    ]
    # It is registered on each, and listens on one of them at the port that it has on the other.
    of = report(
        service("2049/tcp", LOOPBACK),
        interfaces=both,
        registered=(registration("2049/tcp", "nfs"), registration("2048/tcp", "nfs", LOOPBACK)),
    )
    assert findings(of, "required * nfs/tcp") == [
        "missing 192.0.2.7:nfs/tcp: registered on 2049/tcp, not listening (required * nfs/tcp)",
        "missing 127.0.0.1:nfs/tcp: registered on 2048/tcp, not listening (required * nfs/tcp)",
        "unexpected 127.0.0.1:2049/tcp",
    ]


def test_a_program_is_missed_with_the_reason_of_each_interface() -> None:
    of = report(
        interfaces=(HERE, ALIAS, SIX, LOOPBACK),
        registered=(registration("2049/tcp", "nfs", ALIAS),),
        unreachable={SIX: "refused", LOOPBACK: "refused"},
    )
    assert findings(of, "required * nfs/tcp") == [
        "missing 192.0.2.7:nfs/tcp: not registered (required * nfs/tcp)",
        "missing 192.0.2.8:nfs/tcp: registered on 2049/tcp, not listening (required * nfs/tcp)",
        "unverified [2001:db8::7]+127.0.0.1:nfs/tcp: refused (required * nfs/tcp)",
    ]


@pytest.mark.parametrize(
    ("other", "rules"),
    [
        ("22/tcp", ["required * portmapper/tcp"]),
        ("110/tcp", ["optional * portmapper/tcp"]),
        ("112/tcp", ["optional * portmapper/tcp"]),
        ("111/udp", ["optional * portmapper/tcp"]),
        ("111/tcp", ["optional * portmapper/udp"]),
        ("111/tcp", ["optional lo portmapper/tcp"]),
        ("111/tcp", ["optional * nfs/tcp"]),
        ("111/tcp", ["skip * 111/tcp"]),
    ],
)
def test_with_a_dead_portmapper_only_its_own_port_may_be_it(other: str, rules: list[str]) -> None:
    of = report(service(other), unreachable=NO_PORTMAPPER)
    assert f"unexpected 192.0.2.7:{other}" in findings(of, *rules)


def test_the_port_that_may_be_the_portmapper_is_unverified_where_it_does_not_answer() -> None:
    of = report(
        service("111/tcp", HERE, SIX, LOOPBACK),
        interfaces=(HERE, SIX, LOOPBACK),
        unreachable={SIX: "refused", LOOPBACK: "timed out"},
        registered=(registration("111/tcp", "portmapper", HERE),),
    )
    rules = ("optional * portmapper/tcp", "required lo portmapper/tcp")
    assert findings(of, *rules) == [
        "unverified [2001:db8::7]:111/tcp: refused (optional * portmapper/tcp)",
        "unverified 127.0.0.1:111/tcp: timed out (required lo portmapper/tcp)",
    ]
    assert allowed(judge(of, policy(*rules))) == [
        ("192.0.2.7:111/tcp", "optional * portmapper/tcp"),
        ("[2001:db8::7]:111/tcp", None),
        ("127.0.0.1:111/tcp", None),
    ]


@pytest.mark.parametrize(
    "registered",
    [
        (),
        (registration("111/udp", "portmapper"),),
        (registration("1111/tcp", "portmapper"),),
        (registration("111/tcp", "nfs"),),
        (registration("111/tcp", "portmapper", LOOPBACK),),
    ],
)
def test_a_foreign_daemon_on_port_111_beside_a_healthy_portmapper_is_unexpected(
    registered: tuple[Registered, ...],
) -> None:
    of = report(service("111/tcp"), registered=registered)
    assert findings(of, "optional * portmapper/tcp") == ["unexpected 192.0.2.7:111/tcp"]


def test_a_dead_portmapper_is_missed_where_another_interface_has_its_port() -> None:
    of = report(
        service("111/tcp", LOOPBACK),
        service("111/udp"),
        interfaces=(HERE, LOOPBACK),
        unreachable=NO_PORTMAPPER,
    )
    assert findings(of, "required eth0 portmapper/tcp", "optional * 111/udp") == [
        "missing 192.0.2.7:portmapper/tcp: portmapper timed out (required eth0 portmapper/tcp)",
        "unexpected 127.0.0.1:111/tcp",
    ]
