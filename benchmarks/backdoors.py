"""Ten kinds of open ports that no policy allows, as situations of a scene."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from disturbances import SERVER, SSH, STORM
from scene import ANY4, ANY6, Scene

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDARY, MULTICAST, BARE = "192.0.2.8", "224.0.0.251", "bare"
"""Addresses, and a device that has none."""
SET_UP = f"""
ip address add {SECONDARY}/24 dev eth0
ip link add {BARE} type veth peer name far
ip link set {BARE} addrgenmode none up
"""

_CLIENTS = range(32768, 61000)
"""The kernel's ports for clients."""
_EACH = 10_000
"""As many of them a process may take (RLIMIT_NOFILE)."""

_REPLACED = """
import socket, sys, time
while True:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("0.0.0.0", 45005))
    server = made
    print("ready", flush=True)
    time.sleep(0.3)
"""


_TAKING = """
import contextlib, resource, socket, sys, time
first, last = map(int, sys.argv[1:])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = [socket.socket(socket.AF_INET6) for _ in range(first, last)]
for port, made in enumerate(held, first):
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):  # a client has it
        made.bind(("::", port))
print("ready", flush=True)
time.sleep(86400)
"""


class Backdoor(NamedTuple):
    """One kind."""

    name: str
    opened: Callable[[Scene], object]
    """Opens it, until the end of the scene."""
    listed: frozenset[str] = frozenset()
    """The ports, as PORT/PROTOCOL, that the socket table has."""
    answering: frozenset[str] = frozenset()
    """The ports that a scanned address answers for."""
    everywhere: bool = False
    """Whether it is about the ports for clients, too."""

    def seen(self, method: str) -> frozenset[str]:
        """The ports that a method can see."""
        seen = {"table": self.listed, "probe": self.answering}
        return seen.get(method, self.listed | self.answering)


def _socket(
    name: str, text: str, opened: Callable[[Scene], object], *, everywhere: bool = False
) -> Backdoor:
    """A socket that a scanned address answers for."""
    return Backdoor(name, opened, frozenset([text]), frozenset([text]), everywhere)


def _run(at: Scene, program: str, *arguments: int) -> None:
    """A program that says when it is ready, until the end of the scene."""
    command = ("setpriv", "--pdeathsig", "KILL", sys.executable, "-c", program)
    process = at.open.enter_context(at.here.start(*command, *map(str, arguments)))
    at.open.callback(process.kill)
    if not process.stdout or process.stdout.readline() != "ready\n":
        raise ChildProcessError("a program did not begin")


def _replaced(at: Scene) -> None:
    _run(at, _REPLACED)


def _redirect(at: Scene) -> None:
    _redirected(at, 4449)


def _redirected(at: Scene, port: int) -> None:
    """A redirected port; connections of clients are not tracked, as on busy servers.

    Where they fill the table of connections, the check must leave a part to later runs.
    """
    at.open.callback(at.here.shell, "nft flush ruleset")
    at.rules(
        "type filter hook output priority raw",
        f"meta l4proto {{ tcp, udp }} th dport {{ {SERVER}, {STORM} }} notrack",
        f"meta l4proto {{ tcp, udp }} th sport {{ {SERVER}, {STORM} }} notrack",
    )
    at.nat(f"tcp dport {port} redirect to :{SSH}")


def _full(at: Scene) -> None:
    at.fill(ANY4, 4450)


def _exhausted(at: Scene) -> None:
    """Every port for clients is taken: what a probe asks from is hard to come by."""
    for first in _CLIENTS[::_EACH]:
        _run(at, _TAKING, first, min(first + _EACH, _CLIENTS.stop))
    at.tcp(ANY4, 4451)
    _redirected(at, 4452)


BACKDOORS = (
    _socket("plain", "4444/tcp", lambda at: at.tcp(ANY6, 4444)),
    _socket("IPv6 only", "4445/tcp", lambda at: at.tcp(ANY6, 4445, v6only=True)),
    _socket("secondary address", "4446/tcp", lambda at: at.tcp(SECONDARY, 4446)),
    _socket("UDP", "4447/udp", lambda at: at.udp(ANY4, 4447)),
    _socket("UDP client port, replaced each 0.3 s", "45005/udp", _replaced, everywhere=True),
    Backdoor("redirect", _redirect, answering=frozenset(["4449/tcp"])),
    Backdoor("multicast", lambda at: at.udp(MULTICAST, 4453), frozenset(["4453/udp"])),
    Backdoor(
        "bound to a device", lambda at: at.tcp(ANY4, 4454, device=BARE), frozenset(["4454/tcp"])
    ),
    _socket("full accept queue", "4450/tcp", _full),
    Backdoor(
        "no port for clients left",
        _exhausted,
        frozenset(["4451/tcp"]),
        frozenset(["4451/tcp", "4452/tcp"]),
        everywhere=True,
    ),
)
