"""The program before its modules are there: every end is a line and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import check_portcheck
from check_portcheck.config.settings import Format
from check_portcheck.report.forms import form_of

PACKAGES = Path(check_portcheck.__file__).parents[1]
OPTIONS: dict[Format, tuple[str, ...]] = {
    Format.NAGIOS: (),
    Format.CHECKMK: ("--format=checkmk",),
    Format.JSON: ("--format", "json"),
}
ENDING = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGIO, signal.SIGPWR),
)

LOADING = """
import sys, time
print("loading", flush=True)
print("complaint", file=sys.stderr, flush=True)
time.sleep(600)
"""
"""Stands in for a library that the program loads, and takes long."""


def started(argparse: str, path: Path, *options: str, before: str = "") -> subprocess.Popen[str]:
    """The program, whose first library is another."""
    (path / "argparse.py").write_text(argparse)
    run = "import runpy; runpy.run_module('check_portcheck', run_name='__main__', alter_sys=True)"
    return subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{run}", *options],
        env={**os.environ, "PYTHONPATH": f"{path}:{PACKAGES}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    assert process.stdout
    assert process.stderr
    with process:
        # Not communicate(), which loses what was read ahead of a first line.
        return process.stdout.read(), process.stderr.read(), process.wait()


def said(form: Format, reason: str) -> tuple[str, int]:
    """What the form itself says, of an object what is there before all modules are."""
    text, code = form_of(form).unknown(reason)
    if form is not Format.JSON:
        return text, code
    kept = {name: json.loads(text)[name] for name in ("state", "exit_code", "summary")}
    return json.dumps(kept) + "\n", code


BLOCKED = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))"
IGNORED = """
import signal
for number in {*range(1, 32)} - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
"""


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("before", ["", BLOCKED, IGNORED])
def test_a_signal_while_modules_are_loaded_ends_it_with_a_line(
    tmp_path: Path, form: Format, before: str
) -> None:
    ends_with_a_line(tmp_path, signal.SIGTERM, form, before)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_of_any_kind_ends_it_with_a_line(tmp_path: Path, number: signal.Signals) -> None:
    ends_with_a_line(tmp_path, number, Format.NAGIOS, "")


def ends_with_a_line(tmp_path: Path, number: signal.Signals, form: Format, before: str) -> None:
    process = started(LOADING, tmp_path, *OPTIONS[form], before=before)
    assert process.stdout
    assert process.stdout.readline() == "loading\n"
    process.send_signal(number)
    text, code = said(form, f"ended by {number.name}")
    assert ended(process) == (text, "", code)


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize(
    ("argparse", "reason"),
    [
        ("raise ImportError('cannot be loaded')", "ImportError: cannot be loaded"),
        ("raise MemoryError", "MemoryError"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise OSError('a|b\\nc\\x1b')", "OSError: a?b?c?"),
    ],
)
def test_what_cannot_be_loaded_is_unknown_in_one_harmless_line(
    tmp_path: Path, form: Format, argparse: str, reason: str
) -> None:
    text, code = said(form, reason)
    assert ended(started(argparse, tmp_path, *OPTIONS[form])) == (text, "", code)


EATING = """
eaten = []
for size in (1 << 20, 1 << 12, 16):
    try:
        while True:
            eaten.append(bytes(size))
    except MemoryError:
        pass
raise MemoryError
"""
"""Stands in for a library that takes all memory there is."""


def test_the_end_is_told_without_memory(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 27, 1 << 27))"
    process = started(EATING, tmp_path, before=limit)
    assert ended(process) == ("PORTCHECK UNKNOWN - MemoryError\n", "", 3)


def test_a_full_pipe_does_not_hold_the_end_up(tmp_path: Path) -> None:
    filling = "import os\nos.set_blocking(1, False)\nwhile os.write(1, b'x' * 4096): pass"
    code = f"try:\n    exec({filling!r})\nexcept OSError:\n    os.set_blocking(1, True)"
    process = started(f"import os\n{code}\nraise ImportError", tmp_path)
    assert process.wait(60) == 3
    assert set(ended(process)[0]) == {"x"}
