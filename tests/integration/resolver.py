"""A real resolver whose upstream is dead, with a client that does not stop asking."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from namespace import until

if TYPE_CHECKING:
    from collections.abc import Iterator
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


@contextlib.contextmanager
def resolver(there: Namespace, directory: Path) -> Iterator[None]:
    """dnsmasq with an upstream that never answers, and a client that asks it all the time."""
    command = ["dnsmasq", "--no-daemon", "--no-resolv", "--no-hosts", "--server=192.0.2.77"]
    command += [f"--pid-file={directory}/pid", "--conf-file=/dev/null"]
    with there.start(*command) as daemon, there.start("python3", "-c", _QUESTIONS) as client:
        try:
            until(lambda: waiting(there) > 2, "dnsmasq waits for an answer")
            yield
        finally:
            client.kill()
            daemon.kill()


def waiting(there: Namespace) -> int:
    """How many sockets wait for answers."""
    rows = there.shell("ss -Hlnu").splitlines()
    return sum(not row.split()[3].endswith(":53") for row in rows)
