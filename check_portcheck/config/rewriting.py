"""A list entry with wrong interfaces, written as it may be meant. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from check_portcheck.config import advice
from check_portcheck.config.interfaces import interface, is_address
from check_portcheck.model import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from check_portcheck.names import Names

_WILDCARDS = {
    "0.0.0.0": "0.0.0.0/0",  # noqa: S104 nothing is bound here
    "::": "::/0",
    "[::]": "::/0",
}
"""What ss and netstat write for every address, and the network that has them all."""
_DEVICE = re.compile(r"(?!tcp|udp)[a-z][-a-z0-9.]*[0-9*]|lo")
"""What is a device rather than the name of a service where either may stand."""
_DOTTED = re.compile(r"(\*|[0-9]+(?:\.[0-9]+){3}|[0-9a-f]*:[0-9a-f:]*)\.([0-9a-z*].*)")
"""Address and port as netstat writes them on BSD and macOS."""
_PEER = re.compile(r"(?<=[0-9a-z])@(if[0-9]+|NONE|[a-z]+[0-9]+)(?=:)")
"""What ip link writes behind the name of a device."""
_MASK = re.compile("[0-9.]*")
_PROTOCOLS = ("tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "t", "u")


def rewritten(
    tokens: Sequence[str], names: Names, meant: Callable[[str], str]
) -> Iterator[list[str]]:
    """The entries, one for each interface, that may be meant by the tokens of one.

    *meant* gives of an item what it may mean. The second way takes wildcards for the addresses of
    their family.
    """
    for wildcards in ({}, _WILDCARDS):
        grouped: dict[str, dict[str, None]] = {}
        for place, item in _pairs(tokens, names):
            where = wildcards.get(place) or _place_meant(place)
            grouped.setdefault(where, {}).setdefault(meant(item))
        yield [f"{where}:{','.join(items)}" for where, items in grouped.items()]


def _place_meant(text: str) -> str:
    """What is meant by an interface, empty where that is not known; by none, every one."""
    return advice.accepted(advice.interfaces(text), interface) if text else "*"


def _pairs(tokens: Sequence[str], names: Names) -> Iterator[tuple[str, str]]:
    """Each item with each interface that stands before it; empty for none."""
    places: list[str] = []
    begun = False
    for token in tokens:
        place, item = _parted(token.strip("\"'`;"), names)
        if place:
            places = [*places, place] if begun else [place]
            begun = True
        if item:
            yield from ((each, item) for each in places or [""])
            begun = False


def _parted(token: str, names: Names) -> tuple[str, str]:
    """The interface and the item of a token, of which it may lack either."""
    text, at, owner = _PEER.sub("", token).partition("@")
    if _is_place(text, names):
        return text, ""
    if match := _DOTTED.fullmatch(text):
        return match[1], match[2] + at + owner
    place, _, item = text.rpartition(":")
    if place.lower() in _PROTOCOLS:
        return "", token
    if not _is_place(place, names):
        place, item = _joined(place, item)
    return place, item + at + owner


def _joined(place: str, item: str) -> tuple[str, str]:
    """The same with the item as a whole, where it has a colon of its own."""
    before, _, first = place.rpartition(":")
    last = item.partition("/")[0]
    if item.lower() in _PROTOCOLS:  # 192.0.2.7:22:tcp
        return before, f"{first}/{item}"
    if first.isdecimal() and last.isdecimal():  # iptables: a range; docker: a mapping
        return before, f"{first}{'-' if int(first) < int(last) else ':'}{item}"
    return place, item


def _is_place(text: str, names: Names) -> bool:
    """Whether it is an interface rather than an item."""
    base, _, mask = text.partition("/")
    if _MASK.fullmatch(mask) and is_address(base.strip("[]").partition("%")[0]):
        return True
    if text in names.programs or any((text, each) in names.ports for each in Protocol):
        return False
    return bool(_DEVICE.fullmatch(text))
