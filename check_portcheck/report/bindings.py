"""Where a policy should name what is open, from the addresses that its sockets are bound to.

Wildcards go by ``*`` or a family, so that the policy holds when addresses come and go. By their
device go link-local addresses, which are new with each new device, and those that expire.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.report.places import EVERYWHERE, IPV4, IPV6, Places, is_idle_wildcard

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from check_portcheck.model import Interface, OpenService, Socket

    _Named = Iterator[tuple["Binding", set[Interface]]]
    """Patterns, each with the interfaces that need no other one."""

_WILDCARDS = {"0.0.0.0": {IPV4}, "::": {IPV4, IPV6}}  # noqa: S104 what sockets are bound to
"""The families at which a wildcard answers."""


class Binding(NamedTuple):
    """How a rule names where something is open."""

    pattern: str
    everywhere: bool
    """Whether it is open at all scanned addresses that the pattern names, so can be required."""


class Bindings:
    """The patterns for what is open on a machine."""

    def __init__(self, scanned: Sequence[Interface]) -> None:
        self._places = Places(scanned)
        four = {each for each in scanned if each.family == socket.AF_INET}
        self._families = {IPV4: four, IPV6: set(scanned) - four}
        self._devices: dict[str, set[Interface]] = {}
        for each in scanned:
            self._devices.setdefault(each.device, set()).add(each)

    def of(self, services: Collection[OpenService]) -> list[Binding]:
        """The patterns that name where the services, all of one item of a list, are open."""
        left = list(dict.fromkeys(each for service in services for each in service.interfaces))
        found: list[Binding] = []
        for named in (self._by_word, self._by_device, self._by_address):
            for binding, covered in named(services, left):
                found.append(binding)
                left = [each for each in left if each not in covered]
        return found

    def _by_word(self, services: Collection[OpenService], left: Collection[Interface]) -> _Named:
        """Wildcards by ``*``, or by the network of a family, where that says not too much."""
        answering = {family for service in services for family in self._answering(service)}
        families = {
            word: group
            for word, group in self._families.items()
            if word in answering and group <= set(left)
        }
        if len(families) == 2:
            families = {EVERYWHERE: set().union(*families.values())}
        # Their word is among these: the family has no addresses that could be left.
        idle = set(filter(is_idle_wildcard, left))
        for word, group in families.items():
            yield Binding(word, everywhere=True), group | idle

    def _answering(self, service: OpenService) -> set[str]:
        """The families of which a service answers at every address."""
        if service.no_socket:  # nobody knows how it is bound: what answers now will have to do
            every = set(service.interfaces)
            return {word for word, group in self._families.items() if group and group <= every}
        return {word for each in service.sockets for word in _families(each)}

    def _by_device(self, services: Collection[OpenService], left: Collection[Interface]) -> _Named:
        """Addresses that will be others, and what is bound to a device, by their device."""
        bound = {row.device for service in services for row in service.sockets if _is_bound(row)}
        found: dict[str, set[Interface]] = {}
        for each in left:
            if each.scanned and (each.ifindex in bound or _changes(each)):
                found.setdefault(each.device, set()).add(each)
        for device, some in found.items():
            every = self._devices[device]
            everywhere = every <= set(left)
            yield Binding(device, everywhere), every if everywhere else some

    def _by_address(self, services: Collection[OpenService], left: Collection[Interface]) -> _Named:
        """What is left, each by itself; rules require nothing of places that are not scanned."""
        del services
        for each in left:
            (pattern,) = self._places.patterns((each,))
            yield Binding(pattern, each.scanned), {each}


def _families(row: Socket) -> set[str]:
    """The families at which a socket answers at every address."""
    if row.device:
        return set()
    return {IPV6} if row.v6only else _WILDCARDS.get(row.address, set())


def _changes(interface: Interface) -> bool:
    """Whether the device will have another address in the place of this one."""
    return interface.expires or "%" in interface.address


def _is_bound(row: Socket) -> bool:
    """Whether a wildcard is bound to a device, whatever addresses that has."""
    return bool(row.device) and row.address in _WILDCARDS
