from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from daemons import STATES, Nrpe, policy
from machine import NAGIOS, PLUGIN, POLICY, PYTHON, SHIPPED, Result, machine, stand_alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program

pytestmark = pytest.mark.daemons

NAME = "web1.example.org"
LARGEST_OLD_PACKET = 1023
"""Bytes of output in a packet of version 2 (MAX_PACKETBUFFER_LENGTH in NRPE's common.h)."""
LONG_POLICY = [f"PortCheckRequired = *:{port}/tcp" for port in range(1000, 1200)]
"""More than the plugin ever prints."""
SUDOERS = "/etc/sudoers.d/check_portcheck"
COMMANDS = "/etc/nagios/nrpe.d/check_portcheck.cfg"


@pytest.fixture(name="nrpe", scope="module")
def nrpe_fixture(program: Program) -> Iterator[Nrpe]:
    """NRPE on a host of its own."""
    with host(program) as here:
        nrpe = Nrpe(here)
        nrpe.start()
        yield nrpe


@pytest.fixture(name="sudoer")
def sudoer_fixture(program: Program) -> Iterator[Machine]:
    """A host on which sudo knows the shipped file."""
    with host(program) as here:
        here.install("nrpe/sudoers", SUDOERS, mode=0o440)
        yield here


@contextlib.contextmanager
def host(program: Program) -> Iterator[Machine]:
    with machine(NAME, program) as here:
        stand_alone(here, "192.0.2.10")
        here.listen(22, 8080)
        yield here


@pytest.mark.parametrize("options", [(), ("-3",), ("-2",)], ids=["v4", "v3", "v2"])
@pytest.mark.parametrize("state", STATES)
def test_the_server_gets_what_the_plugin_printed(
    nrpe: Nrpe, state: int, options: tuple[str, ...]
) -> None:
    nrpe.machine.write(POLICY, policy(STATES[state]))
    answer = nrpe.ask(*options, "-c", "check_portcheck")
    assert answer.returncode == state
    run = nrpe.machine.run_behind(Result.of(answer.stdout, answer.returncode))
    assert (run.arguments, run.user) == (("--config", POLICY), "nagios")
    assert answer.stdout.rstrip("\n") == run.output.rstrip("\n")


def test_an_old_packet_has_room_for_the_whole_first_line(nrpe: Nrpe) -> None:
    nrpe.machine.write(POLICY, policy(*LONG_POLICY))
    answer = nrpe.ask("-2", "-c", "check_portcheck")
    assert answer.returncode == 2
    received = answer.stdout.removesuffix("\n")
    [printed] = [run.output for run in nrpe.machine.runs() if run.output.startswith(received)]
    assert len(received) == LARGEST_OLD_PACKET < len(printed)
    assert received.splitlines()[0] == printed.splitlines()[0]


def test_a_new_packet_has_room_for_all(nrpe: Nrpe) -> None:
    nrpe.machine.write(POLICY, policy(*LONG_POLICY))
    answer = nrpe.ask("-c", "check_portcheck")
    run = nrpe.machine.run_behind(Result.of(answer.stdout, answer.returncode))
    assert len(run.output) > 7000


def test_arguments_from_the_network_are_refused(nrpe: Nrpe) -> None:
    before = len(nrpe.machine.runs())
    answer = nrpe.ask("-c", "check_portcheck", "-a", "--optional=*:*/tcp")
    assert answer.returncode == 3
    assert len(nrpe.machine.runs()) == before


def test_sudo_shows_the_processes(sudoer: Machine) -> None:
    nrpe = Nrpe(sudoer)
    shipped = (SHIPPED / "nrpe/check_portcheck.cfg").read_text()
    sudoer.write(
        COMMANDS, shipped.replace("\ncommand[", "\n#-").replace("\n#command[", "\ncommand[")
    )
    nrpe.start()
    sudoer.write(POLICY, policy(STATES[3]))
    answer = nrpe.ask("-c", "check_portcheck")
    run = sudoer.run_behind(Result.of(answer.stdout, answer.returncode))
    assert (run.code, run.arguments, run.user) == (0, ("--config", POLICY), "root")


def test_sudo_accepts_the_file(sudoer: Machine) -> None:
    assert f"{SUDOERS}: parsed OK" in sudoer.shell("visudo -c")


@pytest.mark.parametrize(
    "arguments",
    [(), ("--config", "/tmp/policy.conf"), ("--config", POLICY, "--state", "/etc/passwd")],
    ids=["none", "others", "more"],
)
def test_sudo_allows_no_other_arguments(sudoer: Machine, arguments: tuple[str, ...]) -> None:
    refused = sudoer.run("sudo", "-n", PYTHON, "-I", PLUGIN, *arguments, user=NAGIOS)
    assert refused.returncode == 1
    assert sudoer.runs() == []
