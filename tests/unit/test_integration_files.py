from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from check_portcheck import cli
from check_portcheck.config import parser
from unit.samples import NAMES

ROOT = Path(__file__).parents[2]
CHECK_COMMAND = (ROOT / "icinga/check_command.conf").read_text()
BASKET = json.loads((ROOT / "icinga/director_basket.json").read_text())
POLICIES = sorted((ROOT / "policies").glob("*.conf"))
POLICY_PATH = "/etc/portcheck/policy.conf"
PLUGIN = "/usr/lib/nagios/plugins/check_portcheck"
PYTHON = "/opt/check_portcheck/bin/python3"
DATATYPE = "Icinga\\Module\\Director\\DataType\\DataType"
TEXT_ONLY = {"--help", "--version"}
VERBOSITIES = ("-v", "-vv", "-vvv")
FILES = [
    file
    for directory in ("docs", "icinga", "nrpe", "checkmk", "policies")
    for file in sorted((ROOT / directory).rglob("*"))
    if file.is_file()
]


def options() -> dict[str, tuple[bool, bool]]:
    """For each long option of the help whether it is a flag and whether it may be repeated."""
    return {
        name: (action.nargs == 0, "repeatable" in str(action.help))
        for action in cli.parser()._actions
        for name in action.option_strings
        if name.startswith("--")
    }


def variable(option: str) -> str:
    return f"$portcheck_{option[2:].replace('-', '_')}$"


def arguments() -> dict[str, dict[str, str]]:
    """The attributes of each argument of the check command."""
    return {
        name: dict(re.findall(r"^\t{3}(\w+) = (.+)$", block, re.MULTILINE))
        for name, block in re.findall(
            r'^\t\t"(-[^"]+)" = {\n(.*?)^\t\t}$', CHECK_COMMAND, re.MULTILINE | re.DOTALL
        )
    }


def test_the_check_command_has_every_option_and_no_other() -> None:
    long = {name for name in arguments() if name.startswith("--")}
    assert long == set(options()) - TEXT_ONLY - {"--verbose"}
    assert set(arguments()) - long == set(VERBOSITIES)


@pytest.mark.parametrize("option", sorted(set(options()) - TEXT_ONLY - {"--verbose"}))
def test_an_option_is_passed_as_the_plugin_takes_it(option: str) -> None:
    flag, repeatable = options()[option]
    expected = {"set_if" if flag else "value": f'"{variable(option)}"'}
    if repeatable:
        expected["repeat_key"] = "true"
    found = arguments()[option]
    assert {name: found[name] for name in found if name not in ("description", "order")} == expected


def test_verbosity_is_passed_by_count() -> None:
    for count, name in enumerate(VERBOSITIES, 1):
        assert arguments()[name]["set_if"] == f'{{{{ macro("$portcheck_verbose$") == {count} }}}}'


def test_every_argument_is_described_and_has_a_place_of_its_own() -> None:
    assert all(re.fullmatch('"[A-Z].*[.)]"', each["description"]) for each in arguments().values())
    places = [int(each["order"]) for each in arguments().values()]
    assert places == list(range(1, len(places) + 1))


def test_the_director_gets_the_same_command() -> None:
    command = BASKET["Command"]["portcheck"]
    expected = {name: director(attributes) for name, attributes in arguments().items()}
    assert command["arguments"] == expected
    assert command["command"] == PLUGIN
    assert f"timeout = {command['timeout']}s" in CHECK_COMMAND
    [(name, value)] = command["vars"].items()
    assert f"vars.{name} = {value}" in CHECK_COMMAND


def director(attributes: dict[str, str]) -> dict[str, Any]:
    """Attributes of an argument in the Director's JSON, which has numbers as strings."""
    made: dict[str, Any] = {}
    for name, text in attributes.items():
        if expression := re.fullmatch("{{ (.*) }}", text):
            made |= {name: expression[1], f"{name}_format": "expression"}
        else:
            made[name] = text if name == "order" else json.loads(text)
    return made


