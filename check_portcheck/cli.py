"""The command line: options and files to settings, text and exit code."""

from __future__ import annotations

import argparse
import re
import sys
import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from check_portcheck import __version__, guard
from check_portcheck.config.option import Subject
from check_portcheck.config.options import OPTIONS
from check_portcheck.config.parser import ConfigFile, parse
from check_portcheck.config.settings import ConfigError, Format, Settings
from check_portcheck.config.values import TokenError, time_limit
from check_portcheck.deadline import Deadline
from check_portcheck.kernel import trust
from check_portcheck.kernel.trust import TrustError
from check_portcheck.model import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from check_portcheck.config.option import Option

_LARGEST_FILE = 16 * 1024 * 1024
_MARGIN = 0.1
"""Part of the time limit that is kept for start-up and output."""
_CONFIG = "--config"
_VERBOSE = "--verbose"
_NAMES = (*(option.name for option in OPTIONS), _CONFIG, "--help", "--version")
_BY_KEY = {option.key.lower(): option.name for option in OPTIONS if option.key}
_MOST_VERBOSE = 3
_DROPPED = r"(--[a-z-]+=|-[a-z])--"
"""``--skip=--``: argparse drops such a value before 3.11.8 and 3.12.2 (python/cpython#109475)."""

_EPILOG = """\
a LIST is [INTERFACE:]ITEM[@OWNER][,ITEM...]:
  INTERFACE  192.0.2.7, [2001:db8::7], eth0, veth*, 10.0.0.0/8, 0.0.0.0/0, ::/0
             or * for all that are looked at
  ITEM       22/tcp, 6000-6063/tcp, */udp, ephemeral/udp (the kernel's range
             for clients); RPC services: nfs/tcp, RPC_100003/tcp
  OWNER      user:NAME, unit:NAME.service, /PROGRAM/FILE or a process's name:
             the rule holds for sockets of this owner alone
  Required services are single ports or RPC services. --skip takes ports alone,
  and may lack the interface.
BOOL is yes or no. LEVEL is one of debug, info, notice: findings are listed,
the state is OK; warn, mark: WARNING; err, crit, alert: CRITICAL.

A file has a line [PortCheck] and under it the same settings by their keys,
such as PortCheckRequired = *:22/tcp; --check-config prints all of them. Lists
of files and of the command line add up, and other settings replace earlier
ones.

examples:
  what is open now, on all addresses of this machine
    check_portcheck --interface all
  the same as a policy to read, and to keep if it is as it should be
    check_portcheck --interface all --print-policy > policy.conf
  whether the policy is right and can have effect on this machine
    check_portcheck --config policy.conf --check-config
  the check itself; -v tells of every open port which line allows it
    check_portcheck --config policy.conf -v
  without a file: ssh must be open, mail of postfix may be, X11 is left alone
    check_portcheck --required '*:22/tcp' --skip 6000-6063/tcp \\
        --optional '*:25/tcp@unit:postfix@-.service'

The exit code is 0 for OK, 1 for WARNING, 2 for CRITICAL, 3 for UNKNOWN: also
where an option or a file is wrong, after this text, and when time is up. What
is open is seen by every user, the processes behind it by root alone.
"""


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
        """Note the option by its long name, without a value with what it says by itself."""
        del parser, option_string
        value = values if isinstance(values, str) else self.const
        namespace.options.append((self.option_strings[-1], value))


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
        guard.finish(*_unknown(f"{wrong}{_hint(arguments)} (see check_portcheck --help)", form))
    guard.in_child(
        partial(_work, options, form, began), _timeout(options), partial(_unfinished, form)
    )


def _asks_for(form: Format, arguments: Sequence[str]) -> bool:
    """Whether the arguments, right or wrong, ask for a format; errors are told in it too."""
    return f"--format={form}" in arguments or ("--format", form) in pairwise(arguments)


def _unknown(reason: str, form: Format) -> tuple[str, int]:
    from check_portcheck.report.forms import form_of

    return form_of(form).unknown(reason)


def _unfinished(form: Format, reason: str, known: tuple[str, int] | None) -> tuple[str, int]:
    """What was known, as text and exit code, when the run had to end for a reason."""
    if known is None:
        return _unknown(reason, form)
    from check_portcheck.report.forms import form_of

    text, code = known
    return form_of(form).cut_short(text, reason), code


def _hint(arguments: Sequence[str]) -> str:
    """The option that may be meant by the first one that there is not, as a question."""
    from check_portcheck.config import advice

    given = [each.partition("=")[0] for each in arguments if each.startswith("--")]
    wrong = next((name for name in given if name not in _NAMES), "")
    words = {name.replace("-", ""): name for name in _NAMES}
    meant = advice.key(wrong, words | _BY_KEY)
    return f" ({meant}?)" if meant else ""


