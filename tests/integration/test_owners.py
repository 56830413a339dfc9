from __future__ import annotations

import contextlib
import ctypes
import itertools
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import psutil  # here, since `nobody` may not read the files of root's interpreter
import pytest

from check_portcheck import owners, sockettable

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

NAMED = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]))
print("ready", flush=True)
time.sleep(60)
"""
FIRST_THREAD_ENDS = """
import ctypes, threading, time
def wait():
    with open("/proc/self/stat") as stat:
        while " Z " not in stat.read():
            stat.seek(0)
            time.sleep(0.01)
    print("ready", flush=True)
    time.sleep(60)
threading.Thread(target=wait).start()
ctypes.CDLL(None).pthread_exit(None)
"""
IN_A_CONTAINER = """
import socket, sys, time
from check_portcheck import owners, sockettable
own = socket.create_server(("", 0))
table = sockettable.read()
found = owners.find(table, time.monotonic() + 30, sockettable.read)
for row in sorted(table, key=lambda row: row.inode):
    owner = found[row]
    print(owner.kernel, len(owner.processes), owner.unseen)
"""


def checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def isolated(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What *function* gives in a process with network and mounts of its own."""
    with ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("fork"),
        initializer=enter_own_namespaces,
    ) as pool:
        return pool.submit(function, *args, **kwargs).result()


def enter_own_namespaces() -> None:
    checked(LIBC.unshare(CLONE_NEWNET | CLONE_NEWNS))
    checked(LIBC.mount(None, b"/", None, MS_PRIVATE_ALL, None))


