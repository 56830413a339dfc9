"""Where something is, in words that a policy takes: ``*``, ``0.0.0.0/0``, an address."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from check_portcheck.model import Interface

EVERYWHERE, IPV4, IPV6 = "*", "0.0.0.0/0", "::/0"


class Places:
    """The words for some of the interfaces that are scanned, and for places that are not."""

    def __init__(self, scanned: Iterable[Interface]) -> None:
        every = frozenset(scanned)
        four = frozenset(each for each in every if each.family == socket.AF_INET)
        groups = {EVERYWHERE: every, IPV4: four, IPV6: every - four}
        # A single address is named: nobody need guess what the word stands for.
        self._groups = {word: group for word, group in groups.items() if len(group) > 1}

    def text(self, interfaces: Sequence[Interface], most: int) -> str:
        """``*``, ``192.0.2.7``, or of several ``{192.0.2.7,127.0.0.1,3 more}``."""
        general = self._general(interfaces)
        return general or listed(list(map(str, _reachable_first(interfaces))), most)

    def patterns(self, interfaces: Sequence[Interface]) -> list[str]:
        """What rules must name so that they hold on these interfaces and no others."""
        general = self._general(interfaces)
        return [general] if general else list(map(_pattern, _reachable_first(interfaces)))

    def _general(self, interfaces: Sequence[Interface]) -> str | None:
        """The word for all of them together."""
        these = frozenset(each for each in interfaces if not is_idle_wildcard(each))
        if not these:
            return _pattern(next(iter(interfaces)))
        return next((word for word, group in self._groups.items() if group == these), None)


def is_idle_wildcard(interface: Interface) -> bool:
    """Whether it is the wildcard of a family of which the machine has no address now."""
    return not (interface.scanned or interface.device or any(interface.packed))


def listed(texts: Sequence[str], most: int) -> str:
    """The only one, or of several ``{192.0.2.7,127.0.0.1,3 more}``, *most* of them named."""
    if len(texts) == 1:
        return texts[0]
    named = list(texts[:most])
    if len(texts) > most:
        named.append(f"{len(texts) - most} more")
    return f"{{{','.join(named)}}}"


def _reachable_first(interfaces: Iterable[Interface]) -> list[Interface]:
    """Those that others can reach before loopback, else in the order of the scan."""
    return sorted(interfaces, key=lambda each: each.loopback)


def _pattern(interface: Interface) -> str:
    """How a rule names one place; a wildcard goes by its device, or by its family."""
    if interface.scanned:
        return str(interface)
    if is_idle_wildcard(interface):
        return IPV4 if interface.family == socket.AF_INET else IPV6
    if not any(interface.packed):
        return interface.device
    return f"[{interface.address}]" if ":" in interface.address else interface.address
