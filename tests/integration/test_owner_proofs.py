"""What each form of owner proves: sockets that were passed on, inherited, or run by look-alikes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from namespace import NOBODY, until
from test_owner_rules import NOT_ROOT, ONE, PORT, directory_fixture, holding, sleeper
from test_owners import SLEEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from namespace import Check, Namespace

__all__ = ["directory_fixture"]

LISTEN_AND_RUN = f"""
import os, socket, sys
kept = socket.create_server(("", {PORT}))
kept.set_inheritable(True)
os.environ["KEPT"] = str(kept.fileno())
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Becomes another program, with the listener of the user who has started it."""

PASS_ON = f"""
import os, socket, sys, time
one, other = socket.socketpair()
if os.fork():
    with socket.create_server(("", {PORT})) as kept:
        socket.send_fds(one, [b"x"], [kept.fileno()])
    one.recv(1)
    print("ready", flush=True)
    time.sleep(600)
os.setgid({NOBODY})
os.setuid({NOBODY})
_, kept, _, _ = socket.recv_fds(other, 1, 1)
other.send(b"x")
time.sleep(600)
"""
"""Root's listener, passed to a process of nobody; the other keeps none."""

FIRST = f"""
import os, socket, subprocess, sys
def join(group, pid):
    with open(group + "/cgroup.procs", "w") as procs:
        procs.write(str(pid))
own, *groups = sys.argv[1].split(":")
join(own, 0)
kept = socket.create_server(("", {PORT}))
for group in groups:
    started = subprocess.Popen(["{SLEEP}", "600"], pass_fds=[kept.fileno()])
    join(group, started.pid)
done = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, text=True)
print(done.stdout + "exit", done.returncode)
"""
"""Process 1, which opens a socket for those in some groups, joins the first, and runs a check."""

MOUNTED = 'mount --bind "$1" "$2"; echo ready; exec "$2" 600'
"""Another file at the path of a program."""

MOUNTED_AND_GONE = """
mount -t tmpfs tmpfs "${2%/*}"
cp "$1" "$2"
"$2" 600 &
eval "exec $KEPT>&-"
while [ "$(readlink /proc/$!/exe)" != "$2" ]; do :; done
rm "$2"
echo ready
wait
"""
"""Another file at the path of a program, as if that had been replaced meanwhile."""

INIT = "init.scope"
GOOD, EVIL = "system.slice/pc-good.service", "system.slice/pc-evil.service"
OF_A_USER = "user.slice/user-1000.slice/user@1000.service/app.slice/pc-good.service"
"""Where a user's own systemd has a unit of that name."""

UNDECIDED = "UNKNOWN not determined (held by process 1 alone: allow unit:init.scope too)"


def required(*owners: str) -> tuple[str, ...]:
    return (*ONE, "--required", "*:" + ",".join(f"{PORT}/tcp@{owner}" for owner in owners))


def verdict(text: str) -> str:
    """The state, and what is said of the owner."""
    return f"{text.split()[1]} {text.partition(': owner ')[2].partition(', expected')[0]}".strip()


