from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from check_portcheck.kernel import interfaces, netlink
from check_portcheck.kernel.interfaces import Chosen, InterfaceError, OfficialName, Own
from check_portcheck.model import Choice, Failure, Interface

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LO = Interface("127.0.0.1", "lo", 1, "lo")
LO6 = Interface("::1", "lo", 1, "lo")
FOUR = Interface("192.0.2.7", "eth0", 2, "eth0")
ALIAS = Interface("192.0.2.8", "eth0", 2, "eth0:1")
SIX = Interface("2001:db8::7", "eth0", 2, "eth0")
LINK_LOCAL = Interface("fe80::7%eth0", "eth0", 2, "eth0")
DOWN = Interface("198.51.100.5", "eth1", 3, "eth1", up=False)
ALL = (LO, LO6, FOUR, ALIAS, SIX, LINK_LOCAL, DOWN)

LOCAL = ("127.0.1.1", "203.0.113.9")
"""Addresses within networks that a route makes local as a whole."""


def own(*had: Interface, local: Collection[str] = LOCAL) -> Own:
    """The addresses of a machine; asked of a route is only what a route can be asked of."""

    def is_local(address: str) -> bool:
        assert "%" not in address
        assert address not in {each.address for each in had}
        return address in local

    return Own(had or ALL, is_local)


def select(
    *names: str,
    devices: tuple[str, ...] = (),
    official: OfficialName | None = None,
    machine: Own | None = None,
) -> Chosen:
    return interfaces.select(
        machine or own(),
        official,
        [Choice(name, "--interface") for name in names],
        [Choice(name, "--device") for name in devices],
    )


def errors(
    *names: str, devices: tuple[str, ...] = (), official: OfficialName | None = None
) -> tuple[str, ...]:
    with pytest.raises(InterfaceError) as caught:
        select(*names, devices=devices, official=official)
    assert str(caught.value) == "; ".join(caught.value.errors)
    return caught.value.errors


def addresses_of(chosen: Chosen) -> list[str]:
    return [interface.address for interface in chosen.interfaces]


# Addresses


def test_an_address_stands_for_its_interface() -> None:
    chosen = select("192.0.2.7")
    assert chosen == Chosen((FOUR._replace(chosen=("192.0.2.7",), origins=("--interface",)),))
    assert (chosen.failures, chosen.notes) == ((), ())


def test_all_stands_for_the_addresses_of_devices_that_are_up() -> None:
    chosen = select("all")
    assert addresses_of(chosen) == [each.address for each in ALL if each is not DOWN]
    assert [each.chosen for each in chosen.interfaces] == [
        (each.address,) for each in ALL if each is not DOWN
    ]


def test_an_address_of_a_device_that_is_down_can_be_chosen() -> None:
    assert addresses_of(select("198.51.100.5")) == ["198.51.100.5"]


def test_a_link_local_address_is_found_with_its_device_only() -> None:
    assert addresses_of(select("fe80::7%eth0")) == ["fe80::7%eth0"]
    for address in ("fe80::7%eth1", "fe80::7"):
        assert errors(address) == (f"--interface: {address} is not an address of this machine",)


def test_an_address_within_a_local_network_is_on_loopback() -> None:
    alias = Interface("127.0.0.9", "lo", 1, "lo:1")
    (found,) = select("203.0.113.9", machine=own(FOUR, alias, LO)).interfaces
    assert found == Interface(
        "203.0.113.9", "lo", 1, "lo", chosen=("203.0.113.9",), origins=("--interface",)
    )


def test_without_a_loopback_address_no_network_is_this_machines() -> None:
    with pytest.raises(InterfaceError, match=r"203\.0\.113\.9 is not an address of this machine"):
        select("203.0.113.9", machine=own(FOUR))


def test_an_address_that_two_devices_have_is_on_the_first() -> None:
    twin = FOUR._replace(device="eth1", ifindex=3)
    (found,) = select("192.0.2.7", machine=own(FOUR, twin)).interfaces
    assert found.device == "eth0"


def test_every_foreign_address_is_an_error_with_its_source() -> None:
    assert errors("192.0.2.99", "127.0.0.1", "2001:db8::99") == (
        "--interface: 192.0.2.99 is not an address of this machine",
        "--interface: 2001:db8::99 is not an address of this machine",
    )


# Devices


def test_a_device_stands_for_its_addresses_and_an_alias_for_its_own() -> None:
    whole = select(devices=("eth0",))
    assert addresses_of(whole) == ["192.0.2.7", "192.0.2.8", "2001:db8::7", "fe80::7%eth0"]
    assert {each.chosen for each in whole.interfaces} == {("eth0",)}
    assert {each.origins for each in whole.interfaces} == {("--device",)}
    assert addresses_of(select(devices=("eth0:1",))) == ["192.0.2.8"]


