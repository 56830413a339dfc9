"""What the kernel's socket table lists, and which of its sockets answer on an interface."""

from __future__ import annotations

import errno
import socket
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from check_portcheck import netlink, sockdiag
from check_portcheck.model import Interface, Port, Protocol, ScanError, Socket

if TYPE_CHECKING:
    from collections.abc import Sequence

_NETLINK_SOCK_DIAG = 4
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_LOOKUP_BATCH = 128
"""Lookups sent at once: their answers stay far below the receive buffer (net.core.rmem_default)."""
_NOT_FOUND = (-errno.ENOENT).to_bytes(4, sys.byteorder, signed=True)
_LOCAL_PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
_DEFAULT_PORT_RANGE = (32768, 60999)
"""What the kernel starts with (ip-sysctl)."""
_MAPPED = bytes(10) + b"\xff\xff"
"""Prefix of an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2)."""


class SocketTableError(ScanError):
    """The socket table could not be read, by netlink or otherwise."""


def read() -> tuple[Socket, ...]:
    """Every TCP listener and every unconnected UDP socket of this network namespace."""
    try:
        return _by_netlink()
    except OSError as refused:
        return _by_psutil(refused)


def answering(table: Sequence[Socket], interface: Interface) -> dict[Port, tuple[Socket, ...]]:
    """The sockets that a packet to *interface* would reach, by port."""
    exact = {interface.packed}
    wildcards = {bytes(16)}
    if interface.family == socket.AF_INET:
        exact.add(_MAPPED + interface.packed)
        wildcards |= {bytes(4), _MAPPED + bytes(4)}
    found: defaultdict[Port, list[Socket]] = defaultdict(list)
    packed = {row.address: _packed(row.address) for row in table}
    for row in table:
        address = packed[row.address]
        wildcard = address in wildcards and not (row.v6only and interface.family == socket.AF_INET)
        # A packet to an own address arrives, for the lookup, on the device that has the address,
        # although it travels over lo (orig_oif in net/ipv4/route.c, ip6_rcv_core).
        if (wildcard or address in exact) and row.device in (0, interface.index):
            found[Port(row.protocol, row.port)].append(row)
    return {port: tuple(rows) for port, rows in found.items()}


def lookup(interface: Interface, protocol: Protocol, ports: Sequence[int]) -> list[int]:
    """Those of *ports* at which the kernel's receive lookup finds a socket; sends no packet.

    Raises OSError where the kernel does not offer it.
    """
    requests = sockdiag.LookupRequests(
        protocol, interface.family, interface.packed, interface.index
    )
    found: list[int] = []
    with netlink.connect(_NETLINK_SOCK_DIAG) as connection:
        # Without it a refusal quotes the whole request (netlink(7)).
        connection.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        receive, header = connection.recv, netlink.HEADER.unpack_from
        for start in range(0, len(ports), _LOOKUP_BATCH):
            batch = ports[start : start + _LOOKUP_BATCH]
            connection.send(b"".join([requests.message(port) for port in batch]))
            for port in batch:
                answer = receive(4096)
                _, kind, _, number, _ = header(answer)
                if kind == sockdiag.SOCK_DIAG_BY_FAMILY and number == port:
                    found.append(port)
                elif answer[netlink.HEADER.size :][:4] != _NOT_FOUND or number != port:
                    raise OSError(errno.EBADMSG, "unexpected answer to a lookup")
    return found


def ephemeral_ports() -> tuple[int, int]:
    """The range from which the kernel gives ports to clients, both ends included."""
    try:
        with open(_LOCAL_PORT_RANGE, encoding="utf-8") as file:
            lowest, highest = file.read().split()
        return int(lowest), int(highest)
    except (OSError, ValueError):
        return _DEFAULT_PORT_RANGE


def _by_netlink() -> tuple[Socket, ...]:
    rows: list[Socket] = []
    with netlink.connect(_NETLINK_SOCK_DIAG) as connection:
        for protocol in Protocol:
            for family in (socket.AF_INET, socket.AF_INET6):
                request = sockdiag.dump_request(protocol, family)
                payloads = netlink.dump(connection, sockdiag.SOCK_DIAG_BY_FAMILY, request)
                rows += [sockdiag.row(protocol, payload) for payload in payloads]
    return tuple(rows)


def _by_psutil(refused: OSError) -> tuple[Socket, ...]:
    """The table from /proc/net, which knows neither V6ONLY, devices, users nor inodes.

    Where netlink is not to be had: gVisor, old container sandboxes.
    """
    import psutil  # 20 ms that only this fallback pays

    v6only = _bindv6only()
    try:
        connections = psutil.net_connections("inet")
    except (OSError, RuntimeError, psutil.Error) as unreadable:
        raise SocketTableError(f"netlink: {refused}; /proc/net: {unreadable}") from unreadable
    rows: list[Socket] = []
    for row in connections:
        tcp = row.type == socket.SOCK_STREAM
        listens = row.status == psutil.CONN_LISTEN if tcp else not row.raddr
        if listens and row.laddr:
            protocol = Protocol.TCP if tcp else Protocol.UDP
            address, port = row.laddr[0], row.laddr[1]
            rows.append(Socket(protocol, address, port, v6only and address == "::", device=0))
    return tuple(rows)


def _bindv6only() -> bool:
    """The default of V6ONLY, all that is left to go by without netlink (ip-sysctl)."""
    try:
        with open("/proc/sys/net/ipv6/bindv6only", encoding="utf-8") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
