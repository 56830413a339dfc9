"""The manual page and the completion, which are made from the parser."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from check_portcheck import cli
from check_portcheck.config.options import OPTIONS
from check_portcheck.config.parser import ConfigFile, parse
from check_portcheck.names import names
from packages.artefacts import CHECKOUT

LONG = sorted(name for action in cli.parser()._actions for name in action.option_strings[-1:])
COMPLETE = """
source /usr/share/bash-completion/bash_completion
source /dev/stdin <<<"$SCRIPT"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
COMPREPLY=()
_check_portcheck
echo "${COMPREPLY[@]}"
"""


def made(script: str) -> str:
    """What a script of packaging/ prints."""
    command = [sys.executable, f"packaging/{script}.py"]
    return subprocess.run(
        command,
        cwd=CHECKOUT,
        env={"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(name="page", scope="module")
def page_fixture() -> str:
    """The page as it is read at a terminal; nothing in it is wrong for troff."""
    done = subprocess.run(
        ["man", "--warnings", "--encoding=ascii", "--local-file", "-"],
        input=made("manpage"),
        env={"MANWIDTH": "80", "PATH": "/usr/bin:/bin", "LC_ALL": "C", "MAN_KEEP_FORMATTING": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return re.sub(".\b", "", done.stdout)


def test_the_page_fits_a_terminal(page: str) -> None:
    assert max(map(len, page.splitlines())) <= 80
    sections = re.findall(r"^[A-Z][A-Z ]+$", page, re.MULTILINE)
    wanted = ["DESCRIPTION", "OPTIONS", "POLICY", "EXAMPLES", "EXIT STATUS", "FILES", "SEE ALSO"]
    assert sections == ["NAME", "SYNOPSIS", *wanted]


@pytest.mark.parametrize("option", LONG)
def test_the_page_explains_every_option(page: str, option: str) -> None:
    assert re.search(rf"^ +(-\w.*, )?{option}( |$)", page, re.MULTILINE)


@pytest.mark.parametrize("key", [option.key for option in OPTIONS if option.key])
def test_the_page_names_every_key(page: str, key: str) -> None:
    assert f"In files: {key}\n" in page


def test_the_policy_in_the_page_is_accepted(page: str) -> None:
    example = page[page.index("[PortCheck]\n") : page.index("EXIT STATUS")]
    file = ConfigFile("page", "\n".join(line.strip() for line in example.splitlines()))
    assert len(parse([file], [], names("", "")).rules) == 6


def test_the_examples_in_the_page_are_accepted(page: str) -> None:
    commands = re.findall("^ {10,}(check_portcheck .*)$", page, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert cli._options(shlex.split(command.partition(" > ")[0])[1:])


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("--sev",), "--severity --severity-unexpected --severity-missing"),
        (("--format", ""), "nagios checkmk json"),
        (("--severity-missing", "c"), "crit"),
        (("--udp", ""), "yes no"),
        (("--udp", "--interf"), "--interface"),
        (("--interface", ""), "all"),
        (("--device", "l"), "lo"),
        (("--required", "a"), ""),
        (("--config", "/etc/host.c"), "/etc/host.conf"),
        (("--config", "x", "--print"), "--print-policy"),
        (("-v", "--ver"), "--verbose --version"),
    ],
)
def test_bash_completes(words: tuple[str, ...], offered: str) -> None:
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", "check_portcheck", *words],
        env={"SCRIPT": made("completion"), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip(), done.stderr) == (offered, "")


def test_the_completion_knows_every_option() -> None:
    script = made("completion")
    assert all(f" {option} " in script.replace("'", " ") for option in LONG)
