"""The words for interfaces: addresses, networks, devices and patterns of devices.

Pure. Each is spelled back in one way, the kernel's where it has one.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache

from check_portcheck.config.values import TokenError, is_digits, quoted, whole
from check_portcheck.model import V4_MAPPED, is_link_local
from check_portcheck.policy.rules import ANY_INTERFACE, InterfacePattern

_EXCEPT = "!"
"""What begins with it is left out of what is scanned."""
_LENGTH = 15  # IFNAMSIZ of linux/if.h without the final NUL
_CHARACTER = r"[^][?+*/:@%!|;\"'`\s]"
"""What devices are named with; the kernel takes more, which would be marks of ours or mistakes."""
_DEVICE = rf"{_CHARACTER}+(:{_CHARACTER}+)?"  # a colon begins the label of an alias
_PATTERN = rf"({_CHARACTER}|\*)+(:({_CHARACTER}|\*)+)?"
_VLAN = r"[^.]*[^.0-9][^.]*(\.[0-9*]+){1,2}(:.+)?"  # eth0.100, but no host.example
_RESERVED = (".", "..", "all", "default")  # the last two: sysctl_dev_name_is_allowed
_EVERY = ("*", "all", "any")
"""What means every address elsewhere."""
_WORDS = ("any", "localhost", "tcp", "tcp6", "udp", "udp6", "T", "U")
"""What could be devices, and is always meant otherwise."""


@lru_cache(maxsize=256)  # a policy names few interfaces, on many lines
def interface(text: str) -> InterfacePattern:
    """What an entry speaks of: ``*``, an address, a network, a device or a pattern of devices."""
    if text == ANY_INTERFACE.text:
        return ANY_INTERFACE
    if text.startswith(_EXCEPT):
        raise TokenError(f"{quoted(text)}: only what is scanned can be left out, by such a mark")
    if "/" in text:
        return _network(text)
    name = _unbracketed(text)
    if is_address(name.partition("%")[0]):
        return InterfacePattern(address(text))
    if _is_named(name):
        return InterfacePattern(_starred(name))
    raise TokenError(f"{quoted(text)} is no address and no device")


def chosen_address(text: str) -> str:
    """What of the addresses is scanned: ``all``, an address or a network, or not, with ``!``."""
    mark, name = _marked(text)
    if text.lower() == "all":
        return "all"
    if "/" in name:
        return mark + _network(name).text
    if text == ANY_INTERFACE.text:
        raise TokenError(f"{quoted(text)} is for lists", "all")
    if _is_named(name):
        raise TokenError(f"{quoted(text)} is no IP address", _of_devices(text))
    return mark + address(name)


def chosen_device(text: str) -> str:
    """What of the devices is scanned: a device, an alias or a pattern, or not, with ``!``."""
    mark, name = _marked(text)
    if is_address(_unbracketed(name.partition("/")[0]).partition("%")[0]):
        raise TokenError(f"{quoted(text)} is no device", _of_addresses(text))
    if text in _EVERY:
        raise TokenError(f"{quoted(text)} is no device", _of_addresses("all"))
    if not _is_device(name) and not _is_pattern(name):
        raise TokenError(f"{quoted(text)} is no device")
    return mark + _starred(name)


def _of_devices(text: str) -> str:
    return f"--device {text} (in a file: PortCheckDevice = {text})"


def _of_addresses(text: str) -> str:
    try:
        name = chosen_address(text)
    except TokenError:
        return ""
    return f"--interface {name} (in a file: PortCheckInterface = {name})"


def address(text: str) -> str:
    """An IP address that an interface can have, in the kernel's spelling."""
    base, percent, scope = _unbracketed(text).partition("%")
    packed = _packed(base)
    if packed is None:
        raise TokenError(f"{quoted(text)} is no IP address")
    if not any(packed):
        raise TokenError(f"{quoted(text)} is the wildcard, the address of no interface")
    link_local = is_link_local(packed)
    if link_local and not _is_device(scope):  # RFC 4007, 11: ambiguous without its zone
        raise TokenError(f"{quoted(text)} is link-local and needs its device, as in %eth0")
    if percent and not link_local:
        raise TokenError(f"{quoted(text)} has a device, which only link-local addresses take")
    return _spelled(packed) + percent + scope


def is_address(text: str) -> bool:
    """Whether it is an IP address, be it the wildcard, without brackets and scope."""
    return _packed(text) is not None


def _marked(text: str) -> tuple[str, str]:
    """The mark of what is left out, empty where there is none, and what it stands before."""
    if text == _EXCEPT:
        raise TokenError("'!' leaves out what follows it without a blank: !NAME")
    return (_EXCEPT, text[1:]) if text.startswith(_EXCEPT) else ("", text)


def _network(text: str) -> InterfacePattern:
    from ipaddress import ip_network  # 4 ms that only a policy with networks pays

    base, _, digits = text.partition("/")
    packed = _packed(_unbracketed(base))
    mapped = packed is not None and len(packed) == 4 and ":" in base
    if packed is None or mapped or not is_digits(digits):
        raise TokenError(f"{quoted(text)} is no network, ADDRESS/LENGTH")
    try:
        network = ip_network((packed, whole(digits, len(packed) * 8)), strict=False)
    except TokenError as error:
        raise TokenError(f"{quoted(text)}: {error.problem}") from error
    if network.network_address.packed != packed:
        raise TokenError(f"{quoted(text)} has host bits set: the network is {network}")
    return InterfacePattern(str(network), network)


def _spelled(packed: bytes) -> str:
    """An address as the kernel spells it."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


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


def _is_named(name: str) -> bool:
    """Whether it is meant for a device or a pattern: no host, no number and no word of ours."""
    if name in _WORDS or is_digits(name.replace(":", "").replace("*", "")):
        return False
    if "." in name and not re.fullmatch(_VLAN, name):  # a host, or a mistyped address
        return False
    return _is_device(name) or _is_pattern(name)


def _is_device(name: str) -> bool:
    """Whether it can be a device or a label (dev_valid_name in net/core/dev.c), and no pattern."""
    return name not in _RESERVED and _fits(name) and bool(re.fullmatch(_DEVICE, name))


def _is_pattern(name: str) -> bool:
    """Whether it can match the name of a device or a label, and not simply all."""
    literal = name.replace("*", "")
    if literal == name or not literal or literal.startswith(":"):
        return False
    return _fits(literal) and bool(re.fullmatch(_PATTERN, name))


def _fits(name: str) -> bool:
    return len(name.encode(errors="replace")) <= _LENGTH


def _starred(name: str) -> str:
    """The name, of which a pattern has no stars in a row."""
    return re.sub(r"\*+", "*", name)
