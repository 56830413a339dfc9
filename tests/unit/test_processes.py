from __future__ import annotations

import os
import subprocess
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.kernel import processes
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
    found = processes.details(os.getpid())
    assert found
    assert found.pid == os.getpid()
    assert found.executable == os.path.realpath("/proc/self/exe")
    assert found.command
    assert found.user == processes.user(os.geteuid())
    assert found.started
    assert found.started <= time.time()


def test_a_process_that_has_ended_has_no_details() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert processes.details(ended.pid) is None


def test_a_process_that_may_not_be_examined_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(pid: int) -> None:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", deny)
    with pytest.raises(PermissionError):
        processes.details(1)


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
