from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, LINK_LOCAL, told, without_netlink

from check_portcheck.kernel import addresses, interfaces
from check_portcheck.model import Choice

if TYPE_CHECKING:
    from pathlib import Path

    from namespace import Check, Namespace

    from check_portcheck.kernel.selection import Chosen

    Pair = tuple[Namespace, Namespace]

pytestmark = pytest.mark.once

NETLINK_ROUTE = 0
OTHER = "198.51.100.5"
"""An address of another device."""
TABLE = ("--method", "table")


def chosen(there: Namespace, *addresses: str, devices: tuple[str, ...] = ()) -> Chosen:
    with there.entered():
        return interfaces.choose(
            [Choice(each, "--interface") for each in addresses],
            [Choice(each, "--device") for each in devices],
            official=False,
        )


def addresses_of(choice: Chosen) -> list[str]:
    return [each.address for each in choice.interfaces]


def name(there: Namespace, directory: Path, hosts: str) -> None:
    """Give the host the name ``probed`` and just these entries to resolve it by."""
    (directory / "hosts").write_text(hosts)
    (directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    there.shell(
        f"""
        hostname probed
        mount --bind {directory}/hosts /etc/hosts
        mount --bind {directory}/resolv.conf /etc/resolv.conf
        """
    )


def test_every_address_is_found_with_its_device(pair: Pair) -> None:
    here, _ = pair
    here.shell(
        """
        ip link add eth1 type veth peer name eth2
        ip address add 198.51.100.5/24 dev eth1
        ip address add 192.0.2.20/24 dev eth0 label eth0:1
        ip address add 198.51.100.33 peer 198.51.100.34 dev eth0
        """
    )
    listed: set[tuple[str, str, int, bool, str]] = set()
    for device in json.loads(here.shell("ip -json address")):
        for each in device["addr_info"]:
            address = each["local"]
            if address.startswith("fe80"):
                address += "%" + device["ifname"]
            label = each.get("label", device["ifname"])
            up = "UP" in device["flags"]
            listed.add((address, device["ifname"], device["ifindex"], up, label))
    with here.entered():
        own = addresses.own_addresses().interfaces
    assert {(e.address, e.device, e.ifindex, e.up, e.label) for e in own} == listed
    assert len(own) == len(listed) == 8


def test_all_stands_for_the_addresses_of_devices_that_are_up(pair: Pair) -> None:
    here, _ = pair
    here.shell("ip link add eth1 type veth peer name eth2; ip address add 198.51.100.5 dev eth1")
    found = addresses_of(chosen(here, "all"))
    assert sorted(found) == sorted(["127.0.0.1", "::1", IPV4, IPV6, LINK_LOCAL])
    assert addresses_of(chosen(here, "198.51.100.5")) == ["198.51.100.5"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--device", "eth*"), [IPV4, IPV6, LINK_LOCAL, OTHER]),
        (("--device", "!eth1,eth*"), [IPV4, IPV6, LINK_LOCAL]),
        (("--device", "lo", "--device", "nosuch*"), ["127.0.0.1", "::1"]),
        (("--interface", "198.51.100.0/24,::1/128"), [OTHER, "::1"]),
        (("--interface", "all", "--device", "!eth*"), ["127.0.0.1", "::1"]),
        (("--interface", f"!{IPV4}, all,!::/0"), ["127.0.0.1", OTHER]),
        (("--interface", f"all !127.0.0.0/8 !{LINK_LOCAL} !::1"), [IPV4, IPV6, OTHER]),
    ],
)
def test_patterns_and_networks_choose_and_what_is_marked_is_left_out(
    pair: Pair, check: Check, tmp_path: Path, options: tuple[str, ...], expected: list[str]
) -> None:
    pair[0].shell(
        f"""
        ip link add eth1 type veth peer name peer1
        sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1
        ip address add {OTHER}/24 dev eth1
        ip link set eth1 up
        """
    )
    keys = {"--device": "PortCheckDevice", "--interface": "PortCheckInterface"}
    pairs = zip(options[::2], options[1::2], strict=True)
    lines = [f"{keys[option]} = {value}\n" for option, value in pairs]
    (tmp_path / "policy").write_text("".join(["[PortCheck]\n", *lines]))
    for given in (options, ("--config", tmp_path / "policy")):
        report = check.report("--no-official", *given, *TABLE)
        found = [each["address"] for each in report["interfaces"]]
        assert sorted(found) == sorted(expected)


