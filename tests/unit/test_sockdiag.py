from __future__ import annotations

import errno
import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.kernel import netlink, sockdiag
from check_portcheck.model import Protocol, Socket

V6ONLY = 11


def row_bytes(
    address: str,
    port: int,
    *,
    device: int = 0,
    cookie: int = 0,
    uid: int = 0,
    inode: int = 0,
    state: int = 10,
    attributes: bytes = b"",
) -> bytes:
    """struct inet_diag_msg of linux/inet_diag.h, member by member."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    head = struct.pack("=BBBB", family, state, 0, 0)
    ports = struct.pack(">HH", port, 0)
    source = socket.inet_pton(family, address).ljust(16, b"\0")
    halves = (cookie & 0xFFFFFFFF, cookie >> 32)
    if sys.byteorder == "big":
        halves = halves[::-1]
    tail = struct.pack("=III", device, *halves) + struct.pack("=IIIII", 0, 0, 0, uid, inode)
    return head + ports + source + bytes(16) + tail + attributes


def tcp(
    address: str,
    port: int,
    *,
    v6only: bool = False,
    device: int = 0,
    uid: int = 0,
    inode: int = 0,
    cookie: int = 0,
) -> Socket:
    return Socket(Protocol.TCP, address, port, v6only, device, uid, inode, cookie)


ROWS = [
    (
        row_bytes("127.0.0.1", 22, uid=33, inode=4711, cookie=0x1_0000_0002),
        tcp("127.0.0.1", 22, uid=33, inode=4711, cookie=0x1_0000_0002),
    ),
    (
        row_bytes("0.0.0.0", 65535, device=3, inode=1),
        tcp("0.0.0.0", 65535, device=3, inode=1),
    ),
    (
        row_bytes("::", 1, attributes=netlink.attribute(V6ONLY, b"\1")),
        tcp("::", 1, v6only=True),
    ),
    (
        row_bytes("::", 1, attributes=netlink.attribute(V6ONLY, b"\0")),
        tcp("::", 1),
    ),
    (
        row_bytes("::ffff:192.0.2.7", 80, attributes=netlink.attribute(5, b"\0")),
        tcp("::ffff:192.0.2.7", 80),
    ),
    (
        row_bytes("fe80::7", 80, device=2, uid=2**32 - 1),
        tcp("fe80::7", 80, device=2, uid=2**32 - 1),
    ),
]


@pytest.mark.parametrize(("payload", "found"), ROWS)
def test_a_row_of_the_table(payload: bytes, found: Socket) -> None:
    assert len(payload) >= 72
    assert sockdiag.row(Protocol.TCP, payload) == found
    assert sockdiag.row(Protocol.UDP, payload).protocol is Protocol.UDP


@pytest.mark.parametrize("payload", [payload for payload, _ in ROWS])
def test_a_row_that_is_cut_short_is_refused(payload: bytes) -> None:
    for length in range(72):
        with pytest.raises(OSError, match="short row"):
            sockdiag.row(Protocol.TCP, payload[:length])


@pytest.mark.parametrize("family", [0, 1, 16, 255])
def test_a_row_of_another_family_is_refused(family: int) -> None:
    payload = bytes([family]) + row_bytes("127.0.0.1", 22)[1:]
    with pytest.raises(OSError, match="another family"):
        sockdiag.row(Protocol.TCP, payload)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_row_or_refused(payload: bytes) -> None:
    error = errno.EBADMSG
    port = 0
    try:
        port = sockdiag.row(Protocol.UDP, payload).port
    except OSError as refused:
        error = refused.errno or 0
    assert (error, 0 <= port <= 65535) == (errno.EBADMSG, True)


@pytest.mark.parametrize(
    ("protocol", "family", "head"),
    [
        (Protocol.TCP, socket.AF_INET, (2, 6, 0, 0, 1 << 10)),
        (Protocol.TCP, socket.AF_INET6, (10, 6, 0, 0, 1 << 10)),
        (Protocol.UDP, socket.AF_INET, (2, 17, 0, 0, 1 << 7)),
    ],
)
def test_a_dump_asks_for_listeners_and_unconnected_sockets_only(
    protocol: Protocol, family: int, head: tuple[int, ...]
) -> None:
    # struct inet_diag_req_v2: 8 bytes, then a socket id of 48.
    assert sockdiag.dump_request(protocol, family) == struct.pack("=BBBBI", *head) + bytes(48)


@pytest.mark.parametrize(
    ("protocol", "address", "ports"),
    [
        (Protocol.TCP, "192.0.2.7", (443, 0)),
        (Protocol.TCP, "2001:db8::7", (443, 0)),
        (Protocol.UDP, "192.0.2.7", (0, 443)),
        (Protocol.UDP, "2001:db8::7", (0, 443)),
    ],
)
def test_a_lookup_asks_as_a_client_that_nothing_is_connected_to(
    protocol: Protocol, address: str, ports: tuple[int, int]
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    number = {Protocol.TCP: 6, Protocol.UDP: 17}[protocol]
    asked = sockdiag.LookupRequests(protocol, family, packed, 2).message(443)
    assert asked == (
        struct.pack("=IHHII", 72, 20, 1, 443, 0)
        + struct.pack("=BBBBI", family, number, 0, 0, 0xFFF)
        + struct.pack(">HH", *ports)
        + packed.ljust(16, b"\0") * 2
        + struct.pack("=I", 2)
        + b"\xff" * 8
    )


def answer(kind: int, content: bytes, *, sequence: int = 443) -> bytes:
    """A netlink message in answer to a lookup."""
    return struct.pack("=IHHII", 16 + len(content), kind, 0, sequence, 0) + content


NOT_FOUND = struct.pack("=i", -errno.ENOENT)
ROW, ERROR = 20, 2


def test_a_lookup_brings_a_socket_or_none() -> None:
    assert sockdiag.found(answer(ROW, row_bytes("127.0.0.1", 443)), 443) is True
    assert sockdiag.found(answer(ERROR, NOT_FOUND + bytes(16)), 443) is False


@pytest.mark.parametrize(
    "other",
    [
        b"",
        answer(ROW, b""),
        answer(ROW, row_bytes("127.0.0.1", 443), sequence=444),
        answer(ERROR, NOT_FOUND, sequence=444),
        answer(ERROR, struct.pack("=i", -errno.EINVAL)),
        answer(ERROR, struct.pack("=i", errno.ENOENT)),
        answer(ERROR, NOT_FOUND[:3]),
        answer(3, bytes(4)),
    ],
)
def test_what_is_no_answer_to_a_lookup_is_refused(other: bytes) -> None:
    with pytest.raises(OSError, match="unexpected answer to a lookup") as caught:
        sockdiag.found(other, 443)
    assert caught.value.errno == errno.EBADMSG
