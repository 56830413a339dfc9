"""Samhain's configuration file: which of its lines concern the port check.

Pure: text in, lines out. What Samhain reads that cannot be read the same way here (conditional
blocks, command output) is an error and never passed over, for half a policy is worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from check_portcheck.values import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECTION = "[PortCheck]"
"""The heading of the section, in any case."""

_SECTION = SECTION.lower()
_HEADING = re.compile(r"\[[A-Za-z0-9_ -]+\]")
_HEADED = re.compile(r"^[ \t]*\[portcheck\]", re.IGNORECASE | re.MULTILINE)
_EOF = "[eof]"
_SIGNATURE = "-----BEGIN PGP SIGNATURE-----"
_DIRECTIVES = ("@", "!@", "$", "!$")
_END = re.compile(r"[@$]\s*(end|fi)(\s|$)", re.IGNORECASE)
_ELSE = re.compile(r"@\s*else(\s|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """A line that sets something, or is wrong, or both."""

    number: int
    """From 1."""
    key: str = ""
    """The key in lower case, empty when the line sets nothing."""
    value: str = ""
    error: str = ""
    """What is wrong with the line, whatever its value is; empty when nothing is."""


def lines(text: str, keys: Mapping[str, str]) -> Iterator[Line]:
    """The lines of a file that concern the port check, in order.

    *keys* are those of the section, in lower case, each with its usual spelling; a line outside
    the section that sets one of them is an error.
    """
    text = text.removeprefix("\ufeff")
    state = _State(headed=bool(_HEADED.search(text)))
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line.startswith(("#", ";", "//")):
            continue
        if line == _SIGNATURE or (line.lower() == _EOF and not state.blocks):
            break
        if line.startswith(_DIRECTIVES):
            found = Line(number, error=state.directive(line, number))
        elif line.startswith("["):
            found = Line(number, error=state.heading(line))
        elif state.inside:
            found = _setting(line, number, keys)
        else:
            found = _stray(line, number, keys, state)
        if found.key or found.error:
            yield found
    if not state.reported:
        yield Line(1, error=f"no {SECTION} section")


@dataclass(slots=True)
class _State:
    """Where in the file the reader is."""

    headed: bool
    """Whether the file has the section's heading at all."""
    inside: bool = False
    """Whether the line is in the section."""
    reported: bool = False
    """Whether the section was there, or its absence reported."""
    blocks: list[int] = field(default_factory=list)
    """The lines that opened the conditional blocks around this one, outermost first."""

    def directive(self, line: str, number: int) -> str:
        """What is wrong with ``@if``, ``@host``, ``$system``, ``@else``, ``@end`` and so on."""
        if _END.match(line) or _ELSE.match(line):
            stray = self.inside and not self.blocks
            if self.blocks and _END.match(line):
                self.blocks.pop()
            return f"{quoted(line)} belongs to no conditional block" if stray else ""
        self.blocks.append(number)
        return f"conditional blocks cannot stand in {SECTION}" if self.inside else ""

    def heading(self, line: str) -> str:
        """What is wrong with the heading of a section."""
        ours = line.lower().startswith(_SECTION[:-1])
        if self.inside and not ours and not _HEADING.fullmatch(line):
            return f"{quoted(line)} is no section heading"
        self.inside = ours
        self.reported |= ours
        if ours and line.lower() != _SECTION:
            return f"{quoted(line)} is not {SECTION}"
        if self.blocks and (ours or line.lower() == _EOF):
            return f"{line} cannot stand in a conditional block (opened on line {self.blocks[-1]})"
        return ""


def _stray(line: str, number: int, keys: Mapping[str, str], state: _State) -> Line:
    """A line outside the section: it concerns us if it sets a key of the section."""
    key, _, value = (part.strip(" \t") for part in line.partition("="))
    if key.lower() not in keys:
        return Line(number)
    if state.headed:
        error = f"{key} stands outside the section {SECTION}"
    else:  # said once in a file that has no section at all
        error = "" if state.reported else f"no {SECTION} section: that heading must precede {key}"
        state.reported = True
    return Line(number, key.lower(), value, error)


def _setting(line: str, number: int, keys: Mapping[str, str]) -> Line:
    """A line of the section that is no comment, heading or directive."""
    key, equals, value = (part.strip(" \t") for part in line.partition("="))
    if not equals:
        return Line(number, error=f"{quoted(line)} is not of the form KEY = VALUE")
    if key.lower() not in keys:
        return Line(number, error=f"unknown key {quoted(key)}{_suggestion(key, keys)}")
    if "$(" in value:
        return Line(number, error=f"{key}: commands, $(...), are not executed")
    return Line(number, key.lower(), value)


def _suggestion(key: str, keys: Mapping[str, str]) -> str:
    from difflib import get_close_matches  # only a file with a wrong key pays for it

    nearest = get_close_matches(key.lower()[:64], keys, 1)
    return f" ({keys[nearest[0]]}?)" if nearest else ""
