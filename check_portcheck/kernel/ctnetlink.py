"""One entry of the connection tracking table as bytes (linux/netfilter/nfnetlink_conntrack.h).

Bytes in, objects out; no socket is opened here.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import netlink
from check_portcheck.model import Endpoint, Protocol

if TYPE_CHECKING:
    from check_portcheck.model import Interface

GET = 1 << 8 | 1
"""Message type: NFNL_SUBSYS_CTNETLINK (linux/netfilter/nfnetlink.h) and IPCTNL_MSG_CT_GET."""

_NUMBERS = {Protocol.TCP: socket.IPPROTO_TCP, Protocol.UDP: socket.IPPROTO_UDP}
_NLA_F_NESTED = 0x8000  # linux/netlink.h
_PORT = struct.Struct(">H")
_HEAD_SIZE = 4
"""struct nfgenmsg: family, version, resource id."""

NO_QUESTION = bytes(_HEAD_SIZE)
"""A body that asks for no entry."""

_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY = 1, 2
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_V4_SRC, _CTA_IP_V4_DST, _CTA_IP_V6_SRC, _CTA_IP_V6_DST = 1, 2, 3, 4
_CTA_PROTO_NUM, _CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT = 1, 2, 3


class Flow(NamedTuple):
    """Packets from a socket of this machine to a port of an interface, as they were sent."""

    interface: Interface
    protocol: Protocol
    source: Endpoint
    port: int


def request(flow: Flow) -> bytes:
    """The body that asks for the entry of a flow."""
    family = flow.interface.family
    if family == socket.AF_INET:
        source, target = _CTA_IP_V4_SRC, _CTA_IP_V4_DST
    else:
        source, target = _CTA_IP_V6_SRC, _CTA_IP_V6_DST
    addresses = _nested(
        _CTA_TUPLE_IP,
        netlink.attribute(source, socket.inet_pton(family, flow.source.address)),
        netlink.attribute(target, flow.interface.packed),
    )
    ports = _nested(
        _CTA_TUPLE_PROTO,
        netlink.attribute(_CTA_PROTO_NUM, bytes([_NUMBERS[flow.protocol]])),
        netlink.attribute(_CTA_PROTO_SRC_PORT, _PORT.pack(flow.source.port)),
        netlink.attribute(_CTA_PROTO_DST_PORT, _PORT.pack(flow.port)),
    )
    head = bytes([family]).ljust(_HEAD_SIZE, b"\0")
    return head + _nested(_CTA_TUPLE_ORIG, addresses, ports)


def destination(payload: bytes) -> Endpoint:
    """Where the packets of an entry really go: what replies come from.

    Raises OSError with EBADMSG where the payload does not tell.
    """
    try:
        reply = netlink.attributes(netlink.attributes(payload[_HEAD_SIZE:])[_CTA_TUPLE_REPLY])
        addresses = netlink.attributes(reply[_CTA_TUPLE_IP])
        ports = netlink.attributes(reply[_CTA_TUPLE_PROTO])
        (port,) = _PORT.unpack(ports[_CTA_PROTO_SRC_PORT])
        if _CTA_IP_V4_SRC in addresses:
            return Endpoint(socket.inet_ntop(socket.AF_INET, addresses[_CTA_IP_V4_SRC]), port)
        return Endpoint(socket.inet_ntop(socket.AF_INET6, addresses[_CTA_IP_V6_SRC]), port)
    except (KeyError, ValueError, struct.error) as missing:
        raise OSError(errno.EBADMSG, "entry of connection tracking without its reply") from missing


def _nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds others."""
    return netlink.attribute(kind | _NLA_F_NESTED, b"".join(attributes))
