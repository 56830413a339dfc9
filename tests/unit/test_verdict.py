from __future__ import annotations

import itertools

import pytest

from check_portcheck.model import Failure, PortRange, Severity, State
from check_portcheck.policy.verdict import Finding, FindingKind, Severities
from unit.samples import HERE, LOOPBACK, SIX, item, service

UNEXPECTED, MISSING, UNVERIFIED = FindingKind
QUIET = (Severity.DEBUG, Severity.INFO, Severity.NOTICE)
WARNING = (Severity.WARN, Severity.MARK)
GONE = Failure("device eth7 does not exist", "eth7")


def expected(severity: Severity) -> State:
    """SPEC 5: what a finding of a severity brings."""
    if severity in QUIET:
        return State.OK
    return State.WARNING if severity in WARNING else State.CRITICAL


@pytest.mark.parametrize("unexpected", Severity)
@pytest.mark.parametrize("missing", Severity)
def test_each_kind_has_the_state_of_its_own_severity(
    unexpected: Severity, missing: Severity
) -> None:
    severities = Severities(unexpected, missing)
    assert severities.state(UNEXPECTED) is expected(unexpected)
    assert severities.state(MISSING) is expected(missing)
    assert severities.state(UNVERIFIED) is State.UNKNOWN


def test_findings_are_critical_where_nothing_else_is_said() -> None:
    assert Severities() == (Severity.CRIT, Severity.CRIT)


def test_states_are_ranked_critical_unknown_warning_ok() -> None:
    ranked = sorted(State, key=lambda state: state.rank)
    assert ranked == [State.OK, State.WARNING, State.UNKNOWN, State.CRITICAL]


@pytest.mark.parametrize(
    ("severities", "kinds", "failures", "state"),
    [
        (Severities(), [], [], State.OK),
        (Severities(), [], [GONE], State.UNKNOWN),
        (Severities(), [UNVERIFIED], [], State.UNKNOWN),
        (Severities(), [MISSING], [], State.CRITICAL),
        (Severities(), [UNVERIFIED, UNEXPECTED], [GONE, GONE], State.CRITICAL),
        (Severities(Severity.WARN), [UNEXPECTED], [], State.WARNING),
        (Severities(Severity.WARN), [UNEXPECTED], [GONE], State.UNKNOWN),
        (Severities(Severity.WARN), [UNEXPECTED, UNVERIFIED], [], State.UNKNOWN),
        (Severities(Severity.WARN), [UNEXPECTED, MISSING], [], State.CRITICAL),
        (Severities(Severity.INFO), [UNEXPECTED], [], State.OK),
        (Severities(Severity.INFO), [UNEXPECTED, UNVERIFIED], [], State.UNKNOWN),
        (Severities(Severity.INFO, Severity.MARK), [UNEXPECTED, MISSING], [], State.WARNING),
    ],
)
def test_what_was_found_is_never_hidden_by_what_could_not_be_seen(
    severities: Severities, kinds: list[FindingKind], failures: list[Failure], state: State
) -> None:
    for order in itertools.permutations(kinds):
        assert severities.worst(order, failures) is state


@pytest.mark.parametrize(
    ("severities", "kinds"),
    [
        (Severities(), [UNEXPECTED, MISSING, UNVERIFIED]),
        (Severities(Severity.WARN), [MISSING, UNVERIFIED, UNEXPECTED]),
        (Severities(missing=Severity.INFO), [UNEXPECTED, UNVERIFIED, MISSING]),
        (Severities(Severity.INFO, Severity.WARN), [UNVERIFIED, MISSING, UNEXPECTED]),
        (Severities(Severity.INFO, Severity.INFO), [UNVERIFIED, UNEXPECTED, MISSING]),
    ],
)
def test_the_worst_kind_comes_first(severities: Severities, kinds: list[FindingKind]) -> None:
    assert severities.kinds() == kinds


def test_a_part_of_a_finding_has_the_part_of_its_service() -> None:
    found = service("22/tcp", HERE, LOOPBACK, SIX).service
    whole = Finding(
        UNEXPECTED, found.interfaces, PortRange.of(found.port), found, None, "somebody else's"
    )
    part = whole.on((HERE, SIX))
    assert part.interfaces == (HERE, SIX)
    assert part.service == found._replace(interfaces=(HERE, SIX))
    assert part._replace(interfaces=whole.interfaces, service=found) == whole
    assert whole.on(whole.interfaces) == whole


def test_a_part_of_a_finding_without_a_service_has_none() -> None:
    whole = Finding(MISSING, (HERE, SIX), item("nfs/tcp"))
    assert whole.on((SIX,)) == Finding(MISSING, (SIX,), item("nfs/tcp"))
