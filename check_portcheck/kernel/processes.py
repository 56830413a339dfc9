"""What the kernel tells of a process, and of the user that it runs as."""

from __future__ import annotations

import contextlib
import os
import pwd
from functools import cache
from typing import TYPE_CHECKING

from check_portcheck.kernel import cgroups, executables
from check_portcheck.model import Process, Unseen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.kernel.executables import Files

_LONGEST_NAME = 255
_LONGEST_COMMAND = 1000
_LONGEST_ARGUMENT = 250
_HIGHEST_UID = 2**32 - 2  # the last number stands for none (chown(2))

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the machine's own pid namespace (PROC_PID_INIT_INO, linux/proc_ns.h)."""


def details(pid: int, files: Files) -> Process | None:
    """The details of a process, which of *files* it runs among them; None when it has ended.

    Raises PermissionError where they may not be read, for which refused() says why, and ImportError
    where psutil, or what is used of it, is not to be had.
    """
    # 20 ms that only a run with owners pays
    from psutil import STATUS_ZOMBIE, AccessDenied, NoSuchProcess
    from psutil import Process as Examined

    try:
        process = Examined(pid)
        program, unit = executables.program(pid, files), _unit(pid)
        # What follows raises NoSuchProcess where it had ended by then.
        with process.oneshot():
            # A process whose first thread has ended counts as a zombie: no command line is left.
            zombie = process.status() == STATUS_ZOMBIE
            return Process(
                pid=pid,
                name=process.name()[:_LONGEST_NAME],
                executable=program.path,
                command=() if zombie else bounded(process.cmdline()),
                user=user(process.uids().effective),
                started=process.create_time(),
                unit=unit,
                deleted=program.deleted,
                files=program.files,
                unread=program.unread,
            )
    except NoSuchProcess:
        return None
    except AccessDenied as denied:
        raise PermissionError(str(denied)) from denied


def refused() -> Unseen:
    """Why this process may not look at another."""
    return Unseen.DENIED if os.geteuid() == 0 else Unseen.NOT_ROOT


def are_all_visible() -> bool:
    """Whether the processes that we are shown are all there are, not those of a container."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _INITIAL_PID_NAMESPACE
    except FileNotFoundError:  # a kernel without pid namespaces, or another namespace's /proc
        return False


@cache
def user(uid: int | None) -> str | None:
    """Name of a user, the number where it has none."""
    if uid is None:
        return None
    try:
        # Not /etc/passwd alone: systemd's dynamic users and those of a directory have names that
        # a policy may use. Local users are found without asking the directory (nsswitch.conf).
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def user_named(text: str) -> str | None:
    """What the user with a name or a number is called in owners, None where there is none."""
    if text.isascii() and text.isdecimal():
        return user(int(text)) if len(text) <= 10 and int(text) <= _HIGHEST_UID else None
    try:
        return pwd.getpwnam(text).pw_name
    except KeyError:
        return None


def running() -> frozenset[str]:
    """The names of the processes that we are shown, as the kernel cuts them."""
    names = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb") as comm:  # it has ended
            names.add(os.fsdecode(comm.read().rstrip(b"\n")))
    return frozenset(names)


def bounded(arguments: Iterable[str]) -> tuple[str, ...]:
    """The start of a command line, which its process may make megabytes long.

    No argument, such as a class path, takes all the room.
    """
    kept: list[str] = []
    room = _LONGEST_COMMAND
    for argument in arguments:
        if room <= 0:
            break
        kept.append(argument[: min(_LONGEST_ARGUMENT, room)])
        room -= len(kept[-1]) + 1
    return tuple(kept)


def _unit(pid: int) -> str | None:
    """The systemd unit or container of a process."""
    try:
        with open(f"/proc/{pid}/cgroup", "rb") as groups:
            return cgroups.unit(os.fsdecode(groups.read()))
    except OSError:  # ended; no cgroups; longer than the kernel can write (ENAMETOOLONG)
        return None
