"""Which program file a process runs: the same file, not the same path.

A path is what a mount namespace calls a file. A container has another ``/usr/sbin/nginx``, and any
user may mount one there in a namespace of his own (user_namespaces(7)), so files are compared.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DELETED = " (deleted)"
"""What the kernel puts behind the path of a program file that is gone (proc(5))."""


class _File(NamedTuple):
    """What is at a path: a file, or the nearest directory above where there is none."""

    path: str
    """Where symbolic links lead."""
    device: int
    inode: int | None
    """None where there is no file."""
    uid: int


class Program(NamedTuple):
    """What a process runs."""

    path: str | None = None
    """The file by the kernel's word, in terms of the process; None where unreadable."""
    deleted: bool = False
    """Whether it was deleted or replaced since."""
    files: tuple[str, ...] = ()
    """The paths, of those asked for, at which this machine has it, or had it until then."""
    unread: tuple[str, ...] = ()
    """The paths, of those asked for, of which that cannot be told."""


Files = dict[str, _File | None]
"""By path; None for what may not be looked at."""


def at(paths: Iterable[str]) -> Files:
    """What is at some paths now, as this process's mount namespace has them.

    Has to be known before processes are looked at: a file that is replaced in between is then one
    that a process runs, whether or not the process says that it is gone.
    """
    return {path: _at(os.path.realpath(path)) for path in paths}


def _at(path: str) -> _File | None:
    for place in _upwards(path):
        try:
            found = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:  # may not be searched; a file server that does not answer
            break
        inode = found.st_ino if place == path else None
        return _File(path, found.st_dev, inode, found.st_uid)
    return None


def _upwards(path: str) -> Iterator[str]:
    """An absolute path and the directories above it, up to the root."""
    yield path
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        yield path


def program(pid: int, files: Files) -> Program:
    """What a process runs, and which of *files* that is."""
    link = f"/proc/{pid}/exe"
    try:
        named = os.readlink(link)
    except PermissionError:
        return Program(unread=tuple(files))
    except OSError:  # ended; none; longer than the kernel can write (ENAMETOOLONG)
        return Program()
    path = named.removesuffix(_DELETED)
    unread = tuple(each for each, file in files.items() if file is None)
    found = Program(path, path != named, unread=unread)
    return found._replace(files=_files(link, found, files)) if files else found


def _files(link: str, program: Program, files: Files) -> tuple[str, ...]:
    """The paths at which the program file is here, or was."""
    try:
        own = os.stat(link)  # of the file itself, wherever it is mounted
    except OSError:  # ended; on a file system that lets in only its user (fuse(8))
        return ()
    return tuple(each for each, file in files.items() if file and _is(own, program, file))


def _is(own: os.stat_result, program: Program, file: _File) -> bool:
    """Whether a program file is one of this machine, or was until it was replaced."""
    if (own.st_dev, own.st_ino) == (file.device, file.inode):
        return True
    # An upgrade replaces the file while the daemon goes on. What another user has mounted at the
    # path and then deleted belongs to him.
    heir = (file.device, file.uid, file.path)
    return program.deleted and (own.st_dev, own.st_uid, program.path) == heir
