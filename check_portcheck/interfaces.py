"""Which addresses this machine has, and which of them the user chose to scan."""

from __future__ import annotations

import dataclasses
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from check_portcheck import netlink, rtnetlink
from check_portcheck.model import Choice, Failure, Interface

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_NETLINK_ROUTE = 0

ALL = "all"
"""The choice that stands for every address of every device that is up."""


class InterfaceError(Exception):
    """The chosen interfaces cannot be scanned: *errors*, each one line with its place."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = tuple(errors)


@dataclass(frozen=True)
class Chosen:
    """What is scanned."""

    interfaces: tuple[Interface, ...]
    """Each address once, in the order of choice: official name, addresses, devices."""
    absent_devices: tuple[str, ...]
    """Chosen devices that do not exist or have no address now."""
    failures: tuple[Failure, ...]
    """A reason for each absent device."""
    notes: tuple[str, ...]
    """What the user should know of the choice, one line each."""


def resolve(addresses: Sequence[Choice], devices: Sequence[Choice], *, official: bool) -> Chosen:
    """The interfaces that the choices stand for at this moment.

    Raises InterfaceError where an address is not this machine's, nothing is left to scan, or the
    kernel does not tell its addresses.
    """
    try:
        own = own_interfaces()
    except OSError as refused:
        reason = f"the addresses of this machine cannot be read: netlink: {refused.strerror}"
        raise InterfaceError([reason]) from refused
    notes: list[str] = []
    name = socket.gethostname()
    by_name = list(_official(name, own, notes)) if official else []
    found = [*by_name]
    errors: list[str] = []
    for choice in addresses:
        matching = list(_of_address(choice, own))
        found += matching
        if not matching:
            errors.append(f"{choice.place}: {choice.name} is not an address of this machine")
    failures: dict[str, Failure] = {}
    for choice in devices:
        matching = [each for each in own if choice.name in (each.device, each.label)]
        found += [_chosen(each, choice.name, choice.place) for each in matching]
        if not matching:
            reason = f"device {choice.name} ({choice.place}) does not exist or has no address"
            failures.setdefault(choice.name, Failure(reason))
    if not found and not errors:
        errors += [*notes, *(failure.reason for failure in failures.values())]
        errors = errors or ["no interface is chosen: --interface, --device"]
    if errors:
        raise InterfaceError(errors)
    interfaces = _merged(found)
    if by_name and all(interface.loopback for interface in interfaces):
        loopback = ", ".join(dict.fromkeys(interface.address for interface in by_name))
        notes.append(
            f"only loopback is scanned: official name {name} is {loopback}; "
            "--device NAME or --interface all adds other addresses"
        )
    return Chosen(interfaces, tuple(failures), tuple(failures.values()), tuple(notes))


def own_interfaces() -> list[Interface]:
    """Every address of every device, in the kernel's order; raises OSError without netlink."""
    with netlink.connect(_NETLINK_ROUTE) as connection:
        links = {
            link.index: link
            for link in map(
                rtnetlink.link,
                netlink.dump(connection, rtnetlink.RTM_GETLINK, rtnetlink.LINKS_REQUEST),
            )
        }
        rows = [
            rtnetlink.address(payload)
            for payload in netlink.dump(
                connection, rtnetlink.RTM_GETADDR, rtnetlink.ADDRESSES_REQUEST
            )
        ]
    own: list[Interface] = []
    for row in rows:
        if row is None or not row.usable or row.index not in links:
            continue
        link = links[row.index]
        address = f"{row.address}%{link.name}" if row.link_local else row.address
        own.append(
            Interface(address, link.name, link.index, row.label or link.name, link.up, (), ())
        )
    return own


def _official(name: str, own: Sequence[Interface], notes: list[str]) -> Iterator[Interface]:
    """The addresses of the host's official name that are this machine's."""
    origin = f"official name {name}"
    try:
        # As bytes, since text would load the codec for international names first.
        answers = socket.getaddrinfo(os.fsencode(name), None, type=socket.SOCK_DGRAM)
    except socket.gaierror as failed:
        notes.append(f"{origin} does not resolve ({failed.strerror})")
        return
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    for address in addresses:
        interface = _own(address, own)
        if interface is None:
            notes.append(f"{origin} resolves to {address}, which is not this machine's")
        else:
            yield _chosen(interface, interface.address, origin)


def _of_address(choice: Choice, own: Sequence[Interface]) -> Iterator[Interface]:
    if choice.name == ALL:
        for each in own:
            if each.up:
                yield _chosen(each, each.address, choice.place)
    elif (interface := _own(choice.name, own)) is not None:
        yield _chosen(interface, interface.address, choice.place)


def _own(address: str, own: Sequence[Interface]) -> Interface | None:
    """The interface of an address, None where a packet to it would leave this machine.

    Asked of the routing table too, since a whole network can be local: 127.0.0.0/8, AnyIP routes.
    Not asked by binding, which ip_nonlocal_bind lets succeed for every address.
    """
    for each in own:
        if each.address == address:
            return each
    bare, _, scope = address.partition("%")
    if scope:
        return None
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    request = rtnetlink.route_request(family, socket.inet_pton(family, bare))
    with netlink.connect(_NETLINK_ROUTE) as connection:
        try:
            if not rtnetlink.is_local(netlink.ask(connection, rtnetlink.RTM_GETROUTE, request)):
                return None
        except OSError:
            return None  # ENETUNREACH and the like: no route at all, so not local either
    loopback = next((each for each in own if each.loopback), None)
    return loopback and dataclasses.replace(loopback, address=address, label=loopback.device)


def _chosen(interface: Interface, name: str, origin: str) -> Interface:
    return dataclasses.replace(interface, chosen=(name,), origins=(origin,))


def _merged(found: Iterable[Interface]) -> tuple[Interface, ...]:
    """Each address once, with all the names by which it was chosen."""
    merged: dict[str, Interface] = {}
    for each in found:
        known = merged.setdefault(each.address, each)
        merged[each.address] = dataclasses.replace(
            known,
            chosen=tuple(dict.fromkeys(known.chosen + each.chosen)),
            origins=tuple(dict.fromkeys(known.origins + each.origins)),
        )
    return tuple(merged.values())
