"""The kernel's devices, addresses and local routes as bytes (linux/rtnetlink.h, rtnetlink(7)).

Bytes in, objects out; no socket is opened here. What the bytes do not tell is an OSError (EBADMSG).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import netlink
from check_portcheck.model import is_link_local

if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/rtnetlink.h
RTM_GETLINK = 18
RTM_GETADDR = 22
RTM_GETROUTE = 26

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NUMBER = struct.Struct("=I")
_IFLA_IFNAME, _IFLA_LINKINFO = 3, 18
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_TUN_TYPE = 3  # linux/if_link.h
_IFF_TAP = b"\2"  # linux/if_tun.h
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_FLAGS = 1, 2, 3, 8
_IFA_F_DADFAILED, _IFA_F_TENTATIVE, _IFA_F_OPTIMISTIC = 0x08, 0x40, 0x04
_IFA_F_PERMANENT = 0x80
_RTA_DST, _RTA_OIF = 1, 4
_RTN_LOCAL = 2
_RTM_F_FIB_MATCH = 0x2000
"""Answer with the route itself, which names its device; else the answer is always lo."""

LINKS_REQUEST = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
ADDRESSES_REQUEST = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)


class Link(NamedTuple):
    """A network device."""

    ifindex: int
    name: str
    up: bool
    loopback: bool
    kind: str
    """``veth``, ``bridge``, ``tap``; empty for hardware."""


class Address(NamedTuple):
    """An address of a device."""

    ifindex: int
    """The kernel's index of the device."""
    address: str
    """Without scope."""
    link_local: bool
    """An IPv6 address that means something only together with its device."""
    label: str | None
    """The label of an IPv4 address, ``eth0`` or ``eth0:1``."""
    usable: bool
    """False while duplicate address detection has not finished, or has failed (RFC 4862, 5.4)."""
    expires: bool
    """An IPv6 address with a lifetime: a router's prefix gave it, or it is temporary (RFC 8981)."""


@contextlib.contextmanager
def _decoding(what: str) -> Iterator[None]:
    """What a message lacks is said by the one error of this module."""
    try:
        yield
    except (struct.error, KeyError, ValueError) as missing:
        raise OSError(errno.EBADMSG, f"message without its {what}") from missing


@_decoding("device")
def link(payload: bytes) -> Link:
    """The device of one RTM_NEWLINK message."""
    _, _, ifindex, flags, _ = _LINK.unpack_from(payload)
    attributes = netlink.attributes(payload[_LINK.size :])
    return Link(
        ifindex=ifindex,
        name=_text(attributes[_IFLA_IFNAME]),
        up=bool(flags & _IFF_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        kind=_kind(attributes.get(_IFLA_LINKINFO, b"")),
    )


@_decoding("address")
def address(payload: bytes) -> Address | None:
    """The address of one RTM_NEWADDR message, None for a family other than IPv4 and IPv6."""
    family, _, flags, _, ifindex = _ADDRESS.unpack_from(payload)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    attributes = netlink.attributes(payload[_ADDRESS.size :])
    # On a point-to-point link IFA_ADDRESS is the peer, IFA_LOCAL this machine (if_addr.h).
    packed = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]
    label = attributes.get(_IFA_LABEL)
    if _IFA_FLAGS in attributes:
        (flags,) = _NUMBER.unpack(attributes[_IFA_FLAGS])
    return Address(
        ifindex=ifindex,
        address=socket.inet_ntop(family, packed),
        link_local=is_link_local(packed),
        label=_text(label) if label else None,
        usable=_usable(flags),
        expires=family == socket.AF_INET6 and not flags & _IFA_F_PERMANENT,
    )


def route_request(family: int, packed: bytes) -> bytes:
    """The body that asks which route a packet to an address would take."""
    head = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH)
    return head + netlink.attribute(_RTA_DST, packed)


@_decoding("route")
def local_device(payload: bytes) -> int | None:
    """Index of the device of a route that ends on this machine, in one RTM_NEWROUTE message.

    None for a route of any other kind.
    """
    if _ROUTE.unpack_from(payload)[7] != _RTN_LOCAL:
        return None
    index: int
    (index,) = _NUMBER.unpack(netlink.attributes(payload[_ROUTE.size :])[_RTA_OIF])
    return index


def _kind(info: bytes) -> str:
    """The kind of a device; tun(4) devices are of one of two."""
    attributes = netlink.attributes(info)
    kind = _text(attributes.get(_IFLA_INFO_KIND, b""))
    data = netlink.attributes(attributes.get(_IFLA_INFO_DATA, b"")) if kind == "tun" else {}
    return "tap" if data.get(_IFLA_TUN_TYPE) == _IFF_TAP else kind


def _usable(flags: int) -> bool:
    """Whether nothing says that another host may have the address too."""
    tentative = flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC
    return not (tentative or flags & _IFA_F_DADFAILED)


def _text(value: bytes) -> str:
    return os.fsdecode(value.rstrip(b"\0"))
