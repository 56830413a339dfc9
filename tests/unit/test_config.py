from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config.options import effective
from check_portcheck.config.parser import ConfigFile, parse
from check_portcheck.config.settings import ConfigError, Format, Settings
from check_portcheck.model import Choice, Method, PortRange, Severity, Span
from check_portcheck.names import Names
from check_portcheck.names import names as names_in
from check_portcheck.policy.rules import (
    EphemeralPorts,
    InterfacePattern,
    Item,
    Kind,
    OwnerKind,
    OwnerPattern,
    RpcProgram,
    Rule,
)
from check_portcheck.policy.verdict import Severities
from unit.config_samples import TCP, UDP, ports

NO_LEVEL = "is not one of debug, info, notice, warn, mark, err, crit, alert"
NO_PROGRAM = "is no port, and no RPC program of /etc/rpc (RPC_number/tcp names any)"
NO_PLACE = "no interface in front (* is every scanned one)"
NO_BLANK = "leaves out what follows it without a blank: !NAME"

MANUAL = """\
      # Activate (default is on)
      PortCheckActive = yes
      # The severity of reports: debug/info/notice/warn/err/crit/alert
      # (default is crit)
      SeverityPortCheck = crit
      # These are the defaults
      PortCheckMinPort = 0
      PortCheckMaxPort = 65535
      # Services that are required. This example specifies ssl (22/tcp),
      # smtp (25/tcp), http (80/tcp), and portmapper.
      PortCheckRequired =,25/tcp,80/tcp,portmapper/tcp,portmapper/udp
      # Services that are optional. This example specifies
      # mysql (3306/tcp).
      PortCheckOptional =
      # Additional interfaces to scan. This example presumes that
      # the 'official hostname' corresponds to, and
      # that the machine has three more interfaces.
      # (localhost) is not listed, hence not scanned.
      PortCheckInterface =
      PortCheckInterface =
      PortCheckInterface =
      # The interval (in seconds) for port checks (default is 300 sec)
      PortCheckInterval = 300
      # By default, UDP ports are checked as well as TCP ports.
      PortCheckUDP = yes
"""
"""The manual's example as it is printed: the addresses are lost."""

RESTORED = (
    MANUAL.replace("Required =,", "Required = 192.168.1.128:22/tcp,")
    .replace("Optional =\n", "Optional = 192.168.1.128:3306/tcp\n")
    .replace("Interface =\n", "Interface = 192.168.1.129\n", 1)
    .replace("Interface =\n", "Interface = 192.168.1.130\n", 1)
    .replace("Interface =\n", "Interface = 192.168.1.131\n", 1)
)

SAMHAINRC = """\
#####################################################################
# Configuration of a file server
#####################################################################

[Misc]
Daemon = yes
ChecksumTest=check
SetNiceLevel = 19
// DigestAlgo=SHA256
SyslogFacility=LOG_LOCAL2
MessageHeader="%S %T "
@if interface_exists 192.0.2.7
ReportOnlyOnce = False
@else
ReportOnlyOnce = True
@end

[Attributes]
file = /etc/mtab
%SCHEDULE_TWO
!%SCHEDULE_TWO

[ReadOnly]
dir = 99/usr/bin
dir = -1/etc/cups
$Linux:6.*:x86_64
file = /boot/vmlinuz
$end
@fileserver
  @if not command_succeeds /bin/true
  dir = 2/srv/[a-z]*
  @fi
@end

[EventSeverity]
SeverityReadOnly=crit
SeverityPortcheckers=warn

[PortCheck]
SeverityPortCheck=warn
PORTCHECKREQUIRED = 192.0.2.7:22/tcp
; the mail server
PortCheckRequired = 192.0.2.7:25/tcp, 587/tcp\t993/tcp
PortCheckOptional=2001:db8::7:22/tcp
PortCheckSkip = 3306/tcp

[Utmp]
LoginCheckActive = True

[portcheck]
PortCheckDevice = eth0, eth1
PortCheckUDP = off

[EOF]
PortCheckUDP = on
[PortCheck
"""


@pytest.fixture(scope="module")
def names() -> Names:
    return names_in(services="ssh 22/tcp\n", rpc="ypserv 100004 ypprog\n")