def test_a_rule_for_a_pattern_holds_on_the_devices_of_such_names(pair: Pair, check: Check) -> None:
    here, _ = pair
    chosen_addresses = ("--no-official", "--interface", f"127.0.0.1,{IPV4}", *TABLE)
    with here.listener(IPV4) as listening:
        number = listening.getsockname()[1]
        for pattern, state in (("eth*", 0), ("e*0", 0), ("veth*", 2), ("l*", 2)):
            rule = f"{pattern}:{number}/tcp"
            assert check(*chosen_addresses, "--optional", rule).returncode == state
            assert check(*chosen_addresses, "--ignore", rule).returncode == state
            assert check(*chosen_addresses, "--skip", rule).returncode == state
        required = ("--required", f"eth*:{number}/tcp")
        assert check(*chosen_addresses, *required).returncode == 0
    assert check(*chosen_addresses, *required).returncode == 2


def test_an_address_that_is_not_yet_unique_is_left_out(pair: Pair) -> None:
    here, _ = pair
    here.shell(
        """
        sysctl -qw net.ipv6.conf.eth0.dad_transmits=1000
        ip address add 2001:db8::77/64 dev eth0
        """
    )
    assert "2001:db8::77" not in addresses_of(chosen(here, "all"))


def test_a_device_stands_for_its_addresses_and_an_alias_for_its_own(pair: Pair) -> None:
    here, _ = pair
    here.shell("ip address add 192.0.2.20/24 dev eth0 label eth0:1")
    alias = chosen(here, devices=("eth0:1",))
    assert addresses_of(alias) == ["192.0.2.20"]
    whole = chosen(here, devices=("eth0",))
    assert sorted(addresses_of(whole)) == sorted([IPV4, "192.0.2.20", IPV6, LINK_LOCAL])
    here.shell("ip address del 192.0.2.20/24 dev eth0")
    assert sorted(addresses_of(chosen(here, devices=("eth0",)))) == sorted([IPV4, IPV6, LINK_LOCAL])


def test_each_address_is_scanned_once_under_all_its_names(pair: Pair) -> None:
    found = chosen(pair[0], IPV4, "::1", IPV4, "all", devices=("eth0",))
    assert len(found.interfaces) == 5
    assert {each.address: each.chosen for each in found.interfaces} == {
        # By all it counts under its kind, since the test's eth0 is a veth device.
        IPV4: (IPV4, "veth", "eth0"),
        "::1": ("::1", "lo"),
        "127.0.0.1": ("lo",),
        IPV6: ("veth", "eth0"),
        LINK_LOCAL: ("veth", "eth0"),
    }
    assert found.interfaces[0].origins == ("--interface", "--device")


def test_addresses_within_a_local_network_are_this_machines(pair: Pair) -> None:
    here, _ = pair
    here.shell("ip route add local 203.0.113.0/24 dev lo")
    found = chosen(here, "127.0.1.1", "203.0.113.9")
    assert [(e.address, e.device) for e in found.interfaces] == [
        ("127.0.1.1", "lo"),
        ("203.0.113.9", "lo"),
    ]


