"""Who holds a socket: the processes, or the kernel itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.kernel import descriptors, executables, processes
from check_portcheck.model import Owner, Process, Unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from check_portcheck.deadline import Deadline
    from check_portcheck.kernel.executables import Files
    from check_portcheck.model import Socket


def find(
    sockets: Collection[Socket],
    deadline: Deadline,
    table: Callable[[], Iterable[Socket]],
    paths: Collection[str] = (),
) -> dict[Socket, Owner]:
    """The owner of each of *sockets*, as far as it can be seen until *deadline*.

    Of *paths*, which name program files, each process has those that it runs.

    That the kernel listens is only said when nothing else is left: every process of the machine
    was examined, twice; *table*, which reads the socket table anew, still lists the socket; and
    root opened it. Even so root can feign it, with a descriptor that only io_uring or only one
    thread has. Raises only what *table* raises.
    """
    files = executables.at(paths)
    asked = {socket for socket in sockets if socket.inode}
    owners, unseen = _look_twice(asked, deadline, files)
    if unseen is None and not processes.are_all_visible():
        unseen = Unseen.OUTSIDE
    return owners | _unheld(set(sockets) - owners.keys(), unseen, table)


def _look_twice(
    sockets: set[Socket], deadline: Deadline, files: Files
) -> tuple[dict[Socket, Owner], Unseen | None]:
    """As _look(), again where that found no process although it saw all.

    A descriptor that passes from one process to another during the walk (a daemon that forks into
    the background, SCM_RIGHTS) may be missed once.
    """
    owners, unseen = _look(sockets, deadline, files)
    if unseen is None:
        held = {socket for socket, owner in owners.items() if owner.processes}
        again, unseen = _look(sockets - held, deadline, files)
        owners |= again
    return owners, unseen


def _look(
    sockets: Collection[Socket], deadline: Deadline, files: Files
) -> tuple[dict[Socket, Owner], Unseen | None]:
    """The owners of those sockets that processes hold, and why not every process was examined."""
    if not sockets:
        return {}, None
    inodes = {socket: socket.inode for socket in sockets if socket.inode}
    pids, unexamined, others = descriptors.holders(inodes.values(), deadline)
    known, unread = _details(set().union(*pids.values()), deadline, files)
    unseen = unread or unexamined
    owners = {
        socket: _owner(socket, pids[inode], known, unseen)._replace(others=unread or others)
        for socket, inode in inodes.items()
        if inode in pids
    }
    return owners, unseen


def _details(
    pids: Iterable[int], deadline: Deadline, files: Files
) -> tuple[dict[int, Process], Unseen | None]:
    """The processes that have not ended meanwhile, and why not all details could be read."""
    known: dict[int, Process] = {}
    unseen: Unseen | None = None
    for pid in sorted(pids):
        if deadline.passed:
            return known, Unseen.TIME_LIMIT
        try:
            process = processes.details(pid, files)
        except PermissionError:
            unseen = processes.refused()
            continue
        except (ImportError, SyntaxError):  # the latter where its files are damaged
            return known, Unseen.NO_PSUTIL
        if process:
            known[pid] = process
    return known, unseen


def _owner(
    socket: Socket, pids: Iterable[int], known: Mapping[int, Process], unseen: Unseen | None
) -> Owner:
    """The owner of a socket that processes hold, as far as these are known."""
    holders = [known[pid] for pid in pids if pid in known]
    holders.sort(key=lambda process: (process.started or 0.0, process.pid))
    if not holders:
        unseen = unseen or Unseen.ENDED
    elif unseen is not Unseen.TIME_LIMIT:
        # A process that may not be examined shares a socket with others only by exception.
        unseen = None
    return Owner(processes.user(socket.uid), tuple(holders), unseen=unseen)


def _unheld(
    sockets: Collection[Socket], unseen: Unseen | None, table: Callable[[], Iterable[Socket]]
) -> dict[Socket, Owner]:
    """The owners of sockets that no process was seen to hold."""
    present: set[int | None] = set()
    if unseen is None and any(socket.inode for socket in sockets):
        present = {row.inode for row in table()}
    return {socket: _without_process(socket, unseen, present) for socket in sockets}


def _without_process(
    socket: Socket, unseen: Unseen | None, present: Collection[int | None]
) -> Owner:
    """The owner of a socket that no process was seen to hold; *present* are the table's inodes."""
    user = processes.user(socket.uid)
    if socket.inode is None:
        return Owner(user, unseen=Unseen.NO_OWNERS)
    if socket.inode == 0:  # no descriptor can refer to it
        return Owner(user, kernel=True)
    if unseen is None and socket.inode not in present:
        unseen = Unseen.CLOSED
    # The kernel's sockets belong to whom it opens them for: root, for all its services.
    if unseen is None and socket.uid != 0:
        unseen = Unseen.NO_PROCESS
    return Owner(user, kernel=unseen is None, unseen=unseen)