def section(*lines: str) -> ConfigFile:
    """A file F whose line 2 is the first of *lines*."""
    return ConfigFile("F", "\n".join(("[PortCheck]", *lines)))


def errors(
    names: Names, *files: ConfigFile, options: tuple[tuple[str, str], ...] = ()
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(files, options, names)
    assert str(caught.value) == "\n".join(caught.value.errors)
    return list(caught.value.errors)


def listed(settings: Settings) -> list[str]:
    return [f"{rule.source} {rule.kind} {rule}" for rule in settings.rules]


def test_nothing_set_gives_the_defaults(names: Names) -> None:
    assert parse([], [], names) == Settings()
    assert parse([section()], [], names) == Settings()


def test_the_manuals_example_is_read_as_meant(names: Names) -> None:
    settings = parse([ConfigFile("manual", f"[PortCheck]\n{RESTORED}")], [], names)
    where = InterfacePattern("192.168.1.128")
    single: list[Item] = [ports(text) for text in ("22/tcp", "25/tcp", "80/tcp")]
    programs: list[Item] = [RpcProgram(each, 100000, "portmapper") for each in (TCP, UDP)]
    assert settings == Settings(
        rules=(
            *(Rule(Kind.REQUIRED, where, item, None, "manual:12") for item in single + programs),
            Rule(Kind.OPTIONAL, where, ports("3306/tcp"), None, "manual:15"),
        ),
        interfaces=tuple(
            Choice(f"192.168.1.{host}", f"manual:{line}")
            for host, line in ((129, 20), (130, 21), (131, 22))
        ),
    )


LOST = [
    (
        11,
        f"PortCheckRequired: {NO_PLACE}: write *:25/tcp,80/tcp,portmapper/tcp,portmapper/udp",
    ),
    (14, "PortCheckOptional has no value"),
    (19, "PortCheckInterface has no value"),
    (20, "PortCheckInterface has no value"),
    (21, "PortCheckInterface has no value"),
]


def test_the_manuals_example_as_printed_has_lost_its_addresses(names: Names) -> None:
    found = errors(names, ConfigFile("manual", f"[PortCheck]\n{MANUAL}"))
    assert found == [f"manual:{line + 1}: {error}" for line, error in LOST]


def test_the_manuals_example_as_printed_lacks_its_section_too(names: Names) -> None:
    assert errors(names, ConfigFile("manual", MANUAL)) == [
        "manual:2: no [PortCheck] section: that heading must precede PortCheckActive",
        *(f"manual:{line}: {error}" for line, error in LOST),
    ]


def test_existing_samhainrc_is_read(names: Names) -> None:
    settings = parse([ConfigFile("rc", SAMHAINRC)], [], names)
    assert listed(settings) == [
        "rc:41 required 192.0.2.7:22/tcp",
        "rc:43 required 192.0.2.7:25/tcp",
        "rc:43 required 192.0.2.7:587/tcp",
        "rc:43 required 192.0.2.7:993/tcp",
        "rc:44 optional [2001:db8::7]:22/tcp",
        "rc:45 skip *:3306/tcp",
    ]
    assert settings._replace(rules=()) == Settings(
        severities=Severities(Severity.WARN, Severity.WARN),
        devices=(Choice("eth0", "rc:51"), Choice("eth1", "rc:51")),
        udp=False,
    )


SINGLE = [
    ("PortCheckActive", "--active", "no", {"active": False}),
    (
        "SeverityPortCheck",
        "--severity",
        "info",
        {"severities": Severities(Severity.INFO, Severity.INFO)},
    ),
    (
        "SeverityPortCheckUnexpected",
        "--severity-unexpected",
        "war",
        {"severities": Severities(unexpected=Severity.WARN)},
    ),
    (
        "SeverityPortCheckMissing",
        "--severity-missing",
        "Alert",
        {"severities": Severities(missing=Severity.ALERT)},
    ),
    ("PortCheckMinPort", "--min-port", "1024", {"span": Span(1024, 65535)}),
    ("PortCheckMaxPort", "--max-port", "1023", {"span": Span(0, 1023)}),
    ("PortCheckUDP", "--udp", "off", {"udp": False}),
    ("PortCheckInterval", "--interval", "60", {"interval": 60}),
    ("PortCheckState", "--state", "/var/lib/x y.json", {"state": "/var/lib/x y.json"}),
    ("PortCheckMethod", "--method", "probe", {"method": Method.PROBE}),
    ("PortCheckConfirm", "--confirm", "0", {"confirm": 0.0}),
    ("PortCheckTimeout", "--timeout", "2.5", {"timeout": 2.5}),
]


@pytest.mark.parametrize(("key", "option", "text", "changed"), SINGLE)
def test_key_and_option_set_the_same(
    names: Names, key: str, option: str, text: str, changed: dict[str, Any]
) -> None:
    expected = Settings(**changed)
    assert parse([section(f"{key} = {text}")], [], names) == expected
    assert parse([section(f"\t{key.upper()}={text} ")], [], names) == expected
    assert parse([], [(option, f" {text} ")], names) == expected


@pytest.mark.parametrize(
    ("option", "text", "changed"),
    [
        ("--no-udp", "no", {"udp": False}),
        ("--no-official", "no", {"official": False}),
        ("--format", "checkmk", {"format": Format.CHECKMK}),
        ("--print-policy", "yes", {"print_policy": True}),
        ("--check-config", "yes", {"check_config": True}),
        ("--verbose", "2", {"verbosity": 2}),
    ],
)
def test_option_without_key_is_read(
    names: Names, option: str, text: str, changed: dict[str, Any]
) -> None:
    assert parse([], [(option, text)], names) == Settings(**changed)


def test_official_name_can_be_left_out_by_a_file(names: Names) -> None:
    assert not parse([section("PortCheckOfficial = no")], [], names).official


@pytest.mark.parametrize("blank", ["", " ", "\t", "\n"])
def test_empty_option_means_nothing(names: Names, blank: str) -> None:
    options = [("--required", blank), ("--severity", blank), ("--interface", blank)]
    assert parse([], options, names) == Settings()


def test_lists_add_up_over_lines_files_and_options(names: Names) -> None:
    files = [
        section("PortCheckRequired = eth0:22/tcp", "PortCheckRequired = eth0:25/tcp"),
        ConfigFile("G", "[PortCheck]\nPortCheckRequired = eth0:80/tcp\nPortCheckInterface = all"),
    ]
    options = [
        ("--required", "eth0:443/tcp"),
        ("--required", "eth0:993/tcp"),
        ("--interface", "::1 127.0.0.1"),
        ("--device", "eth0"),
    ]
    settings = parse(files, options, names)
    assert listed(settings) == [
        "F:2 required eth0:22/tcp",
        "F:3 required eth0:25/tcp",
        "G:2 required eth0:80/tcp",
        "--required required eth0:443/tcp",
        "--required required eth0:993/tcp",
    ]
    local = [Choice(name, "--interface") for name in ("::1", "127.0.0.1")]
    assert settings.interfaces == (Choice("all", "G:3"), *local)
    assert settings.devices == (Choice("eth0", "--device"),)


def test_what_is_chosen_and_left_out_is_the_same_in_files_and_options(names: Names) -> None:
    addresses, devices = "all,192.0.2.7 198.51.100.0/24\t!::1, !10.0.0.0/8", "eth* !eth1,!veth*"
    file = section(f"PortCheckInterface = {addresses}", f"PortCheckDevice = {devices}")
    by_option = parse([], [("--interface", addresses), ("--device", devices)], names)
    assert [each.name for each in by_option.interfaces] == [
        *("all", "192.0.2.7", "198.51.100.0/24", "!::1", "!10.0.0.0/8")
    ]
    assert [each.name for each in by_option.devices] == ["eth*", "!eth1", "!veth*"]
    assert without_sources(parse([file], [], names)) == without_sources(by_option)


def test_later_files_and_then_options_override_single_values(names: Names) -> None:
    files = [
        section("PortCheckMinPort = 1", "PortCheckMaxPort = 2", "PortCheckConfirm = 3"),
        ConfigFile("G", "[PortCheck]\nPortCheckMaxPort = 20\nPortCheckConfirm = 30"),
    ]
    settings = parse(files, [("--confirm", "200"), ("--confirm", "300")], names)
    assert (settings.span, settings.confirm) == (Span(1, 20), 300.0)


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (("SeverityPortCheck = info", "SeverityPortCheckMissing = alert"), ()),
        (("SeverityPortCheckMissing = alert", "SeverityPortCheck = info"), ()),
        (("SeverityPortCheckMissing = alert",), (("--severity", "info"),)),
        (("SeverityPortCheck = info",), (("--severity-missing", "alert"),)),
        ((), (("--severity-missing", "alert"), ("--severity", "info"))),
    ],
)
def test_particular_severity_holds_whatever_the_order(
    names: Names, lines: tuple[str, ...], options: tuple[tuple[str, str], ...]
) -> None:
    settings = parse([section(*lines)], options, names)
    assert settings.severities == Severities(unexpected=Severity.INFO, missing=Severity.ALERT)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param(["PortCheckUDP ="], ["F:2: PortCheckUDP has no value"], id="empty"),
        pytest.param(
            ["PortCheckUDP = perhaps"],
            ["F:2: PortCheckUDP: 'perhaps' is neither yes nor no"],
            id="boolean",
        ),
        pytest.param(
            ["SeverityPortCheck = none"],
            [
                f"F:2: SeverityPortCheck: 'none' {NO_LEVEL}: write debug",
            ],
            id="severity",
        ),
        pytest.param(
            ["PortCheckMinPort = 022"],
            ["F:2: PortCheckMinPort: '022' begins with 0 like an octal number: write 22"],
            id="octal",
        ),
        pytest.param(
            ["PortCheckMaxPort = 40020x"],
            ["F:2: PortCheckMaxPort: '40020x' is no whole number"],
            id="garbage-behind-a-number",
        ),
        pytest.param(
            ["PortCheckInterval = 0"], ["F:2: PortCheckInterval: '0' is no interval"], id="interval"
        ),
        pytest.param(
            ["PortCheckState = x.json"],
            ["F:2: PortCheckState: 'x.json' is no absolute path"],
            id="relative-path",
        ),
        pytest.param(
            ["PortCheckMethod = nmap"],
            ["F:2: PortCheckMethod: 'nmap' is not one of table, probe, full: write probe"],
            id="method",
        ),
        pytest.param(
            ["PortCheckInterface = 192.0.2.7, host.example ::1"],
            ["F:2: PortCheckInterface: 'host.example' is no IP address"],
            id="address",
        ),
        pytest.param(
            ["PortCheckInterface = ,"],
            ["F:2: PortCheckInterface: '' is no IP address"],
            id="separators-only",
        ),
        pytest.param(
            ["PortCheckDevice = eth0/1"],
            ["F:2: PortCheckDevice: 'eth0/1' is no device"],
            id="device",
        ),
        pytest.param(
            ["PortCheckUDP = yes", "PortCheckUDP = yes"],
            ["F:3: PortCheckUDP is set already by F:2"],
            id="repeated",
        ),
        pytest.param(
            ["PortCheckUDP = yes # both", "PortCheckOptional = *:x,22/tcp #, 23/tcp"],
            [
                "F:2: PortCheckUDP: '# both' is no comment: that needs a line of its own",
                "F:3: PortCheckOptional: 'x' is not of the form PORT/tcp or PORT/udp",
                "F:3: PortCheckOptional: '#, 23/tcp' is no comment: that needs a line of its own",
            ],
            id="comment-behind-a-value",
        ),
        pytest.param(
            ["PortCheckOptional = # none"],
            ["F:2: PortCheckOptional: '# none' is no comment: that needs a line of its own"],
            id="comment-in-place-of-a-value",
        ),
        pytest.param(
            ["PortCheckOptional = *:22/tcp#ssh"],
            ["F:2: PortCheckOptional: '22/tcp#ssh' is not of the form PORT/tcp or PORT/udp"],
            id="hash-in-an-item",
        ),
        *(
            pytest.param(
                [f"PortCheckOptional = *:22/tcp{character}@sshd"],
                [f"F:2: PortCheckOptional: the character {shown} cannot stand here"],
                id=f"character-{shown}",
            )
            for character, shown in [
                ("\0", r"'\x00'"),
                ("\x1b", r"'\x1b'"),
                ("\r", r"'\r'"),
                ("\x85", r"'\x85'"),
                ("\xa0", r"'\xa0'"),
                ("\u2028", r"'\u2028'"),
                ("\u202e", r"'\u202e'"),
                ("\udcff", r"'\udcff'"),
            ]
        ),
        pytest.param(
            ["PortCheckMaxPort = 100", "PortCheckMinPort = 200"],
            ["F:2: the highest port, 100, is below the lowest, 200 by F:3"],
            id="range-turned-round",
        ),
        pytest.param(
            ["PortCheckRequired = *:22/tcp,portmapper/udp", "PortCheckUDP = no"],
            ["F:2: required portmapper/udp on * cannot be seen: UDP is off by F:3"],
            id="required-udp-without-udp",
        ),
        pytest.param(
            ["PortCheckMaxPort = 1023", "PortCheckMinPort = 23", "PortCheckRequired = *:22/tcp"],
            ["F:4: required 22/tcp on * is below the lowest port, 23 by F:3"],
            id="required-outside-the-range",
        ),
        pytest.param(
            ["PortCheckRequired = 192.0.2.7:22/tcp", "", "PortCheckSkip = 1-1023/tcp"],
            ["F:2: required 22/tcp on 192.0.2.7 is skipped by F:4"],
            id="required-and-skipped",
        ),
        pytest.param(
            ["PortCheckRequired = ::1:22/tcp", "PortCheckOptional = [0::1]:25/tcp,22/tcp"],
            ["F:3: optional 22/tcp on [::1] is listed already, as required, by F:2"],
            id="in-two-lists",
        ),
    ],
)
def test_wrong_line_is_refused(names: Names, lines: list[str], found: list[str]) -> None:
    assert errors(names, section(*lines)) == found


