"""The commands that are compared: check_portcheck's methods, other tools, and the floor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from namespace import Namespace

_HERE = Path(__file__).parent

_SCRIPT = "from check_portcheck.cli import main; main()"
"""What the installed console script does."""

EVERYTHING = "*:*/tcp,*/udp"
"""A policy with which every run ends with OK, and so without a second look."""

METHODS = ("full", "probe", "table")
START_UP = 'python -c "import nagiosplugin"'
FLOOR = "floor.c"
SAMHAIN = "samhain -t check"
TARGETS = {SAMHAIN: 0.4, "nmap -sT -T5 --max-retries 0": 0.55, "nmap -sT -sU": 0.15}
"""How long `full` may take at most, as a part of the time of these."""

_SAMHAIN_PACKAGES = ("samhain", "libauparse0", "libltdl7", "libprelude28")

_SAMHAIN_FILES = ("group", "hosts", "nsswitch.conf", "passwd", "services")

_SAMHAIN_CONFIG = """\
[Log]
PrintSeverity=crit
LogSeverity=none
SyslogSeverity=none
MailSeverity=none
[PortCheck]
PortCheckActive=yes
PortCheckInterface=127.0.0.1
[ProcessCheck]
ProcessCheckActive=no
[Misc]
Daemon=no
SetDatabasePath=/etc/samhain/database
SetLogfilePath=/etc/samhain/log
SetLockfilePath=/etc/samhain/lock
"""

_NMAP = ("nmap", "-n", "-p0-65535", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Contender:
    """A command that is measured."""

    name: str
    """How the table of results calls it."""
    command: tuple[str, ...]
    prefix: tuple[str, ...] = ()
    """What prepares its surroundings and is not measured."""
    status: int = 0
    """Its exit status."""


def portcheck(
    method: str, addresses: Iterable[str] = ("127.0.0.1",), *options: str, allowed: str = EVERYTHING
) -> Contender:
    """A run of check_portcheck."""
    chosen = ("--no-official", "--interface", ",".join(addresses), "--optional", allowed)
    command = (sys.executable, "-c", _SCRIPT, "--method", method, *chosen, *options)
    return Contender(method, command)


def alarmed(form: str, addresses: Iterable[str], *options: str) -> Contender:
    """A run of check_portcheck with its defaults, which finds what no rule allows."""
    chosen = ("--no-official", "--interface", ",".join(addresses), "--format", form)
    status = 0 if form == "checkmk" else 2
    return Contender(form, (sys.executable, "-c", _SCRIPT, *chosen, *options), status=status)


def start_up() -> Contender:
    """What a plugin that does nothing costs."""
    return Contender(START_UP, (sys.executable, "-c", "import nagiosplugin"))


def socket_statistics() -> Contender:
    """The table alone, by the usual tool."""
    return Contender("ss -lntu", ("ss", "-lntu"))


def scanners() -> list[Contender]:
    """The installed tools that look at every port."""
    scans = ("-sT", "-sU", "-sT -sU")
    options = [f"{scan}{pace}" for scan in scans for pace in ("", " -T5 --max-retries 0")]
    made = [Contender(f"nmap {each}", (*_NMAP, *each.split())) for each in options]
    made.append(Contender("unhide-tcp", ("unhide-tcp",)))
    return [each for each in made if shutil.which(each.command[0])]


def floor(directory: Path) -> Contender:
    """The same system calls in C, on all cores."""
    cores = len(os.sched_getaffinity(0))
    return Contender(FLOOR, (compiled("floor", directory), str(cores)))


def samhain(there: Namespace, directory: Path) -> Contender:
    """Samhain with its port check alone; unpacked, since installing it would start a daemon.

    Its configuration has a fixed path: it gets an /etc of its own. Raises CalledProcessError where
    the packages cannot be had.
    """
    unpacked, etc = directory / "unpacked", directory / "etc"
    (etc / "samhain").mkdir(parents=True)
    fetch = ["apt-get", "download", *_SAMHAIN_PACKAGES]
    subprocess.run(fetch, cwd=directory, check=True, capture_output=True)
    for package in directory.glob("*.deb"):
        subprocess.run(["dpkg", "--extract", package, unpacked], check=True)
    for name in _SAMHAIN_FILES:
        shutil.copy(Path("/etc", name), etc)
    (etc / "samhain" / "samhainrc").write_text(_SAMHAIN_CONFIG)
    libraries = ":".join(sorted({str(file.parent) for file in unpacked.rglob("*.so.*")}))
    program = str(unpacked / "usr/sbin/samhain")
    surroundings = f"mount --bind {etc} /etc && LD_LIBRARY_PATH={libraries} exec "
    prefix = ("unshare", "--mount", "sh", "-c", surroundings + '"$0" "$@"')
    there.run(*prefix, program, "-t", "init", "--foreground").check_returncode()
    return Contender(SAMHAIN, (program, "-t", "check", "--foreground"), prefix)


def copied_package(directory: Path) -> Path:
    """Where a copy of the package is, so that nobody edits what is being measured."""
    unused = shutil.ignore_patterns("__pycache__")
    package = "check_portcheck"
    shutil.copytree(_HERE.parent / package, directory / "packages" / package, ignore=unused)
    return directory / "packages"


def compiled(name: str, directory: Path) -> str:
    """The program made of a C file here."""
    program = str(directory / name)
    subprocess.run(["cc", "-O2", "-o", program, _HERE / f"{name}.c"], check=True)
    return program
