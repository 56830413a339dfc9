from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from check_portcheck.config.settings import Settings
from check_portcheck.model import Failure, Severity, State
from check_portcheck.policy.verdict import Severities
from check_portcheck.report.checkmk import Checkmk
from check_portcheck.report.form import Assessment
from unit.samples import HERE, LOOPBACK, hostile, outcome, owned, report, service

if TYPE_CHECKING:
    from check_portcheck.outcome import Outcome
    from check_portcheck.report.form import Answer

LINE = re.compile(
    r'[0-3] "Portcheck [^"\']+" open=\d+\|unexpected=\d+(;\d+)*\|missing=\d+(;\d+)* [^"\'\n]+'
)


def finished(of: Outcome) -> Answer:
    """The lines; each has the state of its own part, whatever the whole's is."""
    return Checkmk().finished(of, Assessment(State.UNKNOWN, "the summary", ()))


def test_each_chosen_name_is_a_service() -> None:
    of = report(
        service("22/tcp", LOOPBACK, HERE),
        service("80/tcp"),
        interfaces=(LOOPBACK, HERE),
        failures=(Failure("device eth7 does not exist", "eth7"),),
    )
    rules = ("optional * 22/tcp", "required * 25/tcp")
    settings = Settings(severities=Severities(unexpected=Severity.WARN))
    text, code = finished(outcome(of, *rules, settings=settings, notes=("a note",)))
    assert code == 0
    assert text.splitlines() == [
        (
            '2 "Portcheck 127.0.0.1" open=1|unexpected=0;1|missing=1;1;1'
            " 1 missing: *:25/tcp, required by required * 25/tcp"
            "\\nmissing: *:25/tcp, required by required * 25/tcp\\nnote: a note"
        ),
        (
            '2 "Portcheck 192.0.2.7" open=2|unexpected=1;1|missing=1;1;1'
            " 1 missing, 1 unexpected: *:25/tcp, required by required * 25/tcp,"
            " 192.0.2.7:80/tcp"
            "\\nmissing: *:25/tcp, required by required * 25/tcp"
            "\\nunexpected: 192.0.2.7:80/tcp"
            "\\n  allow: PortCheckOptional = 192.0.2.7:80/tcp\\nnote: a note"
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
def test_levels_alarm_at_the_level(severity: Severity, state: str, levels: str) -> None:
    settings = Settings(severities=Severities(severity, severity))
    text, _ = finished(outcome(report(service("80/tcp")), settings=settings))
    assert text.startswith(
        f'{state} "Portcheck 192.0.2.7" open=1|unexpected=1{levels}|missing=0{levels} 1 unexpected'
    )


def test_foreign_text_cannot_break_a_line() -> None:
    text, _ = finished(hostile())
    lines = text.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert LINE.fullmatch(line)
        assert line.isprintable()
        assert line.count("|") == 2
        assert "\\" not in line.replace("\\n", "")


def test_details_are_bounded() -> None:
    services = [service(f"{n}/tcp", owners=(owned(f"a{n}" * 5),)) for n in range(1, 2000)]
    text, _ = finished(outcome(report(*services)))
    assert text.count("\n") == 1
    assert len(text) < 4500
    assert re.search(r"\\n\.\.\. and \d+ more\n$", text)


def test_details_are_kept_up_to_their_length() -> None:
    # 22 lines of 174 characters, with "note: " and the end, leave 172, of which 4 are kept free
    # for "...".
    notes = ("x" * 167,) * 22
    for last, kept in ((161, True), (162, False)):
        text, _ = finished(outcome(report(), notes=(*notes, "y" * last)))
        assert text.count("x" * 167) == 22
        assert text.endswith("y" * last + "\n") is kept


def test_a_backslash_is_no_end_of_a_line() -> None:
    text, _ = finished(outcome(report(), notes=("C:\\new",)))
    assert text.endswith("\\nnote: C:/new\n")


def test_unknown_is_one_service() -> None:
    assert Checkmk().unknown('one | thing\nanother "thing"') == (
        '3 "Portcheck" - one ? thing\\nanother thing\n',
        0,
    )


def test_an_inactive_check_is_one_service() -> None:
    assert Checkmk().inactive() == ('0 "Portcheck" - inactive (PortCheckActive = no)\n', 0)


def test_each_line_of_a_run_that_was_cut_short_tells_why_before_its_details() -> None:
    lines = '2 "Portcheck a" open=1 bad\\nmore\n0 "Portcheck b" open=2 fine\n'
    assert Checkmk().cut_short(lines, 'ended "by"\nSIGTERM\\n | x') == (
        '2 "Portcheck a" open=1 bad (ended by?SIGTERM/n ? x)\\nmore\n'
        '0 "Portcheck b" open=2 fine (ended by?SIGTERM/n ? x)\n'
    )


def test_a_reused_line_tells_its_age() -> None:
    lines = '0 "Portcheck a" open=1 fine\n0 "Portcheck b" open=2 fine\n'
    assert Checkmk().reused(lines, 1000.6, 120.0, 300) == (
        'cached(1001,300) 0 "Portcheck a" open=1 fine\n'
        'cached(1001,300) 0 "Portcheck b" open=2 fine\n'
    )
