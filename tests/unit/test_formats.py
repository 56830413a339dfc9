from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nagiosplugin
import pytest

from check_portcheck import formats, plugin
from check_portcheck.config import Format, Settings
from check_portcheck.history import History
from check_portcheck.interfaces import Chosen
from check_portcheck.judgement import judge
from check_portcheck.model import Coverage, Failure, Owner, Process, Severity
from unit.samples import HERE, LOOPBACK, SIX, names, owned, policy, report, service, task

if TYPE_CHECKING:
    from pathlib import Path

    from check_portcheck.model import ScanReport

HOSTILE = "x\"y'|z=1\\n\n\x1b[2J\udcff\u202e"


class Told(nagiosplugin.Summary):
    """A given first line and given others."""

    def __init__(self, first: str, *lines: str) -> None:
        self.first = first
        self.lines = lines

    def ok(self, results: nagiosplugin.Results) -> str:
        del results
        return self.first

    def problem(self, results: nagiosplugin.Results) -> str:
        del results
        return self.first

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        del results
        return list(self.lines)


class Portcheck(nagiosplugin.Resource):
    def __init__(self, *metrics: nagiosplugin.Metric) -> None:
        self.metrics = metrics

    def probe(self) -> list[nagiosplugin.Metric]:
        return list(self.metrics)


def finished(told: Told, *metrics: nagiosplugin.Metric) -> nagiosplugin.Check:
    check = nagiosplugin.Check(
        Portcheck(*metrics),
        nagiosplugin.ScalarContext("open"),
        plugin.UnexpectedContext(Severity.CRIT),
        plugin.TimeContext("time"),
        told,
    )
    check()
    return check


OPEN = nagiosplugin.Metric("open_x", 3, min=0, context="open")
NONE = nagiosplugin.Metric("unexpected_x", 0, min=0, context="unexpected")
ONE = nagiosplugin.Metric("unexpected_x", 1, min=0, context="unexpected")
TIME = nagiosplugin.Metric("time", 0.5, "s", context="time")


# Nagios


def test_perfdata_is_in_the_first_line_in_the_order_of_metrics() -> None:
    assert formats.nagios(finished(Told("fine", "note: a"), TIME, OPEN, NONE)) == (
        "PORTCHECK OK - fine | time=0.500s open_x=3;;;0 unexpected_x=0;;0;0\nnote: a\n",
        0,
    )


def test_the_state_gives_word_and_exit_code() -> None:
    assert formats.nagios(finished(Told("1 unexpected: a"), ONE)) == (
        "PORTCHECK CRITICAL - 1 unexpected: a | unexpected_x=1;;0;0\n",
        2,
    )


@pytest.mark.parametrize("length", [1, 50, 1000])
@pytest.mark.parametrize("count", [1, 100, 10000])
@pytest.mark.parametrize("char", ["x", "\u4e2d"])
def test_all_output_stays_below_what_nagios_keeps(char: str, count: int, length: int) -> None:
    lines = [char * length] * count
    text, _ = formats.nagios(finished(Told("fine", *lines), OPEN))
    assert len(text.encode()) < 8192
    first, *others = text.splitlines()
    assert first == "PORTCHECK OK - fine | open_x=3;;;0"
    if others == lines:
        return
    *kept, last = others
    assert kept == lines[: len(kept)]
    assert last == f"... and {count - len(kept)} more"
    # No line was left out that would have fitted.
    assert len(text.encode()) + len(lines[0].encode()) + 1 > 8000 - len(last)


def test_the_first_line_is_kept_whatever_its_length() -> None:
    metrics = [nagiosplugin.Metric(f"open_{n}", n, context="open") for n in range(1000)]
    text, _ = formats.nagios(finished(Told("fine", "a", "b"), *metrics))
    first, *others = text.splitlines()
    assert first.endswith("open_999=999")
    assert others == ["... and 2 more"]


# Checkmk and JSON


def resource(
    directory: Path,
    of: ScanReport,
    *rules: str,
    settings: Settings | None = None,
    absent: tuple[str, ...] = (),
) -> tuple[nagiosplugin.Check, plugin.Portcheck]:
    """A resource whose scan has been run, and a check with its state."""
    chosen = Chosen(of.interfaces, absent, of.failures, ())
    allowed = policy(*rules)
    scan = task(settings or Settings(), allowed, names(directory), of.interfaces)
    made = plugin.Portcheck(scan, chosen, None, ("a note",))
    made.report, made.verdict = of, judge(of, allowed)
    made.history, made.taken, made.scanned = History(), 0.0, True
    count = sum(each.kind == "unexpected" for each in made.verdict.findings)
    metric = nagiosplugin.Metric("unexpected_x", count, context="unexpected")
    return finished(Told("the summary"), metric), made


