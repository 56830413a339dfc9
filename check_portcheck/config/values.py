"""Single values of the configuration: one token's text to what it means.

Pure. A token is read as a whole: one that is only partly understood is an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from check_portcheck.model import Severity

if TYPE_CHECKING:
    import enum

    Member = TypeVar("Member", bound=enum.StrEnum)

_BOOLEANS = {
    **dict.fromkeys(("yes", "y", "true", "t", "1", "on"), True),
    **dict.fromkeys(("no", "n", "false", "f", "0", "off"), False),
}
_LEVELS: dict[str, Severity | None] = {
    **{severity.value: severity for severity in Severity},
    "warning": Severity.WARN,
    "error": Severity.ERR,
    "critical": Severity.CRIT,
    "none": None,  # Samhain's word for no report at all, which makes "no" ambiguous
}
_DAY = 86400
_LONGEST_WAIT = 10**9 - 1  # with six decimals still exact as a float
_SECONDS = r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?"


class TokenError(Exception):
    """A token that means nothing here; the text quotes it and says why, but not where it stands."""

    def __init__(self, problem: str, advice: str = "") -> None:
        """*advice* is what to write in its place, empty where that is not known.

        What cannot be printed is no advice: nobody could write it.
        """
        self.problem = problem
        self.advice = advice if advice.isprintable() else ""
        super().__init__(f"{problem}: write {self.advice}" if self.advice else problem)

    def advised(self, advice: str) -> TokenError:
        """The same with better advice, if there is any."""
        return TokenError(self.problem, advice or self.advice)


def quoted(text: str) -> str:
    """*text* as a message shows it: in quotes, control characters escaped, not too long."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def is_digits(text: str) -> bool:
    """Whether *text* is decimal digits, ASCII's, and at least one."""
    return text.isdecimal() and text.isascii()


def whole(text: str, highest: int) -> int:
    """A whole number in decimal digits, from 0 to *highest*."""
    if not is_digits(text):
        raise TokenError(f"{quoted(text)} is no whole number")
    if len(text) > 1 and text.startswith("0"):
        decimal = text.lstrip("0") or "0"
        raise TokenError(f"{quoted(text)} begins with 0 like an octal number", decimal[:10])
    if len(text) > len(str(highest)) or int(text) > highest:
        raise TokenError(f"{quoted(text)} is above {highest}")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds, to the microsecond."""
    if not re.fullmatch(_SECONDS, text):
        raise TokenError(f"{quoted(text)} is no number of seconds")
    return float(text)


def time_limit(text: str) -> float:
    """A number of seconds above 0, a day at most."""
    limit = seconds(text)
    if not limit:
        raise TokenError(f"{quoted(text)} leaves no time at all")
    if limit > _DAY:
        raise TokenError(f"{quoted(text)} is longer than a day")
    return limit


def interval(text: str) -> int:
    """A whole number of seconds above 0."""
    found = whole(text, _LONGEST_WAIT)
    if not found:
        raise TokenError(f"{quoted(text)} is no interval")
    return found


def boolean(text: str) -> bool:
    """Yes or no, in any of the usual words."""
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise TokenError(f"{quoted(text)} is neither yes nor no") from None


def level(text: str) -> Severity:
    """A severity by its name or an unambiguous beginning of it."""
    found = {each for name, each in _LEVELS.items() if name.startswith(text.lower())}
    severity = found.pop() if len(found) == 1 else None
    if severity is None:
        raise TokenError(f"{quoted(text)} is not one of {', '.join(Severity)}")
    return severity


def member(kind: type[Member], text: str) -> Member:
    """A member of an enumeration by its value."""
    try:
        return kind(text.lower())
    except ValueError:
        raise TokenError(f"{quoted(text)} is not one of {', '.join(kind)}") from None


def absolute_path(text: str) -> str:
    """The path of a file from the root."""
    if not text.startswith("/"):
        raise TokenError(f"{quoted(text)} is no absolute path")
    return text
