"""An option with its key: what it is called, how it is read, explained and written back. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.config.settings import Settings
from check_portcheck.model import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from check_portcheck.policy.rules import Kind

Value = bool | float | str | tuple[Choice, ...] | None
"""What a setting can be; None for what is not set."""


class Subject(enum.StrEnum):
    """What options are about: the headings of the help, in its order."""

    POLICY = "the policy"
    PLACES = "where to look"
    CONDUCT = "how to look"
    STATES = "how bad it is"
    MEMORY = "between runs"
    OUTPUT = "what to print"


def _unwritten(_: Settings) -> None:
    """What is written under other options or keys."""


class Option(NamedTuple):
    """One way to set something."""

    name: str
    """On the command line."""
    help: str
    """As argparse takes it: ``%(default)s`` shows the default."""
    subject: Subject
    sets: str
    """A field of Settings, or a part of one that the parser puts together."""
    read: Callable[[str], object] = str
    """The value, or one of a list of them, from its text; raises TokenError."""
    value: Callable[[Settings], Value] = _unwritten
    """What it is set to, as it is to be written back."""
    key: str = ""
    """In files, empty where only the option sets it."""
    metavar: str = ""
    """What stands for the value in the help, empty where the option takes none."""
    short: str = ""
    """The option in one letter, empty where it has none."""
    bare: str = ""
    """What the option says without a value, empty where it needs one."""
    usual: str = ""
    """The default, where *value* of the default settings does not tell it."""
    repeatable: bool = False
    """Whether it may be set several times, and all values hold."""
    kind: Kind | None = None
    """The list of the policy that it adds to."""

    @property
    def names(self) -> list[str]:
        """All that it is called on the command line, the long name last."""
        return [self.short, self.name] if self.short else [self.name]

    @property
    def explanation(self) -> str:
        """The line in the help."""
        return f"{self.help}; repeatable" if self.repeatable else self.help

    @property
    def default(self) -> str:
        """What holds when it is not set, as it would be written; empty for nothing."""
        return self.usual or " ".join(self.texts(Settings()))

    def texts(self, settings: Settings) -> list[str]:
        """The values that set it to what it is in *settings*."""
        match self.value(settings):
            case None:
                return []
            case bool(on):
                return ["yes" if on else "no"]
            case float(seconds):
                return [f"{seconds:.6f}".rstrip("0").rstrip(".")]
            case tuple(choices):
                return [choice.name for choice in choices]
            case other:
                return [str(other)]