@pytest.mark.parametrize(
    ("option", "text", "found"),
    [
        ("--udp", "perhaps", "--udp: 'perhaps' is neither yes nor no"),
        ("--timeout", "0", "--timeout: '0' leaves no time at all"),
        ("--format", "xml", "--format: 'xml' is not one of nagios, checkmk, json"),
        ("--verbose", "many", "--verbose: 'many' is no whole number"),
        ("--skip", "22", "--skip: '22' is not of the form PORT/tcp or PORT/udp: write 22/tcp"),
        ("--interface", "all ! 192.0.2.7", f"--interface: '!' {NO_BLANK}"),
        ("--device", "eth* ! eth1", f"--device: '!' {NO_BLANK}"),
        ("--required", "22/tcp", f"--required: {NO_PLACE}: write *:22/tcp"),
        ("--required", "*:22/tcp\n", r"--required: the character '\n' cannot stand here"),
        ("--optional", ",", "--optional: no port"),
        ("--timeout", "86401", "--timeout: '86401' is longer than a day"),
        ("--verbose", "10", "--verbose: '10' is above 9"),
        ("--interface", " ,", "--interface: '' is no IP address"),
        (
            "--required",
            "*:RCP_100003/tcp",
            f"--required: 'RCP_100003/tcp' {NO_PROGRAM}: write RPC_100003/tcp",
        ),
        (
            "--optional",
            "*:22/tcp\t25/tcp\x1b\0",
            r"--optional: the character '\x1b' cannot stand here",
        ),
        *(
            ("--optional", text, "--optional: '# none' is no comment: that needs a line of its own")
            for text in ("# none", " # none", "  # none", "\t\t# none", ",# none")
        ),
        ("--udp", "# x # y", "--udp: '# x # y' is no comment: that needs a line of its own"),
    ],
)
def test_wrong_option_is_refused(names: Names, option: str, text: str, found: str) -> None:
    assert errors(names, options=((option, text),)) == [found]


