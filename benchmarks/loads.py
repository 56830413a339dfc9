"""What a machine can be busy with: addresses, listeners, connections, processes, computing."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from namespace import Namespace

_QUEUE = 4096
"""Connections that a listener takes, as nobody accepts them (net.core.somaxconn)."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what is closed leaves no TIME_WAIT behind."""

_FIRST, _LISTENERS_EACH = 5000, 15000
"""The first port of many listeners, and how many a process has."""

_CONNECTIONS_EACH = 5000
"""Connections of one process and one client address: what descriptors and ports suffice for."""


def addresses(there: Namespace, count: int) -> list[str]:
    """So many addresses, which the namespace keeps; the first is always the same."""
    made = [f"192.0.2.{number}" for number in range(1, count + 1)]
    there.shell("".join(f"ip address replace {each}/32 dev lo\n" for each in made))
    return made


@contextlib.contextmanager
def listeners(there: Namespace, count: int) -> Iterator[None]:
    """Sockets on every address, half of them TCP listeners, half UDP."""

    def listen(_: int) -> list[socket.socket]:
        _allow_descriptors(count)
        tcp = [there.listener("0.0.0.0", backlog=_QUEUE) for _ in range(count // 2)]
        return tcp + [there.bound(socket.SOCK_DGRAM, "0.0.0.0") for _ in tcp]

    with _held(1, listen):
        yield


@contextlib.contextmanager
def many_listeners(there: Namespace, bound: Sequence[str], count: int) -> Iterator[None]:
    """TCP listeners on so many ports of each address, in as many processes as they need."""
    sockets = [(address, _FIRST + number) for address in bound for number in range(count)]

    def listen(number: int) -> list[socket.socket]:
        _allow_descriptors(_LISTENERS_EACH)
        mine = sockets[number * _LISTENERS_EACH : (number + 1) * _LISTENERS_EACH]
        return [there.listener(*each, backlog=1) for each in mine]

    with _held(-(-len(sockets) // _LISTENERS_EACH), listen):
        yield


@contextlib.contextmanager
def connections(there: Namespace, count: int) -> Iterator[None]:
    """Established connections to the first address; both ends are on this machine."""
    (address,) = addresses(there, 1)
    with there.listener(address, backlog=_QUEUE) as listener, there.entered():

        def connect(number: int) -> list[socket.socket]:
            _allow_descriptors(2 * _CONNECTIONS_EACH)
            made: list[socket.socket] = []
            for _ in range(_CONNECTIONS_EACH):
                client = socket.socket()
                client.bind((f"127.2.0.{number + 1}", 0))
                client.connect(listener.getsockname())
                made += (client, listener.accept()[0])
            for each in made:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return made

        with _held(count // _CONNECTIONS_EACH, connect):
            yield


@contextlib.contextmanager
def processes(count: int) -> Iterator[None]:
    """Processes that do nothing."""
    with _held(count, lambda _: None):
        yield


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """As many processes as there are cores, each of which keeps one busy."""
    with contextlib.ExitStack() as started:
        for _ in os.sched_getaffinity(0):
            command = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", "while :; do :; done"]
            spinning = started.enter_context(subprocess.Popen(command))
            started.callback(spinning.kill)
        yield


@contextlib.contextmanager
def _held(count: int, hold: Callable[[int], object]) -> Iterator[None]:
    """So many processes, each with what *hold* made of its number, until the block ends.

    They end when the pipe closes that only this process holds, so also when it is killed.
    """
    waiting, lifeline = os.pipe()
    ready, done = os.pipe()
    children: list[int] = []
    try:
        for number in range(count):
            child = os.fork()
            if child == 0:
                os.close(lifeline)
                _hold(number, hold, done, waiting)
            children.append(child)
        os.close(done)
        for _ in children:
            if not os.read(ready, 1):
                raise ChildProcessError("a process could not set up its load")
        yield
    finally:
        os.close(lifeline)
        for child in children:
            os.waitpid(child, 0)
        os.close(waiting)
        os.close(ready)


def _hold(number: int, hold: Callable[[int], object], done: int, waiting: int) -> None:
    """The life of a process of a load; does not return."""
    try:
        kept = hold(number)
        os.write(done, b".")
        os.close(done)
        os.read(waiting, 1)
        del kept
    except (OSError, ValueError) as failed:
        print(failed, file=sys.stderr)
    finally:
        os._exit(0)


def _allow_descriptors(count: int) -> None:
    """Room for so many sockets; raises ValueError where the hard limit does not give it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, hard))
