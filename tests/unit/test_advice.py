"""A hundred mistakes of administrators, each with what is to be written in its place.

What a message advises is accepted when it is written so.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config import advice
from check_portcheck.config.options import OPTIONS
from check_portcheck.config.parser import ConfigFile, parse
from check_portcheck.config.settings import ConfigError, Settings
from check_portcheck.names import names as names_in

NAMES = names_in(
    services="""\
ssh 22/tcp
domain 53/tcp
domain 53/udp
http 80/tcp www
ntp 123/udp
nfs 2049/tcp
""",
    rpc="portmapper 100000 portmap sunrpc rpcbind\nnfs 100003\n",
)
KEYS = {option.key.lower(): option.key for option in OPTIONS if option.key}
EXAMPLES = {option.key: "*:22/tcp" for option in OPTIONS if option.kind} | {
    "PortCheckActive": "yes",
    "SeverityPortCheck": "warn",
    "SeverityPortCheckUnexpected": "warn",
    "SeverityPortCheckMissing": "warn",
    "PortCheckMinPort": "1",
    "PortCheckMaxPort": "1024",
    "PortCheckInterface": "all",
    "PortCheckDevice": "eth0",
    "PortCheckOfficial": "no",
    "PortCheckUDP": "no",
    "PortCheckInterval": "60",
    "PortCheckState": "/var/lib/x",
    "PortCheckMethod": "table",
    "PortCheckConfirm": "0",
    "PortCheckTimeout": "5",
}


def errors(*options: tuple[str, str], lines: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse([ConfigFile("F", f"[PortCheck]\n{lines}")], options, NAMES)
    return list(caught.value.errors)


def read(*options: tuple[str, str], lines: str = "") -> Settings:
    return parse([ConfigFile("F", f"[PortCheck]\n{lines}")], options, NAMES)


def apart(advised: str) -> list[str]:
    """The entries of which each can be written."""
    return re.split(" or | and ", advised)


def whole(entry: str) -> str:
    """An advised item behind an interface, an entry as it is."""
    return entry if ":" in entry.partition("@")[0] else f"*:{entry}"


NO_PLACE = "no interface in front"
NO_FORM = "is not of the form PORT/tcp"
NEITHER = "is no address and no device"
WILDCARD = "is the wildcard"
NO_OWNER = "the owner is not of the form"

ENTRIES = [
    ("22,80,443", NO_PLACE, "*:22/tcp,80/tcp,443/tcp"),
    ("22 80", NO_PLACE, "*:22/tcp,80/tcp"),
    ("22/tcp", NO_PLACE, "*:22/tcp"),
    ("22/TCP6", NO_PLACE, "*:22/tcp"),
    ("tcp/22", NO_PLACE, "*:22/tcp"),
    ("tcp:22", "'tcp' is no address", "*:22/tcp"),
    ("tcp22", NO_PLACE, "*:22/tcp"),
    ("ssh", NO_PLACE, "*:22/tcp"),
    ("ssh/tcp", NO_PLACE, "*:22/tcp"),
    ("domain/udp", NO_PLACE, "*:53/udp"),
    ("ntp", NO_PLACE, "*:123/udp"),
    ("sunrpc", NO_PLACE, "*:sunrpc/tcp"),
    ("0.0.0.0:22/tcp", WILDCARD, "*:22/tcp or 0.0.0.0/0:22/tcp"),
    ("0.0.0.0:22", WILDCARD, "*:22/tcp or 0.0.0.0/0:22/tcp"),
    (":::22/tcp", WILDCARD, "*:22/tcp or ::/0:22/tcp"),
    ("[::]:22/tcp", WILDCARD, "*:22/tcp or ::/0:22/tcp"),
    ("[::]:22,25", WILDCARD, "*:22/tcp,25/tcp or ::/0:22/tcp,25/tcp"),
    ("192.0.2.7,192.0.2.8:22/tcp", NO_PLACE, "192.0.2.7:22/tcp and 192.0.2.8:22/tcp"),
    ("192.0.2.7 192.0.2.8 22/tcp", NO_PLACE, "192.0.2.7:22/tcp and 192.0.2.8:22/tcp"),
    ("192.0.2.7 22/tcp", NO_PLACE, "192.0.2.7:22/tcp"),
    ("eth0 22/tcp 25/tcp", NO_PLACE, "eth0:22/tcp,25/tcp"),
    ("eth0,eth1:22/tcp", NO_PLACE, "eth0:22/tcp and eth1:22/tcp"),
    ("lo,veth* 22", NO_PLACE, "lo:22/tcp and veth*:22/tcp"),
    (
        "127.0.0.1:22/tcp,192.0.2.1:25/tcp,26/tcp",
        "names a second interface",
        "127.0.0.1:22/tcp and 192.0.2.1:25/tcp,26/tcp",
    ),
    ("10.0.0.0/8,192.0.2.7:22/tcp", NO_PLACE, "10.0.0.0/8:22/tcp and 192.0.2.7:22/tcp"),
    ("192.0.2.7:22", NO_FORM, "22/tcp"),
    ("*:ssh", NO_FORM, "22/tcp"),
    ("2001:db8::7:22", NO_FORM, "22/tcp"),
    ("[2001:db8::7]:22", NO_FORM, "22/tcp"),
    ("2001:db8::7.22", NEITHER, "2001:db8::7:22/tcp"),
    ("192.0.2.7.22", NO_PLACE, "192.0.2.7:22/tcp"),
    ("192.0.2.7.22/tcp", NO_PLACE, "192.0.2.7:22/tcp"),
    ("*.22", NO_PLACE, "*:22/tcp"),
    ("T:22,U:53", NEITHER, "*:22/tcp,53/udp"),
    ("22/open/tcp//ssh///", NO_PLACE, "*:22/tcp"),
    ("22/tcp/ssh", NO_PLACE, "*:22/tcp"),
    ("6000:6063/tcp", "'6000' is no address", "*:6000-6063/tcp"),
    ("*:6000:6063/tcp", "'*:6000' is no address", "*:6000-6063/tcp"),
    ("192.0.2.7:6000:6063/tcp", NEITHER, "192.0.2.7:6000-6063/tcp"),
    ('"22/tcp"', NO_PLACE, "*:22/tcp"),
    ('"*:22/tcp"', NEITHER, "*:22/tcp"),
    ("'*:22/tcp,25/tcp'", NEITHER, "*:22/tcp,25/tcp"),
    ('*:"22/tcp"', NO_FORM, "22/tcp"),
    ("*:22/tcp;25/tcp", "is no port", "22/tcp,25/tcp"),
    ("*:22/tcp; 25/tcp", NO_FORM, "22/tcp"),
    ("*:tcp/22", NO_FORM, "22/tcp"),
    ("*:22:tcp", NEITHER, "*:22/tcp"),
    ("*:22tcp", NO_FORM, "22/tcp"),
    ("*:22-tcp", NO_FORM, "22/tcp"),
    ("*:22/tcp4", NO_FORM, "22/tcp"),
    ("*:53/udp6", NO_FORM, "53/udp"),
    ("*:22/tpc", NO_FORM, "22/tcp"),
    ("*:53/upd", NO_FORM, "53/udp"),
    ("*:22/", NO_FORM, "22/tcp"),
    ("*:22/tcp/udp", "is no port", "22/tcp,22/udp"),
    ("*:53/any", NO_FORM, "53/tcp,53/udp"),
    ("*:53/tcp+udp", NO_FORM, "53/tcp,53/udp"),
    ("*:*", NO_FORM, "*/tcp,*/udp"),
    ("*:any/tcp", "is no port", "*/tcp"),
    ("*:all/udp", "is no port", "*/udp"),
    ("*:022/tcp", "like an octal number", "22/tcp"),
    ("*:25-22/tcp", "runs backwards", "22-25/tcp"),
    ("*:1024-/tcp", "is no port", "1024-65535/tcp"),
    ("*:1024..2048/tcp", "is no port", "1024-2048/tcp"),
    ("*:1024\u20132048/tcp", "is no port", "1024-2048/tcp"),
    ("*:6000-6063", NO_FORM, "6000-6063/tcp"),
    ("*:100003/tcp", "is above 65535", "RPC_100003/tcp"),
    ("*:rpc_100003/tcp", "is no port", "RPC_100003/tcp"),
    ("*:RPC100003/tcp", "is no port", "RPC_100003/tcp"),
    ("*:PORTMAP/tcp", "is no port", "portmap/tcp"),
    ("*:http/tcp", "is no RPC program", "80/tcp"),
    ("*:WWW/tcp", "is no port", "80/tcp"),
    ("any:22/tcp", NEITHER, "*:22/tcp"),
    ("all:22/tcp", NEITHER, "*:22/tcp"),
    ("localhost:22/tcp", NEITHER, "127.0.0.1:22/tcp"),
    ("eth?:22/tcp", NEITHER, "eth*:22/tcp"),
    ("eth[0-9]:22/tcp", NEITHER, "eth*:22/tcp"),
    ("eth+:22/tcp", NEITHER, "eth*:22/tcp"),
    ("eth0@if7:22/tcp", NO_PLACE, "eth0:22/tcp"),
    ("192.0.2.*:22/tcp", NEITHER, "192.0.2.0/24:22/tcp"),
    ("10.:22/tcp", NEITHER, "10.0.0.0/8:22/tcp"),
    ("10.0.0.0/255.0.0.0:22/tcp", "is no network", "10.0.0.0/8:22/tcp"),
    ("10.1.0.0/8:22/tcp", "the network is 10.0.0.0/8", "10.0.0.0/8:22/tcp"),
    ("192.0.2.7/24:22/tcp", "the network is 192.0.2.0/24", "192.0.2.7:22/tcp"),
    ("10.0.0.0/08:22/tcp", "like an octal number", "10.0.0.0/8:22/tcp"),
    ("fe80::1:22/tcp", "needs its device", "fe80::1%eth0:22/tcp"),
    ("2001:db8::7%eth0:22/tcp", "has a device", "2001:db8::7:22/tcp"),
    ("[192.0.2.7]:22/tcp", NEITHER, "192.0.2.7:22/tcp"),
    ("80@nginx|apache2", NO_PLACE, "*:80/tcp@nginx,80/tcp@apache2"),
    ("*:80/tcp@nginx|apache2", "several owners", "80/tcp@nginx,80/tcp@apache2"),
    ("*:80@nginx", NO_FORM, "80/tcp@nginx"),
    ("*:80/tcp@nginx.service", "is a unit", "80/tcp@unit:nginx.service"),
    ("*:80/tcp@ssh.socket", "is a unit", "80/tcp@unit:ssh.socket"),
    ("*:80/tcp@unit:nginx", "units that hold sockets end in", "80/tcp@unit:nginx.service"),
    ("*:80/tcp@service:nginx", NO_OWNER, "80/tcp@unit:nginx.service"),
    ("*:80/tcp@systemd:nginx.service", "is a unit", "80/tcp@unit:nginx.service"),
    ("*:80/tcp@User:www-data", NO_OWNER, "80/tcp@user:www-data"),
    ("*:80/tcp@username:www-data", NO_OWNER, "80/tcp@user:www-data"),
    ("*:80/tcp@process:nginx", NO_OWNER, "80/tcp@nginx"),
    ("*:80/tcp@exe:/usr/sbin/nginx", NO_OWNER, "80/tcp@/usr/sbin/nginx"),
    ("*:80/tcp@usr/sbin/nginx", NO_OWNER, "80/tcp@/usr/sbin/nginx"),
    ("*:80/tcp@4711/nginx", NO_OWNER, "80/tcp@nginx"),
    ("*:80/tcp@nginx[4711]", NO_OWNER, "80/tcp@nginx"),
    ("*:80/tcp@nginx:", NO_OWNER, "80/tcp@nginx"),
    ('*:80/tcp@"nginx"', NO_OWNER, "80/tcp@nginx"),
]
"""Entries of lists: what was written, a part of the message, what it advises."""


@pytest.mark.parametrize(("text", "part", "advised"), ENTRIES)
def test_what_is_advised_for_an_entry_is_accepted(text: str, part: str, advised: str) -> None:
    by_option = errors(("--optional", text))
    assert part in by_option[0]
    assert by_option[0].endswith(f": write {advised}")
    in_file = errors(lines=f"PortCheckOptional = {text}")
    assert in_file[0] == by_option[0].replace("--optional", "F:2: PortCheckOptional", 1)
    for entry in apart(advised):
        assert read(("--optional", whole(entry))).rules


@pytest.mark.parametrize(
    ("option", "text", "part", "advised"),
    [
        ("--required", "22", NO_PLACE, "*:22/tcp"),
        ("--required", "*:22-24/tcp", "is no single port", "22/tcp,23/tcp,24/tcp"),
        ("--skip", "22", NO_FORM, "22/tcp"),
        ("--skip", "22/tcp@sshd", "only ports can be skipped", "22/tcp"),
        ("--skip", "nfs/tcp", "only ports can be skipped", "2049/tcp"),
        ("--skip", "0.0.0.0:22/tcp", WILDCARD, "*:22/tcp or 0.0.0.0/0:22/tcp"),
        ("--skip", "9100:tcp", NEITHER, "*:9100/tcp"),
        ("--interface", "*", "is for lists", "all"),
        ("--interface", "any", "is no IP address", "all"),
        ("--interface", "0.0.0.0", WILDCARD, "all"),
        ("--interface", "::", WILDCARD, "all"),
        ("--interface", "localhost", "is no IP address", "127.0.0.1"),
        ("--interface", "192.0.2.7/24", "has host bits set", "192.0.2.7"),
        ("--interface", "!10.1.0.0/8", "has host bits set", "!10.0.0.0/8"),
        ("--interface", "10.0.0.0/255.0.0.0", "is no network", "10.0.0.0/8"),
        ("--interface", "192.0.2.*", "is no IP address", "192.0.2.0/24"),
        ("--interface", "192.0.2.7:22", "is no IP address", "192.0.2.7"),
        ("--interface", "[192.0.2.7]", "is no IP address", "192.0.2.7"),
        ("--interface", "fe80::1", "needs its device", "fe80::1%eth0"),
        ("--interface", "!fe80::1", "needs its device", "!fe80::1%eth0"),
        ("--device", "eth0@if7", "is no device", "eth0"),
        ("--device", "eth0:", "is no device", "eth0"),
        ("--device", "eth?", "is no device", "eth*"),
        ("--device", "!veth+", "is no device", "!veth*"),
        ("--device", '"eth0"', "is no device", "eth0"),
        ("--udp", "enabled", "is neither yes nor no", "yes"),
        ("--udp", "none", "is neither yes nor no", "no"),
        ("--active", '"yes"', "is neither yes nor no", "yes"),
        ("--severity", "high", "is not one of", "crit"),
        ("--severity", "none", "is not one of", "debug"),
        ("--severity", "2", "is not one of", "crit"),
        ("--severity", "emergency", "is not one of", "alert"),
        ("--severity", "ok", "is not one of", "notice"),
        ("--severity-missing", "warnings", "is not one of", "warn"),
        ("--method", "nmap", "is not one of", "probe"),
        ("--method", "ss", "is not one of", "table"),
        ("--method", "all", "is not one of", "full"),
        ("--format", "icinga2", "is not one of", "nagios"),
        ("--format", "check_mk", "is not one of", "checkmk"),
        ("--min-port", "22/tcp", "is no whole number", "22"),
        ("--min-port", "0022", "like an octal number", "22"),
        ("--interval", "5m", "is no whole number", "300"),
        ("--interval", "5 min", "is no whole number", "300"),
        ("--interval", "1h", "is no whole number", "3600"),
        ("--confirm", "5s", "is no number of seconds", "5"),
        ("--confirm", "500ms", "is no number of seconds", "0.5"),
        ("--confirm", "1,5", "is no number of seconds", "1.5"),
        ("--confirm", ".5", "is no number of seconds", "0.5"),
        ("--confirm", "off", "is no number of seconds", "0"),
        ("--timeout", "10 seconds", "is no number of seconds", "10"),
    ],
)
def test_what_is_advised_for_a_value_is_accepted(
    option: str, text: str, part: str, advised: str
) -> None:
    given = errors((option, text))
    assert part in given[0]
    assert given[0].endswith(f": write {advised}")
    for each in apart(advised):
        assert read((option, whole(each) if "/tcp" in each else each))


@pytest.mark.parametrize(
    ("option", "text", "other", "advised"),
    [
        ("--interface", "eth0", "--device", "eth0"),
        ("--interface", "!eth0", "--device", "!eth0"),
        ("--interface", "veth*", "--device", "veth*"),
        ("--device", "192.0.2.7", "--interface", "192.0.2.7"),
        ("--device", "!192.0.2.0/24", "--interface", "!192.0.2.0/24"),
        ("--device", "all", "--interface", "all"),
        ("--device", "*", "--interface", "all"),
        ("--device", "any", "--interface", "all"),
    ],
)
def test_what_belongs_to_another_option_is_accepted_there(
    option: str, text: str, other: str, advised: str
) -> None:
    key = {"--device": "PortCheckDevice", "--interface": "PortCheckInterface"}[other]
    given = errors((option, text))
    assert given[0].endswith(f": write {other} {advised} (in a file: {key} = {advised})")
    assert read((other, advised))
    assert read(lines=f"{key} = {advised}")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--optional", "www.example.org:22/tcp"),
        ("--optional", "8080:80/tcp"),
        ("--optional", "!docker0:22/tcp"),
        ("--optional", "*:22/sctp"),
        ("--optional", "*:70000/tcp"),
        ("--optional", "*:xyzzy/tcp"),
        ("--optional", "*:80/tcp@group:adm"),
        ("--optional", "*:80/tcp@unit:"),
        ("--optional", "*:80/tcp@unit:system.slice"),
        ("--optional", "192.0.2.7"),
        ("--required", "*:*/tcp"),
        ("--required", "*:1-1024/tcp"),
        ("--required", "*:ephemeral/udp"),
        ("--interface", "www.example.org"),
        ("--interface", ","),
        ("--device", "!all"),
        ("--device", "192.0.2.7/24"),
        ("--udp", "perhaps"),
        ("--min-port", "many"),
        ("--timeout", "0"),
        ("--state", "portcheck.json"),
    ],
)
def test_where_nothing_sure_can_be_advised_nothing_is(option: str, text: str) -> None:
    assert not any(": write" in error for error in errors((option, text)))


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ("PortCheckSeverity", "SeverityPortCheck"),
        ("Severity", "SeverityPortCheck"),
        ("PortCheckLogLevel", "SeverityPortCheck"),
        ("SeverityUnexpected", "SeverityPortCheckUnexpected"),
        ("PortCheckSeverityMissing", "SeverityPortCheckMissing"),
        ("PortCheckInterfaces", "PortCheckInterface"),
        ("PortCheckIface", "PortCheckInterface"),
        ("PortCheckAddress", "PortCheckInterface"),
        ("PortCheckIP", "PortCheckInterface"),
        ("PortCheckDevices", "PortCheckDevice"),
        ("PortCheckDev", "PortCheckDevice"),
        ("PortCheckIgnored", "PortCheckIgnore"),
        ("PortCheckExclude", "PortCheckIgnore"),
        ("PortCheckRequire", "PortCheckRequired"),
        ("PortCheckMandatory", "PortCheckRequired"),
        ("PortCheckRequried", "PortCheckRequired"),
        ("PortCheckOptionnal", "PortCheckOptional"),
        ("PortCheckAllowed", "PortCheckOptional"),
        ("PortCheckWhitelist", "PortCheckOptional"),
        ("PortCheckSkipped", "PortCheckSkip"),
        ("PortCheckTimeLimit", "PortCheckTimeout"),
        ("Port_Check_Timeout", "PortCheckTimeout"),
        ("PortCheckPeriod", "PortCheckInterval"),
        ("PortCheckIntervall", "PortCheckInterval"),
        ("PortCheckStateFile", "PortCheckState"),
        ("PortCheckMode", "PortCheckMethod"),
        ("PortCheckRetry", "PortCheckConfirm"),
        ("PortCheckEnabled", "PortCheckActive"),
        ("PortCheckActivate", "PortCheckActive"),
        ("PortCheckHostname", "PortCheckOfficial"),
        ("PortCheckLowestPort", "PortCheckMinPort"),
        ("PortCheckMaximumPort", "PortCheckMaxPort"),
        ("PortCheckUPD", "PortCheckUDP"),
        ("UDP", "PortCheckUDP"),
        ("--udp", "PortCheckUDP"),
        ("PortCheckRequired +", "PortCheckRequired"),
    ],
)
def test_a_wrong_key_is_known_by_its_meaning(wrong: str, key: str) -> None:
    value = EXAMPLES[key]
    assert errors(lines=f"{wrong} = {value}") == [f"F:2: unknown key '{wrong}' ({key}?)"]
    assert read(lines=f"{key} = {value}")


@pytest.mark.parametrize("wrong", ["Daemon", "PortCheckPorts", "xyzzy", "", "PortCheckTCP"])
def test_a_key_that_means_nothing_is_taken_for_none(wrong: str) -> None:
    assert errors(lines=f"{wrong} = 1") == [f"F:2: unknown key '{wrong}'"]


@pytest.mark.parametrize(
    ("line", "advised"),
    [
        ("PortCheckUDP: yes", "PortCheckUDP = yes"),
        ("PortCheckUDP yes", "PortCheckUDP = yes"),
        ("required: *:22/tcp", "PortCheckRequired = *:22/tcp"),
        ("portchecktimeout\t5", "PortCheckTimeout = 5"),
    ],
)
def test_a_line_without_an_equals_sign_is_written_anew(line: str, advised: str) -> None:
    given = errors(lines=line)
    assert given == [f"F:2: {line!r} is not of the form KEY = VALUE: write {advised}"]
    assert read(lines=advised)


@pytest.mark.parametrize("value", ["\0", "\udc80", "no\x1b[2J"])
def test_what_cannot_be_printed_is_no_advice(value: str) -> None:
    line = f"PortCheckUDP: {value}"
    assert errors(lines=line) == [f"F:2: {line!r} is not of the form KEY = VALUE"]


@pytest.mark.parametrize("comment", ["# ssh", "; ssh", "// ssh", "#ssh", "//ssh"])
def test_a_comment_behind_a_value_is_named_as_one(comment: str) -> None:
    problem = f"F:2: PortCheckOptional: {comment!r} is no comment: that needs a line of its own"
    assert errors(lines=f"PortCheckOptional = *:22/tcp {comment}") == [problem]
    assert read(lines=f"{comment}\nPortCheckOptional = *:22/tcp")


def test_every_key_is_known_by_its_own_meaning() -> None:
    assert all(advice.key(key, KEYS) == key for key in KEYS.values())
    assert EXAMPLES.keys() == set(KEYS.values())


def test_a_long_entry_is_not_written_anew_as_a_whole() -> None:
    given = errors(("--optional", ",".join(map(str, range(1, 101)))))
    assert given[:2] == [
        "--optional: no interface in front (* is every scanned one)",
        "--optional: '1' is not of the form PORT/tcp or PORT/udp: write 1/tcp",
    ]
    assert len(given) == 101


@given(st.text(st.sampled_from('127.0:*/tcpud,; @"sh|-[]%!ethRPC_\u00e9')))
def test_whatever_is_advised_is_accepted(text: str) -> None:
    try:
        read(("--optional", text))
    except ConfigError as wrong:
        advised = [error.partition(": write ")[2] for error in wrong.errors]
        for entry in filter(None, (entry for each in advised for entry in apart(each))):
            read(("--ignore", whole(entry)))