def test_range_may_be_one_port(names: Names) -> None:
    file = section("PortCheckMinPort = 22", "PortCheckMaxPort = 22", "PortCheckOptional = *:1/tcp")
    assert parse([file], [("--required", "*:22/tcp")], names).span == Span(22, 22)


def test_range_turned_round_hides_no_other_error(names: Names) -> None:
    file = section(
        "PortCheckMinPort = 25",
        "PortCheckMaxPort = 24",
        "PortCheckRequired = *:1/tcp,65535/tcp,53/udp",
        "PortCheckSkip = 65535/tcp",
        "PortCheckUDP = no",
    )
    assert errors(names, file) == [
        "F:3: the highest port, 24, is below the lowest, 25 by F:2",
        "F:4: required 65535/tcp on * is skipped by F:5",
        "F:4: required 53/udp on * cannot be seen: UDP is off by F:6",
    ]


def test_errors_after_a_good_required_rule_are_found(names: Names) -> None:
    file = section(
        "PortCheckRequired = *:22/tcp",
        "PortCheckRequired = *:x/tcp",
        "PortCheckRequired = *:25/tcp,53/udp,80/tcp",
        "PortCheckMaxPort = 79",
    )
    options = (("--required", "*:y/tcp"), ("--no-udp", "no"))
    assert errors(names, file, options=options) == [
        f"F:3: PortCheckRequired: 'x/tcp' {NO_PROGRAM}",
        f"--required: 'y/tcp' {NO_PROGRAM}",
        "F:4: required 53/udp on * cannot be seen: UDP is off by --no-udp",
        "F:4: required 80/tcp on * is above the highest port, 79 by F:5",
    ]