def _options(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Option and value of each argument, in order; raises _TextError or _UsageError."""
    if dropped := next((each for each in arguments if re.fullmatch(_DROPPED, each)), None):
        raise _UsageError(f"{dropped}: -- is no value")
    found: list[tuple[str, str]] = []
    parser().parse_args(arguments, argparse.Namespace(options=found))
    others = [each for each in found if each[0] != _VERBOSE]
    verbosity = min(len(found) - len(others), _MOST_VERBOSE)
    return [*others, (_VERBOSE, str(verbosity))]


def _timeout(options: Sequence[tuple[str, str]]) -> float:
    """The time limit for reading the files, which may set another one for the whole run.

    A wrong one is reported with the other errors.
    """
    given = [value for option, value in options if option == "--timeout" and value.strip()]
    try:
        return time_limit(given[-1]) if given else Settings().timeout
    except TokenError:
        return Settings().timeout


def _work(
    options: Sequence[tuple[str, str]], form: Format, began: float, parent: guard.Parent
) -> tuple[str, int]:
    """The check itself, in the guarded process: text and exit code.

    *began* is the monotonic time of the start.
    """
    from check_portcheck.kernel import namefiles
    from check_portcheck.kernel.interfaces import InterfaceError
    from check_portcheck.run import answer

    names = namefiles.read()
    private: list[str] = []
    try:
        paths = [value for option, value in options if option == _CONFIG and value]
        files = [_read(path, parent.step, private) for path in paths]
        others = [each for each in options if each[0] != _CONFIG]
        settings = parse(files, others, names)
        parent.limit(settings.timeout)
        deadline = Deadline(began + settings.timeout * (1 - _MARGIN))
        return answer(settings, names, deadline, parent)
    except (ConfigError, InterfaceError) as wrong:
        return _unknown(_summary([*_tellable(wrong.errors, private)]), form)
    except TrustError as distrusted:
        return _unknown(str(distrusted), form)


def _tellable(errors: Sequence[str], private: Sequence[str]) -> Iterator[str]:
    """The errors, those that may show a line of a private file left out; one tells of them all."""
    for path in private:
        if any(path in error for error in errors):
            yield f"{path}: has errors, which only root is told, since you may not read it"
    yield from (error for error in errors if not any(path in error for path in private))


def _summary(errors: Sequence[str]) -> str:
    """All errors, a line each, of which the first says how many follow."""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return "\n".join([errors[0] + more, *errors[1:]])


def _read(path: str, step: Callable[[str], None], private: list[str]) -> ConfigFile:
    """The file, noted as *private* where its lines are not for the caller of sudo.

    Raises ConfigError where it cannot be read, TrustError where as root it must not be obeyed.
    """
    step(f"reading {path}")
    try:
        with open(trust.open_policy(path), "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
            may_name_state = trust.may_name_state(file.fileno())
            if trust.is_private(file.fileno()):
                private.append(path)
    except OSError as unreadable:
        raise ConfigError([f"{path}: cannot be read: {unreadable.strerror}"]) from unreadable
    step("")
    if len(content) > _LARGEST_FILE:
        raise ConfigError([f"{path}: larger than {_LARGEST_FILE >> 20} MiB"])
    # Comments in another encoding do no harm; in a value of ours such a byte is an error.
    return ConfigFile(path, content.decode(errors="surrogateescape"), may_name_state)


def parser() -> argparse.ArgumentParser:
    """What reads the command line and prints the help, from which the manual page is made too."""
    made = _Parser(
        prog="check_portcheck",
        usage="%(prog)s [--config FILE]... [OPTION]...",
        description="Find every open TCP and UDP port of this machine, compare it with a policy.",
        epilog=_EPILOG,
        # 80 columns, as the plugin guidelines want; the terminal is not asked for its width.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=80),
        allow_abbrev=False,
        add_help=False,
    )
    groups = {subject: made.add_argument_group(subject) for subject in Subject}
    groups[Subject.POLICY].add_argument(
        _CONFIG, action=_Record, metavar="FILE", help="Samhain-style file; repeatable"
    )
    for option in OPTIONS:
        groups[option.subject].add_argument(
            *option.names,
            action=_Record,
            nargs=_nargs(option),
            const=option.bare,
            default=option.default,
            metavar=option.metavar,
            help=option.explanation,
        )
    last = groups[Subject.OUTPUT]
    last.add_argument("-h", "--help", action="help", help="this text")
    last.add_argument("-V", "--version", action=_Version, nargs=0, help="the version")
    return made


def _nargs(option: Option) -> int | str | None:
    """How many values argparse lets an option have: none, one if wanted, or one."""
    if not option.metavar:
        return 0
    return "?" if option.bare else None
