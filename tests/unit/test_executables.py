"""Of this process and its own children: no root is needed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from check_portcheck.kernel import executables
from check_portcheck.kernel.executables import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

SLEEP = os.path.realpath("/bin/sleep")


@contextlib.contextmanager
def running(program: Path | str) -> Iterator[int]:
    with subprocess.Popen([program, "600"]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(name="daemon")
def daemon_fixture(tmp_path: Path) -> Path:
    """A program file whose directory may go."""
    (tmp_path / "bin").mkdir()
    return Path(shutil.copy(SLEEP, tmp_path.resolve() / "bin/daemon"))


def test_a_program_is_the_file_however_its_path_is_spelled(daemon: Path) -> None:
    alias = daemon.with_name("alias")
    alias.symlink_to("daemon")
    copy = str(shutil.copy(daemon, daemon.with_name("copy")))
    paths = [str(daemon), str(alias), f"{daemon.parent}/./daemon", copy, f"{daemon}/x", "/no/such"]
    with running(daemon) as pid:
        found = executables.program(pid, executables.at(paths))
    assert found == Program(str(daemon), files=tuple(paths[:3]))


def test_a_program_started_by_another_name_is_the_file(daemon: Path) -> None:
    alias = daemon.with_name("alias")
    alias.symlink_to("daemon")
    with running(alias) as pid:
        found = executables.program(pid, executables.at([str(alias)]))
    assert found == Program(str(daemon), files=(str(alias),))


@pytest.mark.parametrize("gone", ["replaced", "removed", "with its directory"])
@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_program_file_that_was_replaced_was_the_file(
    daemon: Path, gone: str, *, meanwhile: bool
) -> None:
    paths = [str(daemon), SLEEP]
    with running(daemon) as pid:
        before = executables.at(paths)
        if gone == "replaced":
            new = shutil.copy(SLEEP, daemon.with_name("new"))
            Path(new).replace(daemon)
        elif gone == "removed":
            daemon.unlink()
        else:
            shutil.rmtree(daemon.parent)
        found = executables.program(pid, before if meanwhile else executables.at(paths))
    assert found == Program(str(daemon), deleted=True, files=(str(daemon),))


def test_what_replaced_another_file_is_not_its_heir(daemon: Path) -> None:
    other = str(shutil.copy(SLEEP, daemon.with_name("other")))
    with running(daemon) as pid:
        daemon.unlink()
        files = executables.at([str(daemon), other])
        owned = files[str(daemon)]
        assert owned
        assert executables.program(pid, files).files == (str(daemon),)
        for alien in (owned._replace(uid=owned.uid + 1), owned._replace(device=owned.device + 1)):
            assert executables.program(pid, {**files, str(daemon): alien}).files == ()


def test_a_file_that_may_not_be_looked_at_is_not_told(
    daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def deny(path: str) -> os.stat_result:
        if path == str(daemon):
            raise PermissionError
        return stat(path)

    monkeypatch.setattr(os, "stat", deny)
    files = executables.at([str(daemon), SLEEP])
    assert files[str(daemon)] is None
    with running(SLEEP) as pid:
        found = executables.program(pid, files)
    assert found == Program(SLEEP, files=(SLEEP,), unread=(str(daemon),))


def test_a_process_that_may_not_be_looked_at_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(_: str) -> str:
        raise PermissionError

    monkeypatch.setattr(os, "readlink", deny)
    assert executables.program(os.getpid(), {SLEEP: None}) == Program(unread=(SLEEP,))


def test_a_file_on_a_file_system_of_another_user_is_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = executables.at([SLEEP])

    def deny(_: str) -> os.stat_result:
        raise PermissionError

    with running(SLEEP) as pid:
        monkeypatch.setattr(os, "stat", deny)
        assert executables.program(pid, files) == Program(SLEEP)


def test_a_process_that_has_ended_runs_nothing() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert executables.program(ended.pid, executables.at([SLEEP])) == Program()


def test_files_that_nobody_asks_for_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    # The path is the process's word: a look at it might mount a file system.
    here = os.path.realpath("/proc/self/exe")
    monkeypatch.setattr(os, "stat", lambda _: pytest.fail("looked at"))
    assert executables.program(os.getpid(), {}).path == here