def test_good_tokens_beside_a_bad_one_are_no_reason_to_say_less(names: Names) -> None:
    file = section("PortCheckInterface = ::1 x.y :: 127.0.0.1", "PortCheckDevice = eth0 all")
    assert errors(names, file) == [
        "F:2: PortCheckInterface: 'x.y' is no IP address",
        "F:2: PortCheckInterface: '::' is the wildcard, the address of no interface: write all",
        (
            "F:3: PortCheckDevice: 'all' is no device: "
            "write --interface all (in a file: PortCheckInterface = all)"
        ),
    ]


def test_key_set_again_is_named_by_the_line_that_set_it_first(names: Names) -> None:
    first = section(
        "PortCheckUDP = yes", "portcheckudp = no", "PortCheckUDP =", "PortCheckUDP = x", ""
    )
    again = ConfigFile("G", "[PortCheck]\nPortCheckUDP = yes\nPortCheckSkip = 1/tcp")
    assert errors(names, first, again) == [
        "F:3: PortCheckUDP is set already by F:2",
        "F:4: PortCheckUDP has no value",
        "F:5: PortCheckUDP is set already by F:2",
        "F:5: PortCheckUDP: 'x' is neither yes nor no",
    ]


def test_contradictions_between_files_and_options_name_both(names: Names) -> None:
    files = section("PortCheckRequired = *:22/tcp,25/tcp", "PortCheckMaxPort = 100")
    options = (("--skip", "22/tcp"), ("--min-port", "200"), ("--optional", "*:25/tcp"))
    assert errors(names, files, options=options) == [
        "F:3: the highest port, 100, is below the lowest, 200 by --min-port",
        "--optional: optional 25/tcp on * is listed already, as required, by F:2",
        "F:2: required 22/tcp on * is skipped by --skip",
    ]


