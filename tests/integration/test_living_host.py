"""What comes and goes on a living host neither stops, blinds nor floods the check."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from namespace import IPV4

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Check, Namespace, Report

pytestmark = pytest.mark.once

TABLE = ("--method", "table", "--no-official")
NOW = (*TABLE, "--confirm", "0")

_BIND = """
import socket, sys
kind, address, port, device = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
made = socket.socket(family, getattr(socket, kind))
if device:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
made.bind(socket.getaddrinfo(address, int(port), family, type=made.type)[0][4])
if kind == "SOCK_STREAM":
    made.listen()
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def running(there: Namespace, program: str, *arguments: object) -> Iterator[None]:
    """A Python program in the namespace, from when it says that it is ready to the end."""
    command = (sys.executable, "-c", program, *map(str, arguments))
    with there.start(*command, stdin=-1) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def bound(
    there: Namespace, address: str, port: int, *, udp: bool = False, device: str = ""
) -> contextlib.AbstractContextManager[None]:
    """A socket that is bound in ways of which a test's own process could not."""
    kind = "SOCK_DGRAM" if udp else "SOCK_STREAM"
    return running(there, _BIND, kind, address, port, device)


def found(report: Report) -> list[tuple[str, str]]:
    """Kind and item of each finding."""
    return [(each["kind"], each["item"]) for each in report["findings"]]


# What is not there


@pytest.mark.parametrize("listed", ["required", "optional", "ignore", "skip"])
@pytest.mark.parametrize("absent", ["192.0.2.250", "2001:db8::250", "docker0", "fe80::9%docker0"])
def test_a_rule_for_what_is_not_here_hides_nothing(check: Check, listed: str, absent: str) -> None:
    where = f"[{absent}]" if ":" in absent else absent
    with check.there.listener(IPV4, 4444):
        report = check.report(*NOW, "--interface", IPV4, f"--{listed}", f"{where}:22/tcp")
    assert report["state"] == "CRITICAL"
    expected = [("unexpected", "4444/tcp")]
    assert found(report) == [("unverified", "22/tcp")] * (listed == "required") + expected


def test_a_required_rule_for_a_network_without_an_address_here_asks_nothing(check: Check) -> None:
    report = check.report(*NOW, "--interface", IPV4, "--required", "198.51.100.8/32:25/tcp")
    assert (report["state"], report["findings"]) == ("OK", [])


@pytest.mark.parametrize("chosen", [("--interface", "192.0.2.250"), ("--device", "wg0")])
def test_what_is_chosen_and_not_here_is_told_and_all_else_judged(
    check: Check, chosen: tuple[str, str]
) -> None:
    with check.there.listener(IPV4, 4444):
        report = check.report(*NOW, "--interface", IPV4, *chosen)
    assert (report["state"], found(report)) == ("CRITICAL", [("unexpected", "4444/tcp")])
    (failure,) = report["failures"]
    assert chosen[1] in failure
    alone = check.report(*NOW, *chosen)
    assert (alone["state"], alone["interfaces"]) == ("UNKNOWN", [])


# Names


def labels(check: Check) -> list[str]:
    """The labels of performance data."""
    output = check.output(*NOW, "--interface", "all")
    perfdata = output.splitlines()[0].partition(" | ")[2]
    return [each.partition("=")[0] for each in perfdata.split()]


def services(check: Check) -> list[str]:
    """The names of Checkmk's services."""
    lines = check(*NOW, "--interface", "all", "--format", "checkmk").stdout.splitlines()
    return [line.split('"')[1] for line in lines]


def container(there: Namespace, number: int) -> None:
    there.shell(
        f"""
        ip link add veth{number} type veth peer name peer{number}
        ip address add 198.51.100.{number}/32 dev veth{number}
        ip link set veth{number} up
        ip link set peer{number} up
        """
    )


