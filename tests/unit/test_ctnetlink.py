from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given

from check_portcheck.kernel import ctnetlink
from check_portcheck.kernel.ctnetlink import Flow
from check_portcheck.model import Endpoint, Interface, Protocol

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

NESTED = 0x8000
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
HERE = Interface("192.0.2.7", "eth0", 2, "eth0")
LINK_LOCAL = Interface("fe80::7%eth0", "eth0", 2, "eth0")


def attribute(kind: int, value: bytes) -> bytes:
    """struct nlattr of linux/netlink.h, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def four(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET, text)


def six(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def tuple_bytes(kind: int, addresses: dict[int, bytes], number: int, ports: list[int]) -> bytes:
    """CTA_TUPLE_IP 1 and CTA_TUPLE_PROTO 2 within a tuple; ports in network order."""
    of_addresses = b"".join(attribute(*each) for each in addresses.items())
    of_ports = attribute(1, bytes([number]))
    of_ports += attribute(2, struct.pack(">H", ports[0])) + attribute(
        3, struct.pack(">H", ports[1])
    )
    return attribute(
        kind | NESTED, attribute(1 | NESTED, of_addresses) + attribute(2 | NESTED, of_ports)
    )


@pytest.mark.parametrize(
    ("flow", "family", "addresses", "number"),
    [
        (
            Flow(HERE, Protocol.TCP, Endpoint("192.0.2.7", 40000), 80),
            socket.AF_INET,
            {1: four("192.0.2.7"), 2: four("192.0.2.7")},
            6,
        ),
        (
            Flow(LINK_LOCAL, Protocol.UDP, Endpoint("fe80::8", 40000), 80),
            socket.AF_INET6,
            {3: six("fe80::8"), 4: six("fe80::7")},
            17,
        ),
    ],
)
def test_a_question(flow: Flow, family: int, addresses: dict[int, bytes], number: int) -> None:
    head = struct.pack("=BBH", family, 0, 0)
    assert ctnetlink.request(flow) == head + tuple_bytes(1, addresses, number, [40000, 80])


def test_the_type_of_a_question() -> None:
    # NFNL_SUBSYS_CTNETLINK is 1, IPCTNL_MSG_CT_GET 1.
    assert ctnetlink.GET == 0x101


@pytest.mark.parametrize(
    ("addresses", "end"),
    [
        ({1: four("172.17.0.2"), 2: four("192.0.2.7")}, Endpoint("172.17.0.2", 8080)),
        ({3: six("fd00::2"), 4: six("2001:db8::7")}, Endpoint("fd00::2", 8080)),
    ],
)
def test_where_packets_go_is_where_replies_come_from(
    addresses: dict[int, bytes], end: Endpoint
) -> None:
    there = {kind: bytes(len(packed)) for kind, packed in addresses.items()}
    payload = bytes(4) + tuple_bytes(1, there, 6, [40000, 80])
    payload += tuple_bytes(2, addresses, 6, [8080, 40000]) + attribute(3, bytes(4))
    assert ctnetlink.destination(payload) == end


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(4),
        bytes(4) + tuple_bytes(1, {1: bytes(4)}, 6, [1, 2]),
        bytes(4) + attribute(2, b""),
        bytes(4) + tuple_bytes(2, {}, 6, [1, 2]),
        bytes(4) + tuple_bytes(2, {1: bytes(3)}, 6, [1, 2]),
        bytes(4)
        + attribute(2, attribute(1, attribute(1, bytes(4))) + attribute(2, attribute(2, b"x"))),
    ],
)
def test_what_does_not_tell_is_an_error(payload: bytes) -> None:
    with pytest.raises(OSError, match="without its reply"):
        ctnetlink.destination(payload)


def attributes(value: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Some attributes with such values, of the kinds that are read and of others."""
    each = st.builds(attribute, st.sampled_from([1, 2, 3, 4, 1 | NESTED, 2 | NESTED]), value)
    return st.lists(each, max_size=4).map(b"".join)


VALUES = st.sampled_from([b"", b"\0", bytes(2), bytes(4), bytes(16)]) | st.binary(max_size=20)
ENTRIES = attributes(attributes(attributes(VALUES))).map(bytes(4).__add__)


@given(ENTRIES | st.binary(max_size=100), st.integers(0, 3))
def test_any_entry_tells_an_end_or_is_refused(entry: bytes, cut: int) -> None:
    error, end = errno.EBADMSG, Endpoint("::", 0)
    try:
        end = ctnetlink.destination(entry[: len(entry) - cut])
    except OSError as refused:
        error = refused.errno or 0
    assert (error, 0 <= end.port <= 65535) == (errno.EBADMSG, True)
    assert Interface(end.address, "", 0, "").packed


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65535))
def test_an_end_survives_the_round_trip(address: IPv4Address | IPv6Address, port: int) -> None:
    end = Endpoint(socket.inet_ntop(FAMILIES[address.version], address.packed), port)
    reply = tuple_bytes(2, {1 if address.version == 4 else 3: address.packed}, 6, [port, 1])
    assert ctnetlink.destination(bytes(4) + reply) == end
