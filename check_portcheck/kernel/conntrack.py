"""What the kernel's connection tracking table knows: how full it is, where packets went."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import ctnetlink, netlink
from check_portcheck.model import Endpoint

if TYPE_CHECKING:
    import socket

# Documentation/networking/nf_conntrack-sysctl.rst
_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
_LIMIT = "/proc/sys/net/netfilter/nf_conntrack_max"
_NETLINK_NETFILTER = 12  # linux/netlink.h


class Entries(NamedTuple):
    """Entries of the table, all network namespaces together where they share it."""

    used: int
    """How many there are at this moment."""
    limit: int
    """How many there may be: beyond it packets of new connections are dropped."""


class Room(NamedTuple):
    """The part of the table that a scan may fill."""

    limit: int | None
    """Entries that the table may come to hold, None where nothing is tracked."""

    def of(self, wanted: int, kept: int = 0) -> int:
        """How many of the wanted entries may be made now, so that room for *kept* more is left."""
        if self.limit is None:
            return wanted
        found = entries()
        if found is None:
            return 0
        return max(0, min(wanted, self.limit - kept - found.used))


def entries() -> Entries | None:
    """The figures, None where connection tracking is not loaded."""
    try:
        return Entries(_figure(_COUNT), _figure(_LIMIT))
    except (OSError, ValueError):
        return None


def room() -> Room:
    """A quarter of what is free now.

    A full table drops the traffic of the whole machine, and each UDP probe leaves an entry where
    loopback is tracked.
    """
    found = entries()
    if found is None:
        return Room(None)
    return Room(found.used + max(0, found.limit - found.used) // 4)


def connect() -> socket.socket | None:
    """A socket to ask for flows; None where nothing is tracked or nothing will be told.

    Where nothing is tracked nothing is asked either, since that would load a module.
    """
    if entries() is None:
        return None
    try:
        connection = netlink.connect(_NETLINK_NETFILTER)
    except OSError:
        return None
    if _permitted(connection):
        return connection
    connection.close()
    return None


def _permitted(connection: socket.socket) -> bool:
    """Whether the kernel answers at all: permission is seen to before the question is."""
    try:
        netlink.ask(connection, ctnetlink.GET, ctnetlink.NO_QUESTION)
    except PermissionError:
        return False
    except OSError:
        return True  # EINVAL, since it asks for nothing
    return True


def forwarded(connection: socket.socket, flow: ctnetlink.Flow) -> Endpoint | None:
    """Where the packets of a flow were sent in place of its own target.

    None where they were not, and where nothing tells: the flow is not tracked (ENOENT).
    """
    try:
        payload = netlink.ask(connection, ctnetlink.GET, ctnetlink.request(flow))
        found = ctnetlink.destination(payload)
    except OSError:
        return None
    own = Endpoint(flow.interface.address.partition("%")[0], flow.port)
    return None if found == own else found


def _figure(file: str) -> int:
    with open(file, encoding="utf-8") as stream:
        return int(stream.read())
