"""Ask many ports at once and give them time: those that did not refuse at once."""

from __future__ import annotations

import errno
import select
from itertools import islice
from typing import TYPE_CHECKING

from check_portcheck.deadline import Deadline
from check_portcheck.model import Protocol
from check_portcheck.probing import clients
from check_portcheck.probing.answers import Answers

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence

    from check_portcheck.model import Interface


def ask(interface: Interface, protocol: Protocol, ports: Sequence[int], seconds: float) -> Answers:
    """Contact many ports at once; each crowd of them has so many *seconds* to answer."""
    answers = Answers()
    queue = iter(ports)
    size = clients.crowd()
    for start in range(0, len(ports), size):
        members = _Crowd(interface, protocol)
        try:
            members.ask(islice(queue, size))
        except OSError as failed:
            answers.failed(failed, ports[start + members.asked :])
        members.wait(seconds)
        answers.undecided += members.silent
        for port in members.answered:
            # Two sockets of one crowd can have met each other (for TCP by a simultaneous open,
            # RFC 9293, 3.5), and one itself.
            answers.add(ask_alone(interface, protocol, port, seconds))
        if answers.unasked:
            break
    return answers


def ask_alone(interface: Interface, protocol: Protocol, port: int, seconds: float) -> Answers:
    """Contact one port while no other socket of this process is under way."""
    answers = Answers()
    try:
        result = _ask_alone(interface, protocol, port, seconds)
    except OSError as failed:
        answers.failed(failed, [port])
        return answers
    if result == 0:
        answers.open.append(port)
    elif result != errno.ECONNREFUSED:
        answers.undecided.append(port)
    return answers


def _ask_alone(interface: Interface, protocol: Protocol, port: int, seconds: float) -> int:
    """What came of it: 0 for an answer, else the number of an error."""
    if protocol is Protocol.TCP:
        connection, _ = clients.tcp(interface, avoid=port)
        with connection:
            return connection.connect_ex(clients.target(interface, port))
    met_itself, result = clients.asking(interface, port)
    with met_itself:
        if met_itself.getsockname()[1] != port:
            return _after(met_itself, result, seconds)
        connection, result = clients.asking(interface, port)
    with connection:
        return _after(connection, result, seconds)


def _after(connection: socket.socket, result: int, seconds: float) -> int:
    """What a UDP socket knows after some time."""
    if result != errno.EINPROGRESS:
        return result
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.poll(seconds * 1000)
    return _outcome(connection, Protocol.UDP)


def _outcome(connection: socket.socket, protocol: Protocol) -> int:
    """What a socket knows that has something to tell: 0 for an answer, else an error."""
    result = clients.error(connection)
    if result or protocol is Protocol.TCP:
        return result
    try:
        connection.recv(1)
    except OSError as nothing:
        return nothing.errno or errno.EAGAIN
    return 0


class _Crowd:
    """Sockets that wait for the answers of some ports."""

    __slots__ = ("_interface", "_poll", "_protocol", "_waiting", "answered", "asked", "silent")

    def __init__(self, interface: Interface, protocol: Protocol) -> None:
        self._interface = interface
        self._protocol = protocol
        self._waiting: dict[int, tuple[socket.socket, int]] = {}
        """Sockets and the ports that they ask, by descriptor."""
        self._poll = select.poll()
        self.asked = 0
        """How many ports were contacted."""
        self.answered: list[int] = []
        self.silent: list[int] = []
        """Neither answered nor refused."""

    def ask(self, ports: Iterable[int]) -> None:
        """Contact ports; raises OSError where there is nothing left to ask from."""
        tcp = self._protocol is Protocol.TCP
        start = clients.connecting if tcp else clients.asking
        event = select.POLLOUT if tcp else select.POLLIN
        for port in ports:
            connection, result = start(self._interface, port)
            self.asked += 1
            if result == errno.EINPROGRESS:
                self._waiting[connection.fileno()] = (connection, port)
                self._poll.register(connection, event)
            else:
                self._settle(connection, port, result)

    def wait(self, seconds: float) -> None:
        """Give them time, and close what has none left."""
        deadline = Deadline.after(seconds)
        while self._waiting and not deadline.passed:
            for descriptor, _ in self._poll.poll(deadline.left() * 1000):
                self._poll.unregister(descriptor)
                connection, port = self._waiting.pop(descriptor)
                self._settle(connection, port, _outcome(connection, self._protocol))
        for connection, port in self._waiting.values():
            self._settle(connection, port, clients.error(connection) or errno.ETIMEDOUT)

    def _settle(self, connection: socket.socket, port: int, result: int) -> None:
        connection.close()
        if result == 0:
            self.answered.append(port)
        elif result != errno.ECONNREFUSED:
            self.silent.append(port)
