"""Every option with its key: one table for the command line, files, help and what is printed.

Pure. The table of docs/policy.md is held to this one by a test.
"""

from __future__ import annotations

from functools import partial

from check_portcheck.config import interfaces, values
from check_portcheck.config.option import Option, Subject
from check_portcheck.config.settings import Format, Settings
from check_portcheck.model import HIGHEST_PORT, Method
from check_portcheck.policy.rules import Kind


def _list(name: str, key: str, kind: Kind, text: str) -> Option:
    """An option that adds rules to a list of the policy; they are written back by themselves."""
    return Option(
        name=name,
        key=key,
        metavar="LIST",
        help=text,
        subject=Subject.POLICY,
        sets="rules",
        repeatable=True,
        kind=kind,
    )


_port = partial(values.whole, highest=HIGHEST_PORT)

OPTIONS = (
    Option(
        name="--active",
        key="PortCheckActive",
        metavar="BOOL",
        help="no: say that the check is inactive, scan nothing",
        subject=Subject.CONDUCT,
        sets="active",
        read=values.boolean,
        value=lambda settings: settings.active,
    ),
    Option(
        name="--severity",
        key="SeverityPortCheck",
        metavar="LEVEL",
        help="of findings (%(default)s)",
        subject=Subject.STATES,
        sets="severity",
        read=values.level,
        usual=Settings().severities.unexpected,
    ),
    Option(
        name="--severity-unexpected",
        key="SeverityPortCheckUnexpected",
        metavar="LEVEL",
        help="of unexpected services (%(default)s)",
        subject=Subject.STATES,
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
        subject=Subject.STATES,
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
        subject=Subject.PLACES,
        sets="first",
        read=_port,
        value=lambda settings: settings.span.first,
    ),
    Option(
        name="--max-port",
        key="PortCheckMaxPort",
        metavar="N",
        help="last port scanned (%(default)s)",
        subject=Subject.PLACES,
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
        subject=Subject.PLACES,
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
        subject=Subject.PLACES,
        sets="devices",
        read=interfaces.chosen_device,
        value=lambda settings: settings.devices,
        repeatable=True,
    ),
    Option(
        name="--no-official",
        key="PortCheckOfficial",
        help="leave out the host's official name",
        subject=Subject.PLACES,
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
        subject=Subject.PLACES,
        sets="udp",
        read=values.boolean,
        value=lambda settings: settings.udp,
        bare="yes",
    ),
    Option(
        name="--no-udp",
        help="scan TCP only",
        subject=Subject.PLACES,
        sets="udp",
        read=values.boolean,
        bare="no",
    ),
    Option(
        name="--interval",
        key="PortCheckInterval",
        metavar="SECONDS",
        help="age up to which a result in --state is reused (%(default)s)",
        subject=Subject.MEMORY,
        sets="interval",
        read=values.interval,
        value=lambda settings: settings.interval,
    ),
    Option(
        name="--state",
        key="PortCheckState",
        metavar="FILE",
        help="remember results between runs",
        subject=Subject.MEMORY,
        sets="state",
        read=values.absolute_path,
        value=lambda settings: settings.state,
    ),
    Option(
        name="--method",
        key="PortCheckMethod",
        metavar="METHOD",
        help="table, probe or full (%(default)s)",
        subject=Subject.CONDUCT,
        sets="method",
        read=partial(values.member, Method),
        value=lambda settings: settings.method,
    ),
    Option(
        name="--confirm",
        key="PortCheckConfirm",
        metavar="SECONDS",
        help="pause before the second look, 0: none (%(default)s)",
        subject=Subject.CONDUCT,
        sets="confirm",
        read=values.seconds,
        value=lambda settings: settings.confirm,
    ),
    Option(
        name="--timeout",
        key="PortCheckTimeout",
        metavar="SECONDS",
        help="limit of the whole run (%(default)s)",
        subject=Subject.CONDUCT,
        sets="timeout",
        read=values.time_limit,
        value=lambda settings: settings.timeout,
        short="-t",
    ),
    Option(
        name="--format",
        metavar="FORMAT",
        help="nagios, checkmk or json (%(default)s)",
        subject=Subject.OUTPUT,
        sets="format",
        read=partial(values.member, Format),
        value=lambda settings: settings.format,
    ),
    Option(
        name="--print-policy",
        help="print the present state as a policy",
        subject=Subject.OUTPUT,
        sets="print_policy",
        read=values.boolean,
        value=lambda settings: settings.print_policy,
        bare="yes",
    ),
    Option(
        name="--check-config",
        help="print the effective settings, scan nothing",
        subject=Subject.OUTPUT,
        sets="check_config",
        read=values.boolean,
        value=lambda settings: settings.check_config,
        bare="yes",
    ),
    Option(
        name="--verbose",
        help="tell more, up to -vvv",
        subject=Subject.OUTPUT,
        sets="verbosity",
        read=partial(values.whole, highest=9),
        value=lambda settings: settings.verbosity,
        short="-v",
        bare="1",
    ),
)
"""In the order of what is written back, and in that of the help under each heading."""


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
