"""Calls to the portmapper and its replies as bytes (RFC 5531, RFC 1833, XDR of RFC 4506).

Bytes in, objects out; no socket is opened here. Any local user may register with the portmapper,
so its reply is foreign: what the RFCs do not allow raises MalformedReplyError, and nothing grows
beyond the bounds below.
"""

from __future__ import annotations

import enum
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.model import HIGHEST_PORT, PORTMAPPER_PORT, PORTMAPPER_PROGRAM, Protocol
from check_portcheck.rpc.xdr import MalformedReplyError, XdrReader, string

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = PORTMAPPER_PROGRAM
PORT = PORTMAPPER_PORT
VERSIONS = (4, 3, 2)
"""Versions of the program, newest first: 4 and 3 are rpcbind's, 2 is the portmapper's."""

LARGEST_RECORD = 1 << 20
"""Bytes of one reply; that of an NFS server has a few thousand."""
MOST_FRAGMENTS = 1024
MOST_ENTRIES = 10_000
LONGEST_STRING = 9000
"""RPC_MAXDATASIZE of libtirpc: rpcbind takes and returns strings of up to that many bytes."""
LONGEST_VERIFIER = 400
"""RFC 5531, 8.2: "opaque body<400>"."""

# RFC 5531, 9: msg_type, reply_stat, accept_stat, reject_stat.
_CALL, _REPLY = 0, 1
_MSG_ACCEPTED, _MSG_DENIED = 0, 1
_SUCCESS, _PROG_MISMATCH = 0, 2
_RPC_MISMATCH, _AUTH_ERROR = 0, 1
_RPC_VERSION = 2
_AUTH_NONE = 0
# RFC 1833, 3.1 and 2.1: PMAPPROC_DUMP and RPCBPROC_DUMP have the same number and no arguments.
_PROC_DUMP = 4
# RFC 1833, 3.1 and 2.1: PMAPPROC_GETPORT and RPCBPROC_GETADDR.
_PROC_PORT = 3

_LAST_FRAGMENT = 1 << 31
_NUMBER = struct.Struct(">I")
_PROTOCOLS = {socket.IPPROTO_TCP: Protocol.TCP, socket.IPPROTO_UDP: Protocol.UDP}
_NETIDS = {
    b"tcp": (Protocol.TCP, socket.AF_INET),
    b"udp": (Protocol.UDP, socket.AF_INET),
    b"tcp6": (Protocol.TCP, socket.AF_INET6),
    b"udp6": (Protocol.UDP, socket.AF_INET6),
}
_OCTETS = {str(octet): octet for octet in range(256)}


class Refusal(enum.StrEnum):
    """Why a server that understood the call does not carry it out."""

    PROG_UNAVAIL = "program unavailable"
    PROG_MISMATCH = "version not supported"
    PROC_UNAVAIL = "procedure unavailable"
    GARBAGE_ARGS = "call not understood"
    SYSTEM_ERR = "system error"
    RPC_MISMATCH = "RPC version 2 not supported"
    AUTH_ERROR = "access denied"


_NOT_CARRIED_OUT = {
    1: Refusal.PROG_UNAVAIL,
    _PROG_MISMATCH: Refusal.PROG_MISMATCH,
    3: Refusal.PROC_UNAVAIL,
    4: Refusal.GARBAGE_ARGS,
    5: Refusal.SYSTEM_ERR,
}


class Mapping(NamedTuple):
    """One version of a program is registered on one port of TCP or UDP."""

    program: int
    version: int
    protocol: Protocol
    address: bytes
    """Packed, 4 or 16 bytes; zeros are the wildcard, which version 2 always means."""
    port: int


class Question(NamedTuple):
    """Which port one version of a program has."""

    program: int
    version: int
    protocol: Protocol


def dump_call(version: int, xid: int) -> bytes:
    """The message that asks for all mappings; *version* is one of VERSIONS, *xid* any 32 bits."""
    return _call(version, xid, _PROC_DUMP)


def port_call(version: int, xid: int, question: Question) -> bytes:
    """The message that asks for one port.

    Version 2 knows IPv4 alone; the others answer for the protocol and family by which they are
    asked. All give the port of another version of the program where they do not have this one.
    """
    head = _call(version, xid, _PROC_PORT) + struct.pack(">II", *question[:2])
    if version == 2:
        number = next(each for each, of in _PROTOCOLS.items() if of is question.protocol)
        return head + struct.pack(">II", number, 0)
    return head + string(question.protocol) + string("") + string("")


def dump_reply(version: int, xid: int, message: bytes) -> tuple[Mapping, ...] | Refusal:
    """What *message* answers to the dump_call() of the same *version* and *xid*.

    Left out are entries that lead to no port of TCP or UDP: those of other transports, and those
    with an unusable address, which rpcbind stores and repeats unchecked for any local user.
    """
    reader = XdrReader(message)
    refusal = _head(reader, xid)
    answer = tuple(_mappings(version, reader)) if refusal is None else refusal
    reader.finish()
    return answer


def port_reply(version: int, xid: int, message: bytes) -> int | Refusal:
    """The port that *message* answers to the port_call(), 0 where there is none."""
    reader = XdrReader(message)
    refusal = _head(reader, xid)
    if refusal is not None:
        return refusal
    port = reader.number() if version == 2 else _port(reader.opaque(LONGEST_STRING))
    reader.finish()
    if port > HIGHEST_PORT:
        raise MalformedReplyError(f"port {port}")
    return port


def _call(version: int, xid: int, procedure: int) -> bytes:
    """The head of a call (RFC 5531, 9)."""
    head = (xid, _CALL, _RPC_VERSION, PROGRAM, version, procedure)
    # Credential and verifier, each a flavor and the length of its body.
    return struct.pack(">10I", *head, _AUTH_NONE, 0, _AUTH_NONE, 0)


