"""A zoo of sockets of every kind, and the oracle: what real connects and datagrams show there."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from namespace import IPV4, IPV6, LINK_LOCAL, family, socket_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from namespace import Check, Namespace

DOWN = "198.51.100.5"
"""An address of a device that is down."""
LOCAL_ROUTE = "203.0.113.9"
"""An address within a network that a route makes local as a whole."""
ADDRESSES = ("127.0.0.1", "127.0.1.1", "::1", IPV4, IPV6, LINK_LOCAL, DOWN, LOCAL_ROUTE)
"""Every address at which the zoo is looked at."""

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
PROTOCOLS = {TCP: "tcp", UDP: "udp"}

WILDCARDS = ("0.0.0.0", "::", "::ffff:0.0.0.0")
SPECIFIC = ("127.0.0.1", "127.0.1.1", "::1", IPV4, IPV6, LINK_LOCAL, DOWN, LOCAL_ROUTE)
MAPPED = ("::ffff:127.0.0.1", f"::ffff:{IPV4}")
DEVICES = ("lo", "eth0", "eth1")
FOREIGN = ("192.0.2.99", "2001:db8::99")
"""Addresses that the machine may get one day (IP_FREEBIND)."""

_MPTCP = 262
_IP_FREEBIND = 15
_IPV6_FREEBIND = 78

_SET_UP = f"""
ip link add eth1 type veth peer name eth2
ip address add {DOWN}/24 dev eth1
ip route add local 203.0.113.0/24 dev lo
"""

_PATIENCE = 0.1
_UDP_ATTEMPTS = 3


class Zoo:
    """Open sockets in a namespace; closes them at the end."""

    def __init__(self, there: Namespace) -> None:
        self.there = there
        self.ports: dict[tuple[str, int], str] = {}
        """What lives at each protocol and number, in words."""
        # Chosen here, so that no two animals meet at one number, and among those that the kernel
        # gives to clients, so that the scan's own sockets live among them.
        self._unused = itertools.count(33001, 50)
        self._open = contextlib.ExitStack()
        there.shell(_SET_UP)
        try:
            with there.entered():
                self._settle()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every socket."""
        self._open.close()

    def _settle(self) -> None:
        for kind in (TCP, UDP):
            self._settle_both(kind)
        self._settle_tcp()
        self._settle_udp()

    def _settle_both(self, kind: socket.SocketKind) -> None:
        """What there is of either protocol."""
        for address in (*WILDCARDS, *SPECIFIC, *MAPPED):
            self.add(kind, address)
        self.add(kind, "::", v6only=True)
        for device in DEVICES:
            for address in ("0.0.0.0", "::", "127.0.0.1", IPV4, IPV6):
                self.add(kind, address, device=device)
            self.add(kind, "::", device=device, v6only=True)
        for number in (1, 65535):
            self.add(kind, "127.0.0.1", number)
            self.add(kind, "::", number, v6only=True)
        for address in FOREIGN:
            self.add(kind, address, foreign=True)
        for address in ("0.0.0.0", IPV6):
            number = self.add(kind, address, share=True)
            self.add(kind, address, number, share=True)
        number = self.add(kind, "0.0.0.0", device="lo", share=True)
        self.add(kind, "0.0.0.0", number, device="eth0", share=True)

    def _settle_tcp(self) -> None:
        self.add(TCP, "0.0.0.0", silent="bound, not listening")
        self.add(TCP, IPV6, silent="bound, not listening")
        self.add(TCP, IPV4, protocol=_MPTCP)
        for address in ("127.0.0.1", "::1", "0.0.0.0"):
            self._fill(self.add(TCP, address, backlog=0), address)
        for address in ("127.0.0.1", IPV6):
            self._leave_time_wait(address)
            self._leave_established(address)

    def _settle_udp(self) -> None:
        for group, device in (("224.0.0.251", IPV4), ("ff02::fb%eth0", "eth0")):
            member = self._keep(UDP, group, f"{group}, multicast")
            if member.family == socket.AF_INET:
                request = socket.inet_aton(group) + socket.inet_aton(device)
                member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                index = socket.if_nametoindex(device)
                request = socket.inet_pton(socket.AF_INET6, "ff02::fb") + struct.pack("@I", index)
                member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        self.add(UDP, "192.0.2.255")
        for address, others in ((IPV4, 7), (IPV6, 7), ("127.0.0.1", 1), ("::1", 1), ("::", 1)):
            client = self._keep(UDP, address, f"{address}, connected to port {others}")
            target = "::1" if address == "::" else address
            client.connect(socket_address(client.family, target, others))

    def add(
        self,
        kind: socket.SocketKind,
        address: str,
        port: int | None = None,
        *,
        device: str = "",
        v6only: bool = False,
        share: bool = False,
        foreign: bool = False,
        protocol: int = 0,
        backlog: int = 100,
        silent: str = "",
    ) -> int:
        """Open one more socket; gives its port."""
        made = self._open.enter_context(socket.socket(family(address), kind, protocol))
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        if device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, share)
        if foreign and made.family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        elif foreign:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        number = next(self._unused) if port is None else port
        made.bind(socket_address(made.family, address, number))
        if kind == TCP and not silent:
            made.listen(backlog)
        notes = [f"on {device}"] * bool(device) + ["V6ONLY"] * v6only + ["shared"] * share
        notes += ["MPTCP"] * bool(protocol) + ["full"] * (not backlog) + [silent] * bool(silent)
        self._note(PROTOCOLS[kind], number, ", ".join((address, *notes)))
        return number

    def _keep(
        self, kind: socket.SocketKind, address: str, note: str, port: int | None = None
    ) -> socket.socket:
        """A socket that is bound and nothing else."""
        made = self._open.enter_context(socket.socket(family(address), kind))
        number = next(self._unused) if port is None else port
        made.bind(socket_address(made.family, address, number))
        self._note(PROTOCOLS[kind], number, note)
        return made

    def _note(self, protocol: str, number: int, text: str) -> None:
        known = self.ports.get((protocol, number))
        self.ports[protocol, number] = f"{known}; {text}" if known else text

    def _fill(self, port: int, address: str) -> None:
        """Fill the accept queue: connections of which nobody hears any more."""
        target = "127.0.0.1" if address == "0.0.0.0" else address
        for _ in range(4):
            client = self._keep(TCP, target, "client of a full queue")
            client.settimeout(0)
            assert client.connect_ex((target, port)) == errno.EINPROGRESS

    def _leave_time_wait(self, address: str) -> None:
        """The server closes first, so that its side waits (RFC 9293, 3.6.1)."""
        with socket.socket(family(address), TCP) as listener:
            server, client_end = ((address, next(self._unused)) for _ in range(2))
            listener.bind(server)
            listener.listen()
            with socket.create_connection(server, source_address=client_end) as client:
                accepted, _ = listener.accept()
                accepted.close()
                assert client.recv(1) == b""
        self._note("tcp", server[1], f"{address}, TIME_WAIT")

    def _leave_established(self, address: str) -> None:
        """A connection whose listener is gone; its client has port 2, a likely one to ask from."""
        with socket.socket(family(address), TCP) as listener:
            server = (address, next(self._unused))
            listener.bind(server)
            listener.listen()
            client = self._keep(TCP, address, f"{address}, established, client", port=2)
            client.connect(server)
            accepted, _ = listener.accept()
            self._open.enter_context(accepted)
            self._note("tcp", server[1], f"{address}, established, server")


