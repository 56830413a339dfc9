"""What the kernel's socket table lists, and which of its sockets answer on an interface."""

from __future__ import annotations

import socket
from collections import defaultdict
from itertools import groupby, product
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import netlink, procnet, sockdiag
from check_portcheck.model import (
    V4_MAPPED,
    Evidence,
    Interface,
    OpenService,
    Port,
    Protocol,
    ScanError,
    Socket,
    Span,
    is_link_local,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    _Binding = tuple[str, bool | None, int | None]
    """Bound address, V6ONLY and device: what decides where a socket answers."""
    _Group = tuple[tuple[Interface, ...], tuple[Socket, ...]]

_NETLINK_SOCK_DIAG = 4
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_LOOKUP_BATCH = 128
"""Lookups sent at once: their answers stay far below the receive buffer (net.core.rmem_default)."""
_LOCAL_PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
_DEFAULT_PORT_RANGE = Span(32768, 60999)
"""What the kernel starts with (ip-sysctl)."""
_FAMILIES = socket.AF_INET, socket.AF_INET6
_ANY_IPV4 = bytes(4)
_ANY_IPV6 = bytes(16)
_WILDCARDS = _ANY_IPV4, _ANY_IPV6, V4_MAPPED + _ANY_IPV4
_ELSEWHERE = -1
"""Index of a device that none of the interfaces has."""


class SocketTableError(ScanError):
    """The socket table could not be read, by netlink or otherwise."""


class Table(NamedTuple):
    """The socket table."""

    rows: tuple[Socket, ...]
    degraded: tuple[str, ...] = ()
    """What it does not know and why, one line; empty where it knows everything."""


def read() -> Table:
    """Every TCP listener and every unconnected UDP socket of this network namespace.

    Where netlink gives one protocol or family not, /proc/net has to do. Raises SocketTableError.
    """
    rows: list[Socket] = []
    refusals: dict[str, list[str]] = {}
    for protocol, family in product(Protocol, _FAMILIES):
        try:
            rows += _by_netlink(protocol, family)
        except OSError as refused:
            reason = f"netlink: {refused.strerror}"
            listed = _by_files(protocol, family, reason)
            if listed is not None:
                rows += listed
                refusals.setdefault(reason, []).append(procnet.path(protocol, family))
    return Table(tuple(rows), tuple(map(_degraded, refusals.items())))


def rows() -> tuple[Socket, ...]:
    """The sockets of the table; raises SocketTableError."""
    return read().rows


def open_services(
    table: Sequence[Socket], interfaces: Sequence[Interface], *, perhaps: bool = False
) -> list[OpenService]:
    """The ports at which sockets of *table* answer on *interfaces*, by protocol and number.

    A port comes once for each group of interfaces on which the very same sockets answer. Within it
    the sockets are in the order of the table, the interfaces in the order given. With *perhaps*
    sockets count, too, of which a degraded table does not tell whether they answer there.
    """
    reach = _Reach(interfaces, perhaps=perhaps)
    services: list[OpenService] = []
    # The sort is stable: the sockets of a port stay in the order of the table.
    ordered = sorted(sorted(table, key=attrgetter("port")), key=attrgetter("protocol"))
    for port, rows in groupby(ordered, attrgetter("protocol", "port")):
        for where, sockets in _groups(tuple(rows), reach):
            services.append(OpenService(Port(*port), where, Evidence.TABLE, sockets))
    return services


def unreached(table: Sequence[Socket], interfaces: Sequence[Interface]) -> tuple[Socket, ...]:
    """The sockets of *table* that answer on none of *interfaces*, for certain."""
    reach = _Reach(interfaces, perhaps=True)
    return tuple(row for row in table if not reach.of(row))


def lookup(interface: Interface, protocol: Protocol, ports: Sequence[int]) -> list[int]:
    """Those of *ports* at which the kernel's receive lookup finds a socket; sends no packet.

    Raises OSError where the kernel does not offer it.
    """
    requests = sockdiag.LookupRequests(
        protocol, interface.family, interface.packed, interface.ifindex
    )
    found: list[int] = []
    with netlink.connect(_NETLINK_SOCK_DIAG) as connection:
        # Without it a refusal quotes the whole request (netlink(7)).
        connection.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        for start in range(0, len(ports), _LOOKUP_BATCH):
            batch = ports[start : start + _LOOKUP_BATCH]
            connection.send(b"".join([requests.message(port) for port in batch]))
            found += [port for port in batch if sockdiag.found(connection.recv(4096), port)]
    return found


def ephemeral_ports() -> Span:
    """The range from which the kernel gives ports to clients."""
    try:
        with open(_LOCAL_PORT_RANGE, encoding="utf-8") as file:
            first, last = file.read().split()
        return Span(int(first), int(last))
    except (OSError, ValueError):
        return _DEFAULT_PORT_RANGE


class _Reach:
    """On which interfaces sockets answer, by position in the list of interfaces.

    Sockets come by the ten thousand and are bound in a few ways: what the way alone decides is
    worked out once for each, and equal groups of interfaces are one object.
    """

    __slots__ = ("_by_address", "_by_binding", "_groups", "_interfaces", "_perhaps")

    def __init__(self, interfaces: Sequence[Interface], *, perhaps: bool) -> None:
        """*perhaps*: they answer, too, where the table does not tell that they do not."""
        self._interfaces = interfaces
        self._perhaps = perhaps
        self._by_address: defaultdict[tuple[bytes, bool], list[int]] = defaultdict(list)
        for position, interface in enumerate(interfaces):
            for bound in _bound_there(interface):
                self._by_address[bound].append(position)
        self._by_binding: dict[_Binding, tuple[int, ...]] = {}
        self._groups: dict[tuple[int, ...], tuple[Interface, ...]] = {}

    def of(self, row: Socket) -> tuple[int, ...]:
        """The positions of the interfaces on which a socket answers, ascending."""
        binding = (row.address, row.v6only, row.device)
        found = self._by_binding.get(binding)
        if found is None:
            found = self._by_binding[binding] = tuple(self._reached(binding))
        return found

    def interfaces(self, positions: tuple[int, ...]) -> tuple[Interface, ...]:
        """The interfaces at some positions."""
        found = self._groups.get(positions)
        if found is None:
            found = self._groups[positions] = tuple(self._interfaces[each] for each in positions)
        return found

    def _reached(self, binding: _Binding) -> Iterator[int]:
        address, v6only, device = self._read(binding)
        for position in self._by_address.get((address, v6only), ()):
            # A packet to an own address arrives, for the lookup, on the device of its local route,
            # although it travels over lo (orig_oif in net/ipv4/route.c, ip6_rcv_core).
            if device in (0, self._interfaces[position].ifindex):
                yield position

    def _read(self, binding: _Binding) -> tuple[bytes, bool, int]:
        """A binding with what is unknown of it taken at its widest, or at its narrowest."""
        text, v6only, device = binding
        address = _packed(text)
        if v6only is None:
            v6only = not self._perhaps
        if device is None:
            tells = address not in _WILDCARDS and not is_link_local(address)
            device = 0 if tells or self._perhaps else _ELSEWHERE
        return address, v6only, device


def _groups(rows: tuple[Socket, ...], reach: _Reach) -> Iterator[_Group]:
    """The groups of interfaces on which the same of one port's sockets answer, and these."""
    if len(rows) > 1:
        yield from _alike(rows, reach)
    elif positions := reach.of(rows[0]):  # as at nearly every port
        yield reach.interfaces(positions), rows


def _alike(rows: tuple[Socket, ...], reach: _Reach) -> Iterator[_Group]:
    answering: defaultdict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        for position in reach.of(row):
            answering[position].append(index)
    alike: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for position in sorted(answering):
        alike[tuple(answering[position])].append(position)
    for indices, positions in alike.items():
        yield reach.interfaces(tuple(positions)), tuple([rows[index] for index in indices])


def _bound_there(interface: Interface) -> Iterator[tuple[bytes, bool]]:
    """Where sockets are bound that answer on an interface: address, and whether V6ONLY is set."""
    own = interface.packed
    if interface.family == socket.AF_INET6:
        yield from product((own, _ANY_IPV6), (False, True))
    else:
        yield from product((own, V4_MAPPED + own), (False, True))
        yield from product((_ANY_IPV4, V4_MAPPED + _ANY_IPV4, _ANY_IPV6), (False,))


def _by_netlink(protocol: Protocol, family: socket.AddressFamily) -> list[Socket]:
    with netlink.connect(_NETLINK_SOCK_DIAG) as connection:
        request = sockdiag.dump_request(protocol, family)
        payloads = netlink.dump(connection, sockdiag.SOCK_DIAG_BY_FAMILY, request)
    return [sockdiag.row(protocol, payload) for payload in payloads]


def _by_files(protocol: Protocol, family: socket.AddressFamily, reason: str) -> list[Socket] | None:
    """The same from /proc/net, where netlink refuses for a *reason*; None without that family."""
    try:
        return procnet.read(protocol, family)
    except (OSError, ValueError) as unreadable:
        raise SocketTableError(f"{reason}; /proc/net: {unreadable}") from unreadable


def _degraded(refusal: tuple[str, list[str]]) -> str:
    """What the table does not know for one reason."""
    reason, files = refusal
    names = ", ".join(files)
    return f"socket table degraded: {names} tell neither V6ONLY nor bound devices ({reason})"


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
