"""Private network namespaces, the programs that run in them, and the check as a process."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NOBODY = 65534

IPV4, IPV6, LINK_LOCAL = "192.0.2.7", "2001:db8::7", "fe80::7%eth0"
"""The addresses of eth0."""
PEER_IPV4, PEER_IPV6 = "192.0.2.9", "2001:db8::9"
"""The addresses of its peer in the other namespace."""

Report = dict[str, Any]
"""The object of ``--format json``."""

PATIENCE = 300
"""Seconds after which a test gives up what it waits for; only a very busy machine needs them."""
LIMIT = ("--timeout", "240")
"""The time that the check has for a run where time is not what a test is about."""

_CLONE_NEWNET = 0x40000000
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


_DENYING = """
import ctypes, errno, runpy, struct, sys
number, protocol = int(sys.argv.pop(1)), int(sys.argv.pop(1))
AF_NETLINK, LOAD, EQUAL, GIVE, ALLOWED = 16, 0x20, 0x15, 0x06, 0x7FFF0000
FAILING = 0x50000 | errno.EPROTONOSUPPORT
steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 5, number), (LOAD, 0, 0, 16), (EQUAL, 0, 3, AF_NETLINK),
         (LOAD, 0, 0, 32), (EQUAL, 0, 1, protocol), (GIVE, 0, 0, FAILING), (GIVE, 0, 0, ALLOWED)]
