from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given

from check_portcheck.kernel import netlink, rtnetlink
from check_portcheck.kernel.rtnetlink import Address, Link

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

LOCAL, ADDRESS, LABEL, FLAGS = 2, 1, 3, 8
TENTATIVE, OPTIMISTIC, FAILED, PERMANENT = 0x40, 0x04, 0x08, 0x80


def link_bytes(index: int, name: bytes, flags: int) -> bytes:
    """struct ifinfomsg of linux/rtnetlink.h and two attributes."""
    head = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    return head + netlink.attribute(4, b"\0\0\0\0") + netlink.attribute(3, name + b"\0")


def address_bytes(
    family: int, index: int, *attributes: tuple[int, bytes], flags: int = 0x80
) -> bytes:
    """struct ifaddrmsg of linux/if_addr.h and its attributes."""
    head = struct.pack("=BBBBI", family, 24, flags, 0, index)
    return head + b"".join(netlink.attribute(*each) for each in attributes)


def four(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET, text)


def six(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


@pytest.mark.parametrize(
    ("payload", "link"),
    [
        (link_bytes(1, b"lo", 0x10049), Link(1, "lo", up=True, loopback=True, kind="")),
        (link_bytes(2, b"eth0", 0x1003), Link(2, "eth0", up=True, loopback=False, kind="")),
        (link_bytes(3, b"eth1", 0x1002), Link(3, "eth1", up=False, loopback=False, kind="")),
        (link_bytes(4, b"br\xff", 0), Link(4, "br\udcff", up=False, loopback=False, kind="")),
        (
            link_bytes(5, b"ethX", ~0x9 & 0xFFFFFFFF),
            Link(5, "ethX", up=False, loopback=False, kind=""),
        ),
    ],
)
def test_a_device(payload: bytes, link: Link) -> None:
    assert rtnetlink.link(payload) == link


@pytest.mark.parametrize(
    ("kind", "data", "named"),
    [
        (b"veth", b"", "veth"),
        (b"tun", netlink.attribute(3, b"\2"), "tap"),
        (b"tun", netlink.attribute(3, b"\1"), "tun"),
        (b"tun", b"", "tun"),
        (b"bridge", netlink.attribute(3, b"\2"), "bridge"),
    ],
)
def test_the_kind_of_a_device(kind: bytes, data: bytes, named: str) -> None:
    info = netlink.attribute(1, kind + b"\0") + netlink.attribute(2, data)
    payload = link_bytes(2, b"x", 0) + netlink.attribute(18, info)
    assert rtnetlink.link(payload).kind == named


@pytest.mark.parametrize(
    ("payload", "address"),
    [
        (
            address_bytes(
                socket.AF_INET,
                2,
                (ADDRESS, four("192.0.2.7")),
                (LOCAL, four("192.0.2.7")),
                (LABEL, b"eth0:1\0"),
            ),
            Address(2, "192.0.2.7", link_local=False, label="eth0:1", usable=True, expires=False),
        ),
        (
            address_bytes(
                socket.AF_INET, 3, (ADDRESS, four("192.0.2.9")), (LOCAL, four("192.0.2.8"))
            ),
            Address(3, "192.0.2.8", link_local=False, label=None, usable=True, expires=False),
        ),
        (
            address_bytes(socket.AF_INET6, 2, (ADDRESS, six("2001:db8::7"))),
            Address(2, "2001:db8::7", link_local=False, label=None, usable=True, expires=False),
        ),
        (
            address_bytes(socket.AF_INET6, 2, (ADDRESS, six("fe80::7"))),
            Address(2, "fe80::7", link_local=True, label=None, usable=True, expires=False),
        ),
        (
            address_bytes(socket.AF_INET6, 2, (ADDRESS, six("febf::7"))),
            Address(2, "febf::7", link_local=True, label=None, usable=True, expires=False),
        ),
        (
            address_bytes(socket.AF_INET6, 2, (ADDRESS, six("fec0::7"))),
            Address(2, "fec0::7", link_local=False, label=None, usable=True, expires=False),
        ),
        (
            address_bytes(socket.AF_INET6, 2, (ADDRESS, six("fe7f::7"))),
            Address(2, "fe7f::7", link_local=False, label=None, usable=True, expires=False),
        ),
        (
            address_bytes(socket.AF_INET6, 2, (ADDRESS, six("ff80::7"))),
            Address(2, "ff80::7", link_local=False, label=None, usable=True, expires=False),
        ),
        (
            # The bits of fe80::/10, but IPv4.
            address_bytes(socket.AF_INET, 2, (ADDRESS, four("254.128.0.7"))),
            Address(2, "254.128.0.7", link_local=False, label=None, usable=True, expires=False),
        ),
    ],
)
def test_an_address(payload: bytes, address: Address) -> None:
    assert rtnetlink.address(payload) == address


@pytest.mark.parametrize(
    ("packed", "flags", "expires"),
    [
        (six("2001:db8::7"), 0x80, False),  # IFA_F_PERMANENT
        (six("2001:db8::7"), 0x100, True),  # by a router advertisement: IFA_F_MANAGETEMPADDR
        (six("2001:db8::7"), 0x01, True),  # IFA_F_TEMPORARY
        (four("192.0.2.7"), 0x01, False),  # the same bit: IFA_F_SECONDARY, of a lease
    ],
)
def test_whether_another_address_will_replace_one(
    packed: bytes, flags: int, *, expires: bool
) -> None:
    family = socket.AF_INET6 if len(packed) == 16 else socket.AF_INET
    every = (FLAGS, struct.pack("=I", flags))
    found = rtnetlink.address(address_bytes(family, 2, (ADDRESS, packed), every, flags=0))
    assert found
    assert found.expires is expires


def test_addresses_of_other_families_are_passed_over() -> None:
    assert rtnetlink.address(address_bytes(28, 2, (ADDRESS, b"\1\2\3\4"))) is None


@pytest.mark.parametrize(
    ("flags", "usable"),
    [
        (PERMANENT, True),
        (PERMANENT | TENTATIVE, False),
        (TENTATIVE | OPTIMISTIC, True),
        (TENTATIVE | FAILED, False),
        (FAILED, False),
        (0x100 | TENTATIVE, False),
        (0x100, True),
        (0xFFFFFFFF & ~(TENTATIVE | OPTIMISTIC | FAILED), True),
        (0xFFFFFFFF & ~(OPTIMISTIC | FAILED), False),
        (0xFFFFFFFF & ~FAILED, True),
    ],
)
def test_an_address_that_is_not_known_to_be_unique_is_not_usable(
    flags: int, *, usable: bool
) -> None:
    attributes = [(ADDRESS, six("2001:db8::7")), (FLAGS, struct.pack("=I", flags))]
    found = rtnetlink.address(address_bytes(socket.AF_INET6, 2, *attributes))
    assert found
    assert found.usable is usable
    if flags < 0x100:
        found = rtnetlink.address(address_bytes(socket.AF_INET6, 2, attributes[0], flags=flags))
        assert found
        assert found.usable is usable


@pytest.mark.parametrize("kind", range(12))
def test_only_a_local_route_has_a_device_of_its_own(kind: int) -> None:
    # struct rtmsg of linux/rtnetlink.h: RTN_LOCAL is 2; RTA_OIF is 4.
    head = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 255, 2, 254, kind, 0)
    route = head + netlink.attribute(1, four("192.0.2.7")) + netlink.attribute(4, b"\1\0\0\0")
    assert rtnetlink.local_device(route) == (
        int.from_bytes(b"\1\0\0\0", sys.byteorder) if kind == 2 else None
    )


