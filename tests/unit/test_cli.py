from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from check_portcheck import __version__, cli, guard
from check_portcheck.config.settings import ConfigError, Format, Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from check_portcheck.deadline import Deadline


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
    ],
)
def test_wrong_command_line_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(cli._UsageError) as caught:
        cli._options(arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("arguments", [["-V"], ["--version", "--nonsense"]])
def test_version_is_a_text(arguments: list[str]) -> None:
    with pytest.raises(cli._TextError) as caught:
        cli._options(arguments)
    assert str(caught.value) == f"check_portcheck {__version__}\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_a_text_with_options_in_eighty_columns(option: str) -> None:
    with pytest.raises(cli._TextError) as caught:
        cli._options([option])
    text = str(caught.value)
    assert text.startswith("usage: check_portcheck [--config FILE] [--active BOOL]")
    assert text.endswith(cli._EPILOG)
    assert max(map(len, text.removesuffix(cli._EPILOG).splitlines())) <= 80


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
    read = cli._read(str(file))
    assert (read.name, read.text) == (str(file), "[PortCheck]\n# caf\udce9\n")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{tmp_path}/x: cannot be read: No such file or dir"):
        cli._read(f"{tmp_path}/x")


def test_huge_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "portcheck.conf"
    file.write_bytes(b"#" * 16 * 1024 * 1024)
    assert len(cli._read(str(file)).text) == 16 * 1024 * 1024
    file.write_bytes(b"#" * (16 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError) as caught:
        cli._read(str(file))
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


def test_check_gets_nine_tenths_of_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_child(
        work: Callable[[], tuple[str, int]],
        seconds: float,
        unknown: Callable[[str], tuple[str, int]],
    ) -> NoReturn:
        raise _EndedError(work(), seconds, unknown("why"))

    def work(
        options: list[tuple[str, str]], form: Format, deadline: Deadline
    ) -> tuple[list[tuple[str, str]], Format, float]:
        return options, form, deadline.at

    monkeypatch.setattr("sys.argv", ["check_portcheck", "--timeout", "50", "--format", "json"])
    monkeypatch.setattr(guard, "in_child", in_child, raising=False)
    monkeypatch.setattr(cli, "_work", work)
    monkeypatch.setattr(cli, "_unknown", lambda reason, form: (f"{form}: {reason}", 3))
    before = time.monotonic()
    with pytest.raises(_EndedError) as caught:
        cli.main()
    (options, form, at), seconds, unknown = caught.value.args
    assert options == [("--timeout", "50"), ("--format", "json"), ("--verbose", "0")]
    assert (form, seconds, unknown) == (Format.JSON, 50.0, ("json: why", 3))
    assert before + 45 <= at <= time.monotonic() + 45
