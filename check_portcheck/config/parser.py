"""Configuration files and command-line values to settings.

Pure: the files' texts come in. Both ways of setting something share one table of options, and
every error is found in one pass.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from check_portcheck.config import grammar
from check_portcheck.config.conflicts import Reach, contradictions
from check_portcheck.config.options import OPTIONS
from check_portcheck.config.settings import ConfigError, Settings
from check_portcheck.config.values import TokenError, quoted
from check_portcheck.model import Choice, Span
from check_portcheck.policy.verdict import Severities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_portcheck.config.option import Option
    from check_portcheck.config.samhainrc import Line
    from check_portcheck.names import Names
    from check_portcheck.policy.rules import Kind, Rule

_BY_NAME = {option.name: option for option in OPTIONS}
_BY_KEY = {option.key.lower(): option for option in OPTIONS if option.key}
_KEYS = {lower: option.key for lower, option in _BY_KEY.items()}
_STATE_OF_ROOT = "PortCheckState counts only in a file of root's; --state names it as well"
_COMMENT = r"(?s)(?:^|[\s,])((?:#|;|//).*)"


class ConfigFile(NamedTuple):
    """A configuration file that was read."""

    name: str
    """As the user gave it."""
    text: str
    may_name_state: bool = True
    """Whether its PortCheckState counts: it says which file is written."""


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
    for name, value in options:
        reader.read_option(name, value)
    return reader.finish()


class _Reader:
    """What files and options have set so far, and what was wrong with them."""

    __slots__ = ("_choices", "_errors", "_names", "_notes", "_rules", "_sources", "_values")

    def __init__(self, names: Names) -> None:
        self._names = names
        self._errors: list[str] = []
        self._notes: list[str] = []
        self._rules: list[Rule] = []
        self._choices: dict[str, list[Choice]] = {"interfaces": [], "devices": []}
        self._values: dict[str, Any] = {}
        """Single values by what they set."""
        self._sources: dict[str, str] = {}
        """Where they were set."""

    def read_file(self, file: ConfigFile) -> None:
        """Take what the section of a file sets."""
        from check_portcheck.config import samhainrc

        first: dict[str, str] = {}
        for line in samhainrc.lines(file.text, _KEYS):
            source = f"{file.name}:{line.number}"
            if line.error:
                self._errors.append(f"{source}: {line.error}")
            if line.key and _BY_KEY[line.key].sets == "state" and not file.may_name_state:
                self._notes.append(f"{source}: {_STATE_OF_ROOT}")
            elif line.key:
                self._read_line(line, source, first)

    def _read_line(self, line: Line, source: str, first: dict[str, str]) -> None:
        """Take what a line sets; *first* has the line of the file that set a key first."""
        option = _BY_KEY[line.key]
        if not line.value:
            self._errors.append(f"{source}: {option.key} has no value")
            return
        earlier = first.setdefault(line.key, source)
        if earlier != source and not option.repeatable:
            self._errors.append(f"{source}: {option.key} is set already by {earlier}")
        errors = self._take(option, line.value, source)
        self._errors += [f"{source}: {option.key}: {error}" for error in errors]

    def read_option(self, name: str, value: str) -> None:
        """Take the value of an option, of which blanks alone set nothing."""
        if value.strip():
            errors = self._take(_BY_NAME[name], value, name)
            self._errors += [f"{name}: {error}" for error in errors]

    def _take(self, option: Option, text: str, source: str) -> list[str]:
        """Take what may be a value with a comment, and return what is wrong with it."""
        if not text.replace("\t", "").isprintable():
            strange = next(each for each in text.replace("\t", "") if not each.isprintable())
            return [f"the character {strange!r} cannot stand here"]
        comment = re.search(_COMMENT, text)
        if comment is None:
            return self._take_value(option, text, source)
        before = text[: comment.start()]
        errors = self._take_value(option, before, source) if before.strip() else []
        return [*errors, f"{quoted(comment[1])} is no comment: that needs a line of its own"]

    def _take_value(self, option: Option, text: str, source: str) -> list[str]:
        if option.kind:
            return self._take_rules(option.kind, text, source)
        if option.repeatable:
            tokens = grammar.tokens(text) or [""]
            return [error for token in tokens for error in self._take_one(option, token, source)]
        return self._take_one(option, text.strip(), source)

    def _take_rules(self, kind: Kind, text: str, source: str) -> list[str]:
        rules, errors = grammar.rules(kind, text, source, self._names)
        self._rules += rules
        return errors

    def _take_one(self, option: Option, token: str, source: str) -> list[str]:
        """Take a single value, or one of a list of choices."""
        try:
            value = option.read(token)
        except TokenError as error:
            from check_portcheck.config import advice  # only what is wrong pays for advice

            guesses = () if error.advice else advice.values(token)
            return [str(error.advised(advice.accepted(guesses, option.read)))]
        if option.repeatable:
            self._choices[option.sets].append(Choice(str(value), source))
        else:
            self._values[option.sets] = value
            self._sources[option.sets] = source
        return []

    def finish(self) -> Settings:
        """All that was set, or ConfigError with all that was wrong."""
        settings = self._settings()
        reach = self._reach(settings)
        if settings.span.first > settings.span.last:
            self._errors.append(
                f"{reach.last_source}: the highest port, {settings.span.last}, "
                f"is below the lowest, {settings.span.first} by {reach.first_source}"
            )
            reach = reach._replace(span=Settings().span)
        self._errors += contradictions(settings.rules, reach)
        if self._errors:
            raise ConfigError(self._errors)
        return settings

    def _settings(self) -> Settings:
        """All that was set, single values together where a setting has several."""
        values, usual = dict(self._values), Settings()
        severity = values.pop("severity", None)
        severities = Severities(
            values.pop("unexpected", severity or usual.severities.unexpected),
            values.pop("missing", severity or usual.severities.missing),
        )
        span = Span(values.pop("first", usual.span.first), values.pop("last", usual.span.last))
        return Settings(
            severities=severities,
            span=span,
            rules=tuple(self._rules),
            interfaces=tuple(self._choices["interfaces"]),
            devices=tuple(self._choices["devices"]),
            notes=tuple(self._notes),
            **values,
        )

    def _reach(self, settings: Settings) -> Reach:
        """What a scan with these settings sees, and where that was set."""
        sources = self._sources
        return Reach(
            settings.span,
            settings.udp,
            first_source=sources.get("first", ""),
            last_source=sources.get("last", ""),
            udp_source=sources.get("udp", ""),
        )