@pytest.mark.parametrize(
    "address",
    ["192.0.2.9", "198.51.100.1", "2001:db8::9", "2001:db8:1::1", "fe80::9%eth0", "fe80::7%lo"],
)
@pytest.mark.parametrize("method", ["table", "probe"])
def test_a_foreign_address_is_refused_before_any_packet(
    pair: Pair, check: Check, address: str, method: str
) -> None:
    here, _ = pair
    here.shell("sysctl -qw net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1")
    sent = "grep -e ^Tcp: -e ^Udp: /proc/net/snmp; grep ^Udp6 /proc/net/snmp6"
    before = here.shell(sent)
    output = check.output("--no-official", "--interface", address, "--method", method)
    absent = f"{address} (--interface) is not an address of this machine now"
    assert output.startswith(f"PORTCHECK UNKNOWN - 1 not looked at: {absent} | ")
    assert here.shell(sent) == before


def test_a_device_without_address_is_unknown_and_the_others_are_judged(check: Check) -> None:
    found = check.output("--no-official", "--interface", "127.0.0.1", "--device", "eth7", *TABLE)
    assert found == (
        "PORTCHECK UNKNOWN - 1 not looked at: device eth7 (--device) does not exist or has no"
        " address | open_127_0_0_1=0;;;0 unexpected_127_0_0_1=0;;0;0 missing_127_0_0_1=0;;0;0"
        " open_eth7=0;;;0 unexpected_eth7=0;;0;0 missing_eth7=0;;0;0"
        " time=0.000s\n"
        "not looked at: device eth7 (--device) does not exist or has no address\n"
        "exit 3\n"
    )


def test_the_official_name_is_scanned_by_default(pair: Pair, check: Check, tmp_path: Path) -> None:
    name(pair[0], tmp_path, f"{IPV4} probed\n{IPV6} probed\n192.0.2.9 probed\n")
    report = check.report(*TABLE)
    assert sorted(each["address"] for each in report["interfaces"]) == sorted([IPV4, IPV6])
    assert report["notes"] == [
        "official name probed resolves to 192.0.2.9, which is not this machine's"
    ]


def test_what_is_chosen_comes_in_addition_to_the_official_name(
    pair: Pair, check: Check, tmp_path: Path
) -> None:
    name(pair[0], tmp_path, f"{IPV4} probed\n")
    report = check.report("--interface", "::1", *TABLE)
    assert [each["address"] for each in report["interfaces"]] == [IPV4, "::1"]
    report = check.report("--interface", "::1", "--no-official", *TABLE)
    assert [each["address"] for each in report["interfaces"]] == ["::1"]


def test_an_official_name_that_is_loopback_only_is_said(
    pair: Pair, check: Check, tmp_path: Path
) -> None:
    name(pair[0], tmp_path, "127.0.0.1 localhost\n127.0.1.1 probed\n")
    report = check.report(*TABLE)
    assert [each["address"] for each in report["interfaces"]] == ["127.0.1.1"]
    assert report["notes"] == [
        (
            "only loopback is scanned: official name probed is 127.0.1.1;"
            " --device NAME or --interface all adds other addresses"
        )
    ]
    assert check.report("--device", "eth0", *TABLE)["notes"] == []


def test_an_official_name_that_is_nobodys_leaves_nothing_to_scan(
    pair: Pair, check: Check, tmp_path: Path
) -> None:
    name(pair[0], tmp_path, "192.0.2.9 probed\n")
    assert check.output(*TABLE) == (
        "PORTCHECK UNKNOWN - official name probed resolves to 192.0.2.9, which is not this"
        " machine's\n"
        "exit 3\n"
    )
    name(pair[0], tmp_path, "127.0.0.1 localhost\n")
    text = check.output(*TABLE)
    assert text.startswith("PORTCHECK UNKNOWN - official name probed does not resolve (")
    assert text.endswith(")\nexit 3\n")


def test_where_the_kernel_does_not_tell_the_addresses_it_is_unknown(check: Check) -> None:
    done = without_netlink(check, NETLINK_ROUTE, "--no-official", "--interface", "127.0.0.1")
    assert told(done) == (
        "PORTCHECK UNKNOWN - the addresses of this machine cannot be read: netlink: Protocol not"
        " supported\nexit 3\n"
    )
