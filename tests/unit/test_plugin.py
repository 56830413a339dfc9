from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import nagiosplugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck import plugin
from check_portcheck.config import Settings
from check_portcheck.interfaces import Chosen
from check_portcheck.judgement import judge
from check_portcheck.model import Failure, Interface, Severity
from unit.samples import HERE, LOOPBACK, names, policy, report, rule, service, task, unanswered

if TYPE_CHECKING:
    from pathlib import Path

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
        plugin.UnexpectedContext(severities[0]),
        plugin.MissingContext(severities[1]),
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


# Counts


@pytest.fixture(name="resource")
def resource_fixture(tmp_path: Path) -> plugin.Portcheck:
    """Findings on two addresses of which one was chosen twice, and an absent device."""
    both = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("192.0.2.7", "eth0"))
    of = report(
        service("22/tcp", both),
        service("80/tcp", both),
        service("80/tcp", LOOPBACK),
        interfaces=(LOOPBACK, both),
        unanswered=(unanswered("400-499/tcp", both),),
        failures=(Failure("device eth7 does not exist"),),
    )
    rules = policy("required * 22/tcp", "required eth0 25/tcp")
    absent = Chosen(of.interfaces, ("eth7",), of.failures, ())
    made = plugin.Portcheck(task(Settings(), rules, names(tmp_path), of.interfaces), absent)
    made.report = of
    made.verdict = judge(of, rules)
    return made


def test_counts_are_kept_per_chosen_name(resource: plugin.Portcheck) -> None:
    assert {name: dict(count) for name, count in resource.counts().items()} == {
        "127.0.0.1": {"open": 1, "unexpected": 1, "missing": 1},
        "192.0.2.7": {"open": 2, "unexpected": 1, "missing": 1, "unverified": 1},
        "eth0": {"open": 2, "unexpected": 1, "missing": 1, "unverified": 1},
        "eth7": {},
    }


def test_notes_of_the_choice_come_before_later_ones(tmp_path: Path) -> None:
    chosen = Chosen((HERE,), (), (), ("one",))
    of = task(Settings(rules=(rule("skip * 9/tcp"),)), policy(), names(tmp_path))
    resource = plugin.Portcheck(of, chosen, None, ("two",))
    resource.note("three")
    assert resource.notes == ("one", "two", "three")
