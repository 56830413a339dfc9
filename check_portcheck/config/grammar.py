"""The grammar of a list entry: text to rules, addresses and devices.

Pure. Every token is read as a whole: one that is only partly understood is an error.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import TYPE_CHECKING

from check_portcheck.config.values import TokenError, is_digits, quoted, whole
from check_portcheck.model import HIGHEST_PORT, V4_MAPPED, PortRange, Protocol, Span
from check_portcheck.names import HIGHEST_PROGRAM
from check_portcheck.policy.rules import (
    ANY_INTERFACE,
    EphemeralPorts,
    InterfacePattern,
    Item,
    Kind,
    OwnerKind,
    OwnerPattern,
    RpcProgram,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.names import Names

_PROTOCOLS = {protocol.value: protocol for protocol in Protocol}
_LENGTH = 15  # IFNAMSIZ of linux/if.h without the final NUL
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_PROGRAM = re.compile(r"RPC_([0-9]+)")
_OWNER_NAME = re.compile(r"[^:/]+")
_OWNER_KIND = re.compile(r"(user|unit):(.+)", re.DOTALL)
_DEVICE = re.compile(r"[^][*/:\s]+(:[^][*/:\s]+)?")  # a colon begins the label of an alias
_VLAN = re.compile(r"[^.]*[^.0-9][^.]*(\.[0-9]+){1,2}(:.+)?")  # eth0.100, but no host.example


def tokens(text: str) -> list[str]:
    """The parts of a list between any run of commas, blanks and tabs."""
    return text.replace(",", " ").split()


def rules(kind: Kind, text: str, source: str, names: Names) -> tuple[list[Rule], list[str]]:
    """The rules of one list entry, ``[INTERFACE:]ITEM[,ITEM...]``, and all that is wrong in it."""
    entry = _joined(tokens(text))
    if not entry:
        return [], ["no port"]
    prefix, first = _parted(entry[0])
    items, errors = _items(kind, [first, *entry[1:]], names)
    try:
        where = _where(kind, prefix, first)
    except TokenError as error:
        return [], [str(error), *errors]
    return [Rule(kind, where, item, owner, source) for item, owner in items], errors


def _joined(entry: list[str]) -> list[str]:
    """An entry in which interface, colon and first item are one token.

    Blanks may stand before and after that colon. Owners begin with ``@`` and may hold colons of
    their own: what follows one is another item.
    """
    for _ in range(2):
        if len(entry) < 2 or "@" in entry[0]:
            break
        if entry[0].endswith(":") or entry[1].startswith(":"):
            entry = [entry[0] + entry[1], *entry[2:]]
    return entry


def _parted(token: str) -> tuple[str | None, str]:
    """The interface that the first token begins with, and its item.

    The interface is all before the last colon that is not the owner's; None where there is none.
    """
    text, at, owner = token.partition("@")
    where, colon, item = text.rpartition(":")
    return where if colon else None, item + at + owner


def _where(kind: Kind, prefix: str | None, first: str) -> InterfacePattern:
    """The interfaces that the rules of an entry hold on; *first* is its first item."""
    if prefix:
        return interface(prefix)
    if kind is Kind.SKIP and prefix is None:
        return ANY_INTERFACE
    example = first if first and not first.startswith("@") else "22/tcp"
    raise TokenError(f"no interface ({quoted(f'*:{example}')} would mean every scanned one)")


def _items(
    kind: Kind, entry: Iterable[str], names: Names
) -> tuple[list[tuple[Item, OwnerPattern | None]], list[str]]:
    """The items of an entry with their owners, and what is wrong with the others."""
    found, errors = [], []
    for token in entry:
        try:
            found.append(_item(kind, token, names))
        except TokenError as error:
            errors.append(str(error))
    return found, errors


def _item(kind: Kind, token: str, names: Names) -> tuple[Item, OwnerPattern | None]:
    """One item with its owner, as far as the list takes such an item."""
    text, at, owner = token.partition("@")
    item = _services(text, token, names)
    if kind is Kind.REQUIRED:
        _require(item, token)
    if kind is Kind.SKIP and (at or not isinstance(item, PortRange)):
        raise TokenError(f"{quoted(token)}: only ports can be skipped, whoever holds them")
    return item, _owner(owner, token) if at else None


def _require(item: Item, token: str) -> None:
    """Refuse what is no single service, so that it cannot be said whether it is missing."""
    if isinstance(item, RpcProgram):
        return
    if not isinstance(item, PortRange) or item.single is None:
        raise TokenError(f"{quoted(token)} is no single port, as a required one must be")


def _services(text: str, token: str, names: Names) -> Item:
    """What an item names, without its owner; *token* is the whole, for messages."""
    if ":" in text:
        raise TokenError(f"{quoted(token)} names a second interface: an entry takes one")
    what, _, suffix = text.rpartition("/")
    protocol = _PROTOCOLS.get(suffix.lower())
    if not what or protocol is None:
        raise TokenError(f"{quoted(token)} is not of the form PORT/tcp or PORT/udp")
    if what.lower() == "ephemeral":
        return EphemeralPorts(protocol)
    return _ports(what, protocol) or _program(what, protocol, names)


def _ports(what: str, protocol: Protocol) -> PortRange | None:
    """``22``, ``6000-6063`` or ``*``; None for anything else."""
    if what == "*":
        return PortRange(protocol, Span(0, HIGHEST_PORT))
    match = _RANGE.fullmatch(what)
    if not match:
        return None
    first = whole(match[1], HIGHEST_PORT)
    last = whole(match[2], HIGHEST_PORT) if match[2] else first
    if first > last:
        raise TokenError(f"{quoted(what)} runs backwards: write {last}-{first}")
    return PortRange(protocol, Span(first, last))


def _program(what: str, protocol: Protocol, names: Names) -> RpcProgram:
    """``RPC_100075`` or the name of an RPC program."""
    numbered = _PROGRAM.fullmatch(what)
    program = whole(numbered[1], HIGHEST_PROGRAM) if numbered else names.programs.get(what)
    if numbered and not program:
        raise TokenError(f"{quoted(what)}: RPC program numbers begin at 1")
    if program is None:
        raise _no_program(what, protocol, names)
    return RpcProgram(protocol, program, what)


def _no_program(what: str, protocol: Protocol, names: Names) -> TokenError:
    """The error of a name that is no RPC program, with what to write in its place."""
    token = quoted(f"{what}/{protocol}")
    port = names.ports.get((what, protocol))
    if port is not None:
        return TokenError(f"{token} is no RPC program: write {port}/{protocol}")
    return TokenError(
        f"{token} is no port, and no RPC program of /etc/rpc (RPC_number/{protocol} names any)"
    )


def _owner(text: str, token: str) -> OwnerPattern:
    """``sshd``, ``/usr/sbin/sshd``, ``user:postgres`` or ``unit:nginx.service``."""
    if text.startswith("/"):
        return OwnerPattern(OwnerKind.EXECUTABLE, text)
    if _OWNER_NAME.fullmatch(text):
        return OwnerPattern(OwnerKind.NAME, text)
    match = _OWNER_KIND.fullmatch(text)
    if match:
        return OwnerPattern(OwnerKind(match[1]), match[2])
    known = "@NAME, @/EXECUTABLE, @user:NAME or @unit:NAME"
    raise TokenError(f"{quoted(token)}: the owner is not of the form {known}")


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
    link_local = _is_link_local(packed)
    if link_local and not _is_device(scope):  # RFC 4007, 11: ambiguous without its zone
        raise TokenError(f"{quoted(text)} is link-local and needs its device: {base}%eth0")
    if percent and not link_local:
        raise TokenError(f"{quoted(text)} has a device, which only link-local addresses take")
    return _spelled(packed) + percent + scope


def _is_link_local(packed: bytes) -> bool:
    """Whether an address is in fe80::/10 (RFC 4291, 2.4)."""
    return len(packed) == 16 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


def _spelled(packed: bytes) -> str:
    """An address as the kernel spells it."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


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
    mapped = packed is not None and len(packed) == 4 and ":" in base
    if packed is None or mapped or not is_digits(digits):
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
        return packed[12:] if packed[:12] == V4_MAPPED else packed
    return None


def _is_device(name: str) -> bool:
    """Whether it can be a device or a label (dev_valid_name in net/core/dev.c), and no pattern."""
    reserved = (".", "..", "all", "default")  # the last two: sysctl_dev_name_is_allowed
    fits = len(name.encode(errors="replace")) <= _LENGTH
    return fits and name not in reserved and bool(_DEVICE.fullmatch(name))


def _is_dotted(name: str) -> bool:
    """Whether it must be a host's name or a mistyped address, and not a device such as eth0.100."""
    return "." in name and not _VLAN.fullmatch(name)