def test_checkmk_gets_a_service_per_chosen_name(tmp_path: Path) -> None:
    of = report(
        service("22/tcp"),
        service("80/tcp"),
        service("22/tcp", LOOPBACK),
        interfaces=(LOOPBACK, HERE),
        failures=(Failure("device eth7 does not exist"),),
    )
    rules = ("optional * 22/tcp", "required * 25/tcp")
    settings = Settings(severity_unexpected=Severity.WARN)
    check, made = resource(tmp_path, of, *rules, settings=settings, absent=("eth7",))
    text, code = formats.checkmk(check, made)
    assert code == 0
    assert text.splitlines() == [
        (
            '2 "Portcheck 127.0.0.1" open=1|unexpected=0;1|missing=1;1;1'
            " 1 missing: 127.0.0.1:25/tcp, required by required * 25/tcp"
            "\\nmissing: 127.0.0.1:25/tcp, required by required * 25/tcp\\nnote: a note"
        ),
        (
            '2 "Portcheck 192.0.2.7" open=2|unexpected=1;1|missing=1;1;1'
            " 1 missing, 1 unexpected: 192.0.2.7:25/tcp, required by required * 25/tcp,"
            " 192.0.2.7:80/tcp"
            "\\nmissing: 192.0.2.7:25/tcp, required by required * 25/tcp"
            "\\nunexpected: 192.0.2.7:80/tcp\\nnote: a note"
        ),
        (
            '3 "Portcheck eth7" open=0|unexpected=0;1|missing=0;1;1'
            " 1 not looked at: device eth7 does not exist"
            "\\nnot looked at: device eth7 does not exist\\nnote: a note"
        ),
    ]


@pytest.mark.parametrize(
    ("severity", "state", "levels"),
    [(Severity.INFO, "0", ""), (Severity.WARN, "1", ";1"), (Severity.CRIT, "2", ";1;1")],
)
def test_checkmk_levels_alarm_at_the_level(
    tmp_path: Path, severity: Severity, state: str, levels: str
) -> None:
    settings = Settings(severity_unexpected=severity, severity_missing=severity)
    text, _ = formats.checkmk(*resource(tmp_path, report(service("80/tcp")), settings=settings))
    assert text.startswith(
        f'{state} "Portcheck 192.0.2.7" open=1|unexpected=1{levels}|missing=0{levels} 1 unexpected'
    )


CHECKMK_LINE = re.compile(
    r'[0-3] "Portcheck [^"\']+" open=\d+\|unexpected=\d+(;\d+)*\|missing=\d+(;\d+)* [^"\'\n]+'
)


def hostile_report() -> ScanReport:
    process = Process(7, HOSTILE, HOSTILE, (HOSTILE,), HOSTILE, 1.0, HOSTILE)
    return report(
        service("80/tcp", owners=(Owner(HOSTILE, (process,)),)),
        failures=(Failure(HOSTILE),),
    )


def test_foreign_text_cannot_break_a_line_of_checkmk(tmp_path: Path) -> None:
    of = hostile_report()
    text, _ = formats.checkmk(*resource(tmp_path, of, absent=("eth7",)))
    lines = text.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert CHECKMK_LINE.fullmatch(line)
        assert line.isprintable()
        assert line.count("|") == 2
        assert "\\" not in line.replace("\\n", "")


def test_foreign_text_cannot_break_nagios_output(tmp_path: Path) -> None:
    _, made = resource(tmp_path, hostile_report())
    told = Told(made.narrative.headline(), *made.narrative.details())
    text, _ = formats.nagios(finished(told, ONE))
    assert text.count("|") == 1
    assert text.encode().decode() == text
    assert all(line.isprintable() for line in text.splitlines())


def test_checkmk_details_are_bounded(tmp_path: Path) -> None:
    services = [service(f"{n}/tcp", owners=(owned("a" * 30),)) for n in range(1, 2000)]
    text, _ = formats.checkmk(*resource(tmp_path, report(*services)))
    assert text.count("\n") == 1
    assert len(text) < 4500
    assert re.search(r"\\n\.\.\. and \d+ more\n$", text)


