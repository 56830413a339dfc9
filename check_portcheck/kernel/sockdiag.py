"""The kernel's socket table as bytes: requests and rows of sock_diag (linux/inet_diag.h).

Bytes in, objects out; no socket is opened here.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from functools import lru_cache

from check_portcheck.kernel import netlink
from check_portcheck.model import Protocol, Socket

SOCK_DIAG_BY_FAMILY = 20
"""The message type of requests and rows (linux/sock_diag.h)."""

NUMBERS = {Protocol.TCP: socket.IPPROTO_TCP, Protocol.UDP: socket.IPPROTO_UDP}

# States as bits: TCP_LISTEN is 10; TCP_CLOSE, 7, is what an unconnected UDP socket is in.
_STATES = {Protocol.TCP: 1 << 10, Protocol.UDP: 1 << 7}
_ANY_STATE = 0xFFF
_INET_DIAG_SKV6ONLY = 11
_NO_COOKIE = 0xFFFFFFFFFFFFFFFF
_NOT_FOUND = (-errno.ENOENT).to_bytes(4, sys.byteorder, signed=True)
"""How struct nlmsgerr begins when there is no such socket."""

# struct inet_diag_req_v2: family, protocol, extensions, states, then struct inet_diag_sockid:
# ports and addresses in network order, device, cookie.
_DUMP = struct.Struct("=BBBxI48x")
_LOOKUP_HEAD = struct.Struct("=IHHIIBBBxI")
_LOOKUP_PORTS = struct.Struct(">HH")
_LOOKUP_TAIL = struct.Struct("=16s16sIQ")
# struct inet_diag_msg: family, then the sockid, timers and queues, uid, inode.
_ROW = struct.Struct("=B3x2s2x16s16xIQ12xII")
_REQUEST_LENGTH = _LOOKUP_HEAD.size + _LOOKUP_PORTS.size + _LOOKUP_TAIL.size


def dump_request(protocol: Protocol, family: int) -> bytes:
    """The body that asks for the TCP listeners or the unconnected UDP sockets of a family."""
    return _DUMP.pack(family, NUMBERS[protocol], 0, _STATES[protocol])


def row(protocol: Protocol, payload: bytes) -> Socket:
    """The socket of one row of a dump; raises OSError(EBADMSG) for anything else."""
    if len(payload) < _ROW.size:
        raise OSError(errno.EBADMSG, "short row of the socket table")
    family, port, source, device, cookie, uid, inode = _ROW.unpack_from(payload)
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise OSError(errno.EBADMSG, "socket table row of another family")
    v6only = family == socket.AF_INET6 and _is_v6only(payload)
    number = int.from_bytes(port, "big")
    # Without names of arguments: rows come by the ten thousand, and those take as long as the rest.
    return Socket(protocol, _text(family, source), number, v6only, device, uid, inode, cookie)


@lru_cache(maxsize=4096)
def _text(family: int, source: bytes) -> str:
    """An address as text, one and the same for all sockets that are bound to it."""
    return socket.inet_ntop(family, source[:4] if family == socket.AF_INET else source)


def _is_v6only(payload: bytes) -> bool:
    """Whether a row's socket does not answer IPv4."""
    attributes = netlink.attributes(payload[_ROW.size :])
    return attributes.get(_INET_DIAG_SKV6ONLY, b"\0") != b"\0"


class LookupRequests:
    """Requests for the kernel's own receive lookup at one address, one per port.

    The kernel answers with the socket that a packet from the address to that port would reach.
    """

    __slots__ = ("_constant", "_swapped", "_tail")

    def __init__(self, protocol: Protocol, family: int, packed: bytes, device: int) -> None:
        self._constant = (0, family, NUMBERS[protocol], 0, _ANY_STATE)
        # For UDP source and destination are swapped "for historical reasons" (net/ipv4/udp_diag.c).
        self._swapped = protocol is Protocol.UDP
        self._tail = _LOOKUP_TAIL.pack(packed, packed, device, _NO_COOKIE)

    def message(self, port: int) -> bytes:
        """The whole netlink message; its sequence number is the port."""
        # Port 0 stands for the client: nothing can be connected to it, so only listeners match.
        ports = (0, port) if self._swapped else (port, 0)
        return (
            _LOOKUP_HEAD.pack(
                _REQUEST_LENGTH, SOCK_DIAG_BY_FAMILY, netlink.NLM_F_REQUEST, port, *self._constant
            )
            + _LOOKUP_PORTS.pack(*ports)
            + self._tail
        )


def found(answer: bytes, port: int) -> bool:
    """Whether the answer to the lookup of a port brings a socket.

    Raises OSError with EBADMSG where it is no answer to that: another error, another port.
    """
    content = answer[netlink.HEADER.size :]
    if content:
        _, kind, _, sequence, _ = netlink.HEADER.unpack_from(answer)
        if sequence == port and kind == SOCK_DIAG_BY_FAMILY:
            return True
        if sequence == port and content[: len(_NOT_FOUND)] == _NOT_FOUND:
            return False
    raise OSError(errno.EBADMSG, "unexpected answer to a lookup")