@pytest.mark.parametrize(
    ("family", "packed", "bits"),
    [(socket.AF_INET, four("192.0.2.7"), 32), (socket.AF_INET6, six("2001:db8::7"), 128)],
)
def test_a_question_for_a_route(family: int, packed: bytes, bits: int) -> None:
    head = struct.pack("=BBBBBBBBI", family, bits, 0, 0, 0, 0, 0, 0, 0x2000)
    assert rtnetlink.route_request(family, packed) == head + netlink.attribute(1, packed)


def test_the_numbers_of_messages_are_the_kernels_own() -> None:
    # linux/rtnetlink.h: RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE.
    numbers = (rtnetlink.RTM_GETLINK, rtnetlink.RTM_GETADDR, rtnetlink.RTM_GETROUTE)
    assert numbers == (18, 22, 26)


def test_requests_for_dumps_are_empty_heads() -> None:
    assert (bytes(16), bytes(8)) == (rtnetlink.LINKS_REQUEST, rtnetlink.ADDRESSES_REQUEST)


# Whatever the bytes are


NUMBERS, BYTES = st.integers(0, 2**32 - 1), st.integers(0, 255)
VALUES = st.sampled_from([b"", b"tun\0", b"\2", bytes(4), bytes(16)]) | st.binary(max_size=20)


def attributes(value: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Some attributes with such values, of the kinds that are read and of others."""
    each = st.builds(netlink.attribute, st.sampled_from([1, 2, 3, 4, 8, 18]), value)
    return st.lists(each, max_size=4).map(b"".join)


HEADS: dict[Callable[[bytes], Link | Address | int | None], st.SearchStrategy[bytes]] = {
    rtnetlink.link: st.builds(link_bytes, st.integers(0, 2**31 - 1), VALUES, NUMBERS),
    rtnetlink.address: st.builds(address_bytes, st.sampled_from([2, 10, 28]), NUMBERS, flags=BYTES),
    rtnetlink.local_device: st.sampled_from([1, 2]).map(lambda kind: struct.pack("=7xBI", kind, 0)),
}
PAYLOADS = {
    decoder: st.builds(bytes.__add__, head, attributes(VALUES | attributes(attributes(VALUES))))
    | st.binary(max_size=60)
    for decoder, head in HEADS.items()
}


@pytest.mark.parametrize("decoder", HEADS)
@given(st.data())
def test_any_bytes_are_decoded_or_refused(
    decoder: Callable[[bytes], Link | Address | int | None], data: st.DataObject
) -> None:
    payload = data.draw(PAYLOADS[decoder])
    error: int | None = errno.EBADMSG
    number = 0
    try:
        found = decoder(payload[: len(payload) - data.draw(st.integers(0, 3))])
        number = found if isinstance(found, int) else found.ifindex if found else 0
    except OSError as refused:
        error = refused.errno
    assert (error, abs(number) < 2**32) == (errno.EBADMSG, True)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), NUMBERS)
def test_an_address_survives_the_round_trip(address: IPv4Address | IPv6Address, index: int) -> None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    found = rtnetlink.address(address_bytes(family, index, (ADDRESS, address.packed)))
    assert found
    assert (found.ifindex, socket.inet_pton(family, found.address)) == (index, address.packed)
