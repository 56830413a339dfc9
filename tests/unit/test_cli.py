from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck import __version__, cli, guard, run
from check_portcheck.config.options import OPTIONS
from check_portcheck.config.parser import parse
from check_portcheck.config.settings import ConfigError, Format, Settings
from check_portcheck.names import names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from check_portcheck.config.option import Option
    from check_portcheck.deadline import Deadline
    from check_portcheck.names import Names


class _EndedError(Exception):
    """In place of the end of the process."""


def test_options_keep_their_order_and_go_by_their_long_names() -> None:
    arguments = ["-t", "5", "--skip=1/tcp", "--udp", "--udp", "off", "--skip", "", "--no-official"]
    assert cli._options(arguments) == [
        ("--timeout", "5"),
        ("--skip", "1/tcp"),
        ("--udp", "yes"),
        ("--udp", "off"),
        ("--skip", ""),
        ("--no-official", "no"),
        ("--verbose", "0"),
    ]


@pytest.mark.parametrize(
    ("arguments", "verbosity"),
    [(["-v"], "1"), (["-vv"], "2"), (["-v", "--verbose", "-v"], "3"), (["-vvvvv"], "3")],
)
def test_verbosity_is_counted_up_to_three(arguments: list[str], verbosity: str) -> None:
    assert cli._options(arguments) == [("--verbose", verbosity)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["22/tcp"], "unrecognized arguments: 22/tcp"),
        (["--conf", "F"], "unrecognized arguments: --conf F"),
        (["--no-udp=yes"], "argument --no-udp: ignored explicit argument 'yes'"),
        (["-t"], "argument -t/--timeout: expected one argument"),
        (["--config"], "argument --config: expected one argument"),
        (["--config=--"], "--config=--: -- is no value"),
        (["--udp=--"], "--udp=--: -- is no value"),
        (["-t--"], "-t--: -- is no value"),
    ],
)
def test_wrong_command_line_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(cli._UsageError) as caught:
        cli._options(arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--interfaces", "all"], " (--interface?)"),
        (["--timeout", "5", "--allow=*:22/tcp"], " (--optional?)"),
        (["--conf", "x"], " (--config?)"),
        (["--config-file=x"], " (--config?)"),
        (["--print", "--udp"], " (--print-policy?)"),
        (["--PortCheckSeverity", "warn"], " (--severity?)"),
        (["--warning", "1", "--critical", "2"], " (--severity?)"),
        (["--verbos"], " (--verbose?)"),
        (["--hostlist", "x"], ""),
        (["-H", "localhost"], ""),
        (["-t"], ""),
        (["--udp", "--version", "--help", "--config"], ""),
    ],
)
def test_an_option_that_there_is_not_is_known_by_its_meaning(
    arguments: list[str], hint: str
) -> None:
    assert cli._hint(arguments) == hint


@pytest.mark.parametrize("arguments", [["-V"], ["--version", "--nonsense"]])
def test_version_is_a_text(arguments: list[str]) -> None:
    with pytest.raises(cli._TextError) as caught:
        cli._options(arguments)
    assert str(caught.value) == f"check_portcheck {__version__}\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_a_text_with_options_in_eighty_columns(option: str) -> None:
    with pytest.raises(cli._TextError) as caught:
        cli._options([option])
    lines = str(caught.value).splitlines()
    assert lines[0] == "usage: check_portcheck [--config FILE]... [OPTION]..."
    assert "  --config FILE         Samhain-style file; repeatable" in lines
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ([], Settings().timeout),
        (["3"], 3.0),
        (["3", "2.5"], 2.5),
        (["3", " "], 3.0),
        (["0"], Settings().timeout),
        (["many"], Settings().timeout),
        (["86401"], Settings().timeout),
    ],
)
def test_time_limit_is_known_before_all_else(given: list[str], seconds: float) -> None:
    options = [("--timeout", text) for text in given]
    assert cli._timeout([*options, ("--confirm", "7")]) == seconds


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        (["F:1: x"], "F:1: x"),
        (["F:1: x", "F:2: y"], "F:1: x (and 1 more)\nF:2: y"),
        (["F:1: x", "F:2: y", "F:3: z"], "F:1: x (and 2 more)\nF:2: y\nF:3: z"),
    ],
)
def test_first_of_several_errors_says_how_many_follow(errors: list[str], text: str) -> None:
    assert cli._summary(errors) == text


