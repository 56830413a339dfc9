#!/usr/bin/env python3
"""What comes and goes on a busy host, a process for each kind: python3 disturbances.py KIND.

Each runs until it is killed. Ports that a policy has to allow are in ALLOWED.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import select
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from namespace import Namespace

Socket = socket.socket
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM

SSH, SERVER, STORM = 22, 7000, 7001
"""The ports of servers, of which clients ask the last two."""
DAEMONS = range(7100, 7108)
"""The ports of daemons that are restarted all the time."""
REPLACED, REPLACED_CLIENT_PORT = 7200, 45001
"""The ports of a server that replaces its sockets, and is never away; one is among clients'."""
RESOLVER = 53

REQUIRED = f"*:{SSH}/tcp,{REPLACED}/tcp,{REPLACED}/udp,{SERVER}/tcp,{SERVER}/udp"
AMONG_CLIENTS = f"*:{REPLACED_CLIENT_PORT}/udp"
"""Required, too, where it is looked at."""
OPTIONAL = f"*:{DAEMONS[0]}-{DAEMONS[-1]}/tcp,{DAEMONS[0]}-{DAEMONS[-1]}/udp,{STORM}/tcp"
OPTIONAL += f",{RESOLVER}/tcp,{RESOLVER}/udp"
"""With the required ones the policy under which nothing here is an alarm."""


@contextlib.contextmanager
def disturbances(there: Namespace) -> Iterator[None]:
    """Processes of all kinds, from when each of them has begun to the end.

    Raises ChildProcessError where one has ended by itself.
    """
    there.shell(f"sysctl -qw net.ipv4.ip_local_reserved_ports={REPLACED_CLIENT_PORT}")
    with contextlib.ExitStack() as started:
        processes = {}
        for kind in KINDS:
            command = ("setpriv", "--pdeathsig", "KILL", sys.executable, __file__, kind)
            processes[kind] = process = started.enter_context(there.start(*command))
            started.callback(process.kill)
            if not process.stdout or process.stdout.readline() != "ready\n":
                raise ChildProcessError(f"{kind} did not begin")
        yield
        if ended := [kind for kind, process in processes.items() if process.poll() is not None]:
            raise ChildProcessError(f"{ended} did not last")


def servers() -> NoReturn:
    """What the clients ask, and what nobody does."""
    service = _bound(UDP, SERVER)
    asked = [service, _listening(SERVER), _listening(SSH)]
    _begun()
    while True:
        for ready in select.select(asked, [], [])[0]:
            if ready is service:
                service.recv(100)
            else:
                ready.accept()[0].close()


def clients_over_tcp() -> NoReturn:
    """200 clients a second, most of which leave TIME_WAIT behind."""
    _begun()
    while True:
        with contextlib.suppress(OSError):  # no port is left, or the answer was slow
            client = socket.create_connection(("127.0.0.1", SERVER), timeout=1)
            client.close()
        time.sleep(1 / 200)


def clients_over_udp() -> NoReturn:
    """200 clients a second, each with an unconnected socket for up to 2 seconds."""
    _begun()
    waiting: list[tuple[float, int, Socket]] = []
    for number in itertools.count():
        client = socket.socket(socket.AF_INET, UDP)
        with contextlib.suppress(OSError):  # no port is left
            client.sendto(b"question", ("127.0.0.1", SERVER))
        now = time.monotonic()
        heapq.heappush(waiting, (now + random.uniform(0.01, 2), number, client))
        while waiting[0][0] < now:
            heapq.heappop(waiting)[2].close()
        time.sleep(1 / 200)
    raise AssertionError


def storms_of_time_wait() -> NoReturn:
    """A server that closes first: 2,000 times at once, then nothing for some seconds."""
    server = _listening(STORM)
    _begun()
    while True:
        for _ in range(2000):
            with contextlib.suppress(OSError), socket.socket() as client:  # no port is left
                client.settimeout(1)
                client.connect(("127.0.0.1", STORM))
                accepted, _ = server.accept()
                accepted.close()
                client.recv(1)
        time.sleep(5)


def restarting_daemons() -> NoReturn:
    """Daemons that listen over TCP and UDP, for up to 2 seconds, and are away for up to 0.5."""
    threads = [threading.Thread(target=_restart, args=[port], daemon=True) for port in DAEMONS]
    for thread in threads:
        thread.start()
    _begun()
    while all(thread.is_alive() for thread in threads):
        time.sleep(1)
    raise ChildProcessError("a daemon could not be started again")


def replaced_sockets() -> NoReturn:
    """A server that opens its next sockets each 0.3 seconds before it closes the present ones."""
    ports = ((TCP, REPLACED), (UDP, REPLACED), (UDP, REPLACED_CLIENT_PORT))
    held: list[Socket] = []
    for number in itertools.count():
        following = [_bound(kind, port, share=True) for kind, port in ports]
        following[0].listen(4096)
        for each in held:
            each.close()
        held = following
        if number == 0:
            _begun()
        time.sleep(0.3)
    raise AssertionError


KINDS: dict[str, Callable[[], NoReturn]] = {
    each.__name__: each
    for each in (
        servers,
        clients_over_tcp,
        clients_over_udp,
        storms_of_time_wait,
        restarting_daemons,
        replaced_sockets,
    )
}


def _restart(port: int) -> None:
    while True:
        with _listening(port), _bound(UDP, port):
            time.sleep(random.uniform(0.05, 2))
        time.sleep(random.uniform(0, 0.5))


def _listening(port: int) -> Socket:
    made = _bound(TCP, port)
    made.listen(4096)
    return made


def _bound(kind: socket.SocketKind, port: int, *, share: bool = False) -> Socket:
    """A socket of every address of both families."""
    made = socket.socket(socket.AF_INET6, kind)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, share)
    made.bind(("::", port))
    return made


def _begun() -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    KINDS[sys.argv[1]]()
