"""Under sudo nothing that the caller controls changes what runs."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from machine import NAGIOS, PLUGIN, POLICY, PYTHON, SHIPPED, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program

SUDOERS = "/etc/sudoers.d/check_portcheck"
COMMAND = ("sudo", "-n", PYTHON, "-I", PLUGIN, "--config", POLICY)
TRAP, SPRUNG = "/tmp/trap", "/tmp/sprung"
START = "import sys\nfrom check_portcheck.__main__ import main\nsys.exit(main())\n"
SETTINGS = """[PortCheck]
PortCheckOfficial = no
PortCheckInterface = 127.0.0.1
PortCheckMinPort = 65500
"""

VARIABLES = {
    "PYTHONPATH": TRAP,
    "PYTHONHOME": TRAP,
    "PYTHONSTARTUP": f"{TRAP}/sitecustomize.py",
    "PYTHONUSERBASE": TRAP,
    "PYTHONINSPECT": "1",
    "PYTHONIOENCODING": "nosuch",
    "PYTHONWARNINGS": "error",
    "PYTHONDEBUG": "1",
    "PYTHONVERBOSE": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONDEVMODE": "1",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONMALLOC": "nosuch",
    "PYTHONHASHSEED": "nosuch",
    "PYTHONUTF8": "7",
    "PYTHONPLATLIBDIR": TRAP,
    "PYTHONPYCACHEPREFIX": TRAP,
    "PYTHONBREAKPOINT": "sitecustomize.spring",
    "PYTHONEXECUTABLE": f"{TRAP}/python",
    "SUDO_UID": "12345",
    "LD_LIBRARY_PATH": TRAP,
    "HOME": TRAP,
}


@pytest.fixture(name="host")
def host_fixture(program: Program) -> Iterator[Machine]:
    """A host where plugin, interpreter and sudo are as docs/install.md installs them."""
    with machine("isolated", program) as here:
        here.shell(
            f"""
            mount -t tmpfs -o mode=1777 tmpfs /tmp
            rm {PYTHON}
            ln -s /usr/bin/python3 {PYTHON}
            echo "home = /usr/bin" >/opt/check_portcheck/pyvenv.cfg
            mkdir -p /opt/check_portcheck/lib/python3.11
            """
        )
        site = "/opt/check_portcheck/lib/python3.11/site-packages"
        there = here.path(site)
        subprocess.run(["cp", "-r", program.packages, there], check=True)
        here.write(PLUGIN, START, mode=0o755)
        here.write(POLICY, SETTINGS)
        here.install("nrpe/sudoers", SUDOERS, mode=0o440)
        here.has("127.0.0.1", "isolated")
        set_trap(here)
        yield here


def set_trap(here: Machine) -> None:
    """Modules of the caller's that tell when they are loaded."""
    spring = f"open({SPRUNG!r}, 'a').write(__name__)\n"
    for name in ("sitecustomize", "usercustomize", "nagiosplugin", "psutil", "check_portcheck"):
        for directory in (TRAP, f"{TRAP}/.local/lib/python3.11/site-packages"):
            here.write(f"{directory}/{name}.py", spring)
    here.write(f"{TRAP}/argparse.py", spring)


def told(here: Machine, script: str) -> str:
    """What sudo's command tells that a script runs as ``"$@"``, without the time."""
    done = here.run("sh", "-c", script, "sh", *COMMAND, user=NAGIOS)
    assert done.stderr == ""
    return f"{re.sub('time=[0-9.]+s', '', done.stdout)}exit {done.returncode}\n"


def test_nothing_of_the_caller_changes_what_runs(host: Machine) -> None:
    plain = told(host, 'exec "$@"')
    assert plain.startswith("PORTCHECK OK - ")
    # The loader complains of LD_PRELOAD in env and sudo themselves, as it should.
    variables = " ".join(
        f"{name}={value}" for name, value in VARIABLES.items() if name != "LD_PRELOAD"
    )
    assert len(VARIABLES) == 22
    ways = (
        *(f'exec env {name}={value} "$@"' for name, value in VARIABLES.items()),
        f'exec env {variables} "$@"',
        f'cd {TRAP}; exec "$@"',
        f'exec "$@" <{TRAP}/psutil.py',
        'exec "$@" <&-',
    )
    for way in ways:
        assert told(host, way) == plain, way
    assert not host.path(SPRUNG).exists()


def test_the_trap_springs_without_isolation(host: Machine) -> None:
    host.shell(f"cd {TRAP}; PYTHONPATH={TRAP} {PYTHON} -c 'import psutil'")
    assert host.path(SPRUNG).exists()


def test_the_line_is_the_one_that_is_shipped() -> None:
    assert " ".join(COMMAND[2:]) in (SHIPPED / "nrpe/sudoers").read_text()
