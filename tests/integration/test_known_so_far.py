"""A run that has to end tells what it knew by then, whatever it was doing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import finished, parents, until

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Callable, Iterator

    from namespace import Check

FEW = ("--no-official", "--interface", "127.0.0.1", "--min-port", "65500")
SLOW = (*FEW, "--confirm", "60", "--timeout", "600")
"""A run that waits long between its looks."""
FORMATS = ("nagios", "checkmk", "json")
TERM, KILL, STOP = signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP


@pytest.fixture(name="backdoor", autouse=True)
def backdoor_fixture(alone: Check) -> Iterator[None]:
    with alone.there.listener("127.0.0.1", 65501):
        yield


def child(process: subprocess.Popen[str]) -> int | None:
    """The process that does the work of a check, once there is one."""
    return next((pid for pid, parent in parents().items() if parent == process.pid), None)


def is_pausing(process: subprocess.Popen[str]) -> bool:
    """Whether the check waits for its second look."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{child(process)}/wchan").read_text() == "hrtimer_nanosleep"
    return False


def is_probing(process: subprocess.Popen[str]) -> bool:
    """Whether processes of the check probe ports."""
    return child(process) in parents().values()


def ended(
    check: Check,
    options: tuple[str, ...],
    when: Callable[[subprocess.Popen[str]], bool],
    number: signal.Signals = TERM,
) -> tuple[str, int]:
    """What a check tells, and its exit code, that gets a signal; its child gets all but SIGTERM."""
    process = check.start(*options)
    until(lambda: when(process), "it does not come so far")
    os.kill(process.pid if number is TERM else child(process) or 0, number)
    done = finished(process)
    assert done.stderr == ""
    return done.stdout, done.returncode


def told(text: str, code: int, form: str) -> tuple[str, str, str]:
    """State, summary and reason of what a check told in a form."""
    if form == "json":
        answer = json.loads(text)
        assert code == answer["exit_code"]
        return answer["state"], answer["summary"], answer["unfinished"]
    pattern, right = {
        "nagios": (r"PORTCHECK (\w+) - (.*?) \((.*?)\) \|", 2),
        "checkmk": (r'(\d) "Portcheck \S+" \S+ (.*?) \(([^)]*)\)(\\n|\n)', 0),
    }[form]
    found = re.match(pattern, text)
    assert found, text
    assert code == right
    return {"2": "CRITICAL"}.get(found[1], found[1]), found[2], found[3]


@pytest.mark.parametrize("form", FORMATS)
def test_a_signal_while_it_waits_for_the_second_look(alone: Check, form: str) -> None:
    answer = ended(alone, (*SLOW, "--format", form), is_pausing)
    state, words, reason = told(*answer, form)
    assert (state, reason) == ("CRITICAL", "ended by SIGTERM while looking again")
    assert words == "1 unexpected: 127.0.0.1:65501/tcp"


@pytest.mark.parametrize("form", FORMATS)
def test_a_child_that_is_killed(alone: Check, form: str) -> None:
    """As the kernel does where memory is short."""
    answer = ended(alone, (*SLOW, "--format", form), is_pausing, KILL)
    state, words, reason = told(*answer, form)
    assert (state, reason) == ("CRITICAL", "the check ended without a result")
    assert words == "1 unexpected: 127.0.0.1:65501/tcp"


@pytest.mark.parametrize("form", FORMATS)
def test_a_second_look_that_hangs_until_the_time_limit(alone: Check, form: str) -> None:
    limit = ("--confirm", "60", "--timeout", "8", "--format", form)
    state, words, reason = told(*ended(alone, (*FEW, *limit), is_pausing, STOP), form)
    assert (state, reason) == ("CRITICAL", "timeout after 8 s while looking again")
    assert words == "1 unexpected: 127.0.0.1:65501/tcp"


@pytest.mark.parametrize("form", FORMATS)
def test_a_signal_while_a_portmapper_does_not_answer(alone: Check, form: str) -> None:
    with alone.there.listener("127.0.0.1", 111) as portmapper:
        portmapper.settimeout(0)
        rules = ("--required", "*:nfs/tcp", "--format", form, "--timeout", "600")
        answer = ended(alone, (*FEW, *rules), lambda _: takes(portmapper))
    state, words, reason = told(*answer, form)
    assert (state, reason) == ("CRITICAL", "ended by SIGTERM while asking the portmapper")
    assert words.startswith("1 unexpected, 3 unverified: 127.0.0.1:65501/tcp")


def takes(portmapper: socket.socket) -> bool:
    """Whether somebody has connected to a listener."""
    try:
        portmapper.accept()
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("form", FORMATS)
def test_a_signal_while_ports_are_probed(alone: Check, form: str) -> None:
    many = ",".join(f"127.0.0.{number}" for number in range(2, 30))
    alone.there.shell("".join(f"ip address add {each}/8 dev lo\n" for each in many.split(",")))
    options = ("--no-official", "--interface", f"127.0.0.1,{many}", "--format", form)
    text, code = ended(alone, options, is_probing)
    lines = [line for line in text.splitlines() if "65501" in line]
    state, words, reason = told(lines[0] + "\n" if form == "checkmk" else text, code, form)
    assert (state, reason) == ("CRITICAL", "ended by SIGTERM while looking at the ports")
    assert words.startswith("1 unexpected, 2 unverified: 127.0.0.1:65501/tcp")
    if form == "checkmk":
        assert len(lines) == 1
        assert {line[0] for line in text.splitlines() if line not in lines} == {"3"}


def test_what_was_not_looked_at_is_told(alone: Check) -> None:
    options = ("--no-official", "--interface", "127.0.0.1", "--required", "*:2/tcp")
    text, _ = ended(alone, options, is_probing)
    assert text.splitlines()[1:] == [
        "unexpected: 127.0.0.1:65501/tcp",
        "  allow: PortCheckOptional = 127.0.0.1:65501/tcp",
        "unverified: 127.0.0.1:2/tcp: unanswered: not probed yet, required by --required",
        "unverified: 127.0.0.1:0-65535/tcp,0-65535/udp: unanswered: not probed yet",
        "note: the run had to end: these are the findings so far, which need not last",
    ]


def test_a_run_that_found_nothing_says_only_what_it_was_doing(alone: Check) -> None:
    options = ("--no-official", "--interface", "127.0.0.1", "--optional", "*:*/tcp,*/udp")
    assert ended(alone, options, is_probing) == (
        "PORTCHECK UNKNOWN - ended by SIGTERM while looking at the ports\n",
        3,
    )
