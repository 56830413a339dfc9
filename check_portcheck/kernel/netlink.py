"""Questions to the kernel over a netlink socket: framing, dumps and errors (RFC 3549, netlink(7)).

What the messages mean is said elsewhere; here they are a type and a payload.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from check_portcheck.kernel import timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr of linux/netlink.h: length, type, flags, sequence number, port."""

# linux/netlink.h
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300

_ATTRIBUTE = struct.Struct("=HH")
_NLA_TYPE_MASK = 0x3FFF
"""The other bits say that attributes are nested, and in which order their bytes are."""
_ERROR_CODE = struct.Struct("=i")
_LARGEST_DATAGRAM = 1 << 18
_ATTEMPTS = 10
_PATIENCE = timeouts.timeval(socket.SO_RCVTIMEO, 2)
"""SO_RCVTIMEO: the kernel answers at once; two seconds of silence are a failure."""


def connect(protocol: int) -> socket.socket:
    """A socket on which only the kernel can answer, for one netlink *protocol*.

    Raises OSError where the kernel has no such protocol.
    """
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    # Once connected to port 0, messages of other processes are refused (af_netlink.c,
    # netlink_getsockbyportid), so an answer needs no check of its sender.
    connection.connect((0, 0))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
    return connection


def dump(connection: socket.socket, kind: int, body: bytes) -> list[bytes]:
    """The payloads that the kernel answers to a dump request of message type *kind*.

    Raises OSError with the kernel's error, or EAGAIN when the table changed during every attempt.
    """
    length = HEADER.size + len(body)
    for attempt in range(1, _ATTEMPTS + 1):
        connection.send(HEADER.pack(length, kind, NLM_F_REQUEST | NLM_F_DUMP, attempt, 0) + body)
        payloads, interrupted = _answers(connection, attempt)
        if not interrupted:
            return payloads
    raise OSError(errno.EAGAIN, "the kernel's table changed during every dump")


def ask(connection: socket.socket, kind: int, body: bytes) -> bytes:
    """The payload of the one message that answers a request; raises OSError with its error."""
    connection.send(HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST, 1, 0) + body)
    for answer, _, _, payload in messages(connection.recv(_LARGEST_DATAGRAM)):
        if answer == NLMSG_ERROR:
            raise _error(payload)
        return payload
    raise OSError(errno.EBADMSG, "empty answer")


def messages(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and payload of each message of a datagram."""
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length, kind, flags, sequence, _ = HEADER.unpack_from(datagram, offset)
        if not HEADER.size <= length <= len(datagram) - offset:
            raise OSError(errno.EBADMSG, "message length out of bounds")
        yield kind, flags, sequence, datagram[offset + HEADER.size : offset + length]
        offset += _aligned(length)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes (struct nlattr) that follow a message's fixed part, by type."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= length <= len(data) - offset:
            raise OSError(errno.EBADMSG, "attribute length out of bounds")
        found[kind & _NLA_TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded as the kernel wants it."""
    length = _ATTRIBUTE.size + len(value)
    return (_ATTRIBUTE.pack(length, kind) + value).ljust(_aligned(length), b"\0")


def _answers(connection: socket.socket, sequence: int) -> tuple[list[bytes], bool]:
    """The payloads of one dump, and whether the table changed meanwhile."""
    payloads: list[bytes] = []
    interrupted = False
    while True:
        for kind, flags, number, payload in messages(connection.recv(_LARGEST_DATAGRAM)):
            if number != sequence:
                continue
            interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
            if kind == NLMSG_ERROR:
                raise _error(payload)
            if kind == NLMSG_DONE:
                _check_end(payload)
                return payloads, interrupted
            payloads.append(payload)


def _check_end(payload: bytes) -> None:
    """Raise the error that the end of a dump may carry (netlink_dump_done in af_netlink.c)."""
    if len(payload) >= _ERROR_CODE.size and _ERROR_CODE.unpack_from(payload)[0] < 0:
        raise _error(payload)


def _error(payload: bytes) -> OSError:
    if len(payload) < _ERROR_CODE.size:
        return OSError(errno.EBADMSG, "error without a number")
    code = -_ERROR_CODE.unpack_from(payload)[0]
    return OSError(code, errno.errorcode.get(code, "netlink error"))


def _aligned(length: int) -> int:
    """NLMSG_ALIGN and NLA_ALIGN: both 4."""
    return (length + 3) & ~3
