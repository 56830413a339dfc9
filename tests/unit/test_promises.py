"""The table of promises in tests/README.md: what its commands name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "tests/README.md").read_text().splitlines()
    if line.startswith("|")
]
COMMANDS = [row[-1].strip("`") for row in ROWS[2:]]


def test_each_promise_has_all_columns() -> None:
    assert ROWS[0] == ["promise", "how it is tested", "how many", "result", "command"]
    assert len(COMMANDS) > 20
    assert {len(row) for row in ROWS} == {len(ROWS[0])}
    assert all(cell for row in ROWS for cell in row)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_names_is_there(command: str) -> None:
    program, *words = shlex.split(command)
    assert program in ("pytest", "python3", "tests/run")
    files = [ROOT / word for word in (program, *words) if "/" in word]
    assert files
    assert [file for file in files if not file.is_file()] == []
    if "-k" in words:
        tests = re.findall(r"def (test_\w+)", "".join(file.read_text() for file in files))
        for word in words[words.index("-k") + 1].split(" or "):
            assert any(word in test for test in tests), word


def test_what_a_row_quotes_is_there() -> None:
    quoted = re.findall(r"`([a-z]+/[\w./]+)`", " ".join(cell for row in ROWS for cell in row[:-1]))
    assert quoted
    assert [name for name in quoted if not (ROOT / name).exists()] == []
