from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import nagiosplugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck import plugin
from check_portcheck.config.settings import Settings
from check_portcheck.model import Failure, Interface, ScanError, Severity, State
from check_portcheck.policy.verdict import FindingKind, Severities
from check_portcheck.report.form import Assessment
from check_portcheck.report.narrative import LONGEST_HEADLINE, Narrative
from check_portcheck.report.parts import everything
from unit.samples import LOOPBACK, outcome, report, service, unanswered

if TYPE_CHECKING:
    from check_portcheck.model import Report
    from check_portcheck.outcome import Outcome

QUIET = (Severity.DEBUG, Severity.INFO, Severity.NOTICE)
WARNING = (Severity.WARN, Severity.MARK)
CRITICAL = (Severity.ERR, Severity.CRIT, Severity.ALERT)


class Counted(nagiosplugin.Resource):
    """The counts of a scan that was not run."""

    name = "PORTCHECK"

    def __init__(self, unexpected: int, missing: int, unverified: int, seconds: float) -> None:
        self.counts = {"unexpected": unexpected, "missing": missing, "unverified": unverified}
        self.seconds = seconds

    def probe(self) -> list[nagiosplugin.Metric]:
        return [
            *(
                nagiosplugin.Metric(f"{kind}_x", count, min=0, context=kind)
                for kind, count in self.counts.items()
            ),
            nagiosplugin.Metric("time", self.seconds, "s", context="time"),
        ]


def checked(
    unexpected: int = 0,
    missing: int = 0,
    unverified: int = 0,
    *,
    severities: tuple[Severity, Severity] = (Severity.CRIT, Severity.CRIT),
    seconds: float = 0.25,
) -> nagiosplugin.Check:
    check = nagiosplugin.Check(
        Counted(unexpected, missing, unverified, seconds),
        plugin.FindingContext(FindingKind.UNEXPECTED, Severities(*severities)),
        plugin.FindingContext(FindingKind.MISSING, Severities(*severities)),
        plugin.UnverifiedContext("unverified"),
        plugin.TimeContext("time"),
        plugin.RankedResults(),
    )
    check()
    return check


def expected_exit(unexpected: int, missing: int, unverified: int, *of: Severity) -> int:
    """Exit code by SPEC 5: CRITICAL, then UNKNOWN, then WARNING."""
    found = [severity for severity, count in zip(of, (unexpected, missing), strict=True) if count]
    if set(found) & set(CRITICAL):
        return 2
    if unverified:
        return 3
    return 1 if set(found) & set(WARNING) else 0


@pytest.mark.parametrize("unexpected_severity", Severity)
@pytest.mark.parametrize("missing_severity", Severity)
def test_every_severity_with_every_kind_of_finding(
    unexpected_severity: Severity, missing_severity: Severity
) -> None:
    severities = (unexpected_severity, missing_severity)
    for counts in itertools.product((0, 1, 70), (0, 1), (0, 1)):
        check = checked(*counts, severities=severities)
        assert check.exitcode == expected_exit(*counts, *severities), counts


@pytest.mark.parametrize(
    ("severities", "thresholds"), [(QUIET, ";;;0"), (WARNING, ";0;;0"), (CRITICAL, ";;0;0")]
)
def test_thresholds_follow_the_severity(severities: tuple[Severity, ...], thresholds: str) -> None:
    for severity in severities:
        check = checked(3, 0, severities=(severity, severity))
        told = {str(result.metric.performance()) for result in check.results if result.metric}
        assert {f"unexpected_x=3{thresholds}", f"missing_x=0{thresholds}"} <= told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.25, "0.250"), (0.00001, "0.000"), (1234.5678, "1234.568"), (0.0, "0.000")],
)
def test_the_time_is_in_fixed_point_and_never_a_problem(seconds: float, told: str) -> None:
    check = checked(seconds=seconds)
    assert check.exitcode == 0
    performances = [str(each.metric.performance()) for each in check.results if each.metric]
    assert f"time={told}s" in performances


@given(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=1))
def test_results_are_ranked_critical_unknown_warning_ok(codes: list[int]) -> None:
    states = [nagiosplugin.Ok, nagiosplugin.Warn, nagiosplugin.Critical, nagiosplugin.Unknown]
    results = plugin.RankedResults(*(nagiosplugin.Result(states[code]) for code in codes))
    worst = next(code for code in (2, 3, 1, 0) if code in codes)
    assert results.most_significant_state == states[worst]
    assert [each.state for each in results.most_significant] == [states[worst]] * codes.count(worst)


