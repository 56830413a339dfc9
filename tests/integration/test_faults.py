"""System calls that fail, processes that are killed: a line and an exit code whatever comes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import NOBODY, finished, parents, told, until

if TYPE_CHECKING:
    from namespace import Check

FEW = ("--no-official", "--interface", "127.0.0.1", "--min-port", "65500", "--confirm", "0")
OK = "PORTCHECK OK - 0 open services on 1 interface, "


def with_fault(check: Check, calls: str, fault: str, *, in_child: bool) -> str:
    """What the check tells when system calls fail, in the parent alone or also in its child."""
    follow = ("-f",) if in_child else ()
    strace = ("strace", *follow, "-o", "/dev/null", "-e", f"trace={calls}")
    command = (*strace, "-e", f"inject={calls}:{fault}", *check.program.command(*FEW))
    return told(check.there.run(*command, env=check.program.environment))


@pytest.mark.parametrize("in_child", [False, True])
@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        ("clone,clone3,fork,vfork", "error=EAGAIN"),
        ("pipe2", "error=EMFILE"),
        ("pipe2", "error=EMFILE:when=2"),
        ("pipe2", "error=ENFILE:when=3"),
        ("pipe2", "error=ENFILE:when=4"),
        ("poll,ppoll", "error=ENOMEM"),
        ("poll,ppoll", "error=EPERM:when=2"),
        ("wait4", "error=ECHILD"),
        ("setpgid", "error=EPERM"),
        ("kill", "error=EPERM"),
        ("dup2,dup3", "error=EBADF"),
        ("fcntl", "error=EINVAL:when=7+"),
        ("rt_sigprocmask", "error=EINVAL"),
        ("rt_sigaction", "error=EINVAL"),
        ("select,pselect6", "error=EPERM"),
        ("eventfd2", "error=EMFILE"),
        ("socket", "error=EMFILE"),
        ("getrandom", "error=ENOSYS"),
    ],
)
def test_a_call_that_is_refused_ends_in_a_line(
    alone: Check, calls: str, fault: str, *, in_child: bool
) -> None:
    text = with_fault(alone, calls, fault, in_child=in_child)
    line, code = text.splitlines()
    assert (line.split(" - ")[0], code) in {
        ("PORTCHECK OK", "exit 0"),
        ("PORTCHECK UNKNOWN", "exit 3"),
    }


def test_a_fork_that_is_refused_is_told(alone: Check) -> None:
    assert with_fault(alone, "clone,clone3", "error=EAGAIN", in_child=False) == (
        "PORTCHECK UNKNOWN - the check could not be started: Resource temporarily unavailable\n"
        "exit 3\n"
    )


def through_shell(check: Check, script: str) -> str:
    """What a script tells that runs the check as ``"$@"``."""
    command = ("sh", "-c", script, "sh", *check.program.command(*FEW))
    return told(check.there.run(*command, env=check.program.environment))


def test_a_caller_that_ignores_sigchld_gets_its_result(alone: Check) -> None:
    assert through_shell(alone, 'trap "" CHLD; exec "$@"').startswith(OK)


ALONE = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
runpy.run_module("check_portcheck", run_name="__main__", alter_sys=True)
"""
"""Runs the check where its user may have no process more."""


def test_a_user_who_may_have_no_process_more_is_told(alone: Check) -> None:
    command = (alone.program.interpreters[NOBODY], "-c", ALONE, *FEW)
    done = alone.there.run(*command, user=NOBODY, env=alone.program.environment)
    assert told(done) == (
        "PORTCHECK UNKNOWN - the check could not be started: Resource temporarily unavailable\n"
        "exit 3\n"
    )


@pytest.mark.parametrize("number", [*range(7, 21)])
def test_few_descriptors_are_enough_or_told(alone: Check, number: int) -> None:
    text = through_shell(alone, f'ulimit -n {number}; exec "$@"')
    line, *_, code = text.splitlines()
    assert (line.split(" - ")[0], code) in {
        ("PORTCHECK OK", "exit 0"),
        ("PORTCHECK UNKNOWN", "exit 3"),
    }


@pytest.mark.parametrize("redirection", ["", "2>&-", "<&- 2>&-"])
def test_nothing_need_be_in_dev(alone: Check, redirection: str) -> None:
    alone.there.shell("mount -t tmpfs tmpfs /dev")
    assert through_shell(alone, f'exec "$@" {redirection}').startswith(OK)


def test_a_parent_that_is_killed_takes_all_along(alone: Check, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    process = alone.start("--config", tmp_path / "fifo")
    until(lambda: process.pid in parents().values(), "no child")
    children = {pid for pid, parent in parents().items() if parent == process.pid}
    process.send_signal(signal.SIGKILL)
    assert finished(process).stdout == ""
    until(lambda: not any(map(is_running, children)), "the child is left")


@pytest.mark.parametrize(
    "psutil", ["raise ImportError('no symbol')", "def half_written(", "# of another version"]
)
def test_a_backdoor_is_told_without_psutil(alone: Check, tmp_path: Path, psutil: str) -> None:
    (tmp_path / "psutil.py").write_text(psutil)
    environment = {"PYTHONPATH": f"{tmp_path}:{alone.program.packages}"}
    with alone.there.listener("127.0.0.1", 65501):
        done = alone.there.run(*alone.program.command(*FEW), env=environment)
    first, *lines = told(done).splitlines()
    assert first.startswith("PORTCHECK CRITICAL - 1 unexpected: 127.0.0.1:65501/tcp user root | ")
    assert lines == [
        "unexpected: 127.0.0.1:65501/tcp user root",
        "note: processes not seen: psutil cannot be imported",
        "exit 2",
    ]


def test_a_rule_with_an_owner_is_unverified_without_psutil(alone: Check, tmp_path: Path) -> None:
    (tmp_path / "psutil.py").write_text("raise ImportError")
    environment = {"PYTHONPATH": f"{tmp_path}:{alone.program.packages}"}
    command = alone.program.command(*FEW, "--optional", "*:65501/tcp@sshd")
    with alone.there.listener("127.0.0.1", 65501):
        text = told(alone.there.run(*command, env=environment))
    assert text.startswith("PORTCHECK UNKNOWN - ")
    assert "psutil cannot be imported" in text


def is_running(pid: int) -> bool:
    """Whether a process is there and no mere entry that nobody has waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