def hide_processes() -> None:
    checked(LIBC.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=2"))


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


@contextlib.contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def held_by(*command: str, **options: Any) -> Iterator[tuple[Socket, subprocess.Popen[bytes]]]:
    """A listener that only *command* holds."""
    with socket.create_server(("", 0)) as listener:
        row = row_of(listener)
        process = running(*command, pass_fds=[listener.fileno()], **options)
        holder = process.__enter__()
    try:
        yield row, holder
    finally:
        process.__exit__(None, None, None)


def row_of(listener: socket.socket) -> Socket:
    inode = os.fstat(listener.fileno()).st_ino
    return next(row for row in sockettable.read() if row.inode == inode)


def owner_of(row: Socket, seconds: float = 30) -> Owner:
    return owners.find([row], time.monotonic() + seconds, sockettable.read)[row]


def holder_of(*command: str, ready: bool = False, **options: Any) -> Process:
    """What is found for *command*; it writes a line first when it has to get *ready*."""
    with held_by(*command, **options) as (row, holder):
        if ready:
            assert holder.stdout
            assert holder.stdout.readline() == b"ready\n"
        (found,) = owner_of(row).processes
        assert found.pid == holder.pid
        return found


def test_details_of_the_holder() -> None:
    earliest = time.time() - 2  # the kernel's start times have a base of whole seconds
    found = isolated(holder_of, SLEEP, "60", user="nobody")
    assert (found.name, found.executable) == ("sleep", os.path.realpath(SLEEP))
    assert (found.command, found.user) == ((SLEEP, "60"), "nobody")
    assert found.started
    assert earliest <= found.started <= time.time() + 2


def inherited() -> tuple[Owner, list[int]]:
    with socket.create_server(("", 0)) as listener:
        descriptors = [listener.fileno()]
        with (
            running(SLEEP, "60", pass_fds=descriptors) as first,
            running(SLEEP, "60", pass_fds=descriptors) as second,
            running(SLEEP, "60"),
        ):
            return owner_of(row_of(listener)), [os.getpid(), first.pid, second.pid]


def test_every_process_that_inherited_the_socket_is_found_the_first_in_front() -> None:
    owner, pids = isolated(inherited)
    assert [process.pid for process in owner.processes] == pids
    assert (owner.user, owner.kernel, owner.unseen) == ("root", False, None)


def twins() -> list[tuple[str, ...]]:
    with contextlib.ExitStack() as stack:
        rows: list[Socket] = []
        port = 0
        for program in ("sleep", "tail"):
            with socket.create_server(("", port), reuse_port=True) as listener:
                port = listener.getsockname()[1]
                rows.append(row_of(listener))
                arguments = ["60"] if program == "sleep" else ["-f", "/dev/null"]
                fd = listener.fileno()
                stack.enter_context(running(program, *arguments, pass_fds=[fd]))
        found = owners.find(rows, time.monotonic() + 30, sockettable.read)
        return [tuple(process.name for process in found[row].processes) for row in rows]


def test_sockets_that_share_a_port_have_their_own_owners() -> None:
    assert isolated(twins) == [("sleep",), ("tail",)]


def two_by_one() -> bool:
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        asked = row_of(one)
        found = owners.find([asked], time.monotonic() + 30, sockettable.read)
        return row_of(other) != asked and found.keys() == {asked}


def test_only_the_sockets_asked_for_are_answered() -> None:
    assert isolated(two_by_one)


def upgraded(program: Path) -> Process:
    with held_by(str(program), "60") as (row, _):
        shutil.copy(SLEEP, f"{program}.new")
        Path(f"{program}.new").replace(program)
        (found,) = owner_of(row).processes
        return found


def test_an_upgraded_daemon_keeps_its_executable(tmp_path: Path) -> None:
    program = tmp_path / "daemon"
    shutil.copy(SLEEP, program)
    assert isolated(upgraded, program).executable == str(program)


def test_a_name_that_the_kernel_cuts_is_whole(tmp_path: Path) -> None:
    program = tmp_path / "daemon-with-a-long-name"
    shutil.copy(SLEEP, program)
    assert isolated(holder_of, str(program), "60").name == "daemon-with-a-long-name"


@pytest.mark.parametrize(
    "name", [b"a\n|b'\"", b"\x1b[31mred", b"\xff\xfe\xc3(", b"x) Z 1 (y", b" "]
)
def test_a_hostile_name_is_given_as_it_is(name: bytes) -> None:
    found = isolated(holder_of, sys.executable, "-c", NAMED, name.hex(), ready=True)
    assert os.fsencode(found.name) == name


def test_a_hostile_command_line_is_given_as_it_is_but_bounded() -> None:
    shell = ["/bin/sh", "-c", "sleep 60; :"]
    hostile = ["\n|\x1b[0m", "\udcff", "", "x" * 4096]
    found = isolated(holder_of, *shell, *hostile, *["y"] * 4096, start_new_session=True)
    assert found.command[: len(shell) + 3] == (*shell, *hostile[:3])
    assert len(" ".join(found.command)) <= 1000


def test_a_command_line_does_not_make_a_name_long() -> None:
    name = "n" * 15
    command = [name + "n" * 4096, "-c", NAMED, name.encode().hex()]
    found = isolated(holder_of, *command, executable=sys.executable, ready=True)
    assert found.name == "n" * 255
    assert found.executable == os.path.realpath(sys.executable)


def with_deep_path(directory: Path) -> Process:
    os.chdir(directory)
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    shutil.copy(SLEEP, "daemon")
    with open("file", "w") as held, held_by("./daemon", "60", stderr=held) as (row, _):
        (found,) = owner_of(row).processes
        return found


def test_paths_longer_than_the_kernel_can_write_do_no_harm(tmp_path: Path) -> None:
    found = isolated(with_deep_path, tmp_path)
    assert (found.name, found.executable) == ("daemon", None)


def test_a_process_whose_first_thread_has_ended_is_found() -> None:
    found = isolated(holder_of, sys.executable, "-c", FIRST_THREAD_ENDS, ready=True)
    assert (found.command, found.executable) == ((), None)


def mptcp() -> tuple[Owner, int]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as listener:
        listener.bind(("", 0))
        listener.listen()
        return owner_of(row_of(listener)), os.getpid()


def test_the_holder_of_a_multipath_listener_is_found() -> None:
    owner, pid = isolated(mptcp)
    assert [process.pid for process in owner.processes] == [pid]


def in_group(directory: Path, name: str) -> Process:
    checked(LIBC.mount(b"cgroup2", bytes(directory), b"cgroup2", 0, None))
    group = directory / name
    group.mkdir()
    try:
        with held_by(SLEEP, "60") as (row, holder):
            (group / "cgroup.procs").write_text(str(holder.pid))
            (found,) = owner_of(row).processes
            return found
    finally:
        group.rmdir()


def test_the_unit_is_that_of_the_control_group(tmp_path: Path) -> None:
    name = f"check_portcheck-{os.getpid()}.service"
    assert isolated(in_group, tmp_path, name).unit == name


def among_short_lived() -> set[tuple[str, ...]]:
    with (
        held_by(SLEEP, "60") as (row, _),
        running("/bin/sh", "-c", "while :; do /bin/true; done"),
    ):
        looks = [owner_of(row) for _ in range(30)]
        return {tuple(process.name for process in look.processes) for look in looks}


def test_processes_that_end_meanwhile_do_no_harm() -> None:
    assert isolated(among_short_lived) == {("sleep",)}


def vxlan() -> tuple[Owner, Owner, Owner, Owner]:
    """Owners of a socket of the kernel: as root, in no time, when it is closed, and as nobody."""
    subprocess.run(
        ["ip", "link", "add", "vxlan0", "type", "vxlan", "id", "1", "dstport", "4789"], check=True
    )
    subprocess.run(["ip", "link", "set", "vxlan0", "up"], check=True)
    row = next(row for row in sockettable.read() if row.port == 4789)
    seen, late = owner_of(row), owner_of(row, seconds=-1)
    subprocess.run(["ip", "link", "delete", "vxlan0"], check=True)
    closed = owner_of(row)
    become_nobody()
    return seen, late, closed, owner_of(row)


def test_a_socket_of_the_kernel() -> None:
    seen, late, closed, unprivileged = isolated(vxlan)
    assert (seen.kernel, seen.user, seen.processes, seen.unseen) == (True, "root", (), None)
    assert (late.kernel, late.unseen) == (False, "time limit")
    assert (closed.kernel, closed.unseen) == (False, "closed meanwhile")
    assert (unprivileged.kernel, unprivileged.user) == (False, "root")
    assert unprivileged.unseen == "not root"


def in_flight() -> Owner:
    """The owner of a user's socket that is on its way from process to process."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.seteuid(NOBODY)
        with socket.create_server(("", 0)) as listener:
            os.seteuid(0)
            row = row_of(listener)
            socket.send_fds(ours, [b"x"], [listener.fileno()])
        return owner_of(row)


def test_a_socket_of_a_user_is_never_the_kernels() -> None:
    owner = isolated(in_flight)
    assert (owner.kernel, owner.user, owner.unseen) == (False, "nobody", "no process found")


def by_nobody(holder_user: str, *, hidden: bool, unprivileged: bool = True) -> Owner:
    if hidden:
        hide_processes()
    with held_by(SLEEP, "60", user=holder_user) as (row, _):
        if unprivileged:
            # The holder is ended by a process that may do so.
            return look_as_nobody(row)
        return owner_of(row)


def look_as_nobody(row: Socket) -> Owner:
    inlet, outlet = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        become_nobody()
        outlet.send(owner_of(row))
        os._exit(0)
    outlet.close()
    owner: Owner = inlet.recv()
    os.waitpid(pid, 0)
    return owner


def test_without_root_the_user_is_known_and_why_the_process_is_not() -> None:
    owner = isolated(by_nobody, "root", hidden=False)
    assert (owner.user, owner.processes, owner.kernel) == ("root", (), False)
    assert owner.unseen == "not root"


def test_without_root_a_process_of_the_same_user_is_found_but_may_not_be_the_only_one() -> None:
    owner = isolated(by_nobody, "nobody", hidden=False)
    assert [process.name for process in owner.processes] == ["sleep"]
    assert owner.unseen == "not root"


def test_hidden_processes_are_said_to_be_hidden() -> None:
    owner = isolated(by_nobody, "root", hidden=True)
    assert (owner.user, owner.processes, owner.kernel) == ("root", (), False)
    assert owner.unseen == "hidepid"


def test_root_sees_hidden_processes() -> None:
    owner = isolated(by_nobody, "nobody", hidden=True, unprivileged=False)
    assert [process.name for process in owner.processes] == ["sleep"]
    assert owner.unseen is None


def from_a_container() -> list[str]:
    with socket.create_server(("", 0)):
        apart = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        python = [sys.executable, "-c", IN_A_CONTAINER]
        done = subprocess.run([*apart, *python], check=True, capture_output=True, text=True)
        return done.stdout.splitlines()


def test_a_holder_outside_the_own_container_is_not_taken_for_the_kernel() -> None:
    outside, inside = isolated(from_a_container)
    assert outside == "False 0 holder outside this container"
    assert inside == "False 1 None"
