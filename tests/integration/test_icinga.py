from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from daemons import STATES, Icinga, policy, seen_by_icinga
from machine import POLICY, SHIPPED, machine, stand_alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Program

pytestmark = pytest.mark.daemons

NAME = "web1.example.org"
SERVICE = f"{NAME}!portcheck"
SUDOERS = "/etc/sudoers.d/check_portcheck"
COMMON = "/etc/portcheck/common.conf"
HOSTILE = "*:`id`/tcp $(id) ;'<&\\"

EVERY_OPTION = [
    ("config", [COMMON, POLICY], None),
    ("active", False, ["--active", "false"]),
    ("interface", ["192.0.2.10", "2001:db8::10"], None),
    ("device", ["eth0", "lo"], None),
    ("no_official", True, ["--no-official"]),
    ("required", ["*:22/tcp", HOSTILE], None),
    ("optional", ["[2001:db8::10]:53/tcp,53/udp", "192.0.2.0/24:53/tcp"], None),
    ("ignore", ["*:7/tcp", "*:7/udp"], None),
    ("skip", ["9100/tcp", "*:9101/tcp"], None),
    ("min_port", 1, None),
    ("max_port", 1024, None),
    ("udp", True, ["--udp", "true"]),
    ("no_udp", True, ["--no-udp"]),
    ("method", "table", None),
    ("confirm", 0.5, ["--confirm", "0.500000"]),
    ("timeout", 20, None),
    ("severity", "crit", None),
    ("severity_unexpected", "warn", None),
    ("severity_missing", "err", None),
    ("state", "/var/lib/nagios/portcheck.json", None),
    ("interval", 60, None),
    ("format", "nagios", None),
    ("print_policy", True, ["--print-policy"]),
    ("check_config", True, ["--check-config"]),
    ("verbose", 3, ["-vvv"]),
]
"""Variable, value, and the arguments where they are not just the option before each value."""

NOTHING = {
    "config": [POLICY],
    "device": [],
    "max_port": "",
    "no_udp": False,
    "required": "",
    "severity": None,
    "verbose": 0,
}
"""What forms and templates leave behind where nothing is meant."""


def service(name: str, variables: dict[str, object], command: str = "portcheck") -> str:
    """A service of the host in Icinga's language, in which ``$$`` stands for a dollar sign."""
    values = [
        f"    vars.portcheck_{variable} = {json.dumps(value).replace('$', '$$')}\n"
        for variable, value in variables.items()
    ]
    head = f'    import "portcheck"\n    check_command = "{command}"\n    host_name = NodeName\n'
    return f'object Service "{name}" {{\n{head}{"".join(values)}}}\n'


SERVICES = (
    service("every-option", {variable: value for variable, value, _ in EVERY_OPTION})
    + service("nothing", NOTHING)
    + service("fleet", {"config": [COMMON, POLICY]})
    + service("verbose-1", {"check_config": True, "verbose": 1})
    + service("verbose-2", {"check_config": True, "verbose": 2})
    + service("sudo", {"required": ["*:1/tcp"]}, "portcheck-sudo")
)

FOREIGN = {
    0: "PortCheckOptional = *:*/tcp",
    1: "SeverityPortCheck = warn",
    2: "PortCheckRequired = *:25/tcp",
    3: "PortCheckOptional = *:*/tcp\nPortCheckRequired = 198.51.100.99:25/tcp",
}
"""For each state what root must be told."""

NAMED = r"""
import ctypes, os, socket, time
ctypes.CDLL(None).prctl(15, b"' |x=1;\n\xe9\x1b")
listener = socket.create_server(("", 8081))
print(os.getpid(), flush=True)
time.sleep(86400)
"""
"""A daemon whose name could end the text for Icinga; so could the name of the device."""


@pytest.fixture(name="icinga", scope="module")
def icinga_fixture(program: Program) -> Iterator[Icinga]:
    """Icinga on a host with the files where icinga/README.md puts them."""
    with machine(NAME, program) as here:
        stand_alone(here, "192.0.2.10", "2001:db8::10")
        here.listen(22, 8080)
        here.install("icinga/check_command.conf", "/etc/icinga2/conf.d/portcheck_command.conf")
        here.install("icinga/services.conf", "/etc/icinga2/conf.d/portcheck_services.conf")
        here.install("nrpe/sudoers", SUDOERS, mode=0o440)
        here.write("/etc/icinga2/conf.d/test.conf", SERVICES)
        icinga = Icinga(here)
        icinga.start()
        yield icinga


def test_the_shipped_files_are_valid_as_they_are(icinga: Icinga) -> None:
    output = icinga.validate()
    assert not re.search("warning|critical", output), output


@pytest.mark.parametrize("state", STATES)
def test_icinga_understands_what_the_plugin_printed(icinga: Icinga, state: int) -> None:
    icinga.machine.write(POLICY, policy(STATES[state]))
    seen = seen_by_icinga(icinga.check(SERVICE))
    assert seen.state == state
    run = icinga.machine.run_behind(seen)
    assert (run.arguments, run.user) == (("--config", POLICY), "nagios")
    assert parsed_by_icinga(icinga, "portcheck") == [metric(each) for each in seen.perfdata]


