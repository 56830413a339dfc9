"""Who could change a file, by demands that any user can make of his own files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from check_portcheck.kernel import trust
from check_portcheck.kernel.trust import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator

MINE = trust._Demand("policy", (0, os.geteuid()), links=True, sticky=True, place="/etc/p")
STRICT = MINE._replace(links=False, sticky=False)


@pytest.fixture(name="directory")
def directory_fixture() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


def content(path: Path | str, demand: trust._Demand = MINE) -> str:
    """What is in the file that is reached."""
    place = trust._reach(str(path), demand)
    try:
        return Path(f"/proc/self/fd/{place}").read_text()
    finally:
        os.close(place)


def complaint(path: Path | str, demand: trust._Demand = MINE) -> str:
    with pytest.raises(TrustError) as caught:
        trust._reach(str(path), demand)
    return str(caught.value)


def test_a_file_below_sticky_directories_and_behind_own_links_is_reached(directory: Path) -> None:
    (directory / "sub").mkdir()
    (directory / "sub/file").write_text("policy")
    (directory / "relative").symlink_to("sub/../sub")
    (directory / "absolute").symlink_to(directory / "relative")
    for path in ("sub/file", "sub/../sub/./file", "relative/file", "absolute/file"):
        assert content(directory / path) == "policy"


def test_what_others_may_write_is_refused(directory: Path) -> None:
    file = directory / "sub/file"
    file.parent.mkdir()
    file.write_text("policy")
    for mode in (0o620, 0o602):
        file.chmod(mode)
        assert complaint(file) == (
            f"the policy {file} may be written by group or others: chmod go-w {file}"
        )
    file.chmod(0o644)
    for mode in (0o720, 0o702):
        file.parent.chmod(mode)
        assert complaint(file) == (
            f"the directory {file.parent} of the policy may be written by group or others: "
            "use one of root's, such as /etc/p"
        )
    file.parent.chmod(0o1777)
    assert content(file) == "policy"


def test_sticky_directories_and_links_can_be_refused(directory: Path) -> None:
    assert "the directory /tmp of the policy may be written" in complaint(directory, STRICT)
    link = directory / "link"
    link.symlink_to("/etc/passwd")
    assert complaint(link, STRICT._replace(sticky=True)) == (
        f"{link}, on the way to the policy, is a symbolic link: give the path that it leads to"
    )


def test_what_belongs_to_another_is_refused(directory: Path) -> None:
    nobodys = MINE._replace(users=(123_456_789,))
    assert complaint(directory, nobodys) == (
        "the directory / of the policy belongs to user 0: use one of root's, such as /etc/p"
    )


def test_links_in_a_circle_end(directory: Path) -> None:
    (directory / "one").symlink_to("two")
    (directory / "two").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        trust._reach(str(directory / "one"), MINE)


def test_what_is_not_there_is_an_error_of_the_system(directory: Path) -> None:
    (directory / "file").touch()
    with pytest.raises(FileNotFoundError):
        trust._reach(str(directory / "nothing/below"), MINE)
    with pytest.raises(NotADirectoryError):
        trust._reach(str(directory / "file/below"), MINE)


def test_no_descriptor_is_left_open(directory: Path) -> None:
    (directory / "link").symlink_to("link")
    before = len(list(Path("/proc/self/fd").iterdir()))
    content("/etc/passwd")
    complaint(directory, STRICT)
    with pytest.raises(OSError, match="Too many levels"):
        trust._reach(str(directory / "link"), MINE)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_relative_path_starts_here(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    assert trust._absolute("a/../b") == f"{directory}/a/../b"
    assert trust._absolute("//etc//x/") == "/etc//x"
    assert trust._absolute("x", "/") == "/x"


@pytest.mark.parametrize(
    ("number", "caller"), [("1000", 1000), ("0", None), ("", None), ("-1", None), ("x", None)]
)
def test_the_caller_of_sudo(
    monkeypatch: pytest.MonkeyPatch, number: str, caller: int | None
) -> None:
    monkeypatch.setenv("SUDO_UID", number)
    assert trust._caller() == caller
