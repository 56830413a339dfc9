"""What the user's choices stand for among the addresses that the machine has. Pure.

Chosen are addresses, networks and devices, each by its name or by a pattern; what begins with ``!``
leaves out, whatever the order.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.model import NOTHING, Choice, Device, Failure, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

ALL = "all"
"""The choice that stands for every address of every device that is up."""

OTHER = "other"
"""The name under which sockets count that no scanned address reaches and no device has."""

_EXCEPT = "!"

_LABELS = 6144
"""Bytes that the performance data of all names may take, of the 8 KB that Nagios keeps."""

_FIGURES = len("open_=12345;;;0 unexpected_=12345;;0;0 missing_=12345;;0;0 ")
"""Bytes that the performance data of one name take beside three times the name."""


class NothingChosenError(Exception):
    """There is nothing to look at: *reasons*, each one line."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


class Chosen(NamedTuple):
    """What is scanned."""

    interfaces: tuple[Interface, ...]
    """Each address once, in the order of choice: official name, addresses, devices."""
    failures: tuple[Failure, ...] = ()
    """One for each chosen address or device that the machine does not have now."""
    notes: tuple[str, ...] = ()
    """What the user should know of the choice, one line each."""
    counted: tuple[str, ...] = ()
    """The names under which services count, in the order of performance data."""
    everything: bool = False
    """Whether every address is chosen."""
    unwanted: tuple[str, ...] = ()
    """The addresses, networks, devices and patterns that are left out."""
    devices: Mapping[int, Device] = NOTHING
    """The machine's devices, by the kernel's index."""
    present: frozenset[str] = frozenset()
    """The addresses, devices and labels that the machine has, scanned or not."""


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
    """The addresses and devices of this machine."""

    __slots__ = ("_groups", "_routed", "devices", "interfaces")

    def __init__(
        self,
        interfaces: Iterable[Interface],
        routed: Callable[[str], Interface | None],
        devices: Mapping[int, Device] = NOTHING,
    ) -> None:
        """*routed* has the interface of an address that only a route makes this machine's."""
        self.interfaces = tuple(interfaces)
        self.devices = devices
        self._routed = routed
        self._groups = {device.name: device.group for device in devices.values()}

    @property
    def present(self) -> frozenset[str]:
        """All that an address or a device of the machine is called."""
        names = set(self._groups)
        for interface in self.interfaces:
            names |= {interface.address, interface.device, interface.label}
        return frozenset(names)

    def group(self, interface: Interface) -> str:
        """The name under which an address counts that was not chosen itself, nor its device."""
        return self._groups.get(interface.device, interface.device)

    def at(self, address: str) -> Interface | None:
        """The interface of an address, None where a packet to it would leave this machine."""
        for interface in self.interfaces:
            if interface.address == address:
                return interface
        return None if "%" in address else self._routed(address)


def select(
    own: Own,
    official: OfficialName | None,
    addresses: Sequence[Choice],
    devices: Sequence[Choice],
) -> Chosen:
    """Those of the machine's own interfaces that name and choices stand for.

    Raises NothingChosenError where there is neither an interface nor the name of an absent one.
    """
    unwanted = (*_left_out(addresses), *_left_out(devices))
    addresses, devices = _wanted(addresses), _wanted(devices)
    everything = any(each.name == ALL for each in addresses)
    by_name, notes = _of_name(official, own, everything=everything)
    by_address, absent = _of_addresses(addresses, own)
    by_device, absent_devices = _of_devices(devices, own)
    failures = (*absent, *absent_devices)
    found = [*by_name, *by_address, *by_device]
    left = [each for each in found if not is_any(unwanted, each)]
    if not left and not failures:
        raise NothingChosenError(_nothing_to_scan(notes, found))
    choices = (*addresses, *devices)
    interfaces, counted = _named(_merged(left), choices, own, everything=everything)
    if official and by_name:
        notes += _only_loopback(official, by_name, interfaces)
    return Chosen(
        interfaces=interfaces,
        counted=counted,
        failures=failures,
        notes=tuple(notes),
        everything=everything,
        unwanted=unwanted,
        devices=own.devices,
        present=own.present,
    )


def is_any(names: Iterable[str], interface: Interface) -> bool:
    """Whether one of some addresses, networks, devices and patterns stands for an interface."""
    return any(_stands_for(name, interface) for name in names)


def _wanted(choices: Iterable[Choice]) -> list[Choice]:
    """The choices, without those that leave out."""
    return [each for each in choices if not each.name.startswith(_EXCEPT)]


def _left_out(choices: Iterable[Choice]) -> list[str]:
    """The addresses, networks, devices and patterns that choices leave out."""
    names = (each.name for each in choices)
    return [name.removeprefix(_EXCEPT) for name in names if name.startswith(_EXCEPT)]


