"""Which addresses this machine has, by the kernel's word."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import netlink, rtnetlink
from check_portcheck.model import Device, Interface

if TYPE_CHECKING:
    from collections.abc import Mapping

_NETLINK_ROUTE = 0


_HOST_ENDS = frozenset(("veth", "netkit", "tap", "macvtap", "ipvtap"))
"""Kinds of devices that come and go with containers and virtual machines (linux/if_link.h)."""


class Addresses(NamedTuple):
    """The devices of this machine and their addresses."""

    interfaces: tuple[Interface, ...]
    """Every address of every device, in the kernel's order."""
    devices: Mapping[int, Device]
    """Every device, by the kernel's index."""


def own_addresses() -> Addresses:
    """What this machine has now; raises OSError without netlink."""
    with netlink.connect(_NETLINK_ROUTE) as connection:
        links = netlink.dump(connection, rtnetlink.RTM_GETLINK, rtnetlink.LINKS_REQUEST)
        rows = netlink.dump(connection, rtnetlink.RTM_GETADDR, rtnetlink.ADDRESSES_REQUEST)
        known = {link.ifindex: link for link in map(rtnetlink.link, links)}
        interfaces = tuple(
            _interface(connection, address, known[address.ifindex])
            for address in map(rtnetlink.address, rows)
            # A device may have come between the two dumps.
            if address and address.usable and address.ifindex in known
        )
    return Addresses(interfaces, {index: _device(link) for index, link in known.items()})


def routed(address: str) -> Interface | None:
    """The interface of an address without scope that a local route makes this machine's.

    None where a packet to it would leave. Asked of the routing table, since a whole network can be
    local: 127.0.0.0/8, AnyIP routes. Not asked by binding, which ip_nonlocal_bind lets succeed for
    every address.
    """
    with netlink.connect(_NETLINK_ROUTE) as connection:
        index = _local_device(connection, address)
    if index is None:
        return None
    try:
        device = socket.if_indextoname(index)
    except OSError:
        return None  # gone meanwhile, and its routes with it
    return Interface(address, device, index, device)


def _local_device(connection: socket.socket, address: str) -> int | None:
    """Index of the device of an address's local route, None where it has none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    request = rtnetlink.route_request(family, socket.inet_pton(family, address))
    try:
        route = netlink.ask(connection, rtnetlink.RTM_GETROUTE, request)
    except OSError:
        return None  # ENETUNREACH and the like: no route at all, so not local either
    return rtnetlink.local_device(route)


def _device(link: rtnetlink.Link) -> Device:
    return Device(link.name, link.kind if link.kind in _HOST_ENDS else link.name)


def _interface(
    connection: socket.socket, address: rtnetlink.Address, link: rtnetlink.Link
) -> Interface:
    """An address together with its device.

    For the lookup of sockets a packet to it arrives on the device of the local route, although it
    travels over lo: where several devices have the address, that is one of them, whatever the
    order of the addresses. A link-local address is its own device's.
    """
    arrival = None if address.link_local else _local_device(connection, address.address)
    return Interface(
        address=f"{address.address}%{link.name}" if address.link_local else address.address,
        device=link.name,
        ifindex=arrival or link.ifindex,
        label=address.label or link.name,
        up=link.up,
        host_end=link.kind in _HOST_ENDS,
        expires=address.expires,
    )