def test_every_error_of_every_file_and_option_is_reported(names: Names) -> None:
    first = ConfigFile(
        "F",
        "PortCheckActive = nope\n[Misc]\nPortCheckUDP = no\n[PortCheck]\nPortCheckUDP = x\njunk\n"
        "PortCheckSkip = 1/tcp,y/tcp,2/tcp,z\nPortChekSkip = 1/tcp\n@if file_exists /x\n"
        "PortCheckSkip = $(date)\n@end\nPortCheckRequired = 22/tcp, ssh/tcp\n"
        "PortCheckRequired = eth0:2/tcp\nPortCheckSkip = eth0:2/tcp\n",
    )
    assert errors(names, first, ConfigFile("G", ""), options=(("--severity", "no"),)) == [
        "F:1: PortCheckActive stands outside the section [PortCheck]",
        "F:1: PortCheckActive: 'nope' is neither yes nor no",
        "F:3: PortCheckUDP stands outside the section [PortCheck]",
        "F:5: PortCheckUDP is set already by F:3",
        "F:5: PortCheckUDP: 'x' is neither yes nor no",
        "F:6: 'junk' is not of the form KEY = VALUE",
        f"F:7: PortCheckSkip: 'y/tcp' {NO_PROGRAM}",
        "F:7: PortCheckSkip: 'z' is not of the form PORT/tcp or PORT/udp",
        "F:8: unknown key 'PortChekSkip' (PortCheckSkip?)",
        "F:9: conditional blocks cannot stand in [PortCheck]",
        "F:10: PortCheckSkip: commands, $(...), are not executed",
        f"F:12: PortCheckRequired: {NO_PLACE}: write *:22/tcp",
        "G:1: no [PortCheck] section",
        f"--severity: 'no' {NO_LEVEL}",
        "F:13: required 2/tcp on eth0 is skipped by F:14",
    ]


