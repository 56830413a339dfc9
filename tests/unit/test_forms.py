"""What all forms of output share."""

from __future__ import annotations

import pytest

from check_portcheck.config.settings import Format
from check_portcheck.model import State
from check_portcheck.report.checkmk import Checkmk
from check_portcheck.report.form import Assessment
from check_portcheck.report.forms import form_of
from check_portcheck.report.json_object import JsonObject
from check_portcheck.report.nagios import Nagios
from unit.samples import hostile, outcome, report, service

FORMS = {Format.NAGIOS: Nagios, Format.CHECKMK: Checkmk, Format.JSON: JsonObject}


@pytest.mark.parametrize("which", Format)
def test_every_format_has_its_form(which: Format) -> None:
    assert type(form_of(which)) is FORMS[which]


@pytest.mark.parametrize("which", Format)
def test_a_long_or_empty_reason_is_still_a_line(which: Format) -> None:
    form = form_of(which)
    assert "no reason given" in form.unknown("")[0]
    text, _ = form.unknown("x" * 1000 + "\n" + "y\n" * 10000)
    assert text.endswith("\n")


@pytest.mark.parametrize("which", Format)
@pytest.mark.parametrize("state", State)
def test_the_exit_code_is_the_state_but_for_checkmk(which: Format, state: State) -> None:
    """Checkmk's agent drops the lines of a local check that fails."""
    _, code = form_of(which).finished(outcome(report()), Assessment(state, "text", ()))
    assert code == (0 if which is Format.CHECKMK else state)


@pytest.mark.parametrize("which", Format)
def test_foreign_text_can_be_printed_in_every_form(which: Format) -> None:
    form = form_of(which)
    answers = [
        form.finished(hostile(), Assessment(State.CRITICAL, "text", ()))[0],
        form.unknown("\udcff\x1b\u202e|\n\x00")[0],
    ]
    for text in answers:
        assert text.encode().decode() == text
        assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize("which", Format)
def test_a_run_that_was_cut_short_tells_what_was_known_and_why(which: Format) -> None:
    form = form_of(which)
    of = outcome(report(service("80/tcp"), service("81/tcp")))._replace(unfinished=True)
    text, _ = form.finished(of, Assessment(State.CRITICAL, "text", ("x=1",)))
    told = form.cut_short(text, "a reason\udcff\n\x1b|")
    assert "80" in told
    assert "a reason" in told
    assert told.encode().decode() == told
    assert all(line.isprintable() for line in told.splitlines())
    assert len(told.splitlines()) == len(text.splitlines())


@pytest.mark.parametrize("which", Format)
def test_a_result_can_be_reused_once_it_was_printed(which: Format) -> None:
    form = form_of(which)
    of = outcome(report(service("80/tcp")), notes=("a",))
    text, _ = form.finished(of, Assessment(State.CRITICAL, "text", ("x=1",)))
    reused = form.reused(text, 1000.0, 7.0, 300)
    assert reused.endswith("\n")
    assert "unexpected" in reused
    assert reused != text