@contextlib.contextmanager
def started(there: Namespace, *argv: str, user: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A program with its children, which end with it."""
    with there.start(*argv, user=user, stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


def await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdout.readline() == "ready\n"


# user: the one who opened it


@pytest.mark.parametrize("user", [0, NOBODY])
def test_a_setuid_program_does_not_make_a_listener_roots(check: Check, user: int) -> None:
    python = check.program.interpreters[NOBODY]
    command = (python, "-c", LISTEN_AND_RUN, "su", "root")
    with started(check.there, *command, user=NOBODY) as su:
        until(lambda: psutil.Process(su.pid).uids()[:2] == (NOBODY, 0), "su at its prompt")
        roots = check.output(*required("user:root"), user=user)
        nobodys = check.output(*required("user:nobody"), user=user)
    assert verdict(roots) == "CRITICAL user:nobody"
    assert verdict(nobodys) == "OK"


@pytest.mark.parametrize("user", [0, NOBODY])
def test_a_listener_that_was_passed_on_stays_that_of_the_user_who_opened_it(
    check: Check, user: int
) -> None:
    with started(check.there, sys.executable, "-c", PASS_ON) as root:
        await_ready(root)
        roots = check.output(*required("user:root"), user=user)
        nobodys = check.output(*required("user:nobody"), user=user)
    assert verdict(roots) == "OK"
    assert verdict(nobodys) == "CRITICAL user:root"


# unit: every process that holds it, process 1 apart


@pytest.fixture(name="groups")
def groups_fixture(check: Check, tmp_path: Path) -> Iterator[Path]:
    """Control groups as systemd makes them; they go in the end."""
    top = tmp_path / f"pc-{os.getpid()}.slice"
    made = " ".join(f"{top}/{group}" for group in (INIT, GOOD, EVIL, OF_A_USER))
    check.there.shell(f"mount -t cgroup2 cgroup2 {tmp_path}; mkdir -p {made}")
    yield top
    check.there.shell(f"find {top} -depth -type d -exec rmdir {{}} +")


@pytest.mark.parametrize(
    ("holders", "said"),
    [
        ((GOOD,), "OK"),
        ((GOOD, GOOD), "OK"),
        ((GOOD, EVIL), "CRITICAL unit:pc-evil.service and unit:pc-good.service"),
        ((OF_A_USER,), "CRITICAL unit:user@1000.service"),
    ],
)
def test_a_unit_has_every_process_that_holds_the_socket(
    check: Check, groups: Path, holders: tuple[str, ...], said: str
) -> None:
    with holding(check.there, *[[SLEEP, "600"]] * len(holders)) as (_, pids):
        for group, pid in zip(holders, pids, strict=True):
            check.there.shell(f"echo {pid} >{groups}/{group}/cgroup.procs")
        seen = check.output(*required("unit:pc-good.service"))
        unprivileged = check.output(*required("unit:pc-good.service"), user=NOBODY)
    assert verdict(seen) == said
    assert verdict(unprivileged) == f"UNKNOWN {NOT_ROOT.removeprefix('owner ')}"


@pytest.mark.parametrize(
    ("holders", "owners", "said"),
    [
        ((), ("unit:pc-good.service",), UNDECIDED),
        ((), ("unit:pc-good.socket",), UNDECIDED),
        ((GOOD,), ("unit:pc-good.service",), "OK"),
        ((), ("unit:pc-good.service", "unit:init.scope"), "OK"),
        ((GOOD,), ("unit:pc-good.service", "unit:init.scope"), "OK"),
        (
            (GOOD, EVIL),
            ("unit:pc-good.service", "unit:init.scope"),
            "CRITICAL unit:pc-evil.service and unit:pc-good.service",
        ),
        ((), ("user:root",), "OK"),
        ((GOOD,), ("user:root",), "OK"),
        ((GOOD,), ("sleep",), "OK"),
        ((), ("sleep", "{name}"), "OK"),
        ((), ("sleep",), "CRITICAL {name}"),
    ],
)
def test_process_1_may_hold_the_socket_before_and_beside_the_service(
    check: Check, groups: Path, holders: tuple[str, ...], owners: tuple[str, ...], said: str
) -> None:
    name = Path(sys.executable).name
    first = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable]
    joined = ":".join(f"{groups}/{group}" for group in (INIT, *holders))
    wanted = [owner.format(name=name) for owner in owners]
    done = check.there.run(
        *(*first, "-c", FIRST, joined, *check.program.command(*required(*wanted))),
        env=check.program.environment,
    )
    assert done.stderr == ""
    assert verdict(done.stdout) == said.format(name=name)


# Program files and names: one process that has it, whoever that is


@pytest.mark.parametrize("by_path", [False, True])
def test_a_child_that_holds_the_socket_at_times_changes_nothing(
    check: Check, directory: Path, *, by_path: bool
) -> None:
    master, smtpd = sleeper(directory, "master"), sleeper(directory, "smtpd")
    wanted = master if by_path else "master"
    with holding(check.there, [master, "600"]):
        assert verdict(check.output(*required(wanted))) == "OK"
    with holding(check.there, [smtpd, "600"], [master, "600"]):
        assert verdict(check.output(*required(wanted))) == "OK"


def test_any_user_may_run_a_program_file_and_take_a_name(check: Check, directory: Path) -> None:
    daemon = sleeper(directory, "daemon")
    with holding(check.there, [daemon, "600"], user="nobody"):
        assert verdict(check.output(*required(daemon))) == "OK"
        assert verdict(check.output(*required("daemon"))) == "OK"


@pytest.mark.parametrize("script", [MOUNTED, MOUNTED_AND_GONE])
@pytest.mark.parametrize("user", [0, NOBODY])
def test_another_file_that_somebody_has_mounted_at_the_path_is_not_the_program(
    check: Check, directory: Path, user: int, script: str
) -> None:
    daemon = sleeper(directory, "daemon")
    alone = ["unshare", "--mount"] if user == 0 else ["unshare", "--map-root-user", "--mount"]
    command = (*alone, "sh", "-e", "-c", script, "sh", SLEEP, daemon)
    python = check.program.interpreters[user]
    with started(check.there, python, "-c", LISTEN_AND_RUN, *command, user=user) as process:
        await_ready(process)
        until(lambda: any(map(runs(daemon), family(process.pid))), "the program at its start")
        by_file, by_name = check.output(*required(daemon)), check.output(*required("daemon"))
    assert verdict(by_file) == f"CRITICAL {daemon} (not the file here)"
    assert verdict(by_name) == "OK"


def family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children())]


def runs(program: str) -> Callable[[int], bool]:
    return lambda pid: str(Path(f"/proc/{pid}/exe").readlink()).startswith(program)
