from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from check_portcheck.kernel import interfaces, netlink
from check_portcheck.kernel.addresses import Addresses
from check_portcheck.kernel.interfaces import InterfaceError
from check_portcheck.model import Choice, Device
from unit.test_selection import ALL, addresses_of

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = Addresses(ALL, {1: Device("lo", "lo")})


def test_the_resolver_is_asked_for_the_name_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: bytes, port: None, *, type: int) -> Iterator[tuple[object, ...]]:  # noqa: A002
        assert (name, port, type) == (b"host\xff", None, socket.SOCK_DGRAM)
        for address in ("192.0.2.7", "192.0.2.7", "fe80::7%eth0"):
            yield socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 0)

    monkeypatch.setattr(interfaces, "own_addresses", lambda: OWN)
    monkeypatch.setattr(socket, "gethostname", lambda: os.fsdecode(b"host\xff"))
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    chosen = interfaces.choose([], [], official=True)
    assert addresses_of(chosen) == ["192.0.2.7", "fe80::7%eth0"]
    assert chosen.notes == ()


def test_the_resolver_may_not_know_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(interfaces, "own_addresses", lambda: OWN)
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (choice,) = [Choice("192.0.2.7", "/etc/samhainrc:4")]
    chosen = interfaces.choose([choice], [], official=True)
    assert chosen.notes == ("official name host does not resolve (Name or service not known)",)
    assert interfaces.choose([choice], [], official=False).notes == ()
    assert chosen.interfaces[0].origins == ("/etc/samhainrc:4",)


def test_a_kernel_that_does_not_tell_its_addresses_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deny(_: int) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    monkeypatch.setattr(netlink, "connect", deny)
    with pytest.raises(InterfaceError) as caught:
        interfaces.choose([], [], official=True)
    assert caught.value.errors == (
        "the addresses of this machine cannot be read: netlink: Protocol not supported",
    )
