"""Debian hosts in miniature: the packages' own paths, with private files behind them."""

from __future__ import annotations

import contextlib
import ipaddress
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from namespace import LIMIT, Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Program

SHIPPED = Path(__file__).parents[2]
"""The project's directory, below which the files for administrators are."""
POLICY = "/etc/portcheck/policy.conf"
PLUGIN = "/usr/lib/nagios/plugins/check_portcheck"
PYTHON = "/opt/check_portcheck/bin/python3"
"""The interpreter that the shipped lines for root start, isolated (-I)."""
NAGIOS = "nagios"
"""The user of the monitoring daemons."""

_RECORDS = "/run/check_portcheck"

_SET_UP = """
hostname {name}
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /mnt
for directory in /etc /usr/lib/nagios/plugins /var/lib/icinga2 /var/lib/nagios /var/lib/nagios4 \
    /var/cache/icinga2 /var/spool/icinga2
do
    mkdir -p /mnt$directory
    cp -a $directory/. /mnt$directory
    mount --bind /mnt$directory $directory
done
mkdir -p /opt/check_portcheck
mount -t tmpfs -o mode=755 tmpfs /opt/check_portcheck
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/log
install -d -o nagios -g nagios /run/icinga2 /run/nagios /run/nagios4 \
    /var/log/icinga2 /var/log/nagios4
install -d -m 1777 {records}
install -d /etc/portcheck
echo 127.0.0.1 localhost > /etc/hosts
: > /etc/resolv.conf
"""

# Debian's interpreter, since the one of the tests need not be readable for the daemons' user. A
# limit of time that the caller gives comes later and wins. A record is complete before the plugin's
# caller sees its end.
_RECORDER = """#!/bin/sh
record=$(mktemp -d {records}/XXXXXX)
for argument; do printf '%s\\n' "$argument"; done > $record/arguments
id -un > $record/user
PYTHONSAFEPATH=1 PYTHONPATH={packages} /usr/bin/python3 -m check_portcheck {limit} "$@" \
    > $record/output 2> $record/errors
echo $? > $record/exit
chmod -R a+rX $record
mv $record/exit $record/code
cat $record/output
exit $(cat $record/code)
"""

_ISOLATED = """#!/bin/sh
[ "$1" = -I ] || exit 99
shift
exec "$@"
"""
"""Stands for the interpreter, since the plugin here is no Python; test_isolation.py has it."""

