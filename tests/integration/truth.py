"""What real connects and datagrams show; nothing of the package is used to find it.

All is done in a child process that has entered the namespace and become the user, as a program
would be that somebody starts there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import json
import os
import resource
import select
import socket
import struct
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from namespace import NOBODY, family, socket_address
from scene import TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scene import Place, Scene

T = TypeVar("T")

PROTOCOLS = {"tcp": TCP, "udp": UDP}

PORTS = range(7000, 7064)
"""What is looked at in every situation."""

_SOURCES = {0: range(10000, 20000), NOBODY: range(20000, 30000)}
"""Ports that each user asks from, outside the range for clients, which may be exhausted.

The kernel remembers for a while where it sent what came from a port, whoever asks from it next.
"""
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
_SECONDS = 0.4
_ROUNDS = 2
"""How often a silent port is asked: a lost refusal makes nothing open."""
_DESCRIPTORS = 4096


# A child in the namespace


def as_user(scene: Scene, user: int, work: Callable[[], T]) -> T:
    """What *work* gives when a user does it there; in JSON's terms."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.closerange(3, writer)
            os.closerange(writer + 1, _DESCRIPTORS)
            _become(scene, user)
            with os.fdopen(writer, "w") as out:
                json.dump(work(), out)
            status = 0
        except BaseException:  # noqa: BLE001 - this process must not go on as a test run
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as output:
        text = output.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child failed: {text}"
    given: T = json.loads(text)
    return given


def _become(scene: Scene, user: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{scene.here.pid}/ns/net", os.O_RDONLY)
    assert libc.setns(descriptor, 0x40000000) == 0
    os.close(descriptor)
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


# The truth


class Truth(NamedTuple):
    """What one user learns by asking."""

    answered: set[Place]
    """A connect is taken, a datagram comes back."""
    silent: set[Place]
    """Neither that nor refused."""


def truth(scene: Scene, user: int) -> Truth:
    """What a user's own connects and datagrams show."""
    everything = places(scene)

    def ask() -> list[list[Place]]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
        sources = iter(_SOURCES[user])
        answered: list[Place] = []
        silent = everything
        for _ in range(_ROUNDS):
            found = _asked(silent, sources)
            answered += [place for place in silent if found[place] == 0]
            silent = [place for place in silent if found[place] not in (0, errno.ECONNREFUSED)]
        return [answered, silent]

    answered, silent = as_user(scene, user, ask)
    return Truth(set(map(_place, answered)), set(map(_place, silent)))


def places(scene: Scene) -> list[Place]:
    """All that is looked at."""
    return list(itertools.product(scene.addresses, PROTOCOLS, PORTS))


def _place(fields: Sequence[Any]) -> Place:
    address, protocol, port = fields
    return address, protocol, port


def _asked(asked: list[Place], sources: Iterator[int]) -> dict[Place, int]:
    """What came of asking each place: 0 for an answer, else the number of an error."""
    found: dict[Place, int] = {}
    waiting: dict[int, tuple[socket.socket, Place]] = {}
    poll = select.poll()
    with contextlib.ExitStack() as stack:
        for place in asked:
            client = stack.enter_context(_client(place, sources))
            found[place] = _contacted(client, place)
            if found[place] == errno.EINPROGRESS:
                waiting[client.fileno()] = client, place
                poll.register(client, select.POLLOUT if client.type == TCP else select.POLLIN)
        end = time.monotonic() + _SECONDS
        while waiting and (left := end - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                poll.unregister(descriptor)
                client, place = waiting.pop(descriptor)
                found[place] = _outcome(client)
        for client, place in waiting.values():
            found[place] = _error(client) or errno.ETIMEDOUT
    return found


def _contacted(client: socket.socket, place: Place) -> int:
    """What is known at once: EINPROGRESS where something may come."""
    address, _, port = place
    result = client.connect_ex(socket_address(client.family, address, port))
    if result or client.type == TCP:
        return result
    with contextlib.suppress(OSError):
        client.send(b"?")
    return _error(client) or errno.EINPROGRESS


def _client(place: Place, sources: Iterator[int]) -> socket.socket:
    """A socket at a source port of its own choice, whose end leaves nothing behind."""
    address, protocol, _ = place
    client = socket.socket(family(address), PROTOCOLS[protocol])
    client.settimeout(0)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind_anywhere(client)
    if client.type == TCP:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while True:
        with contextlib.suppress(OSError):
            client.bind(socket_address(client.family, address, next(sources)))
            return client


def _bind_anywhere(made: socket.socket) -> None:
    """Let a socket have an address that only a route makes this machine's."""
    made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)


def _outcome(client: socket.socket) -> int:
    result = _error(client)
    if result or client.type == TCP:
        return result
    try:
        client.recv(1)
    except OSError as nothing:
        return nothing.errno or errno.EAGAIN
    return 0


def _error(client: socket.socket) -> int:
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def held(scene: Scene) -> set[Place]:
    """The ports that nobody else could bind: a socket has them."""
    everything = places(scene)
    taken = as_user(scene, 0, lambda: [place for place in everything if _is_taken(*place)])
    return set(map(_place, taken))


def _is_taken(address: str, protocol: str, port: int) -> bool:
    with socket.socket(family(address), PROTOCOLS[protocol]) as probe:
        _bind_anywhere(probe)
        if probe.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(socket_address(probe.family, address, port))
        except OSError as taken:
            return taken.errno == errno.EADDRINUSE
    return False