program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(len(steps), ctypes.addressof(program)))) == 0
runpy.run_module("check_portcheck", run_name="__main__", alter_sys=True)
"""
"""Runs the check where a netlink protocol is not to be had, as in a sandbox (seccomp(2))."""

_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}


class Namespace:
    """A network, mount and host name namespace, kept by a process that does nothing.

    That process ends at the end of its input, so also when the test run is killed.
    """

    _KINDS: tuple[str, ...] = ("--net", "--mount", "--uts")
    """What of its own it has, as nsenter and unshare call it."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._holder = holder
        self._libc = ctypes.CDLL(None, use_errno=True)

    @property
    def pid(self) -> int:
        """The process that keeps the namespace."""
        return self._holder.pid

    def start(
        self,
        *argv: str | Path,
        user: int | str = 0,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """A program started in the namespace, by root or by another user, number or name."""
        enter = ["nsenter", f"--target={self.pid}", *self._KINDS]
        if user:
            enter += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return subprocess.Popen(
            [*enter, *argv],
            env={"PATH": PATH, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def run(
        self, *argv: str | Path, user: int | str = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same, run to its end."""
        return finished(self.start(*argv, user=user, env=env))

    def shell(self, script: str) -> str:
        """What a script prints; raises AssertionError at its first failing command."""
        done = self.run("sh", "-e", "-c", script)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def rules(self, ruleset: str) -> None:
        """Load nftables rules."""
        with self.start("nft", "-f", "-", stdin=subprocess.PIPE) as nft:
            _, errors = nft.communicate(ruleset, timeout=PATIENCE)
        assert nft.returncode == 0, errors

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

    def listener(self, address: str, port: int = 0, *, backlog: int = 100) -> socket.socket:
        """A TCP listener of this process in the namespace."""
        listener = self.bound(socket.SOCK_STREAM, address, port)
        listener.listen(backlog)
        return listener

    def full_listener(self, address: str) -> socket.socket:
        """A TCP listener whose accept queue is full: one connection, of which nobody hears."""
        listener = self.listener(address, backlog=0)
        with self.entered(), socket.socket(listener.family, socket.SOCK_STREAM) as client:
            client.connect(listener.getsockname())
        return listener

    def bound(self, kind: socket.SocketKind, address: str, port: int = 0) -> socket.socket:
        """A bound socket of this process in the namespace; an IPv6 one answers IPv6 only."""
        with self.entered():
            made = socket.socket(family(address), kind)
            try:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
                if made.family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind(socket_address(made.family, address, port))
            except BaseException:
                made.close()
                raise
        return made


def family(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def socket_address(of: socket.AddressFamily, address: str, port: int) -> tuple[Any, ...]:
    """What bind() and connect() take; of a scope the index, asked in the present namespace."""
    host, _, device = address.partition("%")
    if of == socket.AF_INET:
        return host, port
    return host, port, 0, socket.if_nametoindex(device) if device else 0


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace with nothing but its loopback device, up."""
    command = ["unshare", "--net", "--mount", "--uts", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin
        assert holder.stdout
        try:
            holder.stdin.write(b"ready\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == b"ready\n"
            made = Namespace(holder)
            made.shell("ip link set lo up")
            yield made
        finally:
            holder.kill()


@contextlib.contextmanager
def host() -> Iterator[tuple[Namespace, Namespace]]:
    """A namespace with eth0 that has three addresses, and its peer in another namespace."""
    with namespace() as here, namespace() as there:
        here.shell(
            f"""
            ip link add eth0 type veth peer name eth0 netns {there.pid}
            ip link set eth0 addrgenmode none up
            ip address add {IPV4}/24 dev eth0
            ip address add {IPV6}/64 dev eth0 nodad
            ip address add {LINK_LOCAL.partition("%")[0]}/64 dev eth0 nodad
            """
        )
        there.shell(
            f"""
            ip link set eth0 addrgenmode none up
            ip address add {PEER_IPV4}/24 dev eth0
            ip address add {PEER_IPV6}/64 dev eth0 nodad
            ip route add default via {IPV4}
            """
        )
        yield here, there


def unhurried(*options: str | Path) -> tuple[str | Path, ...]:
    """The options of a run, with time enough unless they say themselves how much there is."""
    return options if {"-t", "--timeout"}.intersection(options) else (*LIMIT, *options)


@dataclass(frozen=True, slots=True)
class Program:
    """The check as it is installed, where every user can read and run it."""

    packages: Path
    """A directory with copies of the package and the libraries that it needs."""
    interpreters: Mapping[int, str]
    """Python for root and for nobody, by number."""
    installed: str = ""
    """The path of an installed check that is run in place of the copies."""

    def command(self, *options: str | Path, user: int = 0) -> list[str | Path]:
        """The command line that runs the check."""
        copies = [self.interpreters[user], "-m", "check_portcheck"]
        return [*([self.installed] if self.installed else copies), *unhurried(*options)]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it needs here and would not need where it is installed."""
        return {} if self.installed else {"PYTHONPATH": str(self.packages)}


class Check:
    """The check, run in a namespace."""

    def __init__(self, there: Namespace, program: Program) -> None:
        self.there = there
        self.program = program

    def start(self, *options: str | Path, user: int = 0) -> subprocess.Popen[str]:
        """The running process."""
        command = self.program.command(*options, user=user)
        return self.there.start(*command, user=user, env=self.program.environment)

    def __call__(self, *options: str | Path, user: int = 0) -> subprocess.CompletedProcess[str]:
        """The finished process."""
        return finished(self.start(*options, user=user))

    def output(self, *options: str | Path, user: int = 0) -> str:
        """The whole output and, as a last line, the exit code; nothing on standard error.

        The time is normalised, the description of this process as an owner is ``OWNER``, and the
        lines are left out that explain a finding.
        """
        return told(self(*options, user=user))

    def report(self, *options: str | Path, user: int = 0) -> Report:
        """What ``--format json`` says."""
        done = self("--format", "json", *options, user=user)
        assert done.stderr == ""
        answer: Report = json.loads(done.stdout)
        return answer


def without_netlink(
    check: Check, protocol: int, *options: str, user: int = 0
) -> subprocess.CompletedProcess[str]:
    """The check where the kernel denies sockets of one netlink protocol."""
    number = _SOCKET_CALL[platform.machine()]
    return check.there.run(
        check.program.interpreters[user],
        "-c",
        _DENYING,
        str(number),
        str(protocol),
        *unhurried(*options),
        user=user,
        env=check.program.environment,
    )


def opened(report: Report) -> set[tuple[str, str, int]]:
    """Address, protocol and number of each open port of a report that a scanned address has."""
    return {
        (interface, each["protocol"], each["port"])
        for each in report["services"]
        if not each["bound"]
        for interface in each["interfaces"]
    }


def told(done: subprocess.CompletedProcess[str]) -> str:
    """What a finished check told, as in Check.output()."""
    assert done.stderr == ""
    text = re.sub(r" time=\d+\.\d{3}s", " time=0.000s", done.stdout)
    text = re.sub(r"\n  .*", "", text)
    text = re.sub(rf"\S+\[{os.getpid()}\]( [^,|\n]*)? user root", "OWNER", text)
    return f"{text}exit {done.returncode}\n"


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """The process at its end, which must come in PATIENCE; killed if it does not."""
    with process:
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def parents() -> dict[int, int]:
    """The parent of each process on the machine."""
    found: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The name before the last bracket may be any bytes.
            found[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    return found


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; raises AssertionError when PATIENCE is at its end."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.005)
