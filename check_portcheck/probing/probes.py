"""Ask TCP and UDP ports of this machine whether they answer, at the least cost for a closed port.

Nothing here judges, and a port that stays silent is never taken for open or closed: it comes back
as undecided.
"""

from __future__ import annotations

import errno
import resource
import select
import socket
import struct
from itertools import repeat
from typing import TYPE_CHECKING

from check_portcheck.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from check_portcheck.model import Interface

    SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_MSG_ERRQUEUE = 0x2000  # linux/socket.h
_IP_RECVERR = 11  # linux/in.h
_IPV6_RECVERR = 25  # linux/in6.h

_CONNECT_PATIENCE = struct.pack("ll", 0, 10_000)
"""SO_SNDTIMEO, 10 ms: for its own addresses the kernel answers while connect() still runs."""

_SILENT_TCP_LIMIT = 16
"""After so many silent TCP ports in one sweep the rest is asked all at once."""

_SILENT_UDP_LIMIT = 1024
"""After so many silent UDP ports in one sweep the rest is not asked: a filter drops them all."""

_FIRST_PATIENCE = 0.03

_CROWD = 4096
"""Sockets that wait at once in a patient look, where the limit of descriptors allows."""

_CHOICES = 100
"""Attempts to get a source port that nobody else takes in between."""


class Answers:
    """What a look at some ports of one interface and protocol gave; the others are closed."""

    __slots__ = ("open", "unasked", "undecided")

    def __init__(self) -> None:
        self.open: list[int] = []
        """A connection was made."""
        self.undecided: list[int] = []
        """No answer came, or one that is neither yes nor no."""
        self.unasked: list[int] = []
        """Not asked any more, since too many stayed silent."""


def sweep_tcp(interface: Interface, ports: Sequence[int]) -> Answers:
    """Connect to each port, with one system call for a closed one.

    A refusal leaves a blocking socket usable, so one socket serves until a port does not refuse.
    Raises OSError where no source port is to be had.
    """
    answers = Answers()
    own: list[int] = []
    queue = _targets(interface, ports)
    refused = errno.ECONNREFUSED
    port = 0
    while len(answers.undecided) < _SILENT_TCP_LIMIT:
        connection, source = _tcp_socket(interface, avoid=port)
        with connection:
            connect = connection.connect_ex
            for target in queue:
                result = connect(target)
                if result != refused:
                    break
            else:
                break
        port = target[1]
        if port == source:
            own.append(port)  # it would have met itself: to be asked from another source port
        elif result == 0:
            answers.open.append(port)
        else:
            answers.undecided.append(port)
    for port in own:
        _ask_alone(interface, port, answers)
    if rest := [target[1] for target in queue]:
        patient = ask_patiently(interface, rest, _FIRST_PATIENCE)
        answers.open += patient.open
        answers.undecided += patient.undecided
    return answers


def sweep_udp(interface: Interface, ports: Sequence[int]) -> Answers:
    """Send an empty datagram to each port, with two system calls for a closed one.

    A socket has at most one unanswered datagram, so that an error on it can only be that port's
    own; a silent port costs a new socket, and its late answer finds nobody. Silence is all that an
    open port can be seen by, so none comes back as open. Raises OSError where no source port is
    to be had.
    """
    answers = Answers()
    own: list[int] = []
    queue = _targets(interface, ports)
    while len(answers.undecided) < _SILENT_UDP_LIMIT:
        with _udp_socket(interface) as connection:
            source = connection.getsockname()[1]
            send, receive = connection.sendto, connection.recv
            port = 0
            try:
                for target in queue:
                    port = target[1]
                    send(b"", target)
                    receive(1, _MSG_ERRQUEUE)  # recv(0) would return without a system call
            except OSError:
                # EAGAIN: no refusal came back. EPERM and the like: a filter kept the datagram.
                (own if port == source else answers.undecided).append(port)
            else:
                break
    answers.unasked = [target[1] for target in queue]
    if own:  # the datagram met its own sender: to be asked from another source port
        answers.undecided += sweep_udp(interface, own).undecided
    return answers