def test_line_of_any_length_is_read_to_the_end(names: Names) -> None:
    items = ",".join(f"{number}/tcp" for number in range(1, 65536))
    settings = parse([section(f"PortCheckRequired = 192.0.2.7:{items}")], [], names)
    assert [rule.item for rule in settings.rules] == [
        PortRange(TCP, Span(number, number)) for number in range(1, 65536)
    ]


def test_effective_settings_are_shown_as_a_file(names: Names) -> None:
    file = section(
        "SeverityPortCheck = warning",
        "PortCheckRequired = fe80:0::1%eth0:22/TCP@/usr/sbin/sshd 25/tcp",
        "PortCheckSkip = *:*/udp",
    )
    settings = parse([file], [("--device", "eth0"), ("--no-official", "no")], names)
    assert effective(settings) == (
        "[PortCheck]\n"
        "PortCheckActive = yes\n"
        "SeverityPortCheckUnexpected = warn\n"
        "SeverityPortCheckMissing = warn\n"
        "PortCheckMinPort = 0\n"
        "PortCheckMaxPort = 65535\n"
        "PortCheckDevice = eth0\n"
        "PortCheckOfficial = no\n"
        "PortCheckUDP = yes\n"
        "PortCheckInterval = 300\n"
        "PortCheckMethod = full\n"
        "PortCheckConfirm = 1\n"
        "PortCheckTimeout = 10\n"
        "# --format nagios\n"
        "# --print-policy no\n"
        "# --check-config no\n"
        "# --verbose 0\n"
        "PortCheckRequired = [fe80::1%eth0]:22/tcp@/usr/sbin/sshd\n"
        "PortCheckRequired = [fe80::1%eth0]:25/tcp\n"
        "PortCheckSkip = *:0-65535/udp\n"
    )


def test_what_only_options_set_is_shown_as_a_comment(names: Names) -> None:
    options = [
        ("--timeout", "2.50"),
        ("--format", "JSON"),
        ("--print-policy", "yes"),
        ("--check-config", "yes"),
        ("--verbose", "2"),
        ("--confirm", "0.000001"),
        ("--state", "/var/lib/x"),
        ("--interface", "all,::1"),
    ]
    shown = effective(parse([], options, names)).splitlines()
    assert shown[6:9] == [
        "PortCheckInterface = all",
        "PortCheckInterface = ::1",
        "PortCheckOfficial = yes",
    ]
    assert shown[11:] == [
        "PortCheckState = /var/lib/x",
        "PortCheckMethod = full",
        "PortCheckConfirm = 0.000001",
        "PortCheckTimeout = 2.5",
        "# --format json",
        "# --print-policy yes",
        "# --check-config yes",
        "# --verbose 2",
    ]


def without_sources(settings: Settings) -> Settings:
    return settings._replace(
        rules=tuple(rule._replace(source="") for rule in settings.rules),
        interfaces=tuple(Choice(each.name, "") for each in settings.interfaces),
        devices=tuple(Choice(each.name, "") for each in settings.devices),
    )


