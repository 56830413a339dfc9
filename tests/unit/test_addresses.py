from __future__ import annotations

import contextlib
import errno
import socket
import struct

import pytest

from check_portcheck.kernel import addresses, netlink
from check_portcheck.model import Interface

LINK, ADDRESS, ROUTE = 18, 22, 26
"""RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE of linux/rtnetlink.h."""
ROUTING = 0
"""NETLINK_ROUTE of linux/netlink.h."""


def link(ifindex: int, name: bytes, flags: int) -> bytes:
    return struct.pack("=BxHiII", 0, 1, ifindex, flags, 0) + netlink.attribute(3, name + b"\0")


def address(text: str, ifindex: int, *, label: bytes = b"", flags: int = 0x80) -> bytes:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    attributes = netlink.attribute(1, socket.inet_pton(family, text))
    attributes += netlink.attribute(3, label + b"\0") if label else b""
    return struct.pack("=BBBBI", family, 24, flags, 0, ifindex) + attributes


def route(kind: int, ifindex: int) -> bytes:
    """An RTM_NEWROUTE message; RTA_OIF is 4."""
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 254, 2, 0, kind, 0)
    return head + netlink.attribute(4, struct.pack("=I", ifindex))


def connect(protocol: int) -> contextlib.nullcontext[str]:
    assert protocol == ROUTING
    return contextlib.nullcontext("connection")


def test_every_usable_address_comes_with_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        (LINK, bytes(16)): [link(1, b"lo", 0x9), link(2, b"eth0", 0x1), link(5, b"eth1", 0)],
        (ADDRESS, bytes(8)): [
            address("127.0.0.1", 1, label=b"lo"),
            address("192.0.2.8", 2, label=b"eth0:1"),
            address("192.0.2.9", 2),  # which eth1 has as well, and by its route
            address("198.51.100.5", 5),
            b"\x1c" + address("192.0.2.11", 2)[1:],  # of another family
            address("192.0.2.10", 3),  # of a device that came between the two dumps
            address("::1", 1),
            address("fe80::7", 2),
            address("2001:db8::8", 2, flags=0xC0),  # tentative
            address("2001:db8::9", 2, flags=0x01),  # temporary
        ],
    }

    def dump(connection: str, kind: int, body: bytes) -> list[bytes]:
        assert connection == "connection"
        return answers[kind, body]

    def ask(connection: str, kind: int, body: bytes) -> bytes:
        assert (connection, kind) == ("connection", ROUTE)
        if body.endswith(netlink.attribute(1, socket.inet_aton("198.51.100.5"))):
            raise OSError(errno.ENETUNREACH, "ENETUNREACH")
        if body.endswith(netlink.attribute(1, socket.inet_aton("192.0.2.9"))):
            return route(2, 5)
        return route(2, 1) if b"\x7f\0\0\x01" in body else route(1, 2)

    monkeypatch.setattr(netlink, "connect", connect)
    monkeypatch.setattr(netlink, "ask", ask)
    monkeypatch.setattr(netlink, "dump", dump)
    found = addresses.own_addresses()
    assert list(found.interfaces) == [
        Interface("127.0.0.1", "lo", 1, "lo"),
        Interface("192.0.2.8", "eth0", 2, "eth0:1"),
        Interface("192.0.2.9", "eth0", 5, "eth0"),
        Interface("198.51.100.5", "eth1", 5, "eth1", up=False),
        Interface("::1", "lo", 1, "lo"),
        Interface("fe80::7%eth0", "eth0", 2, "eth0"),
        Interface("2001:db8::9", "eth0", 2, "eth0", expires=True),
    ]


@pytest.mark.parametrize("text", ["203.0.113.9", "2001:db8::9"])
@pytest.mark.parametrize(("kind", "local"), [(2, True), (1, False), (3, False)])
def test_a_local_route_says_where_an_address_is(
    monkeypatch: pytest.MonkeyPatch, text: str, kind: int, *, local: bool
) -> None:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    packed = socket.inet_pton(family, text)

    def ask(_: str, asked: int, body: bytes) -> bytes:
        head = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0x2000)
        assert (asked, body) == (ROUTE, head + netlink.attribute(1, packed))
        return route(kind, socket.if_nametoindex("lo"))

    monkeypatch.setattr(netlink, "connect", connect)
    monkeypatch.setattr(netlink, "ask", ask)
    there = Interface(text, "lo", socket.if_nametoindex("lo"), "lo")
    assert addresses.routed(text) == (there if local else None)


def test_an_address_without_any_route_is_not_local(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object) -> bytes:
        raise OSError(errno.ENETUNREACH, "ENETUNREACH")

    monkeypatch.setattr(netlink, "connect", connect)
    monkeypatch.setattr(netlink, "ask", ask)
    assert addresses.routed("203.0.113.9") is None


def test_a_device_that_has_gone_has_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "connect", connect)
    monkeypatch.setattr(netlink, "ask", lambda *_: route(2, 0x7FFFFFFF))
    assert addresses.routed("203.0.113.9") is None
