"""The table of options is what the command line takes; help and docs/policy.md explain it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from check_portcheck import cli
from check_portcheck.config.option import Option, Subject
from check_portcheck.config.options import OPTIONS
from check_portcheck.config.parser import ConfigFile, parse
from check_portcheck.config.settings import Settings
from check_portcheck.names import names
from check_portcheck.policy.rules import Kind

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/policy.md").read_text()
NO_SETTING = {"--config", "--help", "--version"}

every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def taken() -> set[str]:
    """The long options that the command line takes."""
    return {name for each in cli.parser()._actions for name in each.option_strings[-1:]}


def row(option: Option) -> tuple[str, str, str]:
    """How the guide names an option, its key and its default."""
    value = f" [{option.metavar}]" if option.bare and option.metavar else f" {option.metavar}"
    names = ", ".join(f"`{name}`" for name in [*option.names[:-1], option.name + value.rstrip()])
    default = f"`{option.default}`" if option.default.startswith("--") else option.default
    return names, option.key and f"`{option.key}`", default


def test_the_guide_tells_every_option_with_its_key_and_default() -> None:
    cells = [line.split("|") for line in GUIDE.splitlines() if line.startswith("| `-")]
    found = [tuple(cell.strip() for cell in line[1:4]) for line in cells]
    assert found == [("`--config FILE`", "", ""), *map(row, OPTIONS)]
    assert all(len(line) == 6 and line[4].strip() for line in cells)


def test_the_guide_says_of_all_that_may_be_repeated_that_it_may() -> None:
    lines = [line for line in GUIDE.splitlines() if line.startswith("| `-")]
    found = {re.findall("--[a-z-]+", line)[0] for line in lines if "repeatable" in line}
    assert found == {option.name for option in OPTIONS if option.repeatable} | {"--config"}


def test_readmes_example_of_a_file_is_accepted() -> None:
    readme = (ROOT / "README.md").read_text()
    example = readme.partition("```ini\n")[2].partition("```")[0]
    assert len(parse([ConfigFile("README", example)], [], names("", "")).rules) > 10


def test_help_says_of_all_that_may_be_repeated_that_it_may() -> None:
    actions = {each.option_strings[-1]: str(each.help) for each in cli.parser()._actions}
    found = {name for name, text in actions.items() if text.endswith("; repeatable")}
    assert found == {option.name for option in OPTIONS if option.repeatable} | {"--config"}


def test_the_command_line_takes_what_the_table_has_and_little_more() -> None:
    assert taken() == {option.name for option in OPTIONS} | NO_SETTING
    assert len({name for option in OPTIONS for name in option.names}) == len(OPTIONS) + 2


@every_option
def test_every_option_is_explained_in_the_help(option: Option) -> None:
    text = " ".join(cli.parser().format_help().split())
    explained = option.explanation.replace("%(default)s", option.default)
    value = f" [{option.metavar}]" if option.bare and option.metavar else f" {option.metavar}"
    assert f"{option.name}{value.rstrip()} {explained}" in text
    assert "%" not in text


def test_the_help_groups_the_options_by_subject() -> None:
    headings = re.findall("^([a-z ]+):$", cli.parser().format_help(), re.MULTILINE)
    assert headings == [*Subject, "examples"]


def examples() -> list[list[str]]:
    """The words of each example in the help, what is left to the shell cut off."""
    text = cli.parser().format_help().partition("\nexamples:\n")[2].replace("\\\n", "")
    commands = re.findall("^ {4}(check_portcheck .*)$", text, re.MULTILINE)
    return [shlex.split(command.partition(" > ")[0]) for command in commands]


def test_the_examples_in_the_help_are_accepted() -> None:
    file = ConfigFile("policy.conf", "[PortCheck]\nPortCheckInterface = all\n")
    assert len(examples()) == 5
    for _, *arguments in examples():
        options = cli._options(arguments)
        files = [file for name, value in options if (name, value) == ("--config", file.name)]
        parse(files, [each for each in options if each[0] != "--config"], names("", ""))


@every_option
def test_an_option_says_what_it_says_without_a_value(option: Option) -> None:
    if option.bare:
        [(name, value), *_] = cli._options([option.name])
        assert (name, value) == (option.name, option.bare)
    else:
        with pytest.raises(cli._UsageError, match=f"{option.name}: expected one argument"):
            cli._options([option.name])


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--no-udp"], Settings(udp=False)),
        (["--udp"], Settings()),
        (["--no-udp", "--udp"], Settings()),
        (["--udp", "--no-udp"], Settings(udp=False)),
        (["--no-official"], Settings(official=False)),
        (["--print-policy"], Settings(print_policy=True)),
        (["--check-config"], Settings(check_config=True)),
        (["-v"], Settings(verbosity=1)),
        (["-vvvv"], Settings(verbosity=3)),
    ],
)
def test_flags_set_what_they_say(arguments: list[str], settings: Settings) -> None:
    assert parse([], cli._options(arguments), names("", "")) == settings


@every_option
def test_the_default_of_an_option_changes_nothing(option: Option) -> None:
    if option.default and not option.usual:
        assert parse([], [(option.name, option.default)], names("", "")) == Settings()


@every_option
def test_an_option_sets_a_field_or_a_part_of_one(option: Option) -> None:
    parts = {"severity", "unexpected", "missing", "first", "last"}
    assert option.sets in parts | set(Settings._fields)


def test_each_list_of_the_policy_has_one_option() -> None:
    lists = [option.kind for option in OPTIONS if option.kind]
    assert sorted(lists) == sorted(Kind)
    assert all(option.name == f"--{option.kind}" for option in OPTIONS if option.kind)
