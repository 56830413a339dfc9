"""The start script of the Debian package, of which the single file has a copy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import check_portcheck

SCRIPT = Path(__file__).parents[2] / "packaging/check_portcheck"
PACKAGE = Path(check_portcheck.__file__).parent
INSTALLED = "/usr/share/check-portcheck"


def started(packages: Path, *options: str) -> subprocess.Popen[str]:
    """The script, where it finds modules in another directory."""
    text = SCRIPT.read_text()
    assert INSTALLED in text
    return subprocess.Popen(
        [sys.executable, "-I", "-c", text.replace(INSTALLED, str(packages)), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


CANNOT = "import nowhere"
WHY = "cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (CANNOT, WHY),
        ("raise OSError('cannot\\nbe|read')", "cannot be loaded: OSError: cannot be?read"),
        ("raise MemoryError", "cannot be loaded: MemoryError"),
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
    ],
)
def test_a_program_that_cannot_be_loaded_is_told(tmp_path: Path, module: str, reason: str) -> None:
    assert told(tmp_path, module) == (f"PORTCHECK UNKNOWN - {reason}\n", "", 3)


@pytest.mark.parametrize("options", [("--format", "checkmk"), ("--format=checkmk",)])
def test_checkmk_is_told_as_it_wants_it(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert told(tmp_path, CANNOT, *options) == (f'3 "Portcheck" - {WHY}\n', "", 0)


def test_what_is_read_as_json_is_told_in_an_object(tmp_path: Path) -> None:
    output, errors, code = told(tmp_path, 'raise OSError("no \\"module\\"")', "--format", "json")
    assert json.loads(output) == {
        "state": "UNKNOWN",
        "exit_code": 3,
        "summary": "cannot be loaded: OSError: no ?module?",
    }
    assert (errors, code) == ("", 3)


def test_a_path_that_names_checkmk_is_no_format(tmp_path: Path) -> None:
    options = ("--config", "/etc/checkmk")
    assert told(tmp_path, CANNOT, *options) == (f"PORTCHECK UNKNOWN - {WHY}\n", "", 3)


def told(packages: Path, module: str, *options: str) -> tuple[str, str, int]:
    """Output, errors and exit code where the package is a module that fails."""
    (packages / "check_portcheck").mkdir()
    (packages / "check_portcheck/__init__.py").write_text(module)
    process = started(packages, *options)
    output, errors = process.communicate()
    return output, errors, process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM])
def test_a_signal_before_the_program_answers_it_is_not_lost(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The package is not there until the signal has been sent."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "check_portcheck").mkdir()
    waiting = f"open({str(tmp_path / 'fifo')!r}).close()\n__path__.append({str(PACKAGE)!r})\n"
    (tmp_path / "check_portcheck/__init__.py").write_text(waiting)
    process = started(tmp_path, "--help")
    with (tmp_path / "fifo").open("w"):
        process.send_signal(number)
    assert process.communicate() == (f"PORTCHECK UNKNOWN - ended by {number.name}\n", "")
    assert process.returncode == 3
