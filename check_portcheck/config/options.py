"""Every option with its key: one table for the command line, files, help and what is printed.

Pure. README's table is held to this one by a test.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.config import interfaces, values
from check_portcheck.config.settings import Format, Settings
from check_portcheck.model import HIGHEST_PORT, Choice, Method
from check_portcheck.policy.rules import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

Value = bool | float | str | tuple[Choice, ...] | None
"""What a setting can be; None for what is not set."""


def _unwritten(_: Settings) -> None:
    """What is written under other options or keys."""


class Option(NamedTuple):
    """One way to set something: what it is called, how it is read, explained and written back."""

    name: str
    """On the command line."""
    help: str
    """As argparse takes it: ``%(default)s`` shows the default."""
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


def _list(name: str, key: str, kind: Kind, text: str) -> Option:
    """An option that adds rules to a list of the policy; they are written back by themselves."""
    return Option(name, text, "rules", key=key, metavar="LIST", repeatable=True, kind=kind)


_port = partial(values.whole, highest=HIGHEST_PORT)

OPTIONS = (
    Option(
        name="--active",
        key="PortCheckActive",
        metavar="BOOL",
        help="no: say that the check is inactive, scan nothing",
        sets="active",
        read=values.boolean,
        value=lambda settings: settings.active,
    ),
    Option(
        name="--severity",
        key="SeverityPortCheck",
        metavar="LEVEL",
        help="of findings (%(default)s)",
        sets="severity",
        read=values.level,
        usual=Settings().severities.unexpected,
    ),
    Option(
        name="--severity-unexpected",
        key="SeverityPortCheckUnexpected",
        metavar="LEVEL",
        help="of unexpected services (%(default)s)",
        sets="unexpected",
        read=values.level,
        value=lambda settings: settings.severities.unexpected,
        usual="--severity",
    ),
    Option(
        name="--severity-missing",
        key="SeverityPortCheckMissing",
        metavar="LEVEL",
        help="of missing services (%(default)s)",
        sets="missing",
        read=values.level,
        value=lambda settings: settings.severities.missing,
        usual="--severity",
    ),
    Option(
        name="--min-port",
        key="PortCheckMinPort",
        metavar="N",
        help="first port scanned (%(default)s)",
        sets="first",
        read=_port,
        value=lambda settings: settings.span.first,
    ),
    Option(
        name="--max-port",
        key="PortCheckMaxPort",
        metavar="N",
        help="last port scanned (%(default)s)",
        sets="last",
        read=_port,
        value=lambda settings: settings.span.last,
    ),
    _list("--required", "PortCheckRequired", Kind.REQUIRED, "services that must be open"),
    _list("--optional", "PortCheckOptional", Kind.OPTIONAL, "services that may be open"),
    _list("--ignore", "PortCheckIgnore", Kind.IGNORE, "services that are never judged"),
    _list("--skip", "PortCheckSkip", Kind.SKIP, "ports that are neither contacted nor judged"),
    Option(
        name="--interface",
        key="PortCheckInterface",
        metavar="ADDR[,ADDR...]",
        help="addresses and networks to scan, or all; !ADDR is left out",
        sets="interfaces",
        read=interfaces.chosen_address,
        value=lambda settings: settings.interfaces,
        repeatable=True,
    ),
    Option(
        name="--device",
        key="PortCheckDevice",
        metavar="NAME[,NAME...]",
        help="devices to scan, also eth*; !docker0 is left out",
        sets="devices",
        read=interfaces.chosen_device,
        value=lambda settings: settings.devices,
        repeatable=True,
    ),
    Option(
        name="--no-official",
        key="PortCheckOfficial",
        help="leave out the host's official name",
        sets="official",
        read=values.boolean,
        value=lambda settings: settings.official,
        bare="no",
    ),
    Option(
        name="--udp",
        key="PortCheckUDP",
        metavar="BOOL",
        help="scan UDP too (%(default)s)",
        sets="udp",
        read=values.boolean,
        value=lambda settings: settings.udp,
        bare="yes",
    ),
    Option(
        name="--no-udp",
        help="scan TCP only",
        sets="udp",
        read=values.boolean,
        bare="no",
    ),
    Option(
        name="--interval",
        key="PortCheckInterval",
        metavar="SECONDS",
        help="age up to which a result in --state is reused (%(default)s)",
        sets="interval",
        read=values.interval,
        value=lambda settings: settings.interval,
    ),
    Option(
        name="--state",
        key="PortCheckState",
        metavar="FILE",
        help="remember results between runs",
        sets="state",
        read=values.absolute_path,
        value=lambda settings: settings.state,
    ),
    Option(
        name="--method",
        key="PortCheckMethod",
        metavar="METHOD",
        help="table, probe or full (%(default)s)",
        sets="method",
        read=partial(values.member, Method),
        value=lambda settings: settings.method,
    ),
    Option(
        name="--confirm",
        key="PortCheckConfirm",
        metavar="SECONDS",
        help="pause before the second look, 0: none (%(default)s)",
        sets="confirm",
        read=values.seconds,
        value=lambda settings: settings.confirm,
    ),
    Option(
        name="--timeout",
        key="PortCheckTimeout",
        metavar="SECONDS",
        help="limit of the whole run (%(default)s)",
        sets="timeout",
        read=values.time_limit,
        value=lambda settings: settings.timeout,
        short="-t",
    ),
    Option(
        name="--format",
        metavar="FORMAT",
        help="nagios, checkmk or json (%(default)s)",
        sets="format",
        read=partial(values.member, Format),
        value=lambda settings: settings.format,
    ),
    Option(
        name="--print-policy",
        help="print the present state as a policy",
        sets="print_policy",
        read=values.boolean,
        value=lambda settings: settings.print_policy,
        bare="yes",
    ),
    Option(
        name="--check-config",
        help="print the effective settings, scan nothing",
        sets="check_config",
        read=values.boolean,
        value=lambda settings: settings.check_config,
        bare="yes",
    ),
    Option(
        name="--verbose",
        help="tell more, up to -vvv",
        sets="verbosity",
        read=partial(values.whole, highest=9),
        value=lambda settings: settings.verbosity,
        short="-v",
        bare="1",
    ),
)
"""In the order of the help and of what is written back."""


def effective(settings: Settings) -> str:
    """The settings as a file that gives the same ones; what only options set is a comment."""
    lines: list[str] = []
    for option in OPTIONS:
        setter = f"{option.key} =" if option.key else f"# {option.name}"
        lines += [f"{setter} {text}" for text in option.texts(settings)]
    return _file(lines, settings)


def chosen(settings: Settings) -> str:
    """The settings that are not the default, as a file that can stand beside others."""
    lines: list[str] = []
    for option in OPTIONS:
        texts = option.texts(settings)
        if option.key and texts != option.texts(Settings()):
            lines += [f"{option.key} = {text}" for text in texts]
    return _file(lines, settings)


def _file(lines: list[str], settings: Settings) -> str:
    """A file of some lines and of the rules of *settings*."""
    from check_portcheck.config.samhainrc import SECTION

    keys = {option.kind: option.key for option in OPTIONS}
    rules = [f"{keys[rule.kind]} = {rule}" for rule in settings.rules]
    return "\n".join([SECTION, *lines, *rules]) + "\n"
