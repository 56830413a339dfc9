"""A real rpcbind in a network namespace of its own, with programs registered as a test wants."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shlex
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

from check_portcheck.model import Interface

if TYPE_CHECKING:
    from collections.abc import Iterator

IPV4 = "192.0.2.7"
IPV6 = "2001:db8::7"
LINK_LOCAL = "fe80::7%eth0"

SET_UP = f"""
mount -t tmpfs tmpfs /run
mkdir -m 755 /run/rpcbind
chown _rpc /run/rpcbind
ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth0 up
ip link set eth1 up
ip address add {IPV4}/24 dev eth0
ip address add {IPV6}/64 dev eth0 nodad
ip address add fe80::7/64 dev eth0 nodad
"""

ACTIVATE = """
import os, socket, sys
kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
given = sys.argv[1:]
for number, (protocol, address) in enumerate(zip(given[::2], given[1::2])):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, kinds[protocol])
    listener.bind((address, 111))
    if protocol == "tcp":
        listener.listen()
    os.dup2(listener.detach(), 100 + number)
for number in range(len(given) // 2):
    os.dup2(100 + number, 3 + number)
    os.close(100 + number)
os.environ.update(LISTEN_FDS=str(len(given) // 2), LISTEN_PID=str(os.getpid()))
os.execvp("rpcbind", ["rpcbind", "-f"])
"""
"""Starts rpcbind as systemd does for rpcbind.socket (sd_listen_fds(3))."""

# rpcbind opens its local socket last.
READY = "for i in $(seq 100); do test ! -S /run/rpcbind.sock || exit 0; sleep 0.05; done"

PORT = 111
_CLONE_NEWNET = 0x40000000


class Namespace:
    """A shell in its own network, mount and process namespace: lo, and eth0 with three addresses.

    The shell ends at the end of its input, so also when the test run is killed, and the kernel
    then kills all that it has started, daemons in the background included.
    """

    def __init__(self, shell: subprocess.Popen[str]) -> None:
        self._shell = shell
        self._libc = ctypes.CDLL(None, use_errno=True)

    @property
    def pid(self) -> int:
        """A process in the namespace of networks and mounts, for nsenter --target."""
        return self._shell.pid

    def run(self, commands: str) -> str:
        """What the commands print, errors included; raises AssertionError at the first failure."""
        assert self._shell.stdin
        assert self._shell.stdout
        script = f"(set -e; {commands}\n) </dev/null 2>&1; status=$?; echo; echo END $status"
        print(script, file=self._shell.stdin, flush=True)
        output: list[str] = []
        for line in self._shell.stdout:
            if line.startswith("END "):
                assert line == "END 0\n", "".join(output)
                return "".join(output).strip()
            output.append(line)
        raise AssertionError("".join(output))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The sockets that this thread opens meanwhile belong to the namespace, also later on."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            self._set(there)
            yield
        finally:
            self._set(own)
            os.close(own)
            os.close(there)

    def _set(self, namespace: int) -> None:
        # os.setns() is new in Python 3.12.
        if self._libc.setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def interface(self, address: str) -> Interface:
        """The interface that the program finds for the address."""
        if address in ("127.0.0.1", "::1"):
            return Interface(address=address, device="lo", index=1, label="lo")
        with self.entered():
            index = socket.if_nametoindex("eth0")
        return Interface(address=address, device="eth0", index=index, label="eth0")


class Portmapper:
    """A portmapper that runs in a namespace."""

    def __init__(self, namespace: Namespace, pid: int) -> None:
        self.namespace = namespace
        self.pid = pid
        """Its process, as the namespace numbers it."""

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
        with self.namespace.entered():
            connection = socket.create_connection(("127.0.0.1", PORT), timeout=5)
        with connection:
            connection.sendall(struct.pack(">I", 1 << 31 | len(call)) + call)
            reply = connection.recv(100, socket.MSG_WAITALL)
        # One fragment of 28 bytes: xid, REPLY, MSG_ACCEPTED, an empty verifier, SUCCESS, TRUE.
        assert reply == struct.pack(">IIIIIIII", 1 << 31 | 28, 1, 1, 0, 0, 0, 0, 1), reply


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace in which nothing runs yet; whatever runs in it at the end is killed."""
    options = ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]
    with subprocess.Popen(
        ["unshare", *options, "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        try:
            made = Namespace(shell)
            made.run(SET_UP)
            yield made
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                shell.communicate(timeout=5)
            shell.kill()


@contextlib.contextmanager
def portmapper(*sockets: tuple[str, str], prepare: str = ":") -> Iterator[Portmapper]:
    """A real rpcbind in a namespace of its own, where the commands of *prepare* were run before.

    *sockets*, each a protocol and an address, it inherits as from systemd; on other protocols and
    families it listens on the wildcard.
    """
    with namespace() as made:
        made.run(prepare)
        command = "rpcbind -f"
        if sockets:
            command = shlex.join([sys.executable, "-c", ACTIVATE, *itertools.chain(*sockets)])
        pid = int(made.run(f"{command} >/run/rpcbind.log 2>&1 & echo $!"))
        made.run(f"{READY}; cat /run/rpcbind.log; exit 1")
        yield Portmapper(made, pid)