def _stands_for(name: str, interface: Interface) -> bool:
    """Whether an address, a network, a device or a pattern of devices is about an interface."""
    if "/" in name:
        return _within(interface, name)
    if name == interface.address:
        return True
    return any(fnmatchcase(device, name) for device in (interface.device, interface.label))


def _within(interface: Interface, network: str) -> bool:
    from ipaddress import ip_address, ip_network  # 4 ms that only a choice of networks pays

    return ip_address(interface.address) in ip_network(network)


def _of_name(
    official: OfficialName | None, own: Own, *, everything: bool
) -> tuple[list[Interface], list[str]]:
    """The addresses of the official name that are this machine's, and notes on the others."""
    if official is None:
        return [], []
    if official.unresolved is not None:
        return [], [f"{official.origin} does not resolve ({official.unresolved})"]
    found: list[Interface] = []
    notes: list[str] = []
    for address in official.addresses:
        if interface := own.at(address):
            # Where all are chosen, one more name would only count some of them twice.
            name = own.group(interface) if everything else interface.address
            found.append(_chosen(interface, name, official.origin))
        else:
            note = f"{official.origin} resolves to {address}, which is not this machine's"
            notes.append(note)
    return found, notes


def _of_addresses(choices: Sequence[Choice], own: Own) -> tuple[list[Interface], list[Failure]]:
    """What chosen addresses stand for, and a failure for each that the machine does not have."""
    found: list[Interface] = []
    failures: dict[str, Failure] = {}
    for name, source in choices:
        if name == ALL or "/" in name:
            found += [_chosen(each, own.group(each), source) for each in _many(name, own)]
        elif interface := own.at(name):
            found.append(_chosen(interface, interface.address, source))
        else:
            reason = f"{name} ({source}) is not an address of this machine now"
            failures.setdefault(name, Failure(reason, name))
    return found, list(failures.values())


def _many(name: str, own: Own) -> list[Interface]:
    """The addresses, of devices that are up, for which ``all`` or a network stands."""
    up = [each for each in own.interfaces if each.up]
    return up if name == ALL else [each for each in up if _within(each, name)]


def _of_devices(choices: Sequence[Choice], own: Own) -> tuple[list[Interface], list[Failure]]:
    """The addresses of chosen devices, and a failure for each device that has none."""
    found: list[Interface] = []
    failures: dict[str, Failure] = {}
    for name, source in choices:
        matching = [each for each in own.interfaces if _stands_for(name, each)]
        if "*" in name:
            found += [_chosen(each, own.group(each), source) for each in matching]
            continue
        found += [_chosen(each, name, source) for each in matching]
        if not matching:
            reason = f"device {name} ({source}) does not exist or has no address"
            failures.setdefault(name, Failure(reason, name))
    return found, list(failures.values())


def _nothing_to_scan(notes: Iterable[str], found: Sequence[Interface]) -> list[str]:
    """Why there is nothing to scan."""
    if found:
        return ["every chosen interface is left out again"]
    return [*notes] or ["no interface is chosen: --interface, --device"]


def _named(
    interfaces: tuple[Interface, ...], choices: Sequence[Choice], own: Own, *, everything: bool
) -> tuple[tuple[Interface, ...], tuple[str, ...]]:
    """The interfaces, and the names under which services count, in the order of choice.

    Names and order do not depend on what of it is there. Where their performance data would leave
    no room for a text, addresses count under their device, and then all as one.
    """
    groups = [*(device.group for device in own.devices.values()), OTHER] if everything else []
    single = [each.name for each in choices if each.name != ALL and not set("*/") & set(each.name)]
    by_device = tuple(each._replace(chosen=(own.group(each),)) for each in interfaces)
    for named, first in ((interfaces, single), (by_device, [])):
        counted = tuple(dict.fromkeys((*first, *_names(named), *groups)))
        if _fit(counted):
            return named, counted
    return tuple(each._replace(chosen=(ALL,)) for each in interfaces), (ALL,)


def _names(interfaces: Iterable[Interface]) -> Iterator[str]:
    """The names by which interfaces were chosen."""
    for interface in interfaces:
        yield from interface.chosen


def _fit(names: Iterable[str]) -> bool:
    """Whether the performance data of so many names leave room for a text."""
    return sum(3 * len(name) + _FIGURES for name in names) <= _LABELS


def _only_loopback(
    official: OfficialName, by_name: Iterable[Interface], interfaces: Iterable[Interface]
) -> Iterator[str]:
    """A note where nothing is scanned that others can reach, with what helps."""
    if all(interface.loopback for interface in interfaces):
        addresses = ", ".join(dict.fromkeys(interface.address for interface in by_name))
        yield (
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