# Labels


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("192.0.2.7", "192_0_2_7"),
        ("eth0", "eth0"),
        ("eth0:1", "eth0_1"),
        ("ETH0.100", "eth0_100"),
        ("::1", "__1"),
        ("fe80::7%eth0", "fe80__7_eth0"),
        ("br-\u00e9|'=", "br_____"),
    ],
)
def test_a_name_in_a_label(name: str, label: str) -> None:
    assert plugin.perfdata_labels([name]) == {name: label}


def test_labels_that_would_be_the_same_are_numbered() -> None:
    assert plugin.perfdata_labels(["eth0:1", "eth0.1", "ETH0_1", "eth0_1_2"]) == {
        "eth0:1": "eth0_1",
        "eth0.1": "eth0_1_2",
        "ETH0_1": "eth0_1_3",
        "eth0_1_2": "eth0_1_2_2",
    }


@given(st.lists(st.text(min_size=1), unique=True))
def test_labels_are_unique_and_harmless(given_names: list[str]) -> None:
    labels = plugin.perfdata_labels(given_names)
    assert list(labels) == given_names
    assert len(set(labels.values())) == len(labels)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", f"open_{label}") for label in labels.values())


# The whole check


def some(settings: Settings | None = None) -> Outcome:
    """Findings on two addresses of which one was chosen twice, and an absent device."""
    both = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("192.0.2.7", "eth0"))
    of = report(
        service("22/tcp", both),
        service("80/tcp", LOOPBACK, both),
        interfaces=(LOOPBACK, both),
        unanswered=(unanswered("400-499/tcp", both),),
        failures=(Failure("device eth7 does not exist", "eth7"),),
    )
    return outcome(of, "required * 22/tcp", "required eth0 25/tcp", settings=settings)


def test_the_resource_has_its_outcome_once_it_was_probed() -> None:
    told = some()
    resource = plugin.Portcheck(lambda: told)
    assert resource.outcome is None
    assessment = plugin.assess(resource, told.task.settings.severities)
    assert assessment.part == everything(told)
    assert assessment._replace(part=None) == Assessment(
        State.CRITICAL,
        Narrative(told).headline(),
        (
            "open_127_0_0_1=1;;;0",
            "unexpected_127_0_0_1=1;;0;0",
            "missing_127_0_0_1=1;;0;0",
            "open_192_0_2_7=2;;;0",
            "unexpected_192_0_2_7=1;;0;0",
            "missing_192_0_2_7=1;;0;0",
            "open_eth0=2;;;0",
            "unexpected_eth0=1;;0;0",
            "missing_eth0=1;;0;0",
            "open_eth7=0;;;0",
            "unexpected_eth7=0;;0;0",
            "missing_eth7=0;;0;0",
            "time=1.500s",
        ),
    )
    assert resource.outcome is told


@pytest.mark.parametrize(
    ("severities", "state"),
    [
        (Severities(), State.CRITICAL),
        (Severities(unexpected=Severity.INFO), State.CRITICAL),
        (Severities(missing=Severity.INFO), State.CRITICAL),
        (Severities(Severity.WARN, Severity.INFO), State.UNKNOWN),
    ],
)
def test_the_state_is_that_of_the_text(severities: Severities, state: State) -> None:
    told = some(Settings(severities=severities))
    assert plugin.assess(plugin.Portcheck(lambda: told), severities).state is state
    assert Narrative(told).state() is state


@pytest.mark.parametrize(
    ("of", "state"),
    [
        (report(), State.OK),
        (report(failures=(Failure("gone", "eth7"),)), State.UNKNOWN),
        (report(unanswered=(unanswered("1/tcp"),)), State.UNKNOWN),
        (
            report(unanswered=(unanswered("1/tcp"),), failures=(Failure("gone", "eth7"),)),
            State.UNKNOWN,
        ),
    ],
)
def test_what_could_not_be_looked_at_is_unknown(of: Report, state: State) -> None:
    told = outcome(of)
    assessment = plugin.assess(plugin.Portcheck(lambda: told), Severities())
    assert (assessment.state, assessment.headline) == (state, Narrative(told).headline())


def test_where_nothing_could_be_learnt_there_is_no_outcome_and_the_reason() -> None:
    def fails() -> Outcome:
        raise ScanError("the socket table | is unreadable" + "!" * 1000)

    resource = plugin.Portcheck(fails)
    assessment = plugin.assess(resource, Severities(Severity.INFO, Severity.INFO))
    assert resource.outcome is None
    assert (assessment.state, assessment.perfdata) == (State.UNKNOWN, ())
    assert assessment.headline.startswith("the socket table ? is unreadable!!!")
    assert len(assessment.headline) == LONGEST_HEADLINE
