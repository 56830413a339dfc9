"""A real resolver whose upstream is dead is no alarm."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from namespace import Check, Namespace

DGRAM = socket.SOCK_DGRAM

pytestmark = pytest.mark.daemons

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


@pytest.mark.parametrize("method", ["table", "full"])
def test_a_resolver_with_a_dead_upstream_is_no_alarm(
    check: Check, tmp_path: Path, method: str
) -> None:
    options = ("--no-official", "--interface", IPV4, "--optional", "*:53/tcp,53/udp")
    ports = ("--min-port", "1", "--max-port", "65535", "--method", method)
    with resolver(check.there, tmp_path):
        reports = [check.report(*options, *ports) for _ in range(3)]
    assert [(each["state"], each["findings"]) for each in reports] == [("OK", [])] * 3


def test_a_server_beside_a_resolver_is_found(check: Check, tmp_path: Path) -> None:
    options = ("--no-official", "--interface", IPV4, "--optional", "*:53/tcp,53/udp")
    with resolver(check.there, tmp_path), check.there.bound(DGRAM, "0.0.0.0", 45678):
        report = check.report(*options, "--method", "table")
    assert [each["item"] for each in report["findings"]] == ["45678/udp"]
