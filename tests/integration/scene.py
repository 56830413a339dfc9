"""A machine on which a situation is set up: its sockets, its rules, and what is asked of it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from namespace import IPV4, IPV6, Namespace, family, host, socket_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Unpack

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
ANY4, ANY6 = "0.0.0.0", "::"

Place = tuple[str, str, int]
"""Address, protocol and number of a port."""


class How(TypedDict, total=False):
    """How a socket is bound."""

    device: str
    v6only: bool
    options: Sequence[tuple[int, int]]
    protocol: int
    there: bool


@dataclass
class Scene:
    """A machine with eth0, its peer, and what a situation puts there."""

    here: Namespace
    there: Namespace
    open: contextlib.ExitStack
    addresses: list[str] = field(default_factory=lambda: ["127.0.0.1", "::1", IPV4, IPV6])
    """What is looked at."""
    behind: range = range(0)
    """The ports that filters are about: what refuses there may be listed all the same."""
    sent_on: set[Place] = field(default_factory=set)
    """Where datagrams go elsewhere: of silent ones root can be told, so they are open for root."""
    ends: dict[str, set[str | None]] = field(default_factory=dict)
    """What root must be told of ports without a socket: where they lead; None where nobody can."""
    without_sock_diag: bool = False
    descriptors: int = 1024
    """How many the check may have."""
    _tables: Iterator[int] = field(default_factory=itertools.count)

    def tcp(
        self, address: str, port: int, *, backlog: int = 4096, **how: Unpack[How]
    ) -> socket.socket:
        """A TCP listener."""
        made = self.bound(TCP, address, port, **how)
        made.listen(backlog)
        return made

    def udp(self, address: str, port: int, **how: Unpack[How]) -> socket.socket:
        """A UDP socket that says nothing."""
        return self.bound(UDP, address, port, **how)

    def both(self, address: str, port: int, **how: Unpack[How]) -> None:
        """A TCP listener and a UDP socket."""
        self.tcp(address, port, **how)
        self.udp(address, port, **how)

    def bound(
        self,
        kind: socket.SocketKind,
        address: str,
        port: int,
        *,
        device: str = "",
        v6only: bool = False,
        options: Sequence[tuple[int, int]] = (),
        protocol: int = 0,
        there: bool = False,
    ) -> socket.socket:
        """A socket with options, here or at the peer."""
        with (self.there if there else self.here).entered():
            made = self.open.enter_context(socket.socket(family(address), kind, protocol))
            if made.family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            for level, option in options:
                made.setsockopt(level, option, 1)
            if device:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            made.bind(socket_address(made.family, address, port))
        return made

    def echo(self, address: str, port: int, **how: Unpack[How]) -> None:
        """A UDP service that sends back what it gets."""
        service = self.udp(address, port, **how)
        done = threading.Event()
        service.settimeout(0.05)

        def answer() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):  # nothing came, or the answer was filtered
                    data, sender = service.recvfrom(100)
                    service.sendto(data, sender)

        thread = threading.Thread(target=answer)
        thread.start()
        self.open.callback(thread.join)
        self.open.callback(done.set)

    def fill(self, address: str, port: int) -> None:
        """A listener whose queue is full: connections of which nobody hears any more."""
        self.tcp(address, port, backlog=0)
        target = "127.0.0.1" if address == ANY4 else address
        with self.here.entered():
            for _ in range(3):
                client = self.open.enter_context(socket.socket(family(target), TCP))
                client.settimeout(0)
                client.connect_ex(socket_address(client.family, target, port))

    def rules(self, chain: str, *rules: str, table: str = "inet", named: str = "") -> None:
        """A chain of nftables: its type and hook, then its rules; before it sets, maps, chains."""
        body = "\n".join((chain, *rules))
        name = f"t{next(self._tables)}"
        self.here.rules(f"table {table} {name} {{\n{named}\nchain c {{\n{body}\n}}\n}}\n")

    def nat(self, *rules: str, table: str = "inet", named: str = "") -> None:
        """Rules that change where the machine's own packets go."""
        self.rules("type nat hook output priority -100", *rules, table=table, named=named)


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """A machine on which nothing has happened yet."""
    with host() as (here, there), contextlib.ExitStack() as opened:
        yield Scene(here, there, opened)
