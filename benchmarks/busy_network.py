"""The network of a busy host: addresses, containers, and those who ask its daemons."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from busy_daemons import BRIDGE
from namespace import IPV4, IPV6, NOBODY, PEER_IPV4, Namespace, namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from busy_machine import Machine

SECOND = "192.0.2.8"
"""The other address of eth0."""

PUBLISHED = "8080/tcp"
"""The port of the first container that others reach by way of this host."""

CONTAINERS = 3

_NETWORK = f"""
ip link set uplink addrgenmode none up
ip link add eth0 link uplink type macvlan mode bridge
ip link set eth0 up
ip address add {IPV4}/24 dev eth0
ip address add {SECOND}/24 dev eth0
ip address add {IPV6}/64 dev eth0 nodad
ip link add br0 type bridge
ip address add {BRIDGE}/16 dev br0
ip link set br0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "127.0.0.1 localhost" >/etc/hosts
echo "{IPV4} busy" >>/etc/hosts
echo "nameserver 127.0.0.1" >/etc/resolv.conf
"""

_NEIGHBOUR = f"""
ip link set eth0 up
ip address add {PEER_IPV4}/24 dev eth0
ip route add default via {IPV4}
"""

_SILENT = """
table inet silent {
    chain input { type filter hook input priority 0; meta l4proto udp drop; }
}
"""
"""What the neighbour does with the questions of resolvers and clocks."""

_PUBLISH = """
table ip docker {
    chain incoming {
        type nat hook prerouting priority -100
        fib daddr type local tcp dport 8080 dnat to 172.18.0.2:80
    }
    chain own {
        type nat hook output priority -100
        ip daddr != 127.0.0.0/8 fib daddr type local tcp dport 8080 dnat to 172.18.0.2:80
    }
}
"""
"""As docker publishes a port without its proxy."""

_INSIDE = """
ip link set eth0 address 02:42:ac:12:00:{number:02x} up
ip address replace 172.18.0.{number}/16 dev eth0
ip route replace default via 172.18.0.1
"""
"""The hardware address comes from the other one, so that neighbours need not learn it anew."""

_CLIENTS = """
import random, socket, struct, sys, time

def ask(kind, address, port, text=b""):
    with socket.socket(socket.AF_INET, kind) as made:
        made.settimeout(0.2)
        made.connect((address, port))
        if text:
            made.send(text)
        made.recv(100)

def question():
    name = b"q%08d" % random.randrange(10**8)
    head = struct.pack("!6H", random.randrange(65536), 0x0100, 1, 0, 0, 0)
    return head + bytes([len(name)]) + name + b"\\7example\\0" + struct.pack("!2H", 1, 1)

def call():
    return struct.pack("!6I16x", random.randrange(2**32), 0, 2, 100000, 2, 4)

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
GET = b"GET / HTTP/1.0\\r\\n\\r\\n"
asked = [
    lambda: ask(UDP, "127.0.0.1", 53, question()),
    lambda: ask(UDP, "172.18.0.1", 53, question()),
    lambda: ask(TCP, "192.0.2.7", 80, GET),
    lambda: ask(TCP, "192.0.2.8", 8080, GET),
    lambda: ask(TCP, "127.0.0.1", 3128, b"GET http://172.18.0.3/ HTTP/1.0\\r\\n\\r\\n"),
    lambda: ask(TCP, "192.0.2.7", 25),
    lambda: ask(TCP, "192.0.2.7", 22),
    lambda: ask(TCP, "192.0.2.8", 5432, struct.pack("!2I", 8, 80877103)),
    lambda: ask(TCP, "127.0.0.1", 6379, b"PING\\r\\n"),
    lambda: ask(UDP, "192.0.2.7", 111, call()),
    lambda: ask(UDP, "192.0.2.7", 123, b"\\x23" + bytes(47)),
]
held = []
print("ready", flush=True)
while True:
    try:
        random.choice(asked)()
    except OSError:
        pass
    # A client that gets no answer, and gives up after two seconds.
    made = socket.socket(socket.AF_INET, UDP)
    made.sendto(b"", ("192.0.2.9", 9))
    held.append((time.monotonic() + 2, made))
    while held[0][0] < time.monotonic():
        held.pop(0)[1].close()
    time.sleep(0.05)
"""

_WEB = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=80)"


class Containers:
    """Other network namespaces on the bridge, each with a web server."""

    def __init__(self, host: Machine) -> None:
        self._host = host
        self._inside: dict[int, contextlib.ExitStack] = {}

    def run(self, number: int) -> None:
        """Make one anew; at the end it can be reached."""
        if number in self._inside:
            self._inside.pop(number).close()
        stack = self._inside[number] = contextlib.ExitStack()
        inside = stack.enter_context(namespace())
        # Docker gives each veth a new name.
        device = f"veth{inside.pid}"
        self._host.cable(device, inside)
        self._host.shell(f"ip link set {device} master br0 up")
        inside.shell(_INSIDE.format(number=number + 1))
        web = stack.enter_context(
            inside.start(
                *("/usr/bin/python3", "-c", _WEB),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        stack.callback(web.kill)
        inside.shell("until ss -Hlnt | grep -q :80; do sleep 0.05; done")

    def end(self) -> None:
        """End them all."""
        for stack in self._inside.values():
            stack.close()


@contextlib.contextmanager
def containers(host: Machine) -> Iterator[Containers]:
    """As many of them as there are at any time."""
    made = Containers(host)
    try:
        for number in range(1, CONTAINERS + 1):
            made.run(number)
        yield made
    finally:
        made.end()


@contextlib.contextmanager
def connected(host: Machine) -> Iterator[Namespace]:
    """Its network; gives the neighbour, who does not answer over UDP."""
    with namespace() as neighbour:
        # Of a kind that is not taken for the host's end of a container.
        host.cable("uplink", neighbour)
        host.shell(_NETWORK)
        neighbour.shell(_NEIGHBOUR)
        neighbour.rules(_SILENT)
        host.rules(_PUBLISH)
        yield neighbour


@contextlib.contextmanager
def queries(host: Machine) -> Iterator[None]:
    """Somebody who asks the daemons all the time, and other servers in vain."""
    with host.start("/usr/bin/python3", "-c", _CLIENTS, user=NOBODY) as clients:
        try:
            assert clients.stdout
            assert clients.stdout.readline() == "ready\n"
            yield
        finally:
            clients.kill()
