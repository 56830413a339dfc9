"""A real rpcbind in a namespace, with programs registered as a test wants."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

from namespace import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Namespace

PORT = 111

RUN = """
mount -t tmpfs tmpfs /run
mkdir -m 755 /run/rpcbind
chown _rpc /run/rpcbind
"""
"""Gives rpcbind a /run of its own, for its local socket and its lock."""

KEEP = """
"$@" >/dev/null 2>&1 &
echo $!
read -r end
kill -KILL $!
wait
"""
"""Runs a daemon up to the end of the input, which also comes when the test run is killed."""

ACTIVATE = """
import os, socket, sys
kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
listeners = []
for protocol, address in zip(sys.argv[1::2], sys.argv[2::2]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, kinds[protocol])
    listener.bind((address, 111))
    if protocol == "tcp":
        listener.listen()
    listener.set_inheritable(True)
    listeners.append(listener)
assert [each.fileno() for each in listeners] == list(range(3, 3 + len(listeners)))
os.environ.update(LISTEN_FDS=str(len(listeners)), LISTEN_PID=str(os.getpid()))
os.execvp("rpcbind", ["rpcbind", "-f"])
"""
"""Starts rpcbind as systemd does for rpcbind.socket (sd_listen_fds(3))."""

# rpcbind answers on its local socket only when it listens on all others.
READY = "for i in $(seq 6000); do ! rpcinfo >/dev/null 2>&1 || exit 0; sleep 0.05; done; exit 1"


class Portmapper:
    """A portmapper that runs in a namespace."""

    def __init__(self, there: Namespace, pid: int) -> None:
        self.pid = pid
        self._namespace = there

    def register(self, program: int, version: int, netid: str, address: str) -> None:
        """Register a universal address with RPCBPROC_SET of version 4."""
        mapping = struct.pack(">II", program, version)
        for text in (netid, address, "test"):
            mapping += struct.pack(">I", len(text)) + text.encode() + bytes(-len(text) % 4)
        self._set(4, mapping)

    def register_port(self, program: int, version: int, protocol: int, port: int) -> None:
        """Register a port with PMAPPROC_SET of version 2; *protocol* is that of IP."""
        self._set(2, struct.pack(">IIII", program, version, protocol, port))

    def _set(self, version: int, mapping: bytes) -> None:
        call = struct.pack(">IIIIII16x", 1, 0, 2, 100000, version, 1) + mapping
        with self._namespace.entered():
            connection = socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE)
        with connection:
            connection.sendall(struct.pack(">I", 1 << 31 | len(call)) + call)
            reply = connection.recv(32, socket.MSG_WAITALL)
        # One fragment of 28 bytes: xid, REPLY, MSG_ACCEPTED, an empty verifier, SUCCESS, TRUE.
        assert reply == struct.pack(">IIIIIIII", 1 << 31 | 28, 1, 1, 0, 0, 0, 0, 1), reply


@contextlib.contextmanager
def daemon(there: Namespace, *argv: str) -> Iterator[int]:
    """A program that stays in the foreground, by its process number; killed at the end."""
    with there.start("sh", "-c", KEEP, "sh", *argv, stdin=subprocess.PIPE) as shell:
        assert shell.stdout
        try:
            yield int(shell.stdout.readline())
        finally:
            shell.communicate()


@contextlib.contextmanager
def portmapper(
    there: Namespace, *sockets: tuple[str, str], prepare: str = ""
) -> Iterator[Portmapper]:
    """A real rpcbind in the namespace, where the commands of *prepare* are run before.

    *sockets*, each a protocol and an address, it inherits as from systemd; on other protocols and
    families it listens on the wildcard.
    """
    there.shell(RUN + prepare)
    command = ["rpcbind", "-f"]
    if sockets:
        command = [sys.executable, "-c", ACTIVATE, *itertools.chain(*sockets)]
    with daemon(there, *command) as pid:
        there.shell(READY)
        yield Portmapper(there, pid)