def test_every_variable_has_a_field_in_the_director() -> None:
    command = BASKET["Command"]["portcheck"]
    used = set(re.findall(r"\$(portcheck_\w+)\$", json.dumps(command["arguments"])))
    fields = BASKET["Datafield"]
    linked = [fields[str(each["datafield_id"])] for each in command["fields"]]
    assert sorted(each["varname"] for each in linked) == sorted(used)
    assert len(fields) == len(linked)
    assert all(each["caption"] and each["description"] for each in linked)


def test_fields_have_the_type_that_the_option_takes() -> None:
    types = {
        each["varname"]: each["datatype"].removeprefix(DATATYPE)
        for each in BASKET["Datafield"].values()
    }
    for option, (flag, repeatable) in options().items():
        if option not in TEXT_ONLY | {"--verbose", "--active", "--udp"}:
            its = types[variable(option).strip("$")]
            assert (its == "Array", its == "Boolean") == (repeatable, flag), option


def test_the_director_and_the_rule_make_the_same_service() -> None:
    template = BASKET["ServiceTemplate"]["portcheck"]
    rule = (ROOT / "icinga/services.conf").read_text()
    assert template["vars"] == {"portcheck_config": [POLICY_PATH]}
    assert f'[ "{POLICY_PATH}" ]' in rule
    for name, unit in (("check_interval", 60), ("retry_interval", 60), ("max_check_attempts", 1)):
        value = int(template[name]) // unit
        assert re.search(rf"^\t{name} = {value}m?$", rule, re.MULTILINE), name


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_command_lines_use_only_options_that_exist(file: Path) -> None:
    known = options()
    for line in file.read_text().splitlines():
        _, plugin, rest = line.partition("check_portcheck ")
        for option in re.findall(r"(?<=\s)--[a-z-]+", f" {rest}" if plugin else ""):
            assert option in known, line


def test_all_ways_run_one_command_line() -> None:
    command = f"{PLUGIN} --config {POLICY_PATH}"
    isolated = f"{PYTHON} -I {command}"
    expected = {
        "nrpe/check_portcheck.cfg": [
            f"command[check_portcheck]={command}",
            f"#command[check_portcheck]=/usr/bin/sudo -n {isolated}",
        ],
        "nrpe/sudoers": [f"nagios ALL=(root) NOPASSWD: {isolated}"],
        "checkmk/mrpe.cfg": [f"Portcheck (interval=300) {isolated}"],
    }
    for name, lines in expected.items():
        text = (ROOT / name).read_text()
        assert [line for line in text.splitlines() if PLUGIN in line] == lines
    assert BASKET["Command"]["portcheck-sudo"]["command"] == f"/usr/bin/sudo -n {isolated}"
    by_sudo = f'PluginContribDir + "/check_portcheck", "--config", "{POLICY_PATH}"'
    assert by_sudo in CHECK_COMMAND
    assert f'"/usr/bin/sudo", "-n", "{PYTHON}", "-I",' in CHECK_COMMAND


def test_the_policies_of_a_fleet_add_up() -> None:
    text = (ROOT / "icinga/FLEET.md").read_text()
    policies = re.findall(r"^```\n(\[PortCheck\]\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    files = [parser.ConfigFile(str(place), each) for place, each in enumerate(policies)]
    settings = parser.parse(files, [], NAMES)
    assert [str(rule) for rule in settings.rules] == ["*:22/tcp", "*:5665/tcp", "*:443/tcp"]
    assert settings.severities.missing == "crit"


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: str(file.name))
def test_a_role_s_policy_is_valid_with_each_proposal(file: Path) -> None:
    proposal = re.compile(r"^#(?=(?:PortCheck|SeverityPortCheck)\w* = )", re.MULTILINE)
    text = file.read_text()
    for count in range(len(proposal.findall(text)) + 1):
        some = proposal.sub("", text, count=count) if count else text
        parser.parse([parser.ConfigFile(file.name, some)], [], NAMES)


def test_all_roles_add_up_in_one_file_and_in_several() -> None:
    texts = [file.read_text() for file in POLICIES]
    assert len(texts) == 8
    several = parser.parse([parser.ConfigFile("p", text) for text in texts], [], NAMES)
    one = parser.parse([parser.ConfigFile("p", "".join(texts))], [], NAMES)
    assert list(map(str, one.rules)) == list(map(str, several.rules))
    assert len(one.rules) > 50