def ask_patiently(interface: Interface, ports: Sequence[int], patience: float) -> Answers:
    """Connect to many ports at once and give each crowd of them *patience* seconds to answer."""
    answers = Answers()
    crowd = _crowd()
    for start in range(0, len(ports), crowd):
        connected, silent = _ask_crowd(interface, ports[start : start + crowd], patience)
        answers.undecided += silent
        for port in connected:
            # Two sockets of one crowd can have connected to each other (simultaneous open,
            # RFC 9293, 3.5), and one to itself.
            _ask_alone(interface, port, answers)
    return answers


def _ask_crowd(
    interface: Interface, ports: Sequence[int], patience: float
) -> tuple[list[int], list[int]]:
    """The ports that took a connection and those that stayed silent; the others refused."""
    waiting: dict[int, tuple[socket.socket, int]] = {}
    connected: list[int] = []
    silent: list[int] = []
    poll = select.poll()

    def settle(connection: socket.socket, port: int, result: int) -> None:
        connection.close()
        if result == 0:
            connected.append(port)
        elif result != errno.ECONNREFUSED:
            silent.append(port)

    for target in _targets(interface, ports):
        port = target[1]
        connection = socket.socket(interface.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        result = connection.connect_ex(target)
        if result == errno.EINPROGRESS:
            waiting[connection.fileno()] = (connection, port)
            poll.register(connection, select.POLLOUT)
        else:
            settle(connection, port, result)
    deadline = Deadline.after(patience)
    while waiting and not deadline.passed:
        for descriptor, _ in poll.poll(deadline.left() * 1000):
            poll.unregister(descriptor)
            connection, port = waiting.pop(descriptor)
            settle(connection, port, connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    for connection, port in waiting.values():
        settle(connection, port, errno.ETIMEDOUT)
    return connected, silent


def _ask_alone(interface: Interface, port: int, answers: Answers) -> None:
    """One connection while no other socket of this process is under way."""
    connection, _ = _tcp_socket(interface, avoid=port)
    with connection:
        result = connection.connect_ex(_target(interface, port))
    if result == 0:
        answers.open.append(port)
    elif result != errno.ECONNREFUSED:
        answers.undecided.append(port)


def _tcp_socket(interface: Interface, avoid: int) -> tuple[socket.socket, int]:
    """A blocking socket bound to a source port other than *avoid*, and that port.

    It is bound by number: a port that the kernel chose is given up at the first refusal.
    """
    for _ in range(_CHOICES):
        with socket.socket(interface.family, socket.SOCK_STREAM) as choosing:
            choosing.bind(_target(interface, 0))
            source = choosing.getsockname()[1]
        if source == avoid:
            continue
        connection = socket.socket(interface.family, socket.SOCK_STREAM)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _CONNECT_PATIENCE)
        try:
            connection.bind(_target(interface, source))
        except OSError:
            connection.close()  # taken by somebody else in between
        else:
            return connection, source
    raise OSError(errno.EADDRINUSE, "no source port to be had")


def _udp_socket(interface: Interface) -> socket.socket:
    """An unconnected non-blocking socket that keeps the errors of its datagrams."""
    connection = socket.socket(interface.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if interface.family == socket.AF_INET:
        connection.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    else:
        connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    connection.bind(_target(interface, 0))
    return connection


def _targets(interface: Interface, ports: Iterable[int]) -> Iterator[SocketAddress]:
    """The socket addresses of ports; made by zip, which costs the loops over them least.

    A link-local address needs flow label and scope by number: with ``%scope`` it would go through
    getaddrinfo() at each call.
    """
    host = interface.address.partition("%")[0]
    if interface.scope:
        return zip(repeat(host), ports, repeat(0), repeat(interface.scope))
    return zip(repeat(host), ports)


def _target(interface: Interface, port: int) -> SocketAddress:
    return next(_targets(interface, [port]))


def _crowd() -> int:
    """How many sockets may be open at once, after asking for as many as are useful."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CROWD + 100
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(64, min(_CROWD, soft - 100)) if soft != resource.RLIM_INFINITY else _CROWD
