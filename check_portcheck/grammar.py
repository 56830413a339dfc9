"""The grammar of a list entry: text to rules, addresses and devices.

Pure. Every token is read as a whole: one that is only partly understood is an error.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import TYPE_CHECKING

from check_portcheck.model import HIGHEST_PORT, Protocol
from check_portcheck.policy import (
    ANY_INTERFACE,
    EphemeralPorts,
    InterfacePattern,
    Item,
    Kind,
    OwnerKind,
    OwnerPattern,
    PortRange,
    RpcProgram,
    Rule,
)
from check_portcheck.values import TokenError, is_digits, quoted, whole

if TYPE_CHECKING:
    from check_portcheck.names import Names

_PROTOCOLS = {protocol.value: protocol for protocol in Protocol}
_OWNER_KINDS = {"user": OwnerKind.USER, "unit": OwnerKind.UNIT}
_V4_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
_HIGHEST_PROGRAM = 2**32 - 1  # RFC 5531, 9
_LENGTH = 15  # IFNAMSIZ of linux/if.h without the final NUL
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_DEVICE = re.compile(r"[^][*/:\s]+(:[^][*/:\s]+)?")  # a colon begins the label of an alias
_VLAN = re.compile(r"[^.]*[^.0-9][^.]*(\.[0-9]+){1,2}(:.+)?")  # eth0.100, but no host.example


def tokens(text: str) -> list[str]:
    """The parts of a list between any run of commas, blanks and tabs."""
    return text.replace(",", " ").split()


def rules(kind: Kind, text: str, place: str, names: Names) -> tuple[list[Rule], list[str]]:
    """The rules of one list entry, ``[INTERFACE:]ITEM[,ITEM...]``, and all that is wrong in it."""
    items = tokens(text)
    if not items:
        return [], ["no port"]
    found: list[Rule] = []
    errors: list[str] = []
    where: InterfacePattern | None = None
    try:
        where = _take_interface(kind, items)
    except TokenError as error:
        errors.append(str(error))
    for token in items:
        try:
            item, owner = _item(kind, token, names)
        except TokenError as error:
            errors.append(str(error))
        else:
            if where:
                found.append(Rule(kind, where, item, owner, place))
    return found, errors


def _take_interface(kind: Kind, items: list[str]) -> InterfacePattern:
    """The interface that the first item begins with, which is taken off that item.

    It is all before the last colon, where owners, which may hold colons, do not count.
    """
    for _ in range(2):  # blanks may stand before and after that colon
        if len(items) > 1 and "@" not in items[0] and ":" in (items[0][-1], items[1][0]):
            items[:2] = [items[0] + items[1]]
    first, at, owner = items[0].partition("@")
    where, colon, first = first.rpartition(":")
    items[0] = first + at + owner
    if where:
        return interface(where)
    if kind is Kind.SKIP and not colon:
        return ANY_INTERFACE
    example = quoted(f"*:{items[0] if first else '22/tcp'}")
    raise TokenError(f"no interface ({example} would mean every scanned one)")


def _item(kind: Kind, token: str, names: Names) -> tuple[Item, OwnerPattern | None]:
    """One item with its owner, as far as the list takes such an item."""
    text, at, owner = token.partition("@")
    what, _, suffix = text.rpartition("/")
    if ":" in text:
        raise TokenError(f"{quoted(token)} names a second interface: an entry takes one")
    protocol = _PROTOCOLS.get(suffix.lower())
    if not what or protocol is None:
        raise TokenError(f"{quoted(token)} is not of the form PORT/tcp or PORT/udp")
    item = _ports(what, protocol) or _others(what, protocol, names)
    if kind is Kind.REQUIRED and not (isinstance(item, RpcProgram) or _is_single(item)):
        raise TokenError(f"{quoted(token)} is no single port, as a required one must be")
    if kind is Kind.SKIP and (at or not isinstance(item, PortRange)):
        raise TokenError(f"{quoted(token)}: only ports can be skipped, whoever holds them")
    return item, _owner(owner, token) if at else None


def _is_single(item: Item) -> bool:
    return isinstance(item, PortRange) and item.lowest == item.highest


def _ports(what: str, protocol: Protocol) -> PortRange | None:
    """``22``, ``6000-6063`` or ``*``; None for anything else."""
    if what == "*":
        return PortRange(protocol, 0, HIGHEST_PORT)
    match = _RANGE.fullmatch(what)
    if not match:
        return None
    first, last = match.groups()
    lowest = whole(first, HIGHEST_PORT)
    highest = whole(last, HIGHEST_PORT) if last else lowest
    if lowest > highest:
        raise TokenError(f"{quoted(what)} runs backwards: write {highest}-{lowest}")
    return PortRange(protocol, lowest, highest)


def _others(what: str, protocol: Protocol, names: Names) -> EphemeralPorts | RpcProgram:
    """``ephemeral``, ``RPC_100075`` or the name of an RPC program."""
    if what.lower() == "ephemeral":
        return EphemeralPorts(protocol)
    prefix, _, digits = what.partition("_")
    if prefix == "RPC" and is_digits(digits):
        if program := whole(digits, _HIGHEST_PROGRAM):
            return RpcProgram(protocol, program, what)
        raise TokenError(f"{quoted(what)}: RPC program numbers begin at 1")
    found = names.program(what)
    if found is not None:
        return RpcProgram(protocol, found, what)
    token = quoted(f"{what}/{protocol}")
    port = names.port_of(what, protocol)
    if port is not None:
        raise TokenError(f"{token} is no RPC program: write {port}/{protocol}")
    raise TokenError(
        f"{token} is no port, and no RPC program of /etc/rpc (RPC_number/{protocol} names any)"
    )


def _owner(text: str, token: str) -> OwnerPattern:
    """``sshd``, ``/usr/sbin/sshd``, ``user:postgres`` or ``unit:nginx.service``."""
    if text.startswith("/"):
        return OwnerPattern(OwnerKind.EXECUTABLE, text)
    prefix, colon, value = text.partition(":")
    kind = _OWNER_KINDS.get(prefix) if colon else OwnerKind.NAME
    value = value if colon else text
    if kind is None or not value or (kind is OwnerKind.NAME and "/" in value):
        known = "@NAME, @/EXECUTABLE, @user:NAME or @unit:NAME"
        raise TokenError(f"{quoted(token)}: the owner is not of the form {known}")
    return OwnerPattern(kind, value)


@lru_cache(maxsize=256)  # a policy names few interfaces, on many lines
def interface(text: str) -> InterfacePattern:
    """The interfaces that an entry speaks of: ``*``, an address, a device or a network."""
    if text == ANY_INTERFACE.text:
        return ANY_INTERFACE
    if "/" in text:
        return _network(text)
    name = _unbracketed(text)
    if _packed(name.partition("%")[0]):
        return InterfacePattern(address(text))
    if _is_device(name) and not _is_dotted(name):
        return InterfacePattern(name)
    hint = ": every scanned one is *" if name == "all" else ""
    raise TokenError(f"{quoted(text)} is no address and no device{hint}")


def address(text: str) -> str:
    """An IP address that an interface can have, in the kernel's spelling."""
    base, percent, scope = _unbracketed(text).partition("%")
    packed = _packed(base)
    if packed is None:
        raise TokenError(f"{quoted(text)} is no IP address")
    if not any(packed):
        raise TokenError(f"{quoted(text)} is the wildcard, the address of no interface")
    link_local = len(packed) == 16 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
    if link_local and not _is_device(scope):  # RFC 4007, 11: ambiguous without its zone
        raise TokenError(f"{quoted(text)} is link-local and needs its device: {base}%eth0")
    if percent and not link_local:
        raise TokenError(f"{quoted(text)} has a device, which only link-local addresses take")
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed) + percent + scope


