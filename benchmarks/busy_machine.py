"""A Debian host of its own: a copy-on-write root, processes, devices, daemons and containers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.append(str(Path(__file__).parent.parent / "tests" / "integration"))

from namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PACKAGE = Path(__file__).parent.parent / "check_portcheck"
_THERE = "/opt/busy"
"""Where the host has the package."""

PATIENCE = 120
"""Seconds that a daemon may take to start or to end."""

_ROOT = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cp --remove-destination "$(realpath /etc/resolv.conf)" /mnt/root/etc/resolv.conf
cd /mnt/root
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount --move . /
chroot . hostname busy
exec chroot . sh -c 'cat; exit'
"""
"""A root of which everything can be changed and nothing stays, whatever apt and daemons do.

Process 1 is a shell that waits, so that orphans end as they do on a host.
"""

_INSTALL = """
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@" >/run/apt.log 2>&1 && exit
cat /run/apt.log
exit 1
"""

_KEEP = 'echo $$ >"/run/busy-$0"; exec setsid "$@" >"/run/busy-$0.log" 2>&1'
"""Starts a daemon whose process number is to be known; postfix's master ends its whole group."""


class Daemon(NamedTuple):
    """A daemon, started in the foreground."""

    name: str
    package: str
    command: str
    """In the shell's words."""
    serves: str
    """By what it is ready: ports and RPC programs, ``22/tcp 192.0.2.7:53/udp mountd``."""
    prepare: str = ""
    """Shell commands that set it up, once."""
    carries: str = ""
    """RPC programs and daemons whose names are known as long as it runs."""
    end: str = ""
    """A shell command that ends it, where a signal to its process is not enough."""

    @property
    def items(self) -> frozenset[str]:
        """What is missing while it is down: ports, RPC programs, and what lacks a name then."""
        served = (each.rpartition(":")[2] for each in self.serves.split())
        return frozenset((*served, *self.carries.split()))


class Machine(Namespace):
    """The host."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        super().__init__(holder)
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        self._first = int(children.read_text().split()[0])
        self._running: dict[str, subprocess.Popen[str]] = {}

    @property
    def pid(self) -> int:
        """The process with number 1 there."""
        return self._first

    def start(
        self,
        *argv: str | Path,
        user: int | str = 0,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """A program started among the processes of the host."""
        enter = ["nsenter", "--target=1", "--pid"]
        if user:
            enter += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return super().start(*enter, *argv, env=env, stdin=stdin, stdout=stdout, stderr=stderr)

    def write(self, path: str, text: str) -> None:
        """Make a file there, which everybody can read."""
        there = Path(f"/proc/{self.pid}/root{path}")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(0o644)

    def install(self, packages: Sequence[str]) -> None:
        """Have packages of Debian's, fetched over this machine's network, and the check."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = [*enter, "sh", "-e", "-c", _INSTALL, "sh", *packages]
        subprocess.run(install, env=environment, check=True)
        there = Path(f"/proc/{self.pid}/root{_THERE}")
        unused = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_PACKAGE, there / _PACKAGE.name, ignore=unused)

    def cable(self, device: str, other: Namespace) -> None:
        """Lay a cable to another namespace's eth0; numbers of processes are those of this one."""
        enter = ["nsenter", f"--target={self.pid}", "--net"]
        peer = ["type", "veth", "peer", "name", "eth0", "netns", str(other.pid)]
        subprocess.run([*enter, "ip", "link", "add", device, *peer], check=True)

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        """The check with Debian's own Python and libraries."""
        command = ("/usr/bin/python3", "-m", "check_portcheck", *options)
        return self.run(*command, env={"PYTHONPATH": _THERE})

    def serve(self, daemon: Daemon) -> None:
        """Start a daemon; at the end its ports are open."""
        command = ("sh", "-c", _KEEP, daemon.name, "sh", "-c", f"exec {daemon.command}")
        self._running[daemon.name] = self.start(*command, stdout=subprocess.DEVNULL)
        self._wait_for(daemon)

    def stop(self, daemon: Daemon) -> None:
        """End a daemon, as systemd does."""
        self.shell(daemon.end or f"kill $(cat /run/busy-{daemon.name})")
        self._running.pop(daemon.name).communicate(timeout=PATIENCE)

    def _wait_for(self, daemon: Daemon) -> None:
        end = time.monotonic() + PATIENCE
        while not all(self._serves(each) for each in daemon.serves.split()):
            if time.monotonic() > end or self._running[daemon.name].poll() is not None:
                log = Path(f"/proc/{self.pid}/root/run/busy-{daemon.name}.log")
                raise TimeoutError(f"{daemon.name} does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _serves(self, item: str) -> bool:
        """Whether a port is open, at an address where one is named, or a program registered."""
        if "/" not in item:
            return f" {item} " in self.shell("rpcinfo")
        rows = (row.split() for row in self.shell("ss -Hlntu").splitlines())
        return any(f":{row[4]}/{row[0]}".endswith(f":{item}") for row in rows)


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """A host with nothing but its loopback device."""
    command = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
    command += ["sh", "-e", "-c", _ROOT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdin
            assert holder.stdout
            holder.stdin.write(b"ready\n")
            holder.stdin.flush()
            if holder.stdout.readline() != b"ready\n":
                raise ChildProcessError("no host could be made")
            made = Machine(holder)
            made.shell("ip link set lo up")
            yield made
        finally:
            holder.kill()