def _head(reader: XdrReader, xid: int) -> Refusal | None:
    """The reply up to the results: None when these follow."""
    # RFC 5531, 9: "The xid of a REPLY message always matches that of the initiating CALL message."
    if reader.number() != xid:
        raise MalformedReplyError("reply to another call")
    if reader.number() != _REPLY:
        raise MalformedReplyError("no reply")
    return _refusal(reader)


def _port(uaddr: bytes) -> int:
    """The port of a universal address, 0 where that is empty or leads to none."""
    # RFC 5665, 5.2.3: "h1.h2.h3.h4.p1.p2", for IPv6 "x1:x2:x3:x4:x5:x6:x7:x8.p1.p2", with the
    # octets of the port in decimal.
    try:
        _, high, low = uaddr.decode("ascii").rsplit(".", 2)
        return _OCTETS[high] << 8 | _OCTETS[low]
    except (ValueError, KeyError):
        return 0


def record(message: bytes) -> bytes:
    """The message as a record of one fragment, as TCP carries it (RFC 5531, 11)."""
    return _NUMBER.pack(_LAST_FRAGMENT | len(message)) + message


class RecordReader:
    """Puts together the one record that a stream carries (RFC 5531, 11).

    "A record is composed of one or more record fragments", each of "0 to (2**31) - 1 bytes".
    """

    __slots__ = ("_fragments", "_message", "_unread")

    def __init__(self) -> None:
        self._unread = bytearray()
        self._message = bytearray()
        self._fragments = 0

    def feed(self, data: bytes) -> bytes | None:
        """The message, once *data*, which comes next in the stream, completes it; else None."""
        self._unread += data
        while self._whole_fragment():
            if self._take_fragment():
                if self._unread:
                    raise MalformedReplyError("more than one reply")
                return bytes(self._message)
        return None

    def _whole_fragment(self) -> bool:
        """Whether the next fragment has come; refused is what makes the record too large."""
        if len(self._unread) < _NUMBER.size:
            return False
        length = self._header() & ~_LAST_FRAGMENT
        # Refused by what the header announces: nothing of the fragment need be stored first.
        if len(self._message) + length > LARGEST_RECORD:
            raise MalformedReplyError(f"more than {LARGEST_RECORD} bytes")
        if self._fragments == MOST_FRAGMENTS:
            raise MalformedReplyError(f"more than {MOST_FRAGMENTS} fragments")
        return len(self._unread) >= _NUMBER.size + length

    def _take_fragment(self) -> bool:
        """Add the next fragment to the message; gives whether it is the last."""
        header = self._header()
        end = _NUMBER.size + (header & ~_LAST_FRAGMENT)
        self._fragments += 1
        self._message += self._unread[_NUMBER.size : end]
        del self._unread[:end]
        return bool(header & _LAST_FRAGMENT)

    def _header(self) -> int:
        """The length of the next fragment and, as the highest bit, whether it is the last."""
        return int.from_bytes(self._unread[: _NUMBER.size])


def _refusal(reader: XdrReader) -> Refusal | None:
    """The reply_body up to the results (RFC 5531, 9): None when these follow."""
    status = reader.number()
    if status == _MSG_DENIED:
        return _denial(reader)
    if status != _MSG_ACCEPTED:
        raise MalformedReplyError(f"reply status {status}")
    reader.number()
    reader.opaque(LONGEST_VERIFIER)
    status = reader.number()
    if status == _SUCCESS:
        return None
    if status not in _NOT_CARRIED_OUT:
        raise MalformedReplyError(f"accept status {status}")
    if status == _PROG_MISMATCH:
        reader.skip_versions()
    return _NOT_CARRIED_OUT[status]


def _denial(reader: XdrReader) -> Refusal:
    """The rejected_reply (RFC 5531, 9)."""
    status = reader.number()
    if status == _RPC_MISMATCH:
        reader.skip_versions()
        return Refusal.RPC_MISMATCH
    if status == _AUTH_ERROR:
        reader.number()
        return Refusal.AUTH_ERROR
    raise MalformedReplyError(f"reject status {status}")


def _mappings(version: int, reader: XdrReader) -> Iterator[Mapping]:
    """The usable entries of a list, each announced by TRUE (RFC 4506, 4.19: optional-data)."""
    decode = _portmapper_entry if version == 2 else _rpcbind_entry
    entries = 0
    while reader.boolean():
        entries += 1
        if entries > MOST_ENTRIES:
            raise MalformedReplyError(f"more than {MOST_ENTRIES} entries")
        mapping = decode(reader)
        # RFC 1833, 3.2: "A port value of zeros means the program has not been registered."
        if mapping and 0 < mapping.port <= HIGHEST_PORT:
            yield mapping


def _portmapper_entry(reader: XdrReader) -> Mapping | None:
    """RFC 1833, 3.1: struct mapping."""
    program, version, number, port = (reader.number() for _ in range(4))
    protocol = _PROTOCOLS.get(number)
    return Mapping(program, version, protocol, bytes(4), port) if protocol else None


def _rpcbind_entry(reader: XdrReader) -> Mapping | None:
    """RFC 1833, 2.1: struct rpcb."""
    program, version = reader.number(), reader.number()
    netid, uaddr, _owner = (reader.opaque(LONGEST_STRING) for _ in range(3))
    if netid not in _NETIDS:
        return None
    protocol, family = _NETIDS[netid]
    try:
        address = socket.inet_pton(family, uaddr.decode("ascii").rsplit(".", 2)[0])
    except (ValueError, OSError):
        return None
    return Mapping(program, version, protocol, address, _port(uaddr))
