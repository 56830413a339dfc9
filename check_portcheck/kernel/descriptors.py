"""Which processes hold a socket: what their descriptors refer to (proc(5), /proc/PID/fd)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import processes
from check_portcheck.model import Unseen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from check_portcheck.deadline import Deadline


class Holders(NamedTuple):
    """The processes that hold some sockets."""

    pids: Mapping[int, set[int]]
    """By inode of the socket; those that no process was seen to hold are missing."""
    unseen: Unseen | None
    """Why not every process of the machine was examined, None when all were."""
    others: Unseen | None = None
    """The same, process 1 apart."""


def holders(inodes: Collection[int], deadline: Deadline) -> Holders:
    """The processes that have a descriptor of sockets with these inodes."""
    links = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, set[int]] = {}
    unseen: Unseen | None = None
    others: Unseen | None = None
    pids = _pids()
    for pid in pids:
        try:
            for inode in _held(pid, links, deadline):
                found.setdefault(inode, set()).add(pid)
        except PermissionError:
            unseen = processes.refused()
            others = unseen if pid != 1 else others
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        except TimeoutError:
            return Holders(found, Unseen.TIME_LIMIT, Unseen.TIME_LIMIT)
    if 1 not in pids:
        return Holders(found, Unseen.HIDEPID, Unseen.HIDEPID)
    return Holders(found, unseen, others)


def _pids() -> list[int]:
    """The processes that we are shown."""
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdecimal()]


def _held(pid: int, links: Mapping[str, int], deadline: Deadline) -> Iterator[int]:
    """The inodes in *links* of which a process has a descriptor; raises TimeoutError if late."""
    for link in _descriptors(pid):
        if link in links:
            yield links[link]
        if deadline.passed:
            raise TimeoutError


def _descriptors(pid: int) -> Iterator[str]:
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
