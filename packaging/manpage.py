"""Prints the manual page: ``check_portcheck.1.in`` with the options of the parser.

Run with the package on Python's path. The date is that of SOURCE_DATE_EPOCH, so that two builds
give the same page.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from check_portcheck import __version__, cli
from check_portcheck.config.options import OPTIONS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_KEYS = {option.name: option.key for option in OPTIONS}


def page(template: str, now: float) -> str:
    """The manual page as of *now*, in seconds since 1970."""
    date = time.strftime("%Y-%m-%d", time.gmtime(now))
    options = "\n".join(_options(cli.parser()))
    return (
        template.replace("@DATE@", date)
        .replace("@VERSION@", __version__)
        .replace("@OPTIONS@", options)
    )


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    # argparse has no public way to its groups; shtab and argparse-manpage take this one.
    for group in parser._action_groups:  # noqa: SLF001
        if group._group_actions:  # noqa: SLF001
            yield f".SS {_escaped(str(group.title).capitalize())}"
        for action in group._group_actions:  # noqa: SLF001
            yield ".TP"
            yield ", ".join(_usage(name, action) for name in action.option_strings)
            yield _escaped(str(action.help) % {"default": action.default})
            if key := _KEYS.get(action.option_strings[-1]):
                yield f".br\nIn files: \\fB{key}\\fR"


def _usage(name: str, action: argparse.Action) -> str:
    value = f"\\fI{_escaped(str(action.metavar))}\\fR"
    match action.nargs:
        case 0:
            value = ""
        case "?":
            value = f" [{value}]"
        case _:
            value = f" {value}"
    return f"\\fB{_escaped(name)}\\fR{value}"


def _escaped(text: str) -> str:
    """Text as troff takes it; a hyphen is a minus sign, so that it can be copied (man-pages(7))."""
    return text.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    source = Path(__file__).with_name("check_portcheck.1.in")
    now = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    print(page(source.read_text(encoding="utf-8"), now), end="")
