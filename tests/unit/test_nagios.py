from __future__ import annotations

import pytest

from check_portcheck import plugin
from check_portcheck.model import State
from check_portcheck.report.form import Assessment
from check_portcheck.report.nagios import Nagios
from check_portcheck.report.narrative import Narrative
from unit.samples import hostile, outcome, owned, report, service

PERFDATA = ("time=0.500s", "open_x=3;;;0", "unexpected_x=0;;0;0")
FINE = Assessment(State.OK, "fine", PERFDATA)


def test_perfdata_is_in_the_first_line_in_the_order_of_metrics() -> None:
    assert Nagios().finished(outcome(report(), notes=("a",)), FINE) == (
        "PORTCHECK OK - fine | time=0.500s open_x=3;;;0 unexpected_x=0;;0;0\nnote: a\n",
        0,
    )


@pytest.mark.parametrize("state", State)
def test_the_state_gives_word_and_exit_code(state: State) -> None:
    told = Assessment(state, "1 unexpected: a", ("unexpected_x=1;;0;0",))
    assert Nagios().finished(outcome(report()), told) == (
        f"PORTCHECK {state.name} - 1 unexpected: a | unexpected_x=1;;0;0\n",
        state.value,
    )


@pytest.mark.parametrize("length", [1, 50, 1000])
@pytest.mark.parametrize("count", [1, 100, 10000])
@pytest.mark.parametrize("char", ["x", "\u4e2d"])
def test_all_output_stays_below_what_nagios_keeps(char: str, count: int, length: int) -> None:
    notes = (char * length,) * count
    lines = [line.text for line in Narrative(outcome(report(), notes=notes)).details()]
    assert len(lines) == count
    text, _ = Nagios().finished(outcome(report(), notes=notes), FINE)
    assert len(text.encode()) < 8192
    first, *others = text.splitlines()
    assert first == "PORTCHECK OK - fine | time=0.500s open_x=3;;;0 unexpected_x=0;;0;0"
    if others == lines:
        return
    *kept, last = others
    assert kept == lines[: len(kept)]
    assert last == f"... and {count - len(kept)} more"
    # No line was left out that would have fitted.
    assert len(text.encode()) + len(lines[0].encode()) + 1 > 8000 - len(last)


def test_output_is_kept_up_to_its_length() -> None:
    first = f"PORTCHECK OK - fine | {' '.join(PERFDATA)}\n"
    room = 8000 - len(first) - len("...\n")
    # Room is kept for what says that there is more.
    # Lines of 100 characters with "note: " and the end, and one that is to fill the room.
    notes = ("x" * 93,) * (room // 100 - 1)
    last = 100 + room % 100 - len("note: \n")
    for length, kept in ((last, True), (last + 1, False)):
        text, _ = Nagios().finished(outcome(report(), notes=(*notes, "y" * length)), FINE)
        assert text.startswith(first)
        assert text.count("x" * 93) == len(notes)
        assert text.endswith("y" * length + "\n") is kept


def test_the_first_line_is_kept_whatever_its_length() -> None:
    for labels, left in ((1000, []), (600, ["... and 2 more"])):
        told = Assessment(State.OK, "fine", tuple(f"open_{n:05}=1" for n in range(labels)))
        text, _ = Nagios().finished(outcome(report(), notes=("a" * 290, "b")), told)
        first, *others = text.splitlines()
        assert first.endswith(f"open_{labels - 1:05}=1")
        assert others == left


def test_foreign_text_cannot_break_the_output() -> None:
    of = hostile()
    told = Assessment(State.CRITICAL, Narrative(of).headline(), ("unexpected_x=1;;0;0",))
    text, _ = Nagios().finished(of, told)
    assert text.count("|") == 1
    assert text.encode().decode() == text
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == len(list(Narrative(of).details())) + 1


def test_unknown_gives_the_reason() -> None:
    assert Nagios().unknown('one | thing\nanother "thing"') == (
        'PORTCHECK UNKNOWN - one ? thing\nanother "thing"\n',
        3,
    )


def test_a_long_reason_is_cut_to_what_nagios_keeps() -> None:
    text, _ = Nagios().unknown("x" * 1000 + "\n" + "y\n" * 10000)
    assert len(text.splitlines()[0]) <= 200
    assert len(text.encode()) < 8192


def test_an_inactive_check_says_so() -> None:
    assert Nagios().inactive() == ("PORTCHECK OK - inactive (PortCheckActive = no)\n", 0)


def test_a_run_that_was_cut_short_tells_why_before_the_perfdata() -> None:
    text = "PORTCHECK CRITICAL - bad | open_x=3 time=0.500s\nnote: a | b\n"
    assert Nagios().cut_short(text, "ended by SIGTERM | x") == (
        "PORTCHECK CRITICAL - bad (ended by SIGTERM ? x) | open_x=3 time=0.500s\nnote: a | b\n"
    )


def test_the_first_line_leaves_room_for_why_a_run_was_cut_short() -> None:
    names = tuple(f"daemon{number:0100}" for number in range(20))
    seen = [service(f"{number}/tcp", owners=(owned(name),)) for number, name in enumerate(names, 1)]
    of = outcome(report(*seen))._replace(unfinished=True)
    resource = plugin.Portcheck(lambda: of)
    assessment = plugin.assess(resource, of.task.settings.severities)
    text, _ = Nagios().finished(of, assessment)
    first = Nagios().cut_short(text, "x" * 1000).partition(" | ")[0]
    assert len(first) <= 200
    assert first.endswith("x...)")
    assert " and 19 more (" in first


def test_a_reused_result_tells_its_age_before_the_perfdata() -> None:
    text = "PORTCHECK OK - fine | open_x=3 time=0.500s\nnote: a | b\n"
    assert Nagios().reused(text, 1000.0, 120.4, 300) == (
        "PORTCHECK OK - fine (120 s ago) | open_x=3 time=0.500s\nnote: a | b\n"
    )
    assert Nagios().reused("PORTCHECK OK - fine\n", 1000.0, 1.0, 300) == (
        "PORTCHECK OK - fine (1 s ago)\n"
    )
