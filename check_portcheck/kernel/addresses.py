"""Which addresses this machine has, by the kernel's word."""

from __future__ import annotations

import socket

from check_portcheck.kernel import netlink, rtnetlink
from check_portcheck.model import Interface

_NETLINK_ROUTE = 0


def own_interfaces() -> list[Interface]:
    """Every address of every device, in the kernel's order; raises OSError without netlink."""
    with netlink.connect(_NETLINK_ROUTE) as connection:
        links = netlink.dump(connection, rtnetlink.RTM_GETLINK, rtnetlink.LINKS_REQUEST)
        rows = netlink.dump(connection, rtnetlink.RTM_GETADDR, rtnetlink.ADDRESSES_REQUEST)
    devices = {link.ifindex: link for link in map(rtnetlink.link, links)}
    return [
        _interface(address, devices[address.ifindex])
        for address in map(rtnetlink.address, rows)
        # A device may have come between the two dumps.
        if address and address.usable and address.ifindex in devices
    ]


def is_local(address: str) -> bool:
    """Whether a packet to an address without scope would stay on this machine.

    Asked of the routing table, since a whole network can be local: 127.0.0.0/8, AnyIP routes. Not
    asked by binding, which ip_nonlocal_bind lets succeed for every address.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    request = rtnetlink.route_request(family, socket.inet_pton(family, address))
    with netlink.connect(_NETLINK_ROUTE) as connection:
        try:
            route = netlink.ask(connection, rtnetlink.RTM_GETROUTE, request)
        except OSError:
            return False  # ENETUNREACH and the like: no route at all, so not local either
    return rtnetlink.is_local(route)


def _interface(address: rtnetlink.Address, link: rtnetlink.Link) -> Interface:
    """An address together with its device."""
    return Interface(
        address=f"{address.address}%{link.name}" if address.link_local else address.address,
        device=link.name,
        ifindex=link.ifindex,
        label=address.label or link.name,
        up=link.up,
    )
