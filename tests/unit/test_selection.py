from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.kernel import selection
from check_portcheck.kernel.selection import Chosen, NothingChosenError, OfficialName, Own
from check_portcheck.model import Choice, Device, Failure, Interface

if TYPE_CHECKING:
    from collections.abc import Collection

LO = Interface("127.0.0.1", "lo", 1, "lo")
LO6 = Interface("::1", "lo", 1, "lo")
FOUR = Interface("192.0.2.7", "eth0", 2, "eth0")
ALIAS = Interface("192.0.2.8", "eth0", 2, "eth0:1")
SIX = Interface("2001:db8::7", "eth0", 2, "eth0")
LINK_LOCAL = Interface("fe80::7%eth0", "eth0", 2, "eth0")
DOWN = Interface("198.51.100.5", "eth1", 3, "eth1", up=False)
ALL = (LO, LO6, FOUR, ALIAS, SIX, LINK_LOCAL, DOWN)

DEVICES = {
    1: Device("lo", "lo"),
    2: Device("eth0", "eth0"),
    3: Device("eth1", "eth1"),
    7: Device("veth4a", "veth"),
    8: Device("veth4b", "veth"),
}

LOCAL = ("127.0.1.1", "203.0.113.9")
"""Addresses within networks that a route makes local as a whole."""


def own(*had: Interface, local: Collection[str] = LOCAL) -> Own:
    """The addresses of a machine; asked of a route is only what a route can be asked of."""

    def routed(address: str) -> Interface | None:
        assert "%" not in address
        assert address not in {each.address for each in had}
        return Interface(address, "lo", 1, "lo") if address in local else None

    return Own(had or ALL, routed, DEVICES)


def select(
    *names: str,
    devices: tuple[str, ...] = (),
    official: OfficialName | None = None,
    machine: Own | None = None,
) -> Chosen:
    return selection.select(
        machine or own(),
        official,
        [Choice(name, "--interface") for name in names],
        [Choice(name, "--device") for name in devices],
    )


def errors(
    *names: str, devices: tuple[str, ...] = (), official: OfficialName | None = None
) -> tuple[str, ...]:
    with pytest.raises(NothingChosenError) as caught:
        select(*names, devices=devices, official=official)
    assert str(caught.value) == "; ".join(caught.value.reasons)
    return caught.value.reasons


def addresses_of(chosen: Chosen) -> list[str]:
    return [interface.address for interface in chosen.interfaces]


# Addresses


def test_an_address_stands_for_its_interface() -> None:
    chosen = select("192.0.2.7")
    assert chosen.interfaces == (FOUR._replace(chosen=("192.0.2.7",), origins=("--interface",)),)
    assert (chosen.failures, chosen.notes, chosen.counted) == ((), (), ("192.0.2.7",))
    assert not chosen.everything
    assert {"127.0.0.1", "eth0:1", "eth1", "veth4a"} <= chosen.present


def test_all_stands_for_the_addresses_of_devices_that_are_up() -> None:
    chosen = select("all")
    assert addresses_of(chosen) == [each.address for each in ALL if each is not DOWN]
    assert [each.chosen for each in chosen.interfaces] == [
        (each.device,) for each in ALL if each is not DOWN
    ]
    assert chosen.everything
    assert chosen.counted == ("lo", "eth0", "eth1", "veth", "other")


def test_an_address_of_a_device_that_is_down_can_be_chosen() -> None:
    assert addresses_of(select("198.51.100.5")) == ["198.51.100.5"]


def test_a_link_local_address_is_found_with_its_device_only() -> None:
    assert addresses_of(select("fe80::7%eth0")) == ["fe80::7%eth0"]
    for address in ("fe80::7%eth1", "fe80::7"):
        (failure,) = select(address).failures
        assert failure.reason == f"{address} (--interface) is not an address of this machine now"


def test_an_address_within_a_local_network_is_on_loopback() -> None:
    alias = Interface("127.0.0.9", "lo", 1, "lo:1")
    (found,) = select("203.0.113.9", machine=own(FOUR, alias, LO)).interfaces
    assert found == Interface(
        "203.0.113.9", "lo", 1, "lo", chosen=("203.0.113.9",), origins=("--interface",)
    )


def test_an_address_that_two_devices_have_is_on_the_first() -> None:
    twin = FOUR._replace(device="eth1", ifindex=3)
    (found,) = select("192.0.2.7", machine=own(FOUR, twin)).interfaces
    assert found.device == "eth0"


def test_an_absent_address_is_a_failure_and_the_others_are_scanned() -> None:
    chosen = select("192.0.2.99", "127.0.0.1", "2001:db8::99")
    assert addresses_of(chosen) == ["127.0.0.1"]
    assert chosen.failures == (
        Failure("192.0.2.99 (--interface) is not an address of this machine now", "192.0.2.99"),
        Failure("2001:db8::99 (--interface) is not an address of this machine now", "2001:db8::99"),
    )


