"""Configuration files and command-line values to settings.

Pure: the files' texts come in. Both ways of setting something share one table and its parsers, and
every error is found in one pass.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from check_portcheck import conflicts, grammar, values
from check_portcheck.model import HIGHEST_PORT, Choice, Method, Severity
from check_portcheck.policy import Kind, Rule
from check_portcheck.values import TokenError, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from check_portcheck.names import Names


class Format(enum.StrEnum):
    """The form of the output."""

    NAGIOS = "nagios"
    CHECKMK = "checkmk"
    JSON = "json"


@dataclass(frozen=True)
class Settings:
    """All that one run is told."""

    active: bool = True
    """Whether to check at all."""
    severity_unexpected: Severity = Severity.CRIT
    severity_missing: Severity = Severity.CRIT
    lowest: int = 0
    """First port of the range that is scanned."""
    highest: int = HIGHEST_PORT
    """Last port of the range that is scanned."""
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


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file that was read."""

    name: str
    """As the user gave it."""
    text: str


class ConfigError(Exception):
    """Files and options do not make a configuration."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        """Every error, each a line that begins ``FILE:LINE: `` or ``--option: ``."""
        super().__init__("\n".join(self.errors))


def parse(
    files: Sequence[ConfigFile], options: Sequence[tuple[str, str]], names: Names
) -> Settings:
    """The settings of all files and then all options, or ConfigError with every error in them.

    Lists add up. Of single values the last file's holds, and an option's before any file's. An
    option's empty value says nothing; a file's is an error.
    """
    reader = _Reader(names)
    for file in files:
        reader.read_file(file)
    for option, value in options:
        reader.read_option(option, value)
    return reader.settings()


def effective(settings: Settings) -> str:
    """The settings as a file that gives the same ones; what only options set is a comment."""
    from check_portcheck import samhainrc

    lines = [samhainrc.SECTION]
    for entry in _ENTRIES:
        if entry.key and not entry.kind:
            lines += [f"{entry.key} = {text}" for text in _texts(settings, entry.field)]
        elif entry.field not in _IN_FILES:
            lines += [f"# {entry.option} {text}" for text in _texts(settings, entry.field)]
    keys = {entry.kind: entry.key for entry in _ENTRIES}
    lines += [f"{keys[rule.kind]} = {rule}" for rule in settings.rules]
    return "\n".join(lines) + "\n"


def _texts(settings: Settings, field: str) -> list[str]:
    """What *field* is set to, each time that it is."""
    value = getattr(settings, field, None)  # None: severity, which sets two others
    if isinstance(value, tuple):
        return [choice.name for choice in value]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, float):
        return [f"{value:.6f}".rstrip("0").rstrip(".")]
    return [] if value is None else [str(value)]


@dataclass(frozen=True)
class _Entry:
    """One way to set something."""

    key: str
    """In files, empty where only an option sets it."""
    option: str
    """On the command line, empty where only a file sets it."""
    field: str
    """The field of Settings."""
    read: Callable[[str], object] = str
    """The value, or one of a list of them, from its text; raises TokenError."""
    kind: Kind | None = None
    """The list of the policy that it adds to."""

    @property
    def adds(self) -> bool:
        """Whether it may be set several times, and all values hold."""
        return self.field in ("rules", *_CHOICES)


_port = partial(values.whole, highest=HIGHEST_PORT)

_ENTRIES = (
    _Entry("PortCheckActive", "--active", "active", values.boolean),
    _Entry("SeverityPortCheck", "--severity", "severity", values.level),
    _Entry(
        "SeverityPortCheckUnexpected",
        "--severity-unexpected",
        "severity_unexpected",
        values.level,
    ),
    _Entry("SeverityPortCheckMissing", "--severity-missing", "severity_missing", values.level),
    _Entry("PortCheckMinPort", "--min-port", "lowest", _port),
    _Entry("PortCheckMaxPort", "--max-port", "highest", _port),
    _Entry("PortCheckInterface", "--interface", "interfaces", grammar.address_or_all),
    _Entry("PortCheckDevice", "--device", "devices", grammar.device),
    _Entry("PortCheckOfficial", "", "official", values.boolean),
    _Entry("", "--no-official", "official", values.negation),
    _Entry("PortCheckUDP", "--udp", "udp", values.boolean),
    _Entry("", "--no-udp", "udp", values.negation),
    _Entry("PortCheckInterval", "--interval", "interval", values.interval),
    _Entry("PortCheckState", "--state", "state", values.absolute_path),
    _Entry("PortCheckMethod", "--method", "method", partial(values.member, Method)),
    _Entry("PortCheckConfirm", "--confirm", "confirm", values.seconds),
    _Entry("", "--timeout", "timeout", values.time_limit),
    _Entry("", "--format", "format", partial(values.member, Format)),
    _Entry("", "--print-policy", "print_policy", values.boolean),
    _Entry("", "--check-config", "check_config", values.boolean),
    _Entry("", "--verbose", "verbosity", partial(values.whole, highest=9)),
    _Entry("PortCheckRequired", "--required", "rules", kind=Kind.REQUIRED),
    _Entry("PortCheckOptional", "--optional", "rules", kind=Kind.OPTIONAL),
    _Entry("PortCheckIgnore", "--ignore", "rules", kind=Kind.IGNORE),
    _Entry("PortCheckSkip", "--skip", "rules", kind=Kind.SKIP),
)
_BY_KEY = {entry.key.lower(): entry for entry in _ENTRIES if entry.key}
_BY_OPTION = {entry.option: entry for entry in _ENTRIES if entry.option}
_KEYS = {key: entry.key for key, entry in _BY_KEY.items()}
_IN_FILES = {entry.field for entry in _BY_KEY.values()}
_CHOICES = ("interfaces", "devices")
_COMMENT = re.compile(r"(?:^|[\s,])#")


class _Reader:
    """What files and options have set so far, and what was wrong with them."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._errors: list[str] = []
        self._rules: list[Rule] = []
        self._choices: dict[str, list[Choice]] = {field: [] for field in _CHOICES}
        self._values: dict[str, Any] = {}
        self._places: dict[str, str] = {}

    def read_file(self, file: ConfigFile) -> None:
        """Take what the section of a file sets."""
        from check_portcheck import samhainrc

        places: dict[str, str] = {}
        for line in samhainrc.lines(file.text, _KEYS):
            place = f"{file.name}:{line.number}"
            if line.error:
                self._errors.append(f"{place}: {line.error}")
            if not line.key:
                continue
            entry = _BY_KEY[line.key]
            if not line.value:
                self._errors.append(f"{place}: {entry.key} has no value")
                continue
            first = places.setdefault(line.key, place)
            if first != place and not entry.adds:
                self._errors.append(f"{place}: {entry.key} is set already by {first}")
            errors = self._take(entry, line.value, place)
            self._errors += [f"{place}: {entry.key}: {error}" for error in errors]

    def read_option(self, option: str, value: str) -> None:
        """Take the value of an option, of which blanks alone set nothing."""
        if value.strip():
            errors = self._take(_BY_OPTION[option], value, option)
            self._errors += [f"{option}: {error}" for error in errors]

    def _take(self, entry: _Entry, text: str, place: str) -> list[str]:
        """Take a value, and return what is wrong with it."""
        if not text.replace("\t", " ").isprintable():
            strange = next(each for each in text if each != "\t" and not each.isprintable())
            return [f"the character {strange!r} cannot stand here"]
        comment = _COMMENT.search(text)
        if comment:
            before, rest = text[: comment.start()], text[comment.end() - 1 :]
            errors = self._take(entry, before, place) if before.strip() else []
            return [*errors, f"{quoted(rest)} is no comment: that needs a line of its own"]
        if entry.kind:
            rules, errors = grammar.rules(entry.kind, text, place, self._names)
            self._rules += rules
            return errors
        errors = []
        for token in grammar.tokens(text) or [""] if entry.adds else [text.strip()]:
            try:
                value = entry.read(token)
            except TokenError as error:
                errors.append(str(error))
            else:
                self._set(entry, value, place)
        return errors

    def _set(self, entry: _Entry, value: object, place: str) -> None:
        if entry.adds:
            self._choices[entry.field].append(Choice(str(value), place))
        else:
            self._values[entry.field] = value
            self._places[entry.field] = place

    def settings(self) -> Settings:
        """All that was set, or ConfigError with all that was wrong."""
        severity = self._values.pop("severity", Severity.CRIT)
        severities = {"severity_unexpected": severity, "severity_missing": severity}
        settings = Settings(
            **{**severities, **self._values},
            rules=tuple(self._rules),
            interfaces=tuple(self._choices["interfaces"]),
            devices=tuple(self._choices["devices"]),
        )
        lowest, highest, places = settings.lowest, settings.highest, self._places
        if lowest > highest:
            self._errors.append(
                f"{places['highest']}: the highest port, {highest}, "
                f"is below the lowest, {lowest} by {places['lowest']}"
            )
            lowest, highest = 0, HIGHEST_PORT
        self._errors += conflicts.contradictions(
            settings.rules, lowest, highest, udp=settings.udp, places=places
        )
        if self._errors:
            raise ConfigError(self._errors)
        return settings
