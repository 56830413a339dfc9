"""Sockets to ask ports from, each at a source port that nobody else has."""

from __future__ import annotations

import errno
import os
import resource
import socket
from itertools import chain, repeat
from typing import TYPE_CHECKING

from check_portcheck.kernel import addresses, sockettable, timeouts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_portcheck.model import Interface, Span

    SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_IP_RECVERR = 11  # linux/in.h
_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h
_IPV6_RECVERR = 25  # linux/in6.h
_IPV6_FREEBIND = 78  # linux/in6.h

_CONNECT_PATIENCE = timeouts.timeval(socket.SO_SNDTIMEO, 0.01)
"""SO_SNDTIMEO: for its own addresses the kernel answers while connect() still runs."""

_CROWD = 4096
"""Sockets that wait at once in a patient look, where the limit of descriptors allows."""

_CHOICES = 100
"""Attempts to get a source port that nobody else takes in between."""

_RESERVED = range(512, 1024)
"""Source ports for root alone, as bindresvport(3) takes them."""

_REGISTERED = range(1024, 65536)


def tcp(interface: Interface, avoid: int) -> tuple[socket.socket, int]:
    """A blocking socket bound to a source port other than *avoid*, and that port.

    It is bound by number: a port that the kernel chose is given up at the first refusal. Raises
    OSError where there is no port or no descriptor.
    """
    connection = socket.socket(interface.family, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _CONNECT_PATIENCE)
        numbers = chain(_chosen_by_the_kernel(interface), _outside_the_range())
        return connection, _bind_to_one(
            connection, interface, (number for number in numbers if number != avoid)
        )
    except OSError:
        connection.close()
        raise


def udp(interface: Interface) -> socket.socket:
    """An unconnected non-blocking socket that keeps the errors of its datagrams.

    Raises OSError where there is no port or no descriptor.
    """
    connection = socket.socket(interface.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if interface.family == socket.AF_INET:
            connection.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        else:
            connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        _bind_to_one(connection, interface, chain([0], _outside_the_range()))
    except OSError:
        connection.close()
        raise
    return connection


def connecting(interface: Interface, port: int) -> tuple[socket.socket, int]:
    """A non-blocking TCP socket that has begun to connect, and what connect() said.

    It is bound to the address, as all are, so that nothing is sent to one that has gone meanwhile;
    its port may be one that others connect from elsewhere. Raises OSError where there is no port
    or no descriptor.
    """
    connection = socket.socket(interface.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    where = target(interface, port)
    try:
        connection.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        _bind(connection, interface, 0)
        result = connection.connect_ex(where)
        if result == errno.EADDRNOTAVAIL:  # every port of the range is taken
            _bind_to_one(connection, interface, _outside_the_range())
            result = connection.connect_ex(where)
    except OSError:
        connection.close()
        raise
    return connection, result


def asking(interface: Interface, port: int) -> tuple[socket.socket, int]:
    """A connected UDP socket that has sent an empty datagram, and the error where it has not.

    Being connected it gets datagrams of that port alone. Raises OSError where there is no port or
    no descriptor.
    """
    connection = udp(interface)
    result = connection.connect_ex(target(interface, port))
    try:
        connection.send(b"")
    except OSError as refused:
        # A filter that keeps the datagram (EPERM) may have refused it as well.
        return connection, error(connection) or refused.errno or errno.EPERM
    return connection, result or errno.EINPROGRESS


def error(connection: socket.socket) -> int:
    """The number of the error that came for a socket, 0 for none.

    It includes a "soft" one: what an ICMP message says to a socket that is inside connect()
    (tcp_v4_err and sk_getsockopt in Linux).
    """
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def targets(interface: Interface, ports: Iterable[int]) -> Iterator[SocketAddress]:
    """The socket addresses of ports; made by zip, which costs the loops over them least.

    A link-local address needs flow label and scope by number: with ``%scope`` it would go through
    getaddrinfo() at each call.
    """
    host = interface.address.partition("%")[0]
    if interface.scope:
        return zip(repeat(host), ports, repeat(0), repeat(interface.scope))
    return zip(repeat(host), ports)


def target(interface: Interface, port: int) -> SocketAddress:
    """The socket address of one port."""
    return next(targets(interface, [port]))


def crowd() -> int:
    """How many sockets may be open at once, after asking for as many as are useful."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CROWD + 100
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(_CROWD, max(soft // 2, soft - 100)) if soft != resource.RLIM_INFINITY else _CROWD


def _chosen_by_the_kernel(interface: Interface) -> Iterator[int]:
    """Source ports out of the range for clients; ends where all of them are taken."""
    for _ in range(_CHOICES):
        with socket.socket(interface.family, socket.SOCK_STREAM) as choosing:
            try:
                _bind(choosing, interface, 0)
            except OSError as refused:
                if refused.errno == errno.EADDRINUSE:
                    return
                raise
            number = choosing.getsockname()[1]
        yield number


def sources(taken: Span, start: int) -> Iterator[int]:
    """Source ports that are not in a range: those of users from the *start*-th on, then root's.

    Nothing is listed beforehand: where the range is exhausted, every socket begins anew.
    """
    below = _REGISTERED[: max(0, taken.first - _REGISTERED.start)]
    above = _REGISTERED[max(0, taken.last + 1 - _REGISTERED.start) :]
    start %= len(below) + len(above) or 1
    beyond = max(0, start - len(below))
    yield from chain(below[start:], above[beyond:], below[:start], above[:beyond])
    yield from _RESERVED


def _outside_the_range() -> Iterator[int]:
    """Source ports that the kernel gives to no client.

    Anybody may bind every port of the range, and a busy proxy leaves all of them in TIME_WAIT.
    """
    yield from sources(sockettable.ephemeral_ports(), int.from_bytes(os.urandom(4), "big"))


def _bind_to_one(connection: socket.socket, interface: Interface, numbers: Iterable[int]) -> int:
    """Bind to the first number that is to be had, and say which; raises OSError without one."""
    for number in numbers:
        try:
            _bind(connection, interface, number)
        except OSError as refused:
            if refused.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            return number
    raise OSError(errno.EADDRINUSE, "no source port to be had")


def _bind(connection: socket.socket, interface: Interface, number: int) -> None:
    """Bind to a port of the interface."""
    where = target(interface, number)
    try:
        connection.bind(where)
    except OSError as refused:
        if refused.errno != errno.EADDRNOTAVAIL or not _only_routed(interface):
            raise
        connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        connection.bind(where)


def _only_routed(interface: Interface) -> bool:
    """Whether an IPv6 address is this machine's by a route alone (AnyIP).

    Such a one can be bound with IPV6_FREEBIND only, which would let pass any address: one that has
    gone meanwhile must not be asked, since packets to it would leave the machine.
    """
    if interface.family != socket.AF_INET6 or interface.scope:
        return False
    return addresses.routed(interface.address) is not None
