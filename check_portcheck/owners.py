"""Who holds a socket: the processes, or the kernel itself."""

from __future__ import annotations

import errno
import os
import pwd
import re
import time
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from check_portcheck.model import Owner, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from check_portcheck.model import Socket

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the machine's own pid namespace (PROC_PID_INIT_INO, linux/proc_ns.h)."""
_TIME_LIMIT = "time limit"
_UNIT_SUFFIXES = (".service", ".scope", ".socket", ".mount", ".swap")
_CONTAINER = re.compile(r"(?:^|[-:])([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?$")
"""``docker-ID.scope``, ``libpod-ID.scope``, ``cri-containerd-ID.scope``, ``/docker/ID``."""


def find(
    sockets: Collection[Socket], deadline: float, table: Callable[[], Iterable[Socket]]
) -> dict[Socket, Owner]:
    """The owner of each of *sockets*, as far as it can be seen until *deadline* (time.monotonic).

    That the kernel listens is only said when nothing else is left: every process of the machine
    was examined, twice; *table*, which reads the socket table anew, still lists the socket; and
    root opened it. Even so root can feign it, with a descriptor that only io_uring or only one
    thread has. Raises only what *table* raises.
    """
    asked = {socket for socket in sockets if socket.inode}
    owners, gap = _look(asked, deadline)
    if gap is None:
        # A descriptor that passes from one process to another during the walk (a daemon that
        # forks into the background, SCM_RIGHTS) may be missed once.
        held = {socket for socket, owner in owners.items() if owner.processes}
        again, gap = _look(asked - held, deadline)
        owners |= again
    if gap is None and not _sees_whole_machine():
        gap = "holder outside this container"
    unheld = gap is None and asked - owners.keys()
    present = {row.inode for row in table()} if unheld else set()
    rest = set(sockets) - owners.keys()
    return owners | {socket: _without_process(socket, gap, present) for socket in rest}


def script(process: Process) -> str | None:
    """What an interpreter runs: ``/srv/app.py``, ``-m http.server``, ``-jar app.jar``.

    None for other programs, for program text on the command line, and where it cannot be told.
    """
    options = _interpreter_options(process)
    runs, valued, inline = options or ((), (), ())
    arguments = iter(process.command[1:])
    for argument in arguments if options else ():
        option = argument
        if option not in (*runs, *valued) and _CLUSTER.fullmatch(option):
            option = "-" + option[-1]  # the one that may take the next argument: bash -euo
        if option in runs:
            following = next(arguments, "")
            return f"{option} {following}" if following else None
        if option in valued:
            next(arguments, None)
        elif option in ("", "-", *inline):
            return None
        elif argument == "--":
            return next(arguments, None) or None
        elif argument[0] not in "-+":
            return argument
    return None


def unit(cgroups: str) -> str | None:
    """The systemd unit, or ``container:ID``, that the text of a /proc/PID/cgroup names.

    What counts is the topmost group that is no slice, as in sd_pid_get_unit(3): below it a user
    may have the right to make groups of any name.
    """
    for line in cgroups.split("\n"):
        _, _, rest = line.partition(":")
        hierarchy, _, path = rest.partition(":")
        if hierarchy not in ("", "name=systemd"):  # v2, and systemd's own of v1 (cgroups(7))
            continue
        groups = [g for g in path.split("/") if g not in ("", "..") and not g.endswith(".slice")]
        for depth, group in enumerate(groups):
            if found := _CONTAINER.search(group):
                return f"container:{found[1]}"
            if depth == 0 and group.endswith(_UNIT_SUFFIXES):
                return group.removeprefix("_")  # systemd's escape for a name that is taken
    return None


def _without_process(socket: Socket, gap: str | None, present: Collection[int | None]) -> Owner:
    """The owner of a socket that no process was seen to hold."""
    if socket.inode is None:
        unseen: str | None = "socket table without owners"
    elif socket.inode == 0:
        unseen = None  # no descriptor can refer to it
    elif gap is None and socket.inode not in present:
        unseen = "closed meanwhile"
    elif gap is None and socket.uid != 0:
        # The kernel's sockets belong to whom it opens them for: root, for all its services.
        unseen = "no process found"
    else:
        unseen = gap
    return Owner(user=_user(socket.uid), kernel=unseen is None, unseen=unseen)


def _look(sockets: Collection[Socket], deadline: float) -> tuple[dict[Socket, Owner], str | None]:
    """The owners of those sockets that processes hold, and why not every process was examined."""
    if not sockets:
        return {}, None
    pids, gap = _walk({f"socket:[{socket.inode}]" for socket in sockets}, deadline)
    processes: dict[int, Process | None] = {}
    for pid in sorted(set().union(*pids.values())):
        if time.monotonic() > deadline:
            gap = _TIME_LIMIT
            break
        try:
            processes[pid] = _process(pid)
        except PermissionError:
            gap = _refused()
    owners: dict[Socket, Owner] = {}
    for socket in sockets:
        if held := pids.get(f"socket:[{socket.inode}]"):
            known = [process for pid in held if (process := processes.get(pid))]
            known.sort(key=lambda process: (process.started or 0.0, process.pid))
            # A process that may not be examined shares a socket with others only by exception.
            complete = known and gap != _TIME_LIMIT
            unseen = None if complete else gap or "holder ended meanwhile"
            owners[socket] = Owner(_user(socket.uid), tuple(known), unseen=unseen)
    return owners, gap


