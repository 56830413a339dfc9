"""A small server, on which the guides' sessions are run: sshd, nginx and NRPE on Debian's files."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING

from machine import PLUGIN, SHIPPED, machine
from namespace import finished, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program
    from sessions import Step

NAME = "web1.example.org"
ADDRESS = "192.0.2.10"
USER = "games"
"""Who types what stands behind ``$``: a user without rights that every Debian has."""

# A loaded machine needs more than ten seconds. What is printed of that limit is taken out again.
_PLUGIN = """#!/bin/sh
export PYTHONSAFEPATH=1 PYTHONPATH={packages}
check="/usr/bin/python3 -m check_portcheck"
case " $* " in
    *" --check-config "*) exec $check "$@" ;;
    *" --print-policy "*) $check --timeout 240 "$@" | sed '/^PortCheckTimeout = 240$/d' ;;
    *) exec $check --timeout 240 "$@" ;;
esac
"""

# No systemd runs there, and all packages are installed already.
_SYSTEMCTL = """#!/bin/sh
exec service "$2" "$1" >/dev/null 2>&1
"""
_APT = """#!/bin/sh
shift
exec dpkg --status "$@" >/dev/null
"""

# Without IPv6, so that a full scan takes half the time.
_SET_UP = f"""
sysctl -qw net.ipv6.conf.all.disable_ipv6=1
ip link add eth0 type bridge
ip address add {ADDRESS}/24 dev eth0
ip link set eth0 up
mkdir -p /var/log/nginx /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/var/lib,upperdir=/mnt/upper,workdir=/mnt/work overlay /var/lib
mount --bind /usr/lib/nagios/plugins/systemctl /usr/bin/systemctl
mount --bind /usr/lib/nagios/plugins/apt /usr/bin/apt
rm /usr/lib/nagios/plugins/systemctl /usr/lib/nagios/plugins/apt
"""


@contextlib.contextmanager
def server(program: Program, *services: str) -> Iterator[Machine]:
    """A server with its services started."""
    with machine(NAME, program) as here:
        here.has(ADDRESS, NAME)
        here.write(PLUGIN, _PLUGIN.format(packages=program.packages), mode=0o755)
        here.write("/usr/lib/nagios/plugins/systemctl", _SYSTEMCTL, mode=0o755)
        here.write("/usr/lib/nagios/plugins/apt", _APT, mode=0o755)
        here.shell(_SET_UP)
        for service in services:
            here.shell(f"systemctl start {service}")
        yield here


def printed(here: Machine, step: Step) -> str:
    """What a step of a session prints, typed in the project's directory.

    What it starts in the background is there to listen: it has opened a port when this returns.
    """
    user = 0 if step.prompt.endswith("#") else USER
    before = _listening(here)
    path = f"PATH=$PATH:{PurePath(PLUGIN).parent}"
    command = f"cd {shlex.quote(str(SHIPPED))}\n{path}\nexec 2>&1\n{step.command}"
    output = finished(here.start("sh", "-c", command, user=user)).stdout
    if step.command.endswith("&"):
        until(lambda: _listening(here) != before, f"nothing listens after {step.command}")
    return output


def _listening(here: Machine) -> str:
    return here.shell("ss --tcp --listening --numeric --no-header")