def test_labels_are_in_the_same_order_whatever_is_there() -> None:
    names = ("192.0.2.99", "127.0.0.1", "2001:db8::99")
    devices = ("eth7", "eth0")
    there = own(*ALL, FOUR._replace(address="192.0.2.99"), SIX._replace(address="2001:db8::99"))
    for machine in (own(), there):
        assert select(*names, devices=devices, machine=machine).counted == (*names, *devices)


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
    ("names", "devices", "official", "reasons"),
    [
        ((), (), None, ["no interface is chosen: --interface, --device"]),
        (
            (),
            (),
            OfficialName("host", ("192.0.2.99",)),
            ["official name host resolves to 192.0.2.99, which is not this machine's"],
        ),
        (("all", "!0.0.0.0/0", "!::/0"), (), None, ["every chosen interface is left out again"]),
        (("all",), ("!*",), None, ["every chosen interface is left out again"]),
    ],
)
def test_nothing_to_scan_is_an_error_with_every_reason(
    names: tuple[str, ...],
    devices: tuple[str, ...],
    official: OfficialName | None,
    reasons: list[str],
) -> None:
    assert errors(*names, devices=devices, official=official) == tuple(reasons)


def test_what_is_absent_is_told_even_where_nothing_else_is_chosen() -> None:
    chosen = select("192.0.2.99", devices=("eth7",))
    assert (chosen.interfaces, chosen.counted) == ((), ("192.0.2.99", "eth7"))
    assert len(chosen.failures) == 2


# Patterns and exclusions


def test_a_pattern_of_devices_counts_under_the_devices_and_container_ends_together() -> None:
    ends = [
        Interface(f"fe80::{n}%veth4{x}", f"veth4{x}", n, f"veth4{x}")
        for n, x in ((7, "a"), (8, "b"))
    ]
    chosen = select(devices=("eth*", "veth*"), machine=own(*ALL, *ends))
    assert [each.chosen for each in chosen.interfaces] == [
        *[("eth0",)] * 4,
        ("eth1",),
        ("veth",),
        ("veth",),
    ]
    assert chosen.counted == ("eth0", "eth1", "veth")
    assert select(devices=("docker*", "lo")).failures == ()


@pytest.mark.parametrize(
    ("names", "devices", "left"),
    [
        (("all", "!192.0.2.8"), (), [LO, LO6, FOUR, SIX, LINK_LOCAL]),
        (("!192.0.2.8", "all"), (), [LO, LO6, FOUR, SIX, LINK_LOCAL]),
        (("all", "!192.0.2.0/24", "!fe80::/10"), (), [LO, LO6, SIX]),
        (("all",), ("!eth*",), [LO, LO6]),
        (("all",), ("!eth0:1", "!lo"), [FOUR, SIX, LINK_LOCAL]),
        (("all", "!203.0.113.0/24"), ("!docker0",), [LO, LO6, FOUR, ALIAS, SIX, LINK_LOCAL]),
        (("192.0.2.0/24",), (), [FOUR, ALIAS]),
        (("198.51.100.0/24", "127.0.0.1"), (), [LO]),
        ((), ("eth*", "!eth1"), [FOUR, ALIAS, SIX, LINK_LOCAL]),
    ],
)
def test_what_is_left_out_is_left_out_whatever_the_order(
    names: tuple[str, ...], devices: tuple[str, ...], left: list[Interface]
) -> None:
    assert addresses_of(select(*names, devices=devices)) == [each.address for each in left]


def test_what_is_left_out_is_said_for_sockets_that_are_bound_elsewhere() -> None:
    assert select("all", "!224.0.0.0/4", devices=("!eth1",)).unwanted == ("224.0.0.0/4", "eth1")


@pytest.mark.parametrize(("count", "names"), [(5, 5), (60, 60), (90, 1), (1000, 1)])
def test_many_addresses_count_under_their_device(count: int, names: int) -> None:
    many = [FOUR._replace(address=f"198.51.{n // 250}.{n % 250}") for n in range(count)]
    chosen = select(*(each.address for each in many), machine=own(*many))
    assert len(chosen.interfaces) == count
    assert len(chosen.counted) == names
    assert names > 1 or chosen.counted == ("eth0",)


def test_very_many_devices_count_as_one() -> None:
    devices = {n: Device(f"vlan{n}", f"vlan{n}") for n in range(300)}
    many = [Interface(f"198.51.{n // 250}.{n % 250}", f"vlan{n}", n, "") for n in range(300)]
    machine = Own(many, lambda _: None, devices)
    assert select("all", machine=machine).counted == ("all",)


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
    (both, six, *_) = select("all", official=official).interfaces
    assert (both.chosen, six.chosen) == (("lo",), ("lo",))
    assert select("127.0.0.1").notes == ()
