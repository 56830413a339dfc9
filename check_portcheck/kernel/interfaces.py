"""Which addresses of this machine the user chose to scan."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel.addresses import is_local, own_interfaces
from check_portcheck.model import Choice, Failure, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ALL = "all"
"""The choice that stands for every address of every device that is up."""


class InterfaceError(Exception):
    """The chosen interfaces cannot be scanned: *errors*, each one line with its source."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = tuple(errors)


class Chosen(NamedTuple):
    """What is scanned."""

    interfaces: tuple[Interface, ...]
    """Each address once, in the order of choice: official name, addresses, devices."""
    failures: tuple[Failure, ...] = ()
    """One for each chosen device that does not exist or has no address now."""
    notes: tuple[str, ...] = ()
    """What the user should know of the choice, one line each."""


class OfficialName(NamedTuple):
    """The host's name, and what it stands for."""

    name: str
    addresses: tuple[str, ...] = ()
    unresolved: str | None = None
    """Why it stands for nothing, None where it has addresses."""

    @property
    def origin(self) -> str:
        """How messages call it."""
        return f"official name {self.name}"


class Own:
    """The addresses of this machine."""

    __slots__ = ("_is_local", "interfaces")

    def __init__(self, interfaces: Iterable[Interface], is_local: Callable[[str], bool]) -> None:
        """*is_local* tells of an address without scope whether packets to it stay here."""
        self.interfaces = tuple(interfaces)
        self._is_local = is_local

    def at(self, address: str) -> Interface | None:
        """The interface of an address, None where a packet to it would leave this machine."""
        for interface in self.interfaces:
            if interface.address == address:
                return interface
        if "%" in address or not self._is_local(address):
            return None
        return self._within_local_network(address)

    def _within_local_network(self, address: str) -> Interface | None:
        """The interface of an address that no device has, and that is local all the same."""
        for interface in self.interfaces:
            if interface.loopback:
                return interface._replace(address=address, label=interface.device)
        return None


def choose(addresses: Sequence[Choice], devices: Sequence[Choice], *, official: bool) -> Chosen:
    """The interfaces that the choices, and the official name, stand for at this moment.

    Raises InterfaceError where an address is not this machine's, nothing is left to scan, or the
    kernel does not tell its addresses.
    """
    try:
        own = Own(own_interfaces(), is_local)
    except OSError as refused:
        reason = f"the addresses of this machine cannot be read: netlink: {refused.strerror}"
        raise InterfaceError([reason]) from refused
    name = _resolved(socket.gethostname()) if official else None
    return select(own, name, addresses, devices)


def _resolved(name: str) -> OfficialName:
    """What the host's resolver says of a name."""
    try:
        # As bytes, since text would load the codec for international names first.
        answers = socket.getaddrinfo(os.fsencode(name), None, type=socket.SOCK_DGRAM)
    except socket.gaierror as failed:
        return OfficialName(name, unresolved=failed.strerror)
    return OfficialName(name, tuple(dict.fromkeys(str(answer[4][0]) for answer in answers)))


def select(
    own: Own,
    official: OfficialName | None,
    addresses: Sequence[Choice],
    devices: Sequence[Choice],
) -> Chosen:
    """Those of the machine's own interfaces that name and choices stand for; as choose()."""
    by_name, notes = _of_name(official, own)
    by_address, errors = _of_addresses(addresses, own)
    by_device, failures = _of_devices(devices, own)
    found = [*by_name, *by_address, *by_device]
    if not found and not errors:
        errors = _nothing_to_scan(notes, failures)
    if errors:
        raise InterfaceError(errors)
    interfaces = _merged(found)
    if official and by_name and all(interface.loopback for interface in interfaces):
        notes.append(_only_loopback(official, by_name))
    return Chosen(interfaces, tuple(failures), tuple(notes))


def _of_name(official: OfficialName | None, own: Own) -> tuple[list[Interface], list[str]]:
    """The addresses of the official name that are this machine's, and notes on the others."""
    if official is None:
        return [], []
    if official.unresolved is not None:
        return [], [f"{official.origin} does not resolve ({official.unresolved})"]
    found: list[Interface] = []
    notes: list[str] = []
    for address in official.addresses:
        if interface := own.at(address):
            found.append(_chosen(interface, interface.address, official.origin))
        else:
            note = f"{official.origin} resolves to {address}, which is not this machine's"
            notes.append(note)
    return found, notes


def _of_addresses(choices: Sequence[Choice], own: Own) -> tuple[list[Interface], list[str]]:
    """What chosen addresses stand for, and an error for each that is not this machine's."""
    found: list[Interface] = []
    errors: list[str] = []
    for choice in choices:
        matching = _of_address(choice.name, own)
        found += [_chosen(each, each.address, choice.source) for each in matching]
        if not matching:
            errors.append(f"{choice.source}: {choice.name} is not an address of this machine")
    return found, errors


def _of_address(name: str, own: Own) -> list[Interface]:
    if name == ALL:
        return [each for each in own.interfaces if each.up]
    interface = own.at(name)
    return [interface] if interface else []


def _of_devices(choices: Sequence[Choice], own: Own) -> tuple[list[Interface], list[Failure]]:
    """The addresses of chosen devices, and a failure for each device that has none."""
    found: list[Interface] = []
    failures: dict[str, Failure] = {}
    for name, source in choices:
        matching = [each for each in own.interfaces if name in (each.device, each.label)]
        found += [_chosen(each, name, source) for each in matching]
        if not matching:
            reason = f"device {name} ({source}) does not exist or has no address"
            failures.setdefault(name, Failure(reason, name))
    return found, list(failures.values())


def _nothing_to_scan(notes: Iterable[str], failures: Iterable[Failure]) -> list[str]:
    """Why there is nothing to scan."""
    reasons = [*notes, *(failure.reason for failure in failures)]
    return reasons or ["no interface is chosen: --interface, --device"]


def _only_loopback(official: OfficialName, by_name: Iterable[Interface]) -> str:
    addresses = ", ".join(dict.fromkeys(interface.address for interface in by_name))
    return (
        f"only loopback is scanned: {official.origin} is {addresses}; "
        "--device NAME or --interface all adds other addresses"
    )


def _chosen(interface: Interface, name: str, origin: str) -> Interface:
    return interface._replace(chosen=(name,), origins=(origin,))


def _merged(found: Iterable[Interface]) -> tuple[Interface, ...]:
    """Each address once, with all the names by which it was chosen."""
    merged: dict[str, Interface] = {}
    for each in found:
        known = merged.setdefault(each.address, each)
        merged[each.address] = known._replace(
            chosen=_union(known.chosen, each.chosen), origins=_union(known.origins, each.origins)
        )
    return tuple(merged.values())


def _union(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(some + others))