def address_or_all(text: str) -> str:
    """An address as above, or ``all``."""
    if text.lower() == "all":
        return "all"
    if text == ANY_INTERFACE.text:
        raise TokenError(f"{quoted(text)} is for lists: every address is all")
    if _is_device(text) and not _is_dotted(text):
        raise TokenError(f"{quoted(text)} is no IP address (devices: PortCheckDevice, --device)")
    return address(text)


def device(text: str) -> str:
    """The name of a device, or the label of an alias."""
    if _packed(_unbracketed(text).partition("%")[0]):
        raise TokenError(
            f"{quoted(text)} is no device (addresses: PortCheckInterface, --interface)"
        )
    if not _is_device(text):
        raise TokenError(f"{quoted(text)} is no device")
    return text


def _network(text: str) -> InterfacePattern:
    from ipaddress import ip_network  # 4 ms that only a policy with networks pays

    base, _, digits = text.partition("/")
    packed = _packed(_unbracketed(base))
    if packed is None or not is_digits(digits) or (len(packed) == 4 and ":" in base):
        raise TokenError(f"{quoted(text)} is no network: ADDRESS/LENGTH")
    network = ip_network((packed, whole(digits, len(packed) * 8)), strict=False)
    if network.network_address.packed != packed:
        raise TokenError(f"{quoted(text)} has host bits set: the network is {network}")
    return InterfacePattern(str(network), network)


def _unbracketed(text: str) -> str:
    """What the brackets hold, which may stand round anything with a colon of its own."""
    enclosed = text.startswith("[") and text.endswith("]") and ":" in text
    return text[1:-1] if enclosed else text


def _packed(text: str) -> bytes | None:
    """An address in network order, IPv4 mapped into IPv6 as IPv4; None for what is no address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, text)
        except (OSError, ValueError):  # ValueError: a NUL, or what has no UTF-8
            continue
        return packed[12:] if packed[:12] == _V4_MAPPED else packed
    return None


def _is_device(name: str) -> bool:
    """Whether it can be a device or a label (dev_valid_name in net/core/dev.c), and no pattern."""
    reserved = (".", "..", "all", "default")  # the last two: sysctl_dev_name_is_allowed
    fits = len(name.encode(errors="replace")) <= _LENGTH
    return fits and name not in reserved and bool(_DEVICE.fullmatch(name))


def _is_dotted(name: str) -> bool:
    """Whether it must be a host's name or a mistyped address, and not a device such as eth0.100."""
    return "." in name and not _VLAN.fullmatch(name)