def test_file_is_read_whatever_its_encoding(tmp_path: Path) -> None:
    file = tmp_path / "portcheck.conf"
    file.write_bytes(b"[PortCheck]\n# caf\xe9\n")
    steps: list[str] = []
    read = cli._read(str(file), steps.append, [])
    assert steps == [f"reading {file}", ""]
    assert (read.name, read.text) == (str(file), "[PortCheck]\n# caf\udce9\n")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{tmp_path}/x: cannot be read: No such file or dir"):
        cli._read(f"{tmp_path}/x", print, [])


def test_errors_that_may_show_a_private_line_are_left_out() -> None:
    errors = ["/a:1: no key 'root'", "/b:1: no key 'x'", "/b:2: is set by /a:7"]
    assert [*cli._tellable(errors, [])] == errors
    assert [*cli._tellable(errors, ["/a"])] == [
        "/a: has errors, which only root is told, since you may not read it",
        "/b:1: no key 'x'",
    ]
    assert [*cli._tellable(errors[1:2], ["/a"])] == ["/b:1: no key 'x'"]


def test_huge_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "portcheck.conf"
    file.write_bytes(b"#" * 16 * 1024 * 1024)
    assert len(cli._read(str(file), print, []).text) == 16 * 1024 * 1024
    file.write_bytes(b"#" * (16 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError) as caught:
        cli._read(str(file), print, [])
    assert caught.value.errors == (f"{file}: larger than 16 MiB",)


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ([], Format.NAGIOS),
        (["--format", "checkmk"], Format.CHECKMK),
        (["--format=json"], Format.JSON),
        (["--nonsense", "--format", "json"], Format.JSON),
        (["--format", "xml"], Format.NAGIOS),
        (["json"], Format.NAGIOS),
    ],
)
def test_wrong_command_line_is_told_in_the_format_asked_for(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], form: Format
) -> None:
    def finish(text: str, code: int) -> NoReturn:
        raise _EndedError(text, code)

    monkeypatch.setattr("sys.argv", ["check_portcheck", *arguments, "--wrong"])
    monkeypatch.setattr(guard, "finish", finish)
    monkeypatch.setattr(cli, "_unknown", lambda reason, form: (f"{form}: {reason}", 3))
    with pytest.raises(_EndedError) as caught:
        cli.main()
    text, code = caught.value.args
    assert text.startswith(f"{form}: unrecognized arguments: ")
    assert text.endswith("--wrong (see check_portcheck --help)")
    assert code == 3


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_exit_with_unknown(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def finish(text: str, code: int) -> NoReturn:
        raise _EndedError(text, code)

    monkeypatch.setattr("sys.argv", ["check_portcheck", *arguments])
    monkeypatch.setattr(guard, "finish", finish)
    with pytest.raises(_EndedError) as caught:
        cli.main()
    assert caught.value.args[1] == 3


@pytest.mark.parametrize(
    ("given", "line", "limits"),
    [
        ([], "", (10, 10)),
        ([], "PortCheckTimeout = 50", (10, 50)),
        ([], "PortCheckTimeout = 3", (10, 3)),
        (["--timeout", "50"], "", (50, 50)),
        (["--timeout", "3"], "PortCheckTimeout = 50", (3, 3)),
        (["--timeout", "50"], "PortCheckTimeout = 3", (50, 50)),
    ],
)
def test_a_limit_of_a_file_holds_as_soon_as_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: list[str],
    line: str,
    limits: tuple[float, float],
) -> None:
    """The parent reads no file, and waits for what its child says of them."""
    until_read, whole = limits
    told: list[float] = []
    steps: list[str] = []

    def in_child(
        work: Callable[[guard.Parent], tuple[str, int]],
        seconds: float,
        unfinished: Callable[[str, tuple[str, int] | None], tuple[str, int]],
    ) -> NoReturn:
        parent = guard.Parent(steps.append, lambda *_: None, told.append)
        ends = unfinished("why", None), unfinished("why", ("PORTCHECK CRITICAL - x | y=1\n", 2))
        raise _EndedError(work(parent), seconds, ends)

    def answer(
        settings: Settings, names: Names, deadline: Deadline, parent: guard.Parent
    ) -> tuple[float, float]:
        del names, parent
        return settings.timeout, deadline.at

    file = tmp_path / "portcheck.conf"
    file.write_text(f"[PortCheck]\n{line}\n")
    monkeypatch.setattr("sys.argv", ["check_portcheck", "--config", str(file), *given])
    monkeypatch.setattr(guard, "in_child", in_child, raising=False)
    monkeypatch.setattr(run, "answer", answer)
    before = time.monotonic()
    with pytest.raises(_EndedError) as caught:
        cli.main()
    (timeout, at), seconds, (unknown, known) = caught.value.args
    assert (timeout, seconds, told) == (whole, until_read, [whole])
    assert steps[0] == f"reading {file}"
    assert before + whole * 0.9 <= at <= time.monotonic() + whole * 0.9
    assert unknown == ("PORTCHECK UNKNOWN - why\n", 3)
    assert known == ("PORTCHECK CRITICAL - x (why) | y=1\n", 2)


