from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

import check_portcheck

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = Path(check_portcheck.__file__).parents[1]
PROGRAM = """
import os, sys, time
from check_portcheck import guard

def work(parent):
    {work}

def unfinished(reason, known):
    return (f"{{known[0]}}: {{reason}}\\n", known[1]) if known else (f"unknown: {{reason}}\\n", 3)

guard.in_child(work, {seconds}, unfinished)
"""
ENDING = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGIO, signal.SIGPWR),
)


HOLDING = "print(os.getpid(), file=open({told!r}, 'w')); os.fork(); time.sleep(600)"
"""Work that tells its process number, starts another process, and does not end."""


def started(work: str, seconds: float = 60, before: str = "") -> subprocess.Popen[str]:
    """A process whose guarded child does some work, where something was done *before*."""
    return subprocess.Popen(
        [sys.executable, "-c", before + PROGRAM.format(work=work, seconds=seconds)],
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


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        ("parent.step('reading /a'); parent.step('reading\\n/b')", " while reading /b"),
        ("parent.step('reading /a'); parent.step('')", ""),
    ],
)
def test_a_child_that_is_late_is_told_with_its_step(steps: str, end: str) -> None:
    text = f"unknown: timeout after 0.2 s{end}\n"
    assert ended(started(f"{steps}; time.sleep(600)", 0.2)) == (text, "", 3)


def test_a_child_that_is_done_is_not_told_with_its_step() -> None:
    assert ended(started("parent.step('reading /a'); return 'done', 1")) == ("done", "", 1)
    assert ended(started("parent.step('reading /a'); raise ValueError('why')")) == (
        "unknown: ValueError: why\n",
        "",
        3,
    )


KNOWN = "parent.known('first', 1); parent.known('found', 2); "


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("time.sleep(600)", "timeout after 0.2 s"),
        ("parent.step('looking'); time.sleep(600)", "timeout after 0.2 s while looking"),
        ("raise MemoryError", "MemoryError"),
        ("os.kill(os.getpid(), 9)", "the check ended without a result"),
    ],
)
def test_what_was_known_is_told_where_no_result_comes(work: str, reason: str) -> None:
    late = 0.2 if "sleep" in work else 60
    assert ended(started(KNOWN + work, late)) == (f"found: {reason}\n", "", 2)


def test_what_was_known_is_told_on_a_signal(tmp_path: Path) -> None:
    told = tmp_path / "told"
    process = started(f"{KNOWN}open({str(told)!r}, 'w').close(); time.sleep(600)")
    until(told.exists, "nothing is known")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == ("found: ended by SIGTERM\n", "", 2)


def test_a_result_is_told_in_place_of_what_was_known_before() -> None:
    assert ended(started(f"{KNOWN}return 'all is well', 0")) == ("all is well", "", 0)


def test_what_the_child_prints_is_not_the_result() -> None:
    assert ended(started("os.write(1, b'printed'); return 'result', 0")) == ("result", "", 0)


@pytest.mark.parametrize(
    "before",
    [
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "import signal; signal.signal(signal.SIGIO, signal.SIG_IGN)",
        "import os; os.setpgid(0, 0)",
    ],
)
def test_what_the_caller_does_with_signals_and_groups_is_no_matter(before: str) -> None:
    assert ended(started("return 'result', 2", before=before)) == ("result", "", 2)


def test_what_fails_first_of_all_in_the_child_does_not_make_it_a_second_parent() -> None:
    before = """
import os
parent, dup2 = os.getpid(), os.dup2
def refused(*ends):
    if os.getpid() != parent:
        raise OSError(9, "refused")
    return dup2(*ends)
os.dup2 = refused
"""
    reason = "OSError: [Errno 9] refused"
    assert ended(started("return 'result', 0", before=before)) == (f"unknown: {reason}\n", "", 3)


def test_an_output_that_is_not_ready_yet_is_written_again() -> None:
    before = """
import os
write, refused = os.write, []
def first_refused(output, data):
    if output == 1 and not refused:
        refused.append(data)
        raise BlockingIOError
    return write(output, data)
os.write = first_refused
"""
    assert ended(started("return 'result', 0", before=before)) == ("result", "", 0)


def test_too_few_descriptors_are_unknown_with_the_reason() -> None:
    before = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))"
    assert ended(started("return 'result', 0", before=before)) == (
        "unknown: the check could not be started: Too many open files\n",
        "",
        3,
    )


def test_the_child_and_all_that_it_started_end_with_the_parent(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    process = started(HOLDING.format(told=str(told)))
    until(lambda: told.exists() and told.read_text().endswith("\n"), "no child")
    group = int(told.read_text())
    until(lambda: len(members(group)) == 2, "no child of the child")
    process.kill()
    until(lambda: not members(group), "processes are left")
    process.communicate()


@pytest.mark.parametrize("ending", [*ENDING, None])
def test_a_text_that_nobody_reads_ends_at_a_signal_or_at_the_limit(
    ending: signal.Signals | None,
) -> None:
    process = started("return 'x' * 1_000_000, 0", 600 if ending else 1)
    assert process.stdout
    until(lambda: is_full(process.stdout), "nothing is written")  # type: ignore[arg-type]
    if ending:
        process.send_signal(ending)
    assert process.wait() == 3
    assert ended(process)[1:] == ("", 3)


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
    until(lambda: all(caught(pid) >> number - 1 & 1 for number in ENDING), "no handlers")


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def caught(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "SigCgt" in line), 16)


def is_full(pipe: IO[str]) -> bool:
    """Whether a pipe of 64 KiB (pipe(7)) takes no more."""
    unread = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(unread, sys.byteorder) > 60 * 1024


def members(group: int) -> list[int]:
    """The processes of a group that have not ended (proc(5): state, parent, group)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, of = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found