@pytest.mark.parametrize("count", [5, 100])
def test_a_containers_restart_changes_no_label(check: Check, count: int) -> None:
    check.there.shell("ip link add br0 type bridge; ip link set br0 up")
    for number in range(1, count + 1):
        container(check.there, number)
    before = labels(check), services(check)
    assert [each for each in before[0] if each.startswith("open_")] == [
        "open_lo",
        "open_veth",
        "open_br0",
        "open_other",
    ]
    assert before[1] == [f"Portcheck {each}" for each in ("lo", "veth", "br0", "other")]
    check.there.shell("ip link delete veth1")
    container(check.there, count + 1)
    assert (labels(check), services(check)) == before
    assert len(check.output(*NOW, "--interface", "all").encode()) < 8192


# Sockets of no scanned address


def test_every_open_port_of_the_machine_is_found(check: Check) -> None:
    there = check.there
    there.shell(
        """
        ip link add br0 type bridge
        ip address add 198.51.100.1/24 dev br0
        ip link add bare type veth peer name far
        ip link set bare addrgenmode none up
        ip route add local 203.0.113.0/24 dev lo
        """
    )
    sockets: list[tuple[tuple[str, int], dict[str, Any], str]] = [
        (("127.0.0.2", 4001), {}, "127.0.0.2:4001/tcp"),
        (("224.0.0.1", 4002), {"udp": True}, "224.0.0.1:4002/udp"),
        (("192.0.2.255", 4003), {"udp": True}, "192.0.2.255:4003/udp"),
        (("ff02::1%eth0", 4004), {"udp": True}, "[ff02::1%eth0]:4004/udp"),
        (("203.0.113.9", 4005), {}, "203.0.113.9:4005/tcp"),
        (("198.51.100.1", 4006), {}, "198.51.100.1:4006/tcp"),
        (("0.0.0.0", 4007), {"device": "bare"}, "0.0.0.0%bare:4007/tcp"),
        ((IPV4, 4008), {"device": "bare"}, f"{IPV4}%bare:4008/tcp"),
    ]
    with contextlib.ExitStack() as stack:
        for (address, port), how, _ in sockets:
            stack.enter_context(bound(there, address, port, **how))
        for method in ("table", "full"):
            range_ = ("--min-port", "4000", "--max-port", "4010", "--confirm", "0")
            options = ("--no-official", "--method", method, "--interface", "all", *range_)
            told = check.output(*options).splitlines()
            lines = "\n".join(told)
            for _, _, text in sockets:
                assert text.rpartition(":")[2] in lines, (method, text)
                assert f"unexpected: {text} " in lines, (method, text, lines)
        only = check.report(*NOW, "--interface", IPV4)
    assert found(only) == [("unexpected", "4008/tcp")]


@pytest.mark.parametrize("rule", ["*:4001/tcp", "127.0.0.0/8:4001/tcp", "127.0.0.2:4001/tcp"])
def test_rules_allow_such_sockets_as_any(check: Check, rule: str) -> None:
    with bound(check.there, "127.0.0.2", 4001):
        report = check.report(*NOW, "--interface", "all", "--optional", rule)
    assert (report["state"], len(report["services"])) == ("OK", 1)


# Clients over UDP


CLIENTS = """
import random, socket, sys, time
held = []
print("ready", flush=True)
while True:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.sendto(b"", ("192.0.2.9", 9))
    held.append((time.monotonic() + float(sys.argv[1]), made))
    while held[0][0] < time.monotonic():
        held.pop(0)[1].close()
    time.sleep(float(sys.argv[2]))
"""

_REPLACED = """
import socket, time
def opened():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("0.0.0.0", 40000))
    return made
server = opened()
print("ready", flush=True)
while True:
    time.sleep(0.3)
    following = opened()
    server.close()
    server = following
"""


@pytest.mark.parametrize(("lifetime", "every"), [(2.0, 0.3), (0.5, 0.01), (2.0, 0.01)])
def test_clients_over_udp_are_no_alarm(check: Check, lifetime: float, every: float) -> None:
    with running(check.there, CLIENTS, lifetime, every):
        report = check.report("--method", "table", "--no-official", "--interface", IPV4)
    assert found(report) == []


def test_a_server_that_replaces_its_socket_is_found(check: Check) -> None:
    with running(check.there, _REPLACED):
        report = check.report("--method", "table", "--no-official", "--interface", IPV4)
    assert found(report) == [("unexpected", "40000/udp")]
