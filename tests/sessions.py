"""The sessions that the guides show: fenced blocks marked ``console``, read, compared, made anew.

A line that begins with ``web1# `` is a command of root, one with ``web1$ `` of a user, one with
``> `` goes on with it. All else is what was printed, where a line ``...`` stands for any lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_PROMPT = re.compile(r"(\w+[#$]) (.*)\n")

_CHANGING = (
    (re.compile(r"\[\d+\]"), "[PID]"),
    (re.compile(r"\btime=\d+\.\d+s"), "time=SECONDS"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?: [+-]\d{4})?"), "MOMENT"),
    (re.compile(r"\(\d+ s ago\)"), "(SECONDS ago)"),
    (re.compile(r'"seconds": \d+\.\d+'), '"seconds": SECONDS'),
)
"""What is another value in each run, and what it is compared as."""


class Step(NamedTuple):
    """A command of a session, and what it printed."""

    prompt: str
    """``web1#`` for root, ``web1$`` for a user."""
    command: str
    output: str


def steps(guide: str) -> list[Step]:
    """All steps of a guide's sessions, in order; raises ValueError where output has no command."""
    return [step for block in _BLOCK.findall(guide) for step in _steps(block)]


def _steps(block: str) -> list[Step]:
    found: list[Step] = []
    for line in block.splitlines(keepends=True):
        if typed := _PROMPT.fullmatch(line):
            found.append(Step(typed[1], typed[2], ""))
        elif not found:
            raise ValueError(f"no command before {line!r}")
        elif line.startswith("> ") and not found[-1].output:
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line[2:].rstrip()}")
        else:
            found[-1] = found[-1]._replace(output=found[-1].output + line)
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether an output is the one that the guide shows, apart from what changes with each run."""
    lines = (re.escape(line) for line in _constant(shown).splitlines(keepends=True))
    pattern = "".join("(?:.*\n)*" if line == re.escape("...\n") else line for line in lines)
    return re.fullmatch(pattern, _constant(printed)) is not None


def _constant(output: str) -> str:
    for changing, name in _CHANGING:
        output = changing.sub(name, output)
    return output


def rewritten(guide: str, run: Callable[[Step], str]) -> str:
    """The guide with what its steps print now, and as it was where that does not differ."""
    return _BLOCK.sub(lambda block: f"```console\n{_rerun(block[1], run)}```", guide)


def _rerun(block: str, run: Callable[[Step], str]) -> str:
    text = ""
    for step in _steps(block):
        printed = run(step)
        output = step.output if matches(step.output, printed) else printed
        text += f"{step.prompt} " + step.command.replace("\n", "\n> ") + f"\n{output}"
    return text