def test_json_tells_everything(tmp_path: Path) -> None:
    of = replace(
        report(
            service("22/tcp", owners=(owned("sshd"),)),
            service("80/tcp", SIX, no_socket=True, forwarded=True, owners=()),
            service("2049/tcp", rpc=("nfs",), owners=(Owner(kernel=True),)),
            interfaces=(HERE, SIX),
            failures=(Failure("device eth7 does not exist"),),
        ),
        coverage=Coverage(100, 90, 4, filtered=3, untracked=6),
    )
    rules = ("required * 22/tcp", "ignore * nfs/tcp", "optional * 1/tcp")
    check, made = resource(tmp_path, of, *rules)
    text, code = formats.as_json(check, made)
    answer: dict[str, Any] = json.loads(text)
    assert (code, answer["exit_code"], answer["state"]) == (2, 2, "CRITICAL")
    assert answer["summary"] == "the summary"
    assert answer["format"] == 1
    assert [
        (each["interface"], each["port"], each["protocol"], each["verdict"], each["name"])
        for each in answer["services"]
    ] == [
        ("192.0.2.7", 22, "tcp", "expected", "maybe_ssh"),
        ("192.0.2.7", 2049, "tcp", "ignored", "nfs"),
        ("2001:db8::7", 80, "tcp", "unexpected", None),
    ]
    ssh, nfs, web = answer["services"]
    assert ssh["rule"] == {
        "kind": "required",
        "text": "*:22/tcp",
        "place": "required * 22/tcp",
    }
    assert (ssh["evidence"], ssh["no_socket"], ssh["forwarded"]) == ("table", False, False)
    assert ssh["owners"][0]["processes"][0] == {
        "pid": 4711,
        "name": "sshd",
        "executable": "/usr/sbin/sshd",
        "command": [],
        "user": "root",
        "started": 1.0,
        "unit": "sshd.service",
    }
    assert (nfs["rpc"], nfs["owners"][0]["kernel"]) == ([{"program": 100003, "name": "nfs"}], True)
    assert (web["rule"], web["evidence"], web["no_socket"], web["forwarded"]) == (
        None,
        "probe",
        True,
        True,
    )
    assert [(each["kind"], each["interface"], each["item"]) for each in answer["findings"]] == [
        ("missing", "2001:db8::7", "22/tcp"),
        ("unexpected", "2001:db8::7", "80/tcp"),
    ]
    assert answer["failures"] == ["device eth7 does not exist"]
    assert answer["notes"] == ["a note"]
    assert answer["unused_rules"] == [{"rule": "*:1/tcp", "place": "optional * 1/tcp"}]
    assert answer["counts"]["192.0.2.7"] == {
        "open": 2,
        "unexpected": 0,
        "missing": 0,
        "unverified": 0,
    }
    assert answer["coverage"] == {
        "ports": 100,
        "probed": 90,
        "looked_up": 4,
        "untracked": 6,
        "filtered": 3,
    }


def test_json_is_ascii_and_clean(tmp_path: Path) -> None:
    text, _ = formats.as_json(*resource(tmp_path, hostile_report()))
    assert text.isascii()
    values: list[object] = [json.loads(text)]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += [*value, *value.values()]
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str):
            assert value.isprintable(), value
            assert "|" not in value


# Without a result


def test_unknown_in_each_format() -> None:
    reason = 'one | thing\nanother "thing"'
    assert formats.unknown(reason, Format.NAGIOS) == (
        'PORTCHECK UNKNOWN - one ? thing\nanother "thing"\n',
        3,
    )
    assert formats.unknown(reason, Format.CHECKMK) == (
        '3 "Portcheck" - one ? thing\\nanother thing\n',
        0,
    )
    text, code = formats.unknown(reason, Format.JSON)
    answer = json.loads(text)
    assert (code, answer["state"], answer["summary"]) == (3, "UNKNOWN", "one ? thing")
    assert answer["details"] == ['another "thing"']


@pytest.mark.parametrize("form", Format)
def test_a_long_or_empty_reason_is_still_a_line(form: Format) -> None:
    assert "no reason given" in formats.unknown("", form)[0]
    text, _ = formats.unknown("x" * 1000 + "\n" + "y\n" * 10000, form)
    first = text.splitlines()[0]
    assert text.endswith("\n")
    if form is Format.NAGIOS:
        assert len(first) <= 200
        assert len(text.encode()) < 8192


def test_an_inactive_check_says_so_in_each_format() -> None:
    assert formats.inactive(Format.NAGIOS) == ("PORTCHECK OK - inactive (PortCheckActive = no)\n")
    assert formats.inactive(Format.CHECKMK) == '0 "Portcheck" - inactive (PortCheckActive = no)\n'
    answer = json.loads(formats.inactive(Format.JSON))
    assert (answer["state"], answer["summary"]) == ("OK", "inactive (PortCheckActive = no)")


def test_a_reused_result_tells_its_age_in_each_format() -> None:
    nagios = "PORTCHECK OK - fine | open_x=3 time=0.500s\nnote: a | b\n"
    assert formats.aged(nagios, Format.NAGIOS, 1000.0, 120.4, 300) == (
        "PORTCHECK OK - fine (120 s ago) | open_x=3 time=0.500s\nnote: a | b\n"
    )
    assert formats.aged("PORTCHECK OK - fine\n", Format.NAGIOS, 1000.0, 1.0, 300) == (
        "PORTCHECK OK - fine (1 s ago)\n"
    )
    lines = '0 "Portcheck a" open=1 fine\n0 "Portcheck b" open=2 fine\n'
    assert formats.aged(lines, Format.CHECKMK, 1000.6, 120.0, 300) == (
        'cached(1001,300) 0 "Portcheck a" open=1 fine\n'
        'cached(1001,300) 0 "Portcheck b" open=2 fine\n'
    )
    answer = json.loads(formats.aged('{"state": "OK"}', Format.JSON, 1000.0, 120.4, 300))
    assert answer == {"state": "OK", "age": 120}
