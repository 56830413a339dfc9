"""What a check must name at once: ways to open a port on a machine that runs many daemons."""

from __future__ import annotations

import contextlib
import subprocess
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from busy_daemons import DAEMONS
from busy_network import SECOND
from namespace import IPV4, IPV6

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from busy_machine import Machine

    Making = Callable[[Machine], contextlib.AbstractContextManager[None]]

_USER = "games"

_OPEN = """
import socket, sys
kind, address, port, device, queue = sys.argv[1:]
of = socket.AF_INET6 if ":" in address else socket.AF_INET
made = socket.socket(of, getattr(socket, kind))
if device:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
if of == socket.AF_INET6:
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
made.bind(socket.getaddrinfo(address, int(port), of, type=made.type)[0][4])
if kind == "SOCK_STREAM":
    made.listen(int(queue))
if queue == "0":
    client = socket.create_connection((address, int(port)))
print("ready", flush=True)
sys.stdin.read()
"""
"""A socket, with a connection that fills its queue where that is of length 0."""

_HOPS = """
import select, socket, sys
def opened():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("0.0.0.0", int(sys.argv[1])))
    return made
server = opened()
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.3)[0]:
    following = opened()
    server.close()
    server = following
"""
"""A server over UDP whose socket is never the same."""

_REGISTERED = """
import socket, struct, sys
made = socket.create_server(("", int(sys.argv[1])))
call = struct.pack("!6I16x4I", 1, 0, 2, 100000, 2, 1, 100021, 4, 6, int(sys.argv[1]))
with socket.create_connection(("127.0.0.1", 111)) as portmapper:
    portmapper.sendall(struct.pack("!I", 1 << 31 | len(call)) + call)
    assert portmapper.recv(32, socket.MSG_WAITALL)[-1] == 1
print("ready", flush=True)
sys.stdin.read()
"""
"""A program that registers itself with the portmapper (PMAPPROC_SET, RFC 1833)."""


class Intrusion(NamedTuple):
    """One way in."""

    name: str
    named: str
    """What the first check must say of it: the place, the port and what else is proven."""
    made: Making
    """Makes it; it lasts until the block ends."""
    policy: str = ""
    """The one that shows it; empty where each of them does."""


@contextlib.contextmanager
def _program(
    host: Machine, program: str, *arguments: object, user: str = _USER, by: str = "/usr/bin/python3"
) -> Iterator[None]:
    """A program of a user that has none of the daemons, from when it is ready to its end."""
    command = (by, "-c", program, *map(str, arguments))
    with host.start(*command, user=user, stdin=subprocess.PIPE) as process:
        try:
            assert process.stdout
            if process.stdout.readline() != "ready\n":
                raise ChildProcessError(process.communicate()[1])
            yield
        finally:
            process.communicate()


def _tcp(address: str, port: int, *, device: str = "", queue: int = 9) -> Making:
    return lambda host: _program(host, _OPEN, "SOCK_STREAM", address, port, device, queue)


def _udp(address: str, port: int, *, device: str = "") -> Making:
    return lambda host: _program(host, _OPEN, "SOCK_DGRAM", address, port, device, 9)


@contextlib.contextmanager
def _registered(host: Machine) -> Iterator[None]:
    """A program that the portmapper knows, and forgets at the end."""
    with _program(host, _REGISTERED, 47777):
        yield
    host.shell("rpcinfo -d 100021 4")


@contextlib.contextmanager
def _rules(host: Machine, rules: str) -> Iterator[None]:
    """A table of netfilter's."""
    host.rules(f"table ip intruder {{\n{rules}\n}}")
    yield
    host.shell("nft delete table ip intruder")


def _sent(rule: str) -> Making:
    """Packets of others and of this host itself, sent elsewhere."""
    hooks = ("prerouting", "output")
    chains = (f"chain {each} {{ type nat hook {each} priority -101\n {rule}\n }}" for each in hooks)
    return lambda host: _rules(host, "\n".join(chains))


@contextlib.contextmanager
def _instead(host: Machine, name: str, making: Making) -> Iterator[None]:
    """Something that has the port of a daemon, which is down meanwhile."""
    (daemon,) = (each for each in DAEMONS if each.name == name)
    host.stop(daemon)
    with making(host):
        yield
    host.serve(daemon)


@contextlib.contextmanager
def _replaced(host: Machine) -> Iterator[None]:
    """Root's own program in the place of sshd, from a file that is gone once it runs."""
    host.shell("cp /usr/bin/python3 /run/sshd/sshd")
    making = partial(_program, user="root", by="/run/sshd/sshd")
    with _instead(host, "sshd", lambda there: making(there, _OPEN, "SOCK_STREAM", "::", 22, "", 9)):
        host.shell("rm /run/sshd/sshd")
        yield


@contextlib.contextmanager
def _down(host: Machine) -> Iterator[None]:
    """A listener at the address of a device that is down."""
    host.shell("ip link add idle type bridge; ip address add 198.51.100.1/24 dev idle")
    with _tcp("198.51.100.1", 4009)(host):
        yield
    host.shell("ip link delete idle")


INTRUSIONS = (
    Intrusion("TCP on all addresses", "*:4444/tcp", _tcp("::", 4444)),
    Intrusion("TCP on all addresses, IPv4 only", "0.0.0.0/0:4445/tcp", _tcp("0.0.0.0", 4445)),
    Intrusion("TCP on the IPv6 address", f"[{IPV6}]:4446/tcp", _tcp(IPV6, 4446)),
    Intrusion("TCP on the second address", f"{SECOND}:4447/tcp", _tcp(SECOND, 4447)),
    Intrusion("TCP on 127.0.0.2", "127.0.0.2:4448/tcp", _tcp("127.0.0.2", 4448)),
    Intrusion("TCP, accept queue full", f"{IPV4}:4449/tcp", _tcp(IPV4, 4449, queue=0)),
    Intrusion("TCP bound to a device", f"{IPV4}%br0:4450/tcp", _tcp(IPV4, 4450, device="br0")),
    Intrusion("TCP on a device that is down", "198.51.100.1:4009/tcp", _down),
    Intrusion("UDP server", "0.0.0.0/0:5555/udp", _udp("0.0.0.0", 5555)),
    Intrusion("UDP, multicast group", "224.0.0.251:5556/udp", _udp("224.0.0.251", 5556)),
    Intrusion(
        "UDP among clients' ports, new socket each 0.3 s",
        "0.0.0.0/0:40000/udp",
        lambda host: _program(host, _HOPS, 40000),
    ),
    Intrusion("UDP where a daemon's ports change", "0.0.0.0/0:45678/udp", _udp("0.0.0.0", 45678)),
    Intrusion(
        "port without a socket, by redirect",
        "0.0.0.0/0:7777/tcp forwarded to ",
        _sent("tcp dport 7777 redirect to :22"),
        policy="plain",
    ),
    Intrusion(
        "port without a socket, to a container",
        f"{IPV4}:7778/tcp forwarded to 172.18.0.3:80",
        _sent(f"ip daddr {IPV4} tcp dport 7778 dnat to 172.18.0.3:80"),
        policy="plain",
    ),
    Intrusion("RPC program of nobody's", "0.0.0.0/0:47777/tcp (nlockmgr)", _registered),
    Intrusion(
        "another user in the place of redis",
        "*:6379/tcp",
        lambda host: _instead(host, "redis", _tcp("::", 6379)),
        policy="strict",
    ),
    Intrusion(
        "another program in the place of sshd",
        "*:22/tcp (maybe_ssh) sshd",
        _replaced,
        policy="strict",
    ),
)