_LISTEN = """
import socket, sys, time
held = []
for port in map(int, sys.argv[1:]):
    held.append(socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True))
print("ready", flush=True)
time.sleep(86400)
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What the plugin says, or what a daemon has understood of it."""

    state: int
    first: str
    """The first line, without performance data."""
    long: tuple[str, ...]
    """The other lines."""
    perfdata: tuple[str, ...]
    """``label=value;...``, one by one."""

    @classmethod
    def of(cls, output: str, state: int) -> Result:
        """What an output means by the plugin guidelines."""
        first, *long = output.splitlines() or [""]
        text, _, perfdata = first.partition("|")
        return cls(state, text.strip(), tuple(long), tuple(perfdata.split()))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the plugin, as its caller saw it."""

    arguments: tuple[str, ...]
    user: str
    output: str
    errors: str
    code: int

    @property
    def result(self) -> Result:
        """Its meaning."""
        return Result.of(self.output, self.code)


class Machine(Namespace):
    """A host with a name, addresses, files and processes of its own; its end ends all of them."""

    # All at once: once inside, nsenter of util-linux 2.41 takes a number for a process out here.
    _KINDS = (*Namespace._KINDS, "--pid")

    def __init__(self, holder: subprocess.Popen[bytes], name: str, program: Program) -> None:
        super().__init__(holder)
        self.name = name
        self._served: list[subprocess.Popen[str]] = []
        self._first = psutil.Process(holder.pid).children()[0].pid
        self.shell(_SET_UP.format(name=name, records=_RECORDS))
        self.write(
            PLUGIN,
            _RECORDER.format(records=_RECORDS, packages=program.packages, limit=shlex.join(LIMIT)),
            mode=0o755,
        )
        self.write(PYTHON, _ISOLATED, mode=0o755)

    @property
    def pid(self) -> int:
        """The process with number 1 there."""
        return self._first

    def serve(self, *argv: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a daemon, which ends with the machine."""
        daemon = self.start(*argv, stdout=stdout, stderr=subprocess.DEVNULL)
        self._served.append(daemon)
        return daemon

    def path(self, path: str) -> Path:
        """Where a file of the machine is for this process."""
        return Path(f"/proc/{self.pid}/root{path}")

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Make a file, and its directory."""
        there = self.path(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(mode)

    def install(self, shipped: str, path: str, *, mode: int = 0o644) -> None:
        """Put a file of the project, as it is, where an administrator puts it."""
        self.write(path, (SHIPPED / shipped).read_text(), mode=mode)

    def has(self, address: str, name: str) -> None:
        """Tell the machine the address of a name, so also its own."""
        with self.path("/etc/hosts").open("a") as hosts:
            hosts.write(f"{address} {name}\n")

    def listen(self, *ports: int) -> None:
        """Have a process of root listen on every address."""
        command = ("/usr/bin/python3", "-c", _LISTEN, *map(str, ports))
        listener = self.serve(*command, stdout=subprocess.PIPE)
        assert listener.stdout
        assert listener.stdout.readline() == "ready\n"

    def end(self) -> None:
        """End every process of the machine."""
        self._holder.kill()
        for daemon in self._served:
            daemon.communicate()

    def runs(self) -> list[Run]:
        """What the plugin has been asked and has said so far."""
        return [
            Run(
                tuple((record / "arguments").read_text().splitlines()),
                (record / "user").read_text().strip(),
                (record / "output").read_text(),
                (record / "errors").read_text(),
                int((record / "code").read_text()),
            )
            for record in self.path(_RECORDS).iterdir()
            if (record / "code").exists()
        ]

    def run_behind(self, result: Result) -> Run:
        """The run that a daemon's result is of; raises AssertionError where there is none."""
        runs = self.runs()
        found = [run for run in runs if run.result == result]
        assert found, f"{result}\nis none of\n" + "\n".join(str(run.result) for run in runs)
        assert all(run.errors == "" for run in runs)
        return found[-1]


@contextlib.contextmanager
def machine(name: str, program: Program) -> Iterator[Machine]:
    """A machine with nothing but its loopback device."""
    command = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
    # The shell waits for every process that it inherits: daemons that end are gone for good.
    command += ["--mount-proc", "sh", "-c", "cat; exit"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        contextlib.ExitStack() as ending,
    ):
        ending.callback(holder.kill)
        assert holder.stdin
        assert holder.stdout
        holder.stdin.write(b"ready\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"ready\n"
        made = Machine(holder, name, program)
        ending.callback(made.end)
        yield made


def join(one: Machine, other: Machine, addresses: tuple[str, str]) -> None:
    """Lay a cable between two machines; both know both names."""
    devices = [f"to-{far.name.partition('.')[0]}" for far in (other, one)]
    ends = [
        ("name", device, "netns", str(each.pid))
        for each, device in zip((one, other), devices, strict=True)
    ]
    subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]], check=True)
    for each, device, address in zip((one, other), devices, addresses, strict=True):
        each.shell(
            f"ip address add {address}/24 dev {device}; ip link set {device} addrgenmode none up"
        )
        for named, its in zip((one, other), addresses, strict=True):
            each.has(its, named.name)


def stand_alone(one: Machine, *addresses: str) -> None:
    """Give a machine a device with addresses, which are those of its name."""
    one.shell("ip link add eth0 type veth peer name eth1; ip link set eth1 up")
    one.shell("ip link set eth0 addrgenmode none up")
    for address in addresses:
        length = 24 if ipaddress.ip_address(address).version == 4 else 64
        one.shell(f"ip address add {address}/{length} dev eth0" + " nodad" * (length == 64))
        one.has(address, one.name)