def test_icinga_understands_what_holds_foreign_text(icinga: Icinga) -> None:
    here = icinga.machine
    here.shell("ip link add 'v|x=1;(id)\"' type bridge; ip link set 'v|x=1;(id)\"' up")
    daemon = here.serve("/usr/bin/python3", "-c", NAMED, stdout=subprocess.PIPE)
    assert daemon.stdout
    pid = int(daemon.stdout.readline())
    for state, line in FOREIGN.items():
        here.write(POLICY, policy("PortCheckInterface = all", "PortCheckMethod = table", line))
        seen = seen_by_icinga(icinga.check(f"{NAME}!sudo"))
        assert seen.state == state
        assert ("' ?x=1;???[" in "".join(seen.long)) == (state in (1, 2))
        assert any(text.startswith("open_v_x_1__id__=") for text in seen.perfdata), seen
        here.run_behind(seen)
        assert parsed_by_icinga(icinga, "sudo") == [metric(each) for each in seen.perfdata]
    here.shell(f"kill {pid}; ip link delete 'v|x=1;(id)\"'")


def parsed_by_icinga(icinga: Icinga, name: str) -> list[dict[str, object]]:
    """The performance data of a last result, as the parser of Icinga's writers reads it."""
    command = f"""
        get_service("{NAME}", "{name}").last_check_result.performance_data.map(
            text => parse_performance_data(text)
        )"""
    [answer] = icinga.ask("console/execute-script", {"command": command})
    assert answer["code"] == 200, answer
    named = ("label", "value", "unit", "warn", "crit", "min")
    return [{name: each[name] for name in named} for each in answer["result"]]


def metric(text: str) -> dict[str, object]:
    """The same of a text that the plugin printed."""
    found = re.fullmatch(r"([a-z][a-z0-9_]*)=([0-9.]+)(s?)(?:;(\d*);(\d*);(\d*))?", text)
    assert found, text
    label, value, unit, *levels = found.groups()
    warn, crit, least = (float(level) if level else None for level in levels)
    number = float(value)
    unit = "seconds" if unit else ""
    return {
        "label": label, "value": number, "unit": unit, "warn": warn, "crit": crit, "min": least
    }  # fmt: skip


def test_every_option_reaches_the_plugin_and_in_order(icinga: Icinga) -> None:
    declared = (SHIPPED / "icinga/check_command.conf").read_text()
    variables = set(re.findall(r"\$portcheck_(\w+)\$", declared))
    assert {variable for variable, _, _ in EVERY_OPTION} == variables
    icinga.check(f"{NAME}!every-option")
    expected: list[str] = []
    for variable, value, arguments in EVERY_OPTION:
        option = f"--{variable.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        expected += arguments or [word for each in values for word in (option, str(each))]
    assert tuple(expected) in [run.arguments for run in icinga.machine.runs()]


@pytest.mark.parametrize("count", [1, 2])
def test_verbosity_is_a_number(icinga: Icinga, count: int) -> None:
    seen = seen_by_icinga(icinga.check(f"{NAME}!verbose-{count}"))
    assert f"# --verbose {count}" in seen.long


def test_variables_without_a_value_change_nothing(icinga: Icinga) -> None:
    icinga.machine.write(POLICY, policy(STATES[0]))
    seen = seen_by_icinga(icinga.check(f"{NAME}!nothing"))
    assert seen.state == 0
    assert "" in icinga.machine.run_behind(seen).arguments


def test_a_common_policy_and_a_local_one_add_up(icinga: Icinga) -> None:
    icinga.machine.write(COMMON, policy())
    icinga.machine.write(POLICY, "[PortCheck]\nPortCheckRequired = *:8080/tcp\n")
    seen = seen_by_icinga(icinga.check(f"{NAME}!fleet"))
    assert seen.state == 0
    icinga.machine.run_behind(seen)


def test_sudo_shows_the_processes(icinga: Icinga) -> None:
    icinga.machine.write(POLICY, policy(STATES[3]))
    seen = seen_by_icinga(icinga.check(f"{NAME}!sudo"))
    run = icinga.machine.run_behind(seen)
    assert seen.state == 0
    assert (run.arguments, run.user) == (("--config", POLICY), "root")


def test_a_refused_sudo_is_a_warning_without_the_plugin_s_words(icinga: Icinga) -> None:
    """What the guide says of it, since nothing of ours can say it."""
    icinga.machine.shell(f"mv {SUDOERS} {SUDOERS}.off")  # sudo passes over names with a dot
    seen = icinga.check(f"{NAME}!sudo")
    icinga.machine.shell(f"mv {SUDOERS}.off {SUDOERS}")
    assert (seen["state"], seen["exit_status"]) == (1, 1)
    assert "PORTCHECK" not in seen["output"]
    assert seen["performance_data"] == []


def test_the_log_is_clean(icinga: Icinga) -> None:
    log = icinga.machine.path("/var/log/icinga2/icinga2.log").read_text()
    assert [line for line in log.splitlines() if re.search("(warning|critical)/", line)] == []