def _walk(links: Collection[str], deadline: float) -> tuple[dict[str, set[int]], str | None]:
    """The processes that have a descriptor with one of *links*, and why not all were examined."""
    holders: defaultdict[str, set[int]] = defaultdict(set)
    with os.scandir("/proc") as entries:
        pids = [entry.name for entry in entries if entry.name.isdecimal()]
    # Whoever may not see process 1 is not shown the processes of others (proc(5), hidepid).
    gap = None if "1" in pids else "hidepid"
    for pid in pids:
        try:
            for link in _descriptors(pid):
                if link in links:
                    holders[link].add(int(pid))
                if time.monotonic() > deadline:
                    return holders, _TIME_LIMIT
        except PermissionError:
            gap = gap or _refused()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
    return holders, gap


def _descriptors(pid: str) -> Iterator[str]:
    """What the descriptors of a process refer to, ``socket:[INODE]`` for a socket."""
    empty = True
    for link in _links(f"/proc/{pid}/fd"):
        empty = False
        yield link
    if empty:
        # Kernel threads have none; nor has a process whose first thread has ended before others.
        with os.scandir(f"/proc/{pid}/task") as threads:
            for thread in threads:
                yield from _links(f"{thread.path}/fd")


def _links(directory: str) -> Iterator[str]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                try:
                    yield os.readlink(entry.name, dir_fd=descriptor)
                except OSError as unread:
                    # Closed meanwhile, or a file so deep that its path exceeds PATH_MAX.
                    if unread.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                        raise
    finally:
        os.close(descriptor)


def _refused() -> str:
    return "permission denied" if os.geteuid() == 0 else "not root"


def _sees_whole_machine() -> bool:
    """Whether the processes that we are shown are all there are, not those of a container."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _INITIAL_PID_NAMESPACE
    except FileNotFoundError:  # a kernel without pid namespaces, or another namespace's /proc
        return False


def _process(pid: int) -> Process | None:
    """The details of a process, None when it has ended. Raises PermissionError."""
    import psutil  # 20 ms that only a run with owners pays

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            # A process whose first thread has ended counts as a zombie: no command line is left.
            zombie = process.status() == psutil.STATUS_ZOMBIE
            return Process(
                pid=pid,
                name=process.name()[:255],
                executable=_executable(pid),
                command=() if zombie else _bounded(process.cmdline()),
                user=_user(process.uids().effective),
                started=process.create_time(),
                unit=_unit(pid),
            )
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied as refused:
        raise PermissionError(str(refused)) from refused


def _bounded(arguments: Iterable[str], room: int = 1000) -> tuple[str, ...]:
    """The start of a command line, which its process may make megabytes long.

    No argument, such as a class path, takes all the room.
    """
    kept: list[str] = []
    for argument in arguments:
        if room > 0:
            kept.append(argument[: min(250, room)])
            room -= len(kept[-1]) + 1
    return tuple(kept)


def _executable(pid: int) -> str | None:
    """The program file by the kernel's word: psutil takes the command line's where that fails."""
    try:
        path = str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:  # ended; not ours; longer than the kernel can write (ENAMETOOLONG)
        return None
    # The file was replaced, by an upgrade for instance (proc(5)).
    return path.removesuffix(" (deleted)")


def _unit(pid: int) -> str | None:
    """The systemd unit or container of a process."""
    try:
        return unit(os.fsdecode(Path(f"/proc/{pid}/cgroup").read_bytes()))
    except OSError:  # ended; no cgroups; longer than the kernel can write (ENAMETOOLONG)
        return None


@cache
def _user(uid: int | None) -> str | None:
    """Name of a user, the number where it has none."""
    if uid is None:
        return None
    try:
        # Not /etc/passwd alone: systemd's dynamic users and those of a directory have names that
        # a policy may use. Local users are found without asking the directory (nsswitch.conf).
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


_OPTIONS = {
    "sh ash bash dash ksh zsh": ("", "-o -O --rcfile --init-file", "-c -s"),
    "python pypy": ("-m", "-W -X --check-hash-based-pycs", "-c"),
    "perl": ("", "-I", "-e -E"),
    "ruby": ("", "-I -r -C -E", "-e"),
    "node nodejs": ("", "-r -C --require --import --loader --conditions", "-e -p --eval --print"),
    "php": ("-f -S", "-c -d -t -z", "-r -R -B"),
    "java": ("-jar -m --module", "-cp -classpath --class-path -p --module-path --add-modules", ""),
}
"""Interpreters, and those of their options that decide where a script stands.

After the first kind comes what runs, after the second a value; with the third there is no script.
"""
_INTERPRETERS = {name: kinds for names, kinds in _OPTIONS.items() for name in names.split()}
_CLUSTER = re.compile("-[A-Za-z]{2,4}")


def _interpreter_options(process: Process) -> list[list[str]] | None:
    """The options of the interpreter that a process is, None when it is none.

    A command line counts only if it begins with the interpreter: many programs write a title there.
    """
    title = process.command[0].removeprefix("-") if process.command else ""
    programs = (title, process.executable or title)
    names = [program.rpartition("/")[2].rstrip(".0123456789") for program in programs]
    options, by_file = map(_INTERPRETERS.get, names)
    return [kind.split() for kind in options] if options and options is by_file else None
