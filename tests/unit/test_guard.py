from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import check_portcheck

PACKAGES = Path(check_portcheck.__file__).parents[1]
PROGRAM = """
import os, sys, time
from check_portcheck import guard

def work():
    {work}

guard.in_child(work, {seconds}, lambda reason: (f"unknown: {{reason}}\\n", 3))
"""
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def started(work: str, seconds: float = 60) -> subprocess.Popen[str]:
    """A process whose guarded child does some work."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work, seconds=seconds)],
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    """Output, errors and exit code."""
    output, errors = process.communicate()
    return output, errors, process.returncode


@pytest.mark.parametrize("code", range(4))
def test_text_and_code_are_those_of_the_child(code: int) -> None:
    process = started(f"print('complaint', file=sys.stderr); return 'größe\\n', {code}")
    assert ended(process) == ("größe\n", "", code)


def test_a_text_of_any_length_is_whole() -> None:
    assert ended(started("return 'x' * 1_000_000, 0")) == ("x" * 1_000_000, "", 0)


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("raise ValueError('why')", "ValueError: why"),
        ("raise ValueError('x' * 1000)", f"ValueError: {'x' * 138}"),
        ("os._exit(0)", "the check ended without a result"),
        ("os.kill(os.getpid(), 9)", "the check ended without a result"),
        ("return 'no state of a check', 4", "the check ended without a result"),
    ],
)
def test_a_child_without_a_result_is_unknown_with_the_reason(work: str, reason: str) -> None:
    assert ended(started(work)) == (f"unknown: {reason}\n", "", 3)


@pytest.mark.parametrize(
    "work",
    ["time.sleep(600)", "os.fork() or time.sleep(600); return 'before its own child ended', 0"],
)
def test_a_child_that_is_not_done_in_time_is_unknown(work: str) -> None:
    assert ended(started(work, 0.2)) == ("unknown: timeout after 0.2 s\n", "", 3)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_it_with_a_line(number: signal.Signals) -> None:
    process = started("time.sleep(600)")
    await_handlers(process.pid)
    process.send_signal(number)
    assert ended(process) == (f"unknown: ended by {number.name}\n", "", 3)


def test_signals_of_every_kind_however_thick_end_it_with_one_line() -> None:
    process = started("time.sleep(600)")
    await_handlers(process.pid)
    while process.poll() is None:
        for number in ENDING:
            process.send_signal(number)
    output, errors, code = ended(process)
    assert output in {f"unknown: ended by {number.name}\n" for number in ENDING}
    assert (errors, code) == ("", 3)


def await_handlers(pid: int) -> None:
    """Wait until the process catches the signals (proc(5), SigCgt)."""
    end = time.monotonic() + 60
    while not all(caught(pid) >> number - 1 & 1 for number in ENDING):
        assert time.monotonic() < end, "no handlers"
        time.sleep(0.005)


def caught(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "SigCgt" in line), 16)
