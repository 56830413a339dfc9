"""The command line: options and files to settings, text and exit code."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from check_portcheck import __version__, guard
from check_portcheck.model import State
from check_portcheck.wording import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_portcheck.config import ConfigFile
    from check_portcheck.interfaces import Chosen
    from check_portcheck.scan import Scan

_LARGEST_FILE = 16 * 1024 * 1024
_DEFAULT_TIMEOUT = 10.0
_LONGEST_TIMEOUT = 86400.0
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
    ("--udp", "[BOOL]", "scan UDP too (yes)"),
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
"""Names, what stands for the value (None: a flag; in brackets: may be left out), help."""


class _TextError(Exception):
    """The command line asks for a text, or deserves one, and nothing else."""


class _Parser(argparse.ArgumentParser):
    """argparse with the plugin guidelines' manners: text on standard output, exit code 3."""

    def error(self, message: str) -> NoReturn:
        raise _TextError(f"PORTCHECK UNKNOWN - {clean(message)} (see check_portcheck --help)\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        del status
        raise _TextError(message or "")

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


def main() -> NoReturn:
    """Run the plugin on sys.argv; does not return."""
    began = time.monotonic()
    try:
        options = _options(sys.argv[1:])
        seconds = _timeout(options)
    except _TextError as text:
        guard.finish(str(text), State.UNKNOWN)
    guard.run(lambda: _work(options, began + seconds * (1 - _MARGIN)), seconds)


def _options(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Option and value of each argument, in order; raises _TextError for help and misuse."""
    verbose = "--verbose"
    parser = _parser()
    options: list[tuple[str, str]] = parser.parse_args(arguments).options
    count = sum(option == verbose for option, _ in options)
    return [each for each in options if each[0] != verbose] + [(verbose, str(min(count, 3)))]


def _timeout(options: Sequence[tuple[str, str]]) -> float:
    """The time limit, needed before all else; a wrong one is reported with the other errors."""
    values = [value for option, value in options if option == "--timeout" and value.strip()]
    try:
        seconds = float(values[-1]) if values else _DEFAULT_TIMEOUT
    except ValueError:
        return _DEFAULT_TIMEOUT
    return seconds if 0 < seconds <= _LONGEST_TIMEOUT else _DEFAULT_TIMEOUT


def _work(options: Sequence[tuple[str, str]], end: float) -> tuple[str, int]:
    """The check itself, in the guarded process: text and exit code."""
    from check_portcheck import config, conflicts, interfaces
    from check_portcheck.names import Names
    from check_portcheck.policy import Policy
    from check_portcheck.scan import Scan

    names = Names()
    try:
        files = [_read(value) for option, value in options if option == "--config" and value]
        settings = config.parse(files, [each for each in options if each[0] != "--config"], names)
        if not settings.active:
            return "PORTCHECK OK - inactive (PortCheckActive = no)\n", State.OK
        chosen = interfaces.resolve(
            settings.interfaces, settings.devices, official=settings.official
        )
    except (config.ConfigError, interfaces.InterfaceError) as wrong:
        return _misuse(wrong.errors)
    unscanned = conflicts.unscanned(settings.rules, chosen.interfaces, chosen.absent_devices)
    if unscanned:
        return _misuse(unscanned)
    if settings.check_config:
        return config.effective(settings), State.OK
    task = Scan(settings, chosen.interfaces, Policy(settings.rules), names, end)
    return _checked(task, chosen)


def _checked(task: Scan, chosen: Chosen) -> tuple[str, int]:
    from check_portcheck import formats, plugin

    check = plugin.check(task, chosen)
    return formats.nagios(check), check.exitcode


def _read(path: str) -> ConfigFile:
    from check_portcheck.config import ConfigError, ConfigFile

    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise ConfigError([f"{path}: larger than {_LARGEST_FILE >> 20} MiB"])
        return ConfigFile(path, content.decode())
    except OSError as unreadable:
        raise ConfigError([f"{path}: cannot be read: {unreadable.strerror}"]) from unreadable
    except UnicodeDecodeError as broken:
        line = content.count(b"\n", 0, broken.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8"]) from broken


def _misuse(errors: Sequence[str]) -> tuple[str, int]:
    """All errors, the first of them in the status line."""
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    lines = [f"PORTCHECK UNKNOWN - {clean(errors[0])}{more}", *map(clean, errors[1:])]
    return "\n".join(lines) + "\n", State.UNKNOWN


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="check_portcheck",
        description="Find every open TCP and UDP port of this machine, compare it with a policy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.set_defaults(options=[])
    for names, metavar, text in _OPTIONS:
        nargs = 0 if metavar is None else "?" if metavar.startswith("[") else None
        parser.add_argument(
            *names.split(), action=_Record, dest="options", metavar=metavar, nargs=nargs, help=text
        )
    parser.add_argument("-h", "--help", action="help", help="this text")
    version = f"check_portcheck {__version__}\n"
    parser.add_argument("-V", "--version", action="version", version=version, help="the version")
    return parser
