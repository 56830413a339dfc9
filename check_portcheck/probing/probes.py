"""Ask TCP and UDP ports of this machine whether they answer, at the least cost for a closed port.

Nothing here judges, and a port that stays silent is never taken for open or closed: it comes back
as undecided.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from check_portcheck.model import Protocol
from check_portcheck.probing import clients, patience
from check_portcheck.probing.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from check_portcheck.model import Interface
    from check_portcheck.probing.clients import SocketAddress

_SILENT_TCP_LIMIT = 16
"""After so many silent TCP ports in one sweep the rest is asked all at once."""

_SILENT_UDP_LIMIT = 1024
"""After so many silent UDP ports in one sweep the rest is not asked: a filter drops them all."""

_FIRST_PATIENCE = 0.03


def sweep_tcp(interface: Interface, ports: Sequence[int]) -> Answers:
    """Connect to each port, with one system call for a closed one.

    A refusal leaves a blocking socket usable, so one socket serves until a port does not refuse.
    """
    answers = Answers()
    own: list[int] = []
    silent: list[int] = []
    queue = clients.targets(interface, ports)
    port = 0
    while len(silent) < _SILENT_TCP_LIMIT:
        try:
            connection, source = clients.tcp(interface, avoid=port)
        except OSError as failed:
            answers.failed(failed, [target[1] for target in queue])
            break
        with connection:
            port, result = _first_that_does_not_refuse(connection, queue)
        if result == errno.ECONNREFUSED:
            break
        if port == source:
            own.append(port)  # it would have met itself: to be asked from another source port
        elif result == 0:
            answers.open.append(port)
        else:
            silent.append(port)
    for port in own:
        answers.add(patience.ask_alone(interface, Protocol.TCP, port, _FIRST_PATIENCE))
    # Those that were silent may have refused by ICMP, which a blocking connect() does not tell.
    if rest := [*silent, *(target[1] for target in queue)]:
        answers.add(patience.ask(interface, Protocol.TCP, rest, _FIRST_PATIENCE))
    return answers


def _first_that_does_not_refuse(
    connection: socket.socket, queue: Iterator[SocketAddress]
) -> tuple[int, int]:
    """The port, and what connect() said of it; ECONNREFUSED where all refuse."""
    connect = connection.connect_ex
    refused = errno.ECONNREFUSED
    for target in queue:
        result = connect(target)
        if result != refused:
            return target[1], result
    return 0, refused


def sweep_udp(interface: Interface, ports: Sequence[int]) -> Answers:
    """Send an empty datagram to each port, with two system calls for a closed one.

    A socket has at most one unanswered datagram, so that an error on it can only be that port's
    own; a silent port costs a new socket, and its late answer finds nobody. An answer needs a
    process that gets to run first: none is waited for here, so none comes back as open.
    """
    answers = Answers()
    own: list[int] = []
    queue = clients.targets(interface, ports)
    while len(answers.undecided) < _SILENT_UDP_LIMIT:
        try:
            connection = clients.udp(interface)
        except OSError as failed:
            answers.failed(failed, [target[1] for target in queue])
            break
        with connection:
            source = connection.getsockname()[1]
            port = _first_silent(connection, queue)
        if port is None:
            break
        (own if port == source else answers.undecided).append(port)
    answers.unasked += [target[1] for target in queue]
    for port in own:  # the datagram met its own sender: to be asked from another source port
        answers.add(patience.ask_alone(interface, Protocol.UDP, port, _FIRST_PATIENCE))
    return answers


def _first_silent(connection: socket.socket, queue: Iterator[SocketAddress]) -> int | None:
    """The port of the first target that does not refuse, None where all do.

    The error is taken by SO_ERROR, which costs no more than to read the queue of errors and tells
    a refusal from a prohibition; what then stays in that queue takes no more than its room.
    """
    send, get = connection.sendto, connection.getsockopt
    level, option, refused = socket.SOL_SOCKET, socket.SO_ERROR, errno.ECONNREFUSED
    for target in queue:
        try:  # noqa: SIM105 - contextlib.suppress would cost every port a call
            send(b"", target)
        except OSError:
            pass  # EPERM: a filter that keeps a datagram may have refused it as well
        if get(level, option) != refused:
            return target[1]
    return None
