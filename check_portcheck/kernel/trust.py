"""Who could change a file: as root, nothing that another user could change decides what is done.

A path is opened component by component, and owner and mode are asked of each open descriptor: what
is checked is what is used, whatever is renamed meanwhile. For other users nothing is checked: with
whatever they read the check does no more than they could do by themselves.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

_ROOT = 0
_GROUP_AND_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
"""Open only to ask and to go on from there (open(2)); a symbolic link is opened itself."""
_MOST_LINKS = 40
"""As many as the kernel follows (path_resolution(7))."""


class TrustError(Exception):
    """Another user could change what root is to use; the text has the path and the remedy."""


class _Demand(NamedTuple):
    """What must hold of a file, and of every directory and link on the way to it."""

    what: str
    users: tuple[int, ...]
    """Who may own them."""
    links: bool
    """Whether symbolic links are followed."""
    sticky: bool
    """Whether others may write to a directory where each can only remove what is his (inode(7))."""
    place: str
    """A directory that is right for it."""

    def check(self, descriptor: int, path: str) -> os.stat_result:
        """The status of what is open; raises TrustError."""
        status = os.fstat(descriptor)
        if stat.S_ISLNK(status.st_mode) and not self.links:
            raise TrustError(
                f"{path}, on the way to the {self.what}, is a symbolic link: "
                "give the path that it leads to"
            )
        if status.st_uid not in self.users:
            raise self._error(status, path, f"belongs to user {status.st_uid}", "chown root")
        if status.st_mode & _GROUP_AND_OTHERS and not self._allows_others(status.st_mode):
            raise self._error(status, path, "may be written by group or others", "chmod go-w")
        return status

    def _allows_others(self, mode: int) -> bool:
        sticky = self.sticky and stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX)
        return sticky or stat.S_ISLNK(mode)  # whose mode means nothing (symlink(7))

    def _error(self, status: os.stat_result, path: str, why: str, command: str) -> TrustError:
        if stat.S_ISDIR(status.st_mode):
            where = f"the directory {path} of the {self.what} {why}"
            return TrustError(f"{where}: use one of root's, such as {self.place}")
        return TrustError(f"the {self.what} {path} {why}: {command} {path}")


_STATE = _Demand("state file", (_ROOT,), links=False, sticky=False, place="/var/lib/portcheck")


def open_policy(path: str) -> int:
    """A descriptor to read a policy from, as root one of root's or of the user who called sudo.

    Raises TrustError and OSError.
    """
    if not _is_root():
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    users = (_ROOT, _caller() or _ROOT)
    demand = _Demand("policy", users, links=True, sticky=True, place="/etc/portcheck")
    place = _reach(_absolute(path), demand)
    try:
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)


def may_name_state(descriptor: int) -> bool:
    """Whether a policy may say which file is written: as root only one of root's."""
    return not _is_root() or os.fstat(descriptor).st_uid == _ROOT


def is_private(descriptor: int) -> bool:
    """Whether the user who called sudo could not read the file by himself."""
    caller = _caller()
    if not _is_root() or caller is None:
        return False
    status = os.fstat(descriptor)
    return status.st_uid != caller and not status.st_mode & stat.S_IROTH


def open_directory_of_state(path: str) -> tuple[int, str]:
    """The directory of a state file, open, and the name in it; raises TrustError and OSError.

    As root all of its path, and the file if there is one, are root's and writable by root alone.
    """
    directory, name = os.path.split(_absolute(path))
    if not _is_root():
        return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), name
    opened = _reach(directory, _STATE)
    try:
        _check_entry(opened, name, path)
    except BaseException:
        os.close(opened)
        raise
    return opened, name


def _check_entry(directory: int, name: str, path: str) -> None:
    """Raise TrustError where there is a file of that name that is not root's alone."""
    try:
        place = os.open(name, _PLACE, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        _STATE.check(place, path)
    finally:
        os.close(place)


def _reach(path: str, demand: _Demand, links: int = _MOST_LINKS) -> int:
    """What a path leads to, open as a place; it and all on the way meet the demand."""
    directory, name = os.path.split(path)
    above = None if directory == path else _reach(directory, demand, links)
    try:
        here = os.open(name or "/", _PLACE, dir_fd=above)
    finally:
        if above is not None:
            os.close(above)
    try:
        if not stat.S_ISLNK(demand.check(here, path).st_mode):
            return os.dup(here)
        target = os.readlink("", dir_fd=here)
    finally:
        os.close(here)
    if not links:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return _reach(_absolute(target, directory), demand, links - 1)


def _absolute(path: str, directory: str | None = None) -> str:
    """The path from the root directory on; ``..`` stays, since a link may stand before it."""
    if not path.startswith("/"):
        path = f"{directory or os.getcwd()}/{path}"
    return "/" + path.strip("/")


def _is_root() -> bool:
    return os.geteuid() == _ROOT


def _caller() -> int | None:
    """The user who called sudo (sudo(8), SUDO_UID); None where there is none, or it is root."""
    number = os.environ.get("SUDO_UID", "")
    return int(number) or None if number.isdecimal() else None