@dataclass(frozen=True, slots=True)
class Living:
    """A zoo that is looked at, and the truth about it."""

    zoo: Zoo
    truth: set[tuple[str, str, int]]
    """Address, protocol and number of each port that does not refuse."""
    check: Check


@contextlib.contextmanager
def zoo(there: Namespace) -> Iterator[Zoo]:
    """A zoo in a namespace that has eth0."""
    made = Zoo(there)
    try:
        yield made
    finally:
        made.close()


def oracle(made: Zoo, addresses: Iterable[str] = ADDRESSES) -> set[tuple[str, str, int]]:
    """Address, protocol and number of each port of the zoo that does not refuse."""
    numbers = {
        protocol: sorted(number for of, number in made.ports if of == protocol)
        for protocol in PROTOCOLS.values()
    }
    found: set[tuple[str, str, int]] = set()
    with made.there.entered():
        for address in addresses:
            found |= {(address, "tcp", n) for n in numbers["tcp"] if _connects(address, n)}
            found |= {(address, "udp", n) for n in _not_refused(address, numbers["udp"])}
    return found


def _connects(address: str, port: int) -> bool:
    """Whether a connect is taken, or left without an answer as by a full queue."""
    while True:
        with socket.socket(family(address), TCP) as client:
            client.settimeout(_PATIENCE)
            try:
                client.connect(socket_address(client.family, address, port))
            except ConnectionRefusedError:
                return False
            except TimeoutError:
                return True
            if client.getsockname() != client.getpeername():
                return True


def _not_refused(address: str, ports: Iterable[int]) -> set[int]:
    """The ports that refuse none of several datagrams."""
    silent = set(ports)
    for _ in range(_UDP_ATTEMPTS):
        with contextlib.ExitStack() as stack:
            clients: dict[int, socket.socket] = {}
            for port in silent:
                client = stack.enter_context(socket.socket(family(address), UDP))
                client.settimeout(0)
                client.connect(socket_address(client.family, address, port))
                client.send(b"")
                clients[port] = client
            time.sleep(_PATIENCE)
            silent = {port for port, client in clients.items() if not _was_refused(client)}
    return silent


def _was_refused(client: socket.socket) -> bool:
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