def test_an_absent_device_is_a_failure_and_the_others_are_scanned() -> None:
    chosen = select("127.0.0.1", devices=("eth7", "eth1", "eth8", "eth7"))
    assert addresses_of(chosen) == ["127.0.0.1", "198.51.100.5"]
    assert chosen.failures == (
        Failure("device eth7 (--device) does not exist or has no address", "eth7"),
        Failure("device eth8 (--device) does not exist or has no address", "eth8"),
    )


# Together


def test_each_address_is_scanned_once_under_all_its_names() -> None:
    official = OfficialName("host", ("192.0.2.7",))
    chosen = select("192.0.2.7", "::1", "192.0.2.7", devices=("eth0", "eth0"), official=official)
    first, second, *rest = chosen.interfaces
    assert first == FOUR._replace(
        chosen=("192.0.2.7", "eth0"),
        origins=("official name host", "--interface", "--device"),
    )
    assert second == LO6._replace(chosen=("::1",), origins=("--interface",))
    assert [each.chosen for each in rest] == [("eth0",)] * 3


def test_the_order_is_official_name_addresses_devices() -> None:
    official = OfficialName("host", ("2001:db8::7", "192.0.2.8"))
    chosen = select("192.0.2.7", devices=("lo",), official=official)
    assert addresses_of(chosen) == [
        "2001:db8::7",
        "192.0.2.8",
        "192.0.2.7",
        "127.0.0.1",
        "::1",
    ]


@pytest.mark.parametrize(
    ("devices", "official", "reasons"),
    [
        ((), None, ["no interface is chosen: --interface, --device"]),
        (("eth7",), None, ["device eth7 (--device) does not exist or has no address"]),
        (
            ("eth7", "eth8"),
            OfficialName("host", ("192.0.2.99",)),
            [
                "official name host resolves to 192.0.2.99, which is not this machine's",
                "device eth7 (--device) does not exist or has no address",
                "device eth8 (--device) does not exist or has no address",
            ],
        ),
    ],
)
def test_nothing_to_scan_is_an_error_with_every_reason(
    devices: tuple[str, ...], official: OfficialName | None, reasons: list[str]
) -> None:
    assert errors(devices=devices, official=official) == tuple(reasons)


def test_a_foreign_address_is_the_only_error_beside_absent_devices() -> None:
    assert errors("192.0.2.99", devices=("eth7",)) == (
        "--interface: 192.0.2.99 is not an address of this machine",
    )


# The official name


def test_of_the_official_name_only_own_addresses_are_scanned() -> None:
    chosen = select(official=OfficialName("host", ("192.0.2.99", "192.0.2.7", "2001:db8::99")))
    assert addresses_of(chosen) == ["192.0.2.7"]
    assert chosen.notes == (
        "official name host resolves to 192.0.2.99, which is not this machine's",
        "official name host resolves to 2001:db8::99, which is not this machine's",
    )


def test_an_official_name_that_does_not_resolve_is_noted() -> None:
    unknown = OfficialName("host", unresolved="Name or service not known")
    note = "official name host does not resolve (Name or service not known)"
    assert select("192.0.2.7", official=unknown).notes == (note,)
    assert select("127.0.0.1", official=unknown).notes == (note,)
    assert errors(official=unknown) == (note,)


def test_an_official_name_that_is_loopback_only_is_noted() -> None:
    official = OfficialName("host", ("127.0.1.1", "::1"))
    note = (
        "only loopback is scanned: official name host is 127.0.1.1, ::1; "
        "--device NAME or --interface all adds other addresses"
    )
    assert select(official=official).notes == (note,)
    assert select("127.0.0.1", official=official).notes == (note,)
    assert select("192.0.2.7", official=official).notes == ()
    assert select("127.0.0.1").notes == ()


# What is asked of the machine


def test_the_resolver_is_asked_for_the_name_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: bytes, port: None, *, type: int) -> Iterator[tuple[object, ...]]:  # noqa: A002
        assert (name, port, type) == (b"host\xff", None, socket.SOCK_DGRAM)
        for address in ("192.0.2.7", "192.0.2.7", "fe80::7%eth0"):
            yield socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 0)

    monkeypatch.setattr(interfaces, "own_interfaces", lambda: list(ALL))
    monkeypatch.setattr(socket, "gethostname", lambda: os.fsdecode(b"host\xff"))
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    chosen = interfaces.choose([], [], official=True)
    assert addresses_of(chosen) == ["192.0.2.7", "fe80::7%eth0"]
    assert chosen.notes == ()


def test_the_resolver_may_not_know_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(interfaces, "own_interfaces", lambda: list(ALL))
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
