"""All that one run is told, as one value, and the error of those who told it wrong. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.model import HIGHEST_PORT, Choice, Method, Span
from check_portcheck.policy.verdict import Severities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.policy.rules import Rule


class Format(enum.StrEnum):
    """The form of the output."""

    NAGIOS = "nagios"
    CHECKMK = "checkmk"
    JSON = "json"


class Settings(NamedTuple):
    """All that one run is told; the defaults are those of the plugin."""

    active: bool = True
    """Whether to check at all."""
    severities: Severities = Severities()
    """How bad each kind of finding is."""
    span: Span = Span(0, HIGHEST_PORT)
    """The ports that are scanned."""
    rules: tuple[Rule, ...] = ()
    """The items of all lists, in the order of files and options."""
    interfaces: tuple[Choice, ...] = ()
    """Addresses in the kernel's spelling, or ``all``."""
    devices: tuple[Choice, ...] = ()
    official: bool = True
    """Whether the addresses of the host's official name are scanned too."""
    udp: bool = True
    """Whether UDP is scanned too."""
    interval: int = 300
    """Seconds for which a result in the state file is reused."""
    state: str | None = None
    """Absolute path of the state file, None for none."""
    method: Method = Method.FULL
    confirm: float = 1.0
    """Seconds before findings are looked at again, 0 to report them at once."""
    timeout: float = 10.0
    """Seconds that the whole run may take."""
    format: Format = Format.NAGIOS
    print_policy: bool = False
    """Whether to print the present state as a policy instead of judging it."""
    check_config: bool = False
    """Whether to print the settings instead of scanning."""
    verbosity: int = 0
    """How much to tell beyond the findings, 0 to 3."""
    notes: tuple[str, ...] = ()
    """What was set and does not count, with the reason, one line each."""


class ConfigError(Exception):
    """Files and options do not make a configuration."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        """Every error, each a line that begins ``FILE:LINE: `` or ``--option: ``."""
        super().__init__("\n".join(self.errors))
