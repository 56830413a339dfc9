"""Samhain's configuration file: which of its lines concern the port check.

Pure: text in, lines out. What Samhain reads that cannot be read the same way here (conditional
blocks, command output) is an error and never passed over, for half a policy is worse than none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.config.values import TokenError, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SECTION = "[PortCheck]"
"""The heading of the section, in any case."""

_SECTION = SECTION.lower()
_HEADING = re.compile(r"\[[A-Za-z0-9_ -]+\]")
_HEADED = re.compile(r"^[ \t]*\[portcheck\]", re.IGNORECASE | re.MULTILINE)
_EOF = "[eof]"
_SIGNATURE = "-----BEGIN PGP SIGNATURE-----"
_COMMENTS = ("#", ";", "//")
_DIRECTIVES = ("@", "!@", "$", "!$")
_END = re.compile(r"[@$]\s*(end|fi)(\s|$)", re.IGNORECASE)
_OTHERWISE = re.compile(r"[\s:]+")  # KEY: VALUE, KEY VALUE
_ELSE = re.compile(r"@\s*else(\s|$)", re.IGNORECASE)


class Line(NamedTuple):
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
    reader = _Reader(keys, headed=bool(_HEADED.search(text)))
    numbered = enumerate((raw.strip(" \t\r") for raw in text.split("\n")), 1)
    for number, line in numbered:
        if reader.ends_at(line):
            yield from reader.beyond(line, number, numbered)
            break
        found = reader.read(line, number)
        if found.key or found.error:
            yield found
    if not reader.reported:
        yield Line(1, error=f"no {SECTION} section")


class _Reader:
    """Reads one line after the other, and knows where in the file it is."""

    __slots__ = ("_blocks", "_headed", "_inside", "_keys", "reported")

    def __init__(self, keys: Mapping[str, str], *, headed: bool) -> None:
        self._keys = keys
        self._headed = headed
        """Whether the file has the section's heading at all."""
        self._inside = False
        """Whether the line is in the section."""
        self.reported = False
        """Whether the section was there, or its absence reported."""
        self._blocks: list[int] = []
        """The lines that opened the conditional blocks around this one, outermost first."""

    def ends_at(self, line: str) -> bool:
        """Whether this line and what follows are not read."""
        return line == _SIGNATURE or (line.lower() == _EOF and not self._blocks)

    def beyond(self, end: str, number: int, rest: Iterable[tuple[int, str]]) -> Iterator[Line]:
        """What is wrong after line *number*, which ends the file: a section that is never read."""
        for each, line in rest:
            if line.lower() == _SECTION:
                self.reported = True
                yield Line(each, error=f"{line} stands after {end} on line {number}: move it above")

    def read(self, line: str, number: int) -> Line:
        """What a line sets, and what is wrong with it."""
        if not line or line.startswith(_COMMENTS):
            return Line(number)
        if line.startswith(_DIRECTIVES):
            return Line(number, error=self._directive(line, number))
        if line.startswith("["):
            return Line(number, error=self._heading(line))
        return self._setting(line, number) if self._inside else self._stray(line, number)

    def _directive(self, line: str, number: int) -> str:
        """What is wrong with ``@if``, ``@host``, ``$system``, ``@else``, ``@end`` and so on."""
        ends = _END.match(line)
        if not ends and not _ELSE.match(line):
            self._blocks.append(number)
            return f"conditional blocks cannot stand in {SECTION}" if self._inside else ""
        if not self._blocks:
            return f"{quoted(line)} belongs to no conditional block" if self._inside else ""
        if ends:
            self._blocks.pop()
        return ""

    def _heading(self, line: str) -> str:
        """What is wrong with the heading of a section."""
        if line.lower().startswith(_SECTION[:-1]):
            return self._own_heading(line)
        if self._inside and not _HEADING.fullmatch(line):
            return f"{quoted(line)} is no section heading"
        self._inside = False
        return self._within_block(line) if line.lower() == _EOF else ""

    def _own_heading(self, line: str) -> str:
        """What is wrong with the heading of the section, or with one that Samhain takes for it."""
        self._inside = self.reported = True
        if line.lower() != _SECTION:
            return f"{quoted(line)} is not {SECTION}"
        return self._within_block(line)

    def _within_block(self, line: str) -> str:
        """What is wrong with a heading if a conditional block is open."""
        if not self._blocks:
            return ""
        return f"{line} cannot stand in a conditional block (opened on line {self._blocks[-1]})"

    def _stray(self, line: str, number: int) -> Line:
        """A line outside the section: it concerns us if it sets a key of the section."""
        key, _, value = (part.strip(" \t") for part in line.partition("="))
        if key.lower() not in self._keys:
            return Line(number)
        return Line(number, key.lower(), value, self._outside(key))

    def _outside(self, key: str) -> str:
        """What is wrong with a key outside the section, said once where there is no section."""
        if self._headed:
            return f"{key} stands outside the section {SECTION}"
        if self.reported:
            return ""
        self.reported = True
        return f"no {SECTION} section: that heading must precede {key}"

    def _setting(self, line: str, number: int) -> Line:
        """A line of the section that is no comment, heading or directive."""
        key, equals, value = (part.strip(" \t") for part in line.partition("="))
        if not equals:
            return Line(number, error=str(self._formless(line)))
        if key.lower() not in self._keys:
            meant = self._meant(key)
            hint = f" ({meant}?)" if meant else ""
            return Line(number, error=f"unknown key {quoted(key)}{hint}")
        if "$(" in value:
            return Line(number, error=f"{key}: commands, $(...), are not executed")
        return Line(number, key.lower(), value)

    def _formless(self, line: str) -> TokenError:
        """The error of a line without an equals sign, which may have another in its place."""
        error = TokenError(f"{quoted(line)} is not of the form KEY = VALUE")
        key, *rest = _OTHERWISE.split(line, maxsplit=1)
        value = "".join(rest)
        meant = value and (self._keys.get(key.lower()) or self._meant(key))
        return error.advised(f"{meant} = {value}" if meant else "")

    def _meant(self, key: str) -> str:
        from check_portcheck.config import advice  # only a file with a wrong key pays for it

        return advice.key(key, self._keys)
