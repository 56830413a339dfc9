from __future__ import annotations

import pytest

from check_portcheck.elsewhere import bound_services
from check_portcheck.kernel.selection import Chosen
from check_portcheck.model import Device, Interface, Port, Protocol, Socket
from unit.samples import HERE, SIX

DEVICES = {2: Device("eth0", "eth0"), 3: Device("eth1", "eth1"), 7: Device("veth4a", "veth")}
EVERYTHING = Chosen((HERE, SIX), everything=True, devices=DEVICES)


def bound(address: str, device: int = 0, port: int = 4444) -> Socket:
    return Socket(Protocol.TCP, address, port, v6only=False, device=device)


def place(chosen: Chosen, *sockets: Socket) -> list[Interface]:
    return [interface for s in bound_services(sockets, chosen) for interface in s.interfaces]


@pytest.mark.parametrize(
    ("socket", "text", "name"),
    [
        (bound("224.0.0.251"), "224.0.0.251", "other"),
        (bound("::ffff:127.0.0.2"), "127.0.0.2", "other"),
        (bound("ff02::1", 2), "[ff02::1%eth0]", "eth0"),
        (bound("0.0.0.0", 3), "0.0.0.0%eth1", "eth1"),
        (bound("::", 3), "[::%eth1]", "eth1"),
        (bound("192.0.2.7", 3), "192.0.2.7%eth1", "eth1"),
        (bound("0.0.0.0", 7), "0.0.0.0%veth4a", "veth"),
        (bound("0.0.0.0", 99), "0.0.0.0%if99", "other"),
    ],
)
def test_a_socket_is_shown_where_it_is_bound(socket: Socket, text: str, name: str) -> None:
    (found,) = place(EVERYTHING, socket)
    assert (str(found), found.chosen, found.scanned) == (text, (name,), False)


def test_sockets_of_one_port_and_place_are_one_service() -> None:
    one, other = bound("224.0.0.251"), bound("224.0.0.251")._replace(cookie=2)
    third = bound("224.0.0.251", port=5555)
    first, second = bound_services((one, third, other), EVERYTHING)
    assert (first.port, first.sockets) == (Port(Protocol.TCP, 4444), (one, other))
    assert (second.port, second.sockets) == (Port(Protocol.TCP, 5555), (third,))


def test_of_chosen_addresses_only_their_own_sockets_count_and_under_their_names() -> None:
    chosen = Chosen((HERE, SIX), devices=DEVICES)
    sockets = (bound("192.0.2.7", 3), bound("127.0.0.2"), bound("0.0.0.0", 3))
    (found,) = place(chosen, *sockets)
    assert (str(found), found.chosen) == ("192.0.2.7%eth1", ("192.0.2.7",))


@pytest.mark.parametrize("unwanted", ["224.0.0.0/4", "224.0.0.251", "eth1", "eth*"])
def test_what_is_left_out_does_not_count(unwanted: str) -> None:
    chosen = EVERYTHING._replace(unwanted=(unwanted,))
    assert place(chosen, bound("224.0.0.251", 3)) == []
    assert place(chosen, bound("127.0.0.2")) != []


def test_where_all_count_as_one_so_do_these() -> None:
    (found,) = place(EVERYTHING._replace(counted=("all",)), bound("127.0.0.2"))
    assert found.chosen == ("all",)
