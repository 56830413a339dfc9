from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import psutil
import pytest

from check_portcheck.deadline import Deadline
from check_portcheck.kernel import owners, sockettable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from check_portcheck.model import Owner, Process, Socket

P = ParamSpec("P")
T = TypeVar("T")

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_PRIVATE_ALL = 0x4000 | 0x40000
IPPROTO_MPTCP = 262
NOBODY = 65534
SLEEP = "/usr/bin/sleep"
WAIT_AS = ["/bin/sh", "-c", "read line"]
"""Waits without a child, whatever arguments follow."""

NAMED = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]))
print("ready", flush=True)
time.sleep(600)
"""
FIRST_THREAD_ENDS = """
import ctypes, threading, time
def wait():
    while " Z " not in open("/proc/self/stat").read():
        time.sleep(0.01)
    print("ready", flush=True)
    time.sleep(600)
threading.Thread(target=wait).start()
ctypes.CDLL(None).pthread_exit(None)
"""
LOOK = """
import os, socket
from check_portcheck.deadline import Deadline
from check_portcheck.kernel import owners, sockettable
own = socket.create_server(("", 0))
table = sockettable.rows()
found = owners.find(table, Deadline.after(30), sockettable.rows)
for row in sorted(table, key=lambda row: row.inode == os.fstat(own.fileno()).st_ino):
    print(found[row].kernel, len(found[row].processes), found[row].unseen)
"""
"""Says what is found of the sockets that are there, then of one of its own."""


def isolated(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What *function* gives in a process with a network and mounts of its own."""
    with ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("fork"),
        initializer=enter_own_namespaces,
    ) as pool:
        return pool.submit(function, *args, **kwargs).result()


def enter_own_namespaces() -> None:
    checked(LIBC.unshare(CLONE_NEWNET | CLONE_NEWNS))
    checked(LIBC.mount(None, b"/", None, MS_PRIVATE_ALL, None))


def mount(kind: bytes, place: str, options: bytes | None = None) -> None:
    checked(LIBC.mount(kind, place.encode(), kind, 0, options))


def checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def leave_out_process_1() -> None:
    """Cover it by one without descriptors: not every machine lets root examine its own."""
    mount(b"tmpfs", "/proc/1")
    Path("/proc/1/fd").mkdir()
    Path("/proc/1/task").mkdir()


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        assert psutil.Process().uids().effective == NOBODY
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextlib.contextmanager
def running(
    command: list[str],
    *held: socket.socket,
    executable: str | None = None,
    user: str | None = None,
    group: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the sockets *held*."""
    process = subprocess.Popen(
        command,
        executable=executable,
        user=user,
        group=group,
        pass_fds=[each.fileno() for each in held],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def listen(port: int = 0) -> socket.socket:
    return socket.create_server(("", port), reuse_port=True)


def row_of(listener: socket.socket) -> Socket:
    inode = os.fstat(listener.fileno()).st_ino
    return next(row for row in sockettable.rows() if row.inode == inode)


def owner_of(row: Socket, seconds: float = 30) -> Owner:
    return owners.find([row], Deadline.after(seconds), sockettable.rows)[row]


def holder(
    command: list[str],
    *,
    ready: bool = False,
    executable: str | None = None,
    user: str | None = None,
) -> Process:
    """What is found for *command*; it writes a line first when it has to get *ready*."""
    with listen() as listener:
        row = row_of(listener)
        with running(command, listener, executable=executable, user=user) as process:
            listener.close()
            if ready:
                assert process.stdout
                assert process.stdout.readline() == b"ready\n"
            (found,) = owner_of(row).processes
            assert found.pid == process.pid
            return found


def test_details_of_the_holder() -> None:
    earliest = time.time() - 2  # the kernel's start times count from a whole second
    found = isolated(holder, [SLEEP, "600"], user="nobody")
    assert (found.name, found.executable) == ("sleep", os.path.realpath(SLEEP))
    assert (found.command, found.user) == ((SLEEP, "600"), "nobody")
    assert found.started
    assert earliest <= found.started <= time.time() + 2


def inherited() -> tuple[Owner, set[int]]:
    with (
        listen() as listener,
        running([SLEEP, "600"], listener) as first,
        running([SLEEP, "600"], listener) as second,
        running([SLEEP, "600"]),
    ):
        return owner_of(row_of(listener)), {os.getpid(), first.pid, second.pid}


def test_every_process_that_inherited_the_socket_is_found_in_the_order_of_numbers() -> None:
    owner, pids = isolated(inherited)
    assert [process.pid for process in owner.processes] == sorted(pids)
    assert (owner.user, owner.kernel, owner.unseen) == ("root", False, None)


def twins() -> list[set[str]]:
    with (
        listen() as one,
        listen(one.getsockname()[1]) as other,
        running([SLEEP, "600"], one),
        running(["tail", "-f", "/dev/null"], other),
    ):
        rows = [row_of(one), row_of(other)]
        found = owners.find(rows, Deadline.after(30), sockettable.rows)
        return [
            {process.name for process in found[row].processes if process.pid != os.getpid()}
            for row in rows
        ]


def test_sockets_that_share_a_port_have_their_own_owners() -> None:
    assert isolated(twins) == [{"sleep"}, {"tail"}]


def one_of_two() -> bool:
    with listen() as one, listen() as other:
        asked = row_of(one)
        found = owners.find([asked], Deadline.after(30), sockettable.rows)
        return row_of(other) != asked and found.keys() == {asked}


def test_only_the_sockets_asked_for_are_answered() -> None:
    assert isolated(one_of_two)


def upgraded(program: Path) -> Process:
    with listen() as listener, running([str(program), "600"], listener) as process:
        shutil.copy(SLEEP, f"{program}.new")
        Path(f"{program}.new").replace(program)
        found = {each.pid: each for each in owner_of(row_of(listener)).processes}
        return found[process.pid]


def test_an_upgraded_daemon_keeps_its_executable(tmp_path: Path) -> None:
    program = tmp_path / "daemon"
    shutil.copy(SLEEP, program)
    assert isolated(upgraded, program).executable == str(program)


def test_a_name_that_the_kernel_cuts_is_whole(tmp_path: Path) -> None:
    program = tmp_path / "daemon-with-a-long-name"
    shutil.copy(SLEEP, program)
    assert isolated(holder, [str(program), "600"]).name == "daemon-with-a-long-name"


@pytest.mark.parametrize("name", [b"a\n|b'\"", b"\x1b[31mred", b"\xff\xc3(", b"x) Z 1 (y", b" "])
def test_a_hostile_name_is_given_as_it_is(name: bytes) -> None:
    found = isolated(holder, [sys.executable, "-c", NAMED, name.hex()], ready=True)
    assert os.fsencode(found.name) == name


def test_a_hostile_command_line_is_given_as_it_is() -> None:
    command = [*WAIT_AS, "\n|\x1b[0m", "\udcff", ""]
    assert isolated(holder, command).command == tuple(command)


def test_a_long_command_line_is_bounded() -> None:
    found = isolated(holder, [*WAIT_AS, "x" * 4096, *["y"] * 4096])
    assert found.command[:3] == tuple(WAIT_AS)
    assert 900 < len(" ".join(found.command)) <= 1000


def test_a_command_line_does_not_make_a_name_long(tmp_path: Path) -> None:
    program = tmp_path / ("n" * 20)
    shutil.copy(SLEEP, program)
    found = isolated(holder, ["n" * 4096, "600"], executable=str(program))
    assert found.name == "n" * 255


def with_deep_path(directory: Path) -> Process:
    os.chdir(directory)
    for _ in range(20):
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    shutil.copy(SLEEP, "daemon")
    with Path("daemon").open():
        return holder(["./daemon", "600"])


def test_paths_longer_than_the_kernel_can_write_do_no_harm(tmp_path: Path) -> None:
    found = isolated(with_deep_path, tmp_path)
    assert (found.name, found.executable) == ("daemon", None)


def test_a_process_whose_first_thread_has_ended_is_found() -> None:
    found = isolated(holder, [sys.executable, "-c", FIRST_THREAD_ENDS], ready=True)
    assert (found.command, found.executable) == ((), None)


def multipath() -> tuple[Owner, int]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as listener:
        listener.bind(("", 0))
        listener.listen()
        return owner_of(row_of(listener)), os.getpid()


def test_the_holder_of_a_multipath_listener_is_found() -> None:
    owner, pid = isolated(multipath)
    assert [process.pid for process in owner.processes] == [pid]


def in_group(directory: Path, name: str) -> str | None:
    mount(b"cgroup2", str(directory))
    group = directory / name
    group.mkdir()
    try:
        with listen() as listener:
            row = row_of(listener)
            with running([SLEEP, "600"], listener) as process:
                listener.close()
                (group / "cgroup.procs").write_text(str(process.pid))
                return owner_of(row).processes[0].unit
    finally:
        group.rmdir()


def test_the_unit_is_that_of_the_control_group(tmp_path: Path) -> None:
    name = f"check_portcheck-{os.getpid()}.service"
    assert isolated(in_group, tmp_path, name) == name


def among_short_lived() -> set[int]:
    with listen() as listener, running(["/bin/sh", "-c", "while :; do /bin/true; done"]):
        row = row_of(listener)
        return {len(owner_of(row).processes) for _ in range(30)}


def test_processes_that_end_meanwhile_do_no_harm() -> None:
    assert isolated(among_short_lived) == {1}


def vxlan() -> tuple[Owner, Owner, Owner, Owner]:
    """Owners of a socket of the kernel: as root, in no time, as nobody, and when it is closed."""
    leave_out_process_1()
    link = ["ip", "link", "add", "vxlan0", "up", "type", "vxlan", "id", "1", "dstport", "4789"]
    subprocess.run(link, check=True)
    row = next(row for row in sockettable.rows() if row.port == 4789)
    seen, late = owner_of(row), owner_of(row, seconds=-1)
    with as_nobody():
        unprivileged = owner_of(row)
    subprocess.run(["ip", "link", "delete", "vxlan0"], check=True)
    return seen, late, unprivileged, owner_of(row)


def test_a_socket_of_the_kernel() -> None:
    seen, late, unprivileged, closed = isolated(vxlan)
    assert (seen.kernel, seen.user, seen.processes, seen.unseen) == (True, "root", (), None)
    assert (late.kernel, late.unseen) == (False, "time limit")
    assert (unprivileged.kernel, unprivileged.user) == (False, "root")
    assert unprivileged.unseen == "not root"
    assert (closed.kernel, closed.unseen) == (False, "closed meanwhile")


def in_flight() -> Owner:
    """The owner of a socket that has left one process and not reached another."""
    leave_out_process_1()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.seteuid(NOBODY)
        listener = listen()
        os.seteuid(0)
        row = row_of(listener)
        socket.send_fds(ours, [b"x"], [listener.fileno()])
        listener.close()
        return owner_of(row)


def test_a_socket_of_a_user_that_no_process_holds_is_not_taken_for_the_kernels() -> None:
    owner = isolated(in_flight)
    assert (owner.kernel, owner.user, owner.unseen) == (False, "nobody", "no process found")


def by_nobody(holder_user: str, holder_group: str, *, hidden: bool) -> tuple[Owner, Owner]:
    """The owner that nobody sees, and the one that root sees."""
    if hidden:
        mount(b"proc", "/proc", b"hidepid=2")
    with listen() as listener:
        row = row_of(listener)
        with running([SLEEP, "600"], listener, user=holder_user, group=holder_group):
            listener.close()
            with as_nobody():
                seen = owner_of(row)
            return seen, owner_of(row)


@pytest.mark.parametrize(("hidden", "reason"), [(False, "not root"), (True, "hidepid")])
def test_without_root_the_user_is_known_and_why_the_process_is_not(
    *, hidden: bool, reason: str
) -> None:
    seen, by_root = isolated(by_nobody, "root", "root", hidden=hidden)
    assert (seen.user, seen.processes, seen.kernel, seen.unseen) == ("root", (), False, reason)
    assert ([process.name for process in by_root.processes], by_root.unseen) == (["sleep"], None)


def test_without_root_a_process_of_the_same_user_is_found() -> None:
    seen, by_root = isolated(by_nobody, "nobody", "nogroup", hidden=False)
    assert [process.name for process in seen.processes] == ["sleep"]
    assert (seen.others, by_root.others) == ("not root", None)
    assert seen._replace(others=None) == by_root


def looked(*prefix: str) -> list[str]:
    with listen():
        command = [*prefix, sys.executable, "-c", LOOK]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()


def test_a_holder_outside_the_own_container_is_not_taken_for_the_kernel() -> None:
    outside, own = isolated(looked, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    assert outside == "False 0 holder outside this container"
    assert own == "False 1 None"


def test_root_without_its_capabilities_says_so() -> None:
    other, own = isolated(looked, "setpriv", "--bounding-set", "-sys_ptrace")
    assert other == "False 0 permission denied"
    assert own == "False 1 None"
