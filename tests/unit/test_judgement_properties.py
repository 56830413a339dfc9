from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import Owner, Report
from check_portcheck.policy.judgement import judge, owner_matters
from unit.samples import (
    HERE,
    LOOPBACK,
    SIX,
    Seen,
    owned,
    policy,
    registration,
    report,
    service,
    unanswered,
)
from unit.verdicts import NOT_ROOT

if TYPE_CHECKING:
    from check_portcheck.policy.rules import Rule
    from check_portcheck.policy.verdict import Finding, Judged, Verdict

EVERY = (LOOPBACK, HERE, SIX)
OWNERS = (owned("sshd"), owned("nc", user="www"), NOT_ROOT, Owner(kernel=True))


@st.composite
def seen(draw: st.DrawFn) -> list[Seen]:
    """Services of which each has one or two sockets, on interfaces of its own."""
    services: list[Seen] = []
    for port in draw(st.sets(st.sampled_from(["22/tcp", "111/tcp", "2049/tcp", "40000/udp"]))):
        whose = draw(st.lists(st.integers(0, 2), min_size=3, max_size=3))
        for daemon in (1, 2):
            interfaces = [
                each for each, by_whom in zip(EVERY, whose, strict=True) if by_whom == daemon
            ]
            owners = draw(st.lists(st.sampled_from(OWNERS), max_size=2))
            if interfaces:
                services.append(service(port, *interfaces, owners=tuple(owners) or None))
    return services


WORLD = st.builds(
    lambda services, registered, unreachable, silent: report(
        *services,
        interfaces=EVERY,
        registered=tuple(registered),
        unreachable=dict.fromkeys(unreachable, "timed out"),
        unanswered=tuple(silent),
    ),
    seen(),
    st.lists(
        st.builds(
            registration,
            st.sampled_from(["111/tcp", "2049/tcp", "40000/udp"]),
            st.sampled_from(["portmapper", "nfs"]),
            st.sampled_from(EVERY),
        ),
        max_size=5,
    ),
    st.sets(st.sampled_from(EVERY)),
    st.lists(
        st.builds(unanswered, st.sampled_from(["25/tcp", "400-499/tcp"]), st.sampled_from(EVERY)),
        max_size=4,
        unique=True,
    ),
)
SOME_RULES = st.lists(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["required", "optional", "ignore", "skip"]),
        st.sampled_from(["*", "192.0.2.7", "lo", "192.0.2.0/24", "::/0"]),
        st.sampled_from(
            [
                *("22/tcp", "22/tcp@sshd", "1-499/tcp", "1-499/tcp@user:root", "*/tcp", "25/tcp"),
                *("nfs/tcp", "nfs/tcp@kernel", "portmapper/tcp", "111/tcp@sshd"),
                *("ephemeral/udp", "ephemeral/udp@nc"),
            ]
        ),
    ),
    max_size=6,
)


def apart(of: Report) -> Report:
    """The report as if each service, and each stretch of silence, were another per interface."""
    return of._replace(
        services=tuple(each.on((where,)) for each in of.services for where in each.interfaces)
    )


def by_interface(verdict: Verdict) -> tuple[Counter[Finding], Counter[Judged], set[Rule]]:
    """What a verdict says of each interface."""
    return (
        Counter(each.on((where,)) for each in verdict.findings for where in each.interfaces),
        Counter(
            each._replace(
                service=each.service.on((where,)),
                finding=each.finding and each.finding.on((where,)),
            )
            for each in verdict.judged
            for where in each.service.interfaces
        ),
        set(verdict.unused),
    )


@given(WORLD, SOME_RULES)
def test_a_service_on_several_interfaces_is_judged_as_on_each_of_them(
    of: Report, rules: list[str]
) -> None:
    together = judge(of, policy(*rules))
    assert by_interface(together) == by_interface(judge(apart(of), policy(*rules)))


@given(WORLD, SOME_RULES)
def test_every_service_is_judged_once_and_either_allowed_or_a_finding(
    of: Report, rules: list[str]
) -> None:
    verdict = judge(of, policy(*rules))
    judged = [
        (each.service.port, where) for each in verdict.judged for where in each.service.interfaces
    ]
    there = [(each.port, where) for each in of.services for where in each.interfaces]
    assert Counter(judged) == Counter(there)
    for each in verdict.judged:
        assert (each.rule is None) is (each.finding is not None)
        assert each.finding is None or each.finding in verdict.findings
        assert each.finding is None or each.finding.service == each.service
    assert verdict.judged == tuple(sorted(verdict.judged, key=lambda each: position(of, each)))


def position(of: Report, judged: Judged) -> tuple[int, str, int]:
    """By first interface, protocol and number."""
    port = judged.service.port
    return of.interfaces.index(judged.service.interfaces[0]), port.protocol, port.number


@given(WORLD, SOME_RULES)
def test_owners_that_do_not_matter_change_no_finding(of: Report, rules: list[str]) -> None:
    """They are not even asked for; which of several rules is named may depend on them."""
    allowed_by = policy(*rules)
    matter = {
        row: owner
        for each in of.services
        if owner_matters(of, allowed_by, each)
        for row in each.sockets
        for owner in [of.owners.get(row)]
        if owner
    }
    without = judge(of._replace(owners=matter), allowed_by)
    assert judge(of, allowed_by).findings == without.findings
