"""A real resolver whose upstream is dead, with a client that does not stop asking."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from namespace import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from namespace import Namespace

_QUESTIONS = """
import socket, struct, time
print("ready", flush=True)
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.connect(("127.0.0.1", 53))
number = 0
while True:
    number += 1
    name = f"q{number}".encode()
    head = struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0)
    question = bytes([len(name)]) + name + bytes([7]) + b"example" + bytes(1)
    asking.send(head + question + struct.pack("!2H", 1, 1))
    time.sleep(0.4)
"""


_UNBOUND = """
server:
    interface: 0.0.0.0
    udp-connect: no
    chroot: ""
    pidfile: ""
    directory: "{directory}"
    username: "unbound"
    use-syslog: no
forward-zone:
    name: "."
    forward-addr: 192.0.2.77
"""


def dnsmasq(directory: Path) -> list[str]:
    """The command that runs it, with an upstream that never answers."""
    command = ["dnsmasq", "--no-daemon", "--no-resolv", "--no-hosts", "--server=192.0.2.77"]
    return [*command, f"--pid-file={directory}/pid", "--conf-file=/dev/null"]


def unbound(directory: Path) -> list[str]:
    """The same of another: it chooses its ports, and before 1.13 it did not connect them."""
    file = directory / "unbound.conf"
    file.write_text(_UNBOUND.format(directory=directory))
    return ["unbound", "-d", "-c", str(file)]


@contextlib.contextmanager
def resolver(
    there: Namespace, directory: Path, daemon: Callable[[Path], list[str]] = dnsmasq
) -> Iterator[None]:
    """A resolver that waits for its upstream, and a client that asks it all the time."""
    with there.start(*daemon(directory)) as running:
        try:
            until(lambda: ":53 " in there.shell("ss -Hlnu"), "the resolver serves")
            with there.start("python3", "-c", _QUESTIONS) as client:
                try:
                    until(lambda: waiting(there) > 2, "the resolver waits for an answer")
                    yield
                finally:
                    client.kill()
        finally:
            running.kill()


def waiting(there: Namespace) -> int:
    """How many sockets wait for answers."""
    rows = there.shell("ss -Hanu").splitlines()
    return sum(":53 " not in row for row in rows)
