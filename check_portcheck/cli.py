"""The command line: options and files to settings, text and exit code."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from check_portcheck import __version__, guard
from check_portcheck.config import ConfigError, ConfigFile, Format, parse
from check_portcheck.model import State
from check_portcheck.values import TokenError, time_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST_FILE = 16 * 1024 * 1024
_DEFAULT_TIMEOUT = 10.0
_MARGIN = 0.1
"""Part of the time limit that is kept for start-up and output."""

_EPILOG = """\
LIST is [INTERFACE:]ITEM[,ITEM...], for example 192.0.2.7:22/tcp,25/tcp or *:portmapper/udp.
INTERFACE is an address, a device, a network in CIDR notation or * for every scanned interface;
ITEM is 22/tcp, 6000-6063/tcp, */udp, ephemeral/udp or an RPC service, all but --skip with an owner
if wanted: 22/tcp@sshd, @/usr/sbin/sshd, @user:NAME, @unit:NAME. BOOL is yes or no, LEVEL one of
debug info notice (OK), warn mark (WARNING), err crit alert (CRITICAL).
"""


_OPTIONS = (
    ("--config", "FILE", "Samhain-style file; repeatable"),
    ("--active", "BOOL", "no: say that the check is inactive, scan nothing"),
    ("--severity", "LEVEL", "of findings (crit)"),
    ("--severity-unexpected", "LEVEL", "of unexpected services (--severity)"),
    ("--severity-missing", "LEVEL", "of missing services (--severity)"),
    ("--min-port", "N", "first port scanned (0)"),
    ("--max-port", "N", "last port scanned (65535)"),
    ("--required", "LIST", "services that must be open; repeatable"),
    ("--optional", "LIST", "services that may be open; repeatable"),
    ("--ignore", "LIST", "services that are never judged; repeatable"),
    ("--skip", "LIST", "ports that are neither contacted nor judged; repeatable"),
    ("--interface", "ADDR[,ADDR...]", "addresses to scan, or all; repeatable"),
    ("--device", "NAME[,NAME...]", "devices to scan; repeatable"),
    ("--no-official", None, "leave out the host's official name"),
    ("--udp", "BOOL?", "scan UDP too (yes)"),
    ("--no-udp", None, "scan TCP only"),
    ("--interval", "SECONDS", "age up to which a result in --state is reused (300)"),
    ("--state", "FILE", "remember results between runs"),
    ("--method", "METHOD", "table, probe or full (full)"),
    ("--confirm", "SECONDS", "pause before the second look, 0: none (1)"),
    ("-t --timeout", "SECONDS", "limit of the whole run (10)"),
    ("--format", "FORMAT", "nagios, checkmk or json (nagios)"),
    ("--print-policy", None, "print the present state as a policy"),
    ("--check-config", None, "print the effective settings, scan nothing"),
    ("-v --verbose", None, "tell more, up to -vvv"),
)
"""Names, what stands for the value (None: a flag; with ?: it may be left out), help."""


class _TextError(Exception):
    """The command line asks for a text and nothing else: help, version."""


class _UsageError(Exception):
    """The command line is wrong; the text says how."""


class _Parser(argparse.ArgumentParser):
    """argparse without its exit codes, which would be 2 and 0: CRITICAL and OK."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)

    def print_help(self, file: object = None) -> None:
        del file
        raise _TextError(self.format_help())


class _Record(argparse.Action):
    """Keeps option and value in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Note the option by its long name."""
        del parser, option_string
        long = next(name for name in self.option_strings if name.startswith("--"))
        value = values if isinstance(values, str) else "yes"
        namespace.options.append((long, value))


class _Version(argparse.Action):
    """Asks for the version."""

    def __call__(self, *_: object) -> None:
        """Stop here."""
        raise _TextError(f"check_portcheck {__version__}\n")


def main() -> NoReturn:
    """Run the plugin on sys.argv; does not return."""
    began = time.monotonic()
    arguments = sys.argv[1:]
    form = next((form for form in Format if _asks_for(form, arguments)), Format.NAGIOS)
    try:
        options = _options(arguments)
    except _TextError as text:
        guard.finish(str(text), State.UNKNOWN)
    except _UsageError as wrong:
        guard.finish(*_unknown(f"{wrong} (see check_portcheck --help)", form))
    seconds = _timeout(options)
    end = began + seconds * (1 - _MARGIN)
    guard.run(lambda: _work(options, form, end), seconds, lambda why: _unknown(why, form))


def _asks_for(form: Format, arguments: Sequence[str]) -> bool:
    """Whether the arguments, right or wrong, ask for a format; errors are told in it too."""
    return f"--format={form}" in arguments or ("--format", form) in pairwise(arguments)


def _unknown(reason: str, form: Format) -> tuple[str, int]:
    from check_portcheck import formats

    return formats.unknown(reason, form)


def _options(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Option and value of each argument, in order; raises _TextError or _UsageError."""
    verbose = "--verbose"
    parser = _parser()
    options: list[tuple[str, str]] = parser.parse_args(arguments).options
    count = sum(option == verbose for option, _ in options)
    return [each for each in options if each[0] != verbose] + [(verbose, str(min(count, 3)))]


def _timeout(options: Sequence[tuple[str, str]]) -> float:
    """The time limit, needed before all else; a wrong one is reported with the other errors."""
    given = [value for option, value in options if option == "--timeout" and value.strip()]
    try:
        return time_limit(given[-1]) if given else _DEFAULT_TIMEOUT
    except TokenError:
        return _DEFAULT_TIMEOUT


def _work(options: Sequence[tuple[str, str]], form: Format, end: float) -> tuple[str, int]:
    """The check itself, in the guarded process: text and exit code."""
    from check_portcheck import run
    from check_portcheck.interfaces import InterfaceError
    from check_portcheck.names import Names

    names = Names()
    try:
        files = [_read(value) for option, value in options if option == "--config" and value]
        others = [each for each in options if each[0] != "--config"]
        return run.run(parse(files, others, names), names, end)
    except (ConfigError, InterfaceError) as wrong:
        more = f" (and {len(wrong.errors) - 1} more)" if len(wrong.errors) > 1 else ""
        return _unknown("\n".join([wrong.errors[0] + more, *wrong.errors[1:]]), form)


def _read(path: str) -> ConfigFile:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as unreadable:
        raise ConfigError([f"{path}: cannot be read: {unreadable.strerror}"]) from unreadable
    if len(content) > _LARGEST_FILE:
        raise ConfigError([f"{path}: larger than {_LARGEST_FILE >> 20} MiB"])
    # Comments in another encoding do no harm; in a value of ours such a byte is an error.
    return ConfigFile(path, content.decode(errors="surrogateescape"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="check_portcheck",
        description="Find every open TCP and UDP port of this machine, compare it with a policy.",
        epilog=_EPILOG,
        # 80 columns, as the plugin guidelines want; the terminal is not asked for its width.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=80),
        allow_abbrev=False,
        add_help=False,
    )
    parser.set_defaults(options=[])
    for names, metavar, text in _OPTIONS:
        nargs = 0 if metavar is None else "?" if metavar.endswith("?") else None
        shown = metavar and metavar.rstrip("?")
        parser.add_argument(
            *names.split(), action=_Record, dest="options", metavar=shown, nargs=nargs, help=text
        )
    parser.add_argument("-h", "--help", action="help", help="this text")
    parser.add_argument("-V", "--version", action=_Version, nargs=0, help="the version")
    return parser
