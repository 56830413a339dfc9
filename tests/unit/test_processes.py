from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.kernel import cgroups, processes
from check_portcheck.model import Unseen


def test_a_long_command_line_keeps_its_start() -> None:
    kept = processes.bounded(["java", "-cp", "x" * 5000, "org.example.Main", *["y"] * 5000])
    assert kept[:4] == ("java", "-cp", "x" * 250, "org.example.Main")
    assert len(" ".join(kept)) <= 1000


@given(st.lists(st.text(max_size=600), max_size=2000))
def test_a_command_line_is_bounded(command: list[str]) -> None:
    kept = processes.bounded(command)
    assert len(" ".join(kept)) <= 1000
    assert all(whole.startswith(cut) for whole, cut in zip(command, kept, strict=False))


def test_an_argument_that_fills_the_room_is_the_last() -> None:
    assert processes.bounded(["x" * 249] * 4 + ["y"]) == ("x" * 249,) * 4
    assert processes.bounded(["x" * 249] * 3 + ["x" * 248, "y"]) == (
        *["x" * 249] * 3,
        "x" * 248,
        "y",
    )


def test_details_of_this_process() -> None:
    found = processes.details(os.getpid(), {})
    assert found
    assert found.pid == os.getpid()
    assert found.executable == os.path.realpath("/proc/self/exe")
    assert found.command
    assert found.user == processes.user(os.geteuid())
    assert found.started
    assert found.started <= time.time()


def test_what_a_process_can_make_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "name", lambda _: "n" * 300)
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: ["c" * 300] * 10)
    found = processes.details(os.getpid(), {})
    assert found
    assert found.name == "n" * 255
    assert found.command == ("c" * 250,) * 3 + ("c" * 247,)


def test_a_process_without_its_first_thread_has_no_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil.Process, "status", lambda _: psutil.STATUS_ZOMBIE)
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: pytest.fail("read"))
    found = processes.details(os.getpid(), {})
    assert found
    assert found.command == ()


def test_the_unit_is_that_of_the_control_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "unit", lambda text: f"unit of {text}")
    found = processes.details(os.getpid(), {})
    assert found
    assert found.unit == f"unit of {Path('/proc/self/cgroup').read_text()}"


def test_only_processes_of_the_initial_namespace_are_all_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert processes._INITIAL_PID_NAMESPACE == 0xEFFFFFFC  # linux/proc_ns.h
    own = Path("/proc/self/ns/pid").stat().st_ino
    monkeypatch.setattr(processes, "_INITIAL_PID_NAMESPACE", own)
    assert processes.are_all_visible() is True
    monkeypatch.setattr(processes, "_INITIAL_PID_NAMESPACE", own + 1)
    assert processes.are_all_visible() is False


def test_a_kernel_that_knows_no_namespaces_shows_no_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(os, "stat", fail)
    assert processes.are_all_visible() is False


def test_a_process_that_has_ended_has_no_details() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert processes.details(ended.pid, {}) is None


def test_a_process_that_may_not_be_examined_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(pid: int) -> None:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", deny)
    with pytest.raises(PermissionError):
        processes.details(1, {})


@pytest.mark.parametrize(("user", "reason"), [(0, Unseen.DENIED), (1000, Unseen.NOT_ROOT)])
def test_why_another_process_may_not_be_examined(
    monkeypatch: pytest.MonkeyPatch, user: int, reason: Unseen
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert processes.refused() is reason


def test_a_user_without_a_name_has_a_number() -> None:
    assert processes.user(0) == "root"
    assert processes.user(4_000_000_000) == "4000000000"
    assert processes.user(None) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("root", "root"),
        ("0", "root"),
        ("no such user", None),
        ("4294967294", "4294967294"),
        ("4294967295", None),
        ("9" * 5000, None),
        ("\u0664", None),
        ("\udcff", None),
    ],
)
def test_a_user_goes_by_name_or_number(text: str, name: str | None) -> None:
    assert processes.user_named(text) == name


def test_running_processes_go_by_the_names_that_the_kernel_keeps() -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        try:
            # Popen goes on when the new program has the memory, before it has its name (execve(2)).
            while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
                time.sleep(0.01)
            assert {"sleep", Path("/proc/self/comm").read_text().strip()} <= processes.running()
        finally:
            process.kill()