severities = st.sampled_from(Severity)
patterns = [
    *map(
        InterfacePattern,
        ("*", "192.0.2.7", "::1", "fe80::1%eth0", "eth0", "eth0:1", "eth0.100", "veth*"),
    ),
    InterfacePattern("10.0.0.0/8", ip_network("10.0.0.0/8")),
    InterfacePattern("2001:db8::/32", ip_network("2001:db8::/32")),
]
owners = st.none() | st.sampled_from(
    [
        OwnerPattern(OwnerKind.NAME, "sshd"),
        OwnerPattern(OwnerKind.EXECUTABLE, "/opt/a:b"),
        OwnerPattern(OwnerKind.USER, "www-data"),
        OwnerPattern(OwnerKind.UNIT, "pg@15.service"),
    ]
)
single = st.integers(100, 60000).map(lambda number: PortRange(TCP, Span(number, number)))
high = st.integers(60001, 65535).map(lambda number: PortRange(UDP, Span(number, 65535)))
others = st.sampled_from(
    [
        EphemeralPorts(UDP),
        ports("0-65535/tcp"),
        RpcProgram(TCP, 100004, "ypserv"),
        RpcProgram(UDP, 400075, "RPC_400075"),
    ]
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    where = draw(st.sampled_from(patterns))
    kind = draw(st.sampled_from(Kind))
    if kind is Kind.SKIP:
        return Rule(kind, where, draw(high), None, "")
    items: st.SearchStrategy[Item] = st.one_of(single, high, others)
    return Rule(kind, where, draw(single if kind is Kind.REQUIRED else items), draw(owners), "")


def choices(*names: str) -> st.SearchStrategy[tuple[Choice, ...]]:
    return st.lists(st.sampled_from(names).map(lambda name: Choice(name, ""))).map(tuple)


all_settings = st.builds(
    Settings,
    active=st.booleans(),
    severities=st.builds(Severities, unexpected=severities, missing=severities),
    span=st.builds(Span, first=st.integers(0, 100), last=st.integers(60000, 65535)),
    rules=st.lists(
        rules(), unique_by=lambda rule: (rule.kind is Kind.SKIP, rule.where.text, rule.item)
    ).map(tuple),
    interfaces=choices("all", "::1", "!fe80::1%eth0", "10.0.0.0/8"),
    devices=choices("eth0", "eth0:1", "!veth*"),
    official=st.booleans(),
    udp=st.booleans(),
    interval=st.integers(1, 10**9 - 1),
    state=st.none() | st.just("/var/lib/a b.json"),
    method=st.sampled_from(Method),
    confirm=st.integers(0, 10**15 - 1).map(lambda microseconds: microseconds / 10**6),
    timeout=st.integers(1, 86400 * 10**6).map(lambda microseconds: microseconds / 10**6),
)


@given(all_settings)
def test_effective_settings_parsed_again_are_the_same(names: Names, settings: Settings) -> None:
    again = parse([ConfigFile("F", effective(settings))], [], names)
    assert without_sources(again) == settings


fragments = st.sampled_from(
    [
        *"[]=:/@*#,;. \t\r\n\0\ufeff-0129",
        "[PortCheck]",
        "PortCheckRequired = *:",
        "PortCheckUDP=",
        "PortCheckMinPort=",
        "PortCheckSkip=",
        "PortCheckInterface",
        "\n",
        "22/tcp",
        "53/udp",
        "no",
        "eth0",
        "::1",
        "10.0.0.0/8",
        "@if",
        "@end",
        "$(",
        "[EOF]",
        "\udc80",
    ]
)
texts = st.lists(fragments, max_size=40).map("".join)
SOURCE = re.compile(r"(F:[0-9]+|--[a-z-]+): \S.*")


@given(
    st.lists(st.one_of(texts, texts.map("[PortCheck]\n{}".format)), max_size=2),
    st.lists(st.tuples(st.sampled_from(["--required", "--skip", "--max-port", "--udp"]), texts)),
)
def test_any_text_gives_settings_or_errors_with_their_sources(
    names: Names, files: list[str], options: list[tuple[str, str]]
) -> None:
    try:
        settings = parse([ConfigFile("F", text) for text in files], options, names)
    except ConfigError as error:
        found = error.errors
    else:
        found = ()
        again = parse([ConfigFile("F", effective(settings))], [], names)
        assert without_sources(again) == without_sources(settings)
    assert all(SOURCE.fullmatch(line) and line.isprintable() for line in found)


def test_a_state_file_counts_only_where_the_file_may_name_one() -> None:
    text = "[PortCheck]\nPortCheckState = /state\nPortCheckInterval = 7\n"
    for may, state, notes in (
        (True, "/state", ()),
        (
            False,
            None,
            ("F:2: PortCheckState counts only in a file of root's; --state names it as well",),
        ),
    ):
        settings = parse([ConfigFile("F", text, may_name_state=may)], [], names_in("", ""))
        assert (settings.state, settings.notes, settings.interval) == (state, notes, 7)
