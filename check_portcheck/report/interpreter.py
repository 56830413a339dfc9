"""What an interpreter runs, from the command line of its process. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from check_portcheck.model import Process


class _Options(NamedTuple):
    """Those options of an interpreter that decide where a script stands."""

    runs: tuple[str, ...]
    """What comes after them is run."""
    valued: tuple[str, ...]
    """What comes after them is a value."""
    inline: tuple[str, ...]
    """With them there is no script: its text comes on the command line or standard input."""


def _options(runs: str, valued: str, inline: str) -> _Options:
    return _Options(tuple(runs.split()), tuple(valued.split()), ("", "-", *inline.split()))


_SHELL = _options("", "-o -O --rcfile --init-file", "-c -s")
_PYTHON = _options("-m", "-W -X --check-hash-based-pycs", "-c")
_NODE = _options("", "-r -C --require --import --loader --conditions", "-e -p --eval --print")
_INTERPRETERS = {
    **dict.fromkeys(("sh", "ash", "bash", "dash", "ksh", "zsh"), _SHELL),
    **dict.fromkeys(("python", "pypy"), _PYTHON),
    **dict.fromkeys(("node", "nodejs"), _NODE),
    "perl": _options("", "-I", "-e -E"),
    "ruby": _options("", "-I -r -C -E", "-e"),
    "php": _options("-f -S", "-c -d -t -z", "-r -R -B"),
    "java": _options(
        "-jar -m --module", "-cp -classpath --class-path -p --module-path --add-modules", ""
    ),
}
_CLUSTER = "-[A-Za-z]{2,4}"
"""Options of one letter, written together."""


def script(process: Process) -> str | None:
    """What an interpreter runs: ``/srv/app.py``, ``-m http.server``, ``-jar app.jar``.

    None for other programs, for program text on the command line, and where it cannot be told.
    """
    options = _options_of(process)
    return _run(iter(process.command[1:]), options) if options else None


def _run(arguments: Iterator[str], options: _Options) -> str | None:
    """What an interpreter with these options runs."""
    for argument in arguments:
        option = _deciding(argument, options)
        if option in options.inline:
            return None
        if option in options.runs:
            return _with_option(option, next(arguments, ""))
        if option == "--":
            return next(arguments, "") or None
        if option in options.valued:
            next(arguments, None)
        elif argument[0] not in "-+":
            return argument
    return None


def _options_of(process: Process) -> _Options | None:
    """The options of the interpreter that a process is, None when it is none.

    A command line counts only if it begins with the interpreter: many programs write a title there.
    """
    if not process.command:
        return None
    title = process.command[0].removeprefix("-")  # a login shell's (login(1))
    by_title = _INTERPRETERS.get(_bare(title))
    by_file = _INTERPRETERS.get(_bare(process.executable or title))
    return by_title if by_title is by_file else None


def _bare(program: str) -> str:
    """The name of a program without directory and version."""
    return program.rpartition("/")[2].rstrip(".0123456789")


def _deciding(argument: str, options: _Options) -> str:
    """The argument, or the last of a cluster of options, which may take the next: bash -euo."""
    known = argument in options.runs or argument in options.valued
    return "-" + argument[-1] if not known and re.fullmatch(_CLUSTER, argument) else argument


def _with_option(option: str, run: str) -> str | None:
    return f"{option} {run}" if run else None
