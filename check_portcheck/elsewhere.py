"""Sockets that no scanned address reaches, as services where they are bound. Pure.

They are open to somebody all the same: to a multicast group, to the network behind the device that
they are bound to, to whoever sends to another 127.x address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.kernel.selection import ALL, OTHER, is_any
from check_portcheck.model import Device, Evidence, Interface, OpenService, Port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from check_portcheck.kernel.selection import Chosen
    from check_portcheck.model import Socket

_MAPPED = "::ffff:"
"""How IPv4-mapped addresses are written (RFC 5952, 5)."""


def bound_services(sockets: Iterable[Socket], chosen: Chosen) -> list[OpenService]:
    """A service for each port and place at which some of *sockets* are bound.

    All count where every address is chosen, else those bound to a scanned address.
    """
    scanned = {each.address.partition("%")[0]: each for each in chosen.interfaces}
    places: dict[tuple[str, int | None], Interface | None] = {}
    found: dict[tuple[Port, Interface], list[Socket]] = {}
    for socket in sockets:
        key = (socket.address, socket.device)
        if key not in places:
            places[key] = _counted(_place(socket, chosen.devices), scanned, chosen)
        if place := places[key]:
            found.setdefault((Port(socket.protocol, socket.port), place), []).append(socket)
    return [
        OpenService(port, (place,), Evidence.TABLE, tuple(rows))
        for (port, place), rows in found.items()
    ]


def _counted(
    place: Interface, scanned: Mapping[str, Interface], chosen: Chosen
) -> Interface | None:
    """The place with the name under which it counts, None where it does not."""
    if is_any(chosen.unwanted, place):
        return None
    if chosen.counted == (ALL,):
        return place._replace(chosen=(ALL,))
    if chosen.everything:
        return place
    named = scanned.get(place.address)
    return named and place._replace(chosen=named.chosen)


def _place(socket: Socket, devices: Mapping[int, Device]) -> Interface:
    """Where a socket is bound."""
    address = socket.address
    if address.startswith(_MAPPED) and "." in address:
        address = address.removeprefix(_MAPPED)
    if not socket.device:
        return Interface(address, "", 0, address, chosen=(OTHER,), scanned=False)
    # A device may have come, or gone, since the addresses were read.
    device = devices.get(socket.device) or Device(f"if{socket.device}", OTHER)
    label = f"{address}%{device.name}"
    return Interface(
        address, device.name, socket.device, label, chosen=(device.group,), scanned=False
    )