_PARENT = guard.Parent(lambda _: None, lambda *_: None, lambda _: None)


def answered(monkeypatch: pytest.MonkeyPatch, *options: tuple[str, str]) -> tuple[str, int]:
    """What the child process gives where the check itself only repeats its settings."""

    def answer(
        settings: Settings, names: Names, deadline: Deadline, parent: guard.Parent
    ) -> tuple[str, int]:
        assert parent is _PARENT
        assert names.rpc(100003) == "nfs"
        rules = " ".join(f"{rule.source}={rule}" for rule in settings.rules)
        assert deadline.at == settings.timeout * 0.9
        return f"{settings.verbosity} {rules}", 2

    monkeypatch.setitem(sys.modules, "check_portcheck.run", SimpleNamespace(answer=answer))
    monkeypatch.setattr(cli, "_unknown", lambda reason, form: (f"{form}: {reason}", 3))
    return cli._work(options, Format.JSON, 0.0, _PARENT)


def test_files_come_before_options_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("[PortCheck]\nPortCheckSkip = 1/tcp\n")
    second.write_text("[PortCheck]\nPortCheckSkip = 2/tcp\n")
    options = [
        ("--skip", "3/tcp"),
        ("--config", str(first)),
        ("--config", ""),
        ("--config", str(second)),
        ("--verbose", "2"),
    ]
    skips = f"{first}:2=*:1/tcp {second}:2=*:2/tcp --skip=*:3/tcp"
    assert answered(monkeypatch, *options) == (f"2 {skips}", 2)


def test_all_that_is_wrong_is_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    text, code = answered(monkeypatch, ("--skip", "1"), ("--udp", "x"))
    assert text.splitlines() == [
        "json: --skip: '1' is not of the form PORT/tcp or PORT/udp: write 1/tcp (and 1 more)",
        "--udp: 'x' is neither yes nor no",
    ]
    assert code == 3


def test_file_that_cannot_be_read_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = answered(monkeypatch, ("--config", f"{tmp_path}/x"))
    assert found == (f"json: {tmp_path}/x: cannot be read: No such file or directory", 3)


# Whatever the arguments are

NAMES = names("", "")
OPTION_NAMES = st.sampled_from([name for option in OPTIONS for name in option.names])
VALUES = st.one_of(
    st.sampled_from(["", "yes", "22/tcp", "*:22/tcp,53/udp@user:root", "all", "::1", "eth0", "1"]),
    st.sampled_from(["warn", "json", "table", "--", "-", "-1", "0.5", "/x", "9" * 5000]),
    st.text(st.sampled_from("-=:/*, 19atvh\t\n\0\u00e9\udcff"), max_size=12),
)
ARGUMENTS = st.lists(
    OPTION_NAMES | VALUES | st.builds("{}={}".format, OPTION_NAMES, VALUES), max_size=12
)


def refusal(arguments: list[str]) -> str:
    """Why arguments are refused, empty where they are settings."""
    try:
        options = cli._options(arguments)
        assert 0 < cli._timeout(options) <= 86400
        settings = parse([], options, NAMES)
    except cli._TextError as text:
        return str(text)
    except cli._UsageError as wrong:
        return f"{wrong}{cli._hint(arguments)}"
    except ConfigError as wrong:
        return cli._summary([*cli._tellable(wrong.errors, [])])
    assert 0 <= settings.verbosity <= 3
    return ""


@given(ARGUMENTS)
def test_any_arguments_are_settings_or_refused_in_each_form(arguments: list[str]) -> None:
    if reason := refusal(arguments):
        for form in Format:
            text, code = cli._unknown(reason, form)
            assert code == (0 if form is Format.CHECKMK else 3)
            assert text.replace("\n", "").isprintable()


WITH_VALUES = st.sampled_from([option for option in OPTIONS if option.metavar])
PAIRS = st.lists(st.tuples(WITH_VALUES, VALUES.filter(lambda value: value != "--")), max_size=12)


@given(PAIRS)
def test_options_with_values_are_read_as_they_are_written(
    pairs: list[tuple[Option, str]],
) -> None:
    written = [f"{option.names[-1]}={value}" for option, value in pairs]
    expected = [(option.names[-1], value) for option, value in pairs]
    assert cli._options(written) == [*expected, ("--verbose", "0")]
