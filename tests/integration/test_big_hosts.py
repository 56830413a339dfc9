"""Machines with more addresses than time: what comes first, and in how many runs all is done."""

from __future__ import annotations

import itertools
import os
import socket
from typing import TYPE_CHECKING

import pytest

from check_portcheck.deadline import Deadline
from check_portcheck.kernel import interfaces
from check_portcheck.model import Choice, Earlier, Look, Method, Protocol
from check_portcheck.probing import look
from check_portcheck.probing.portset import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from namespace import Namespace

    from check_portcheck.model import Interface

pytestmark = pytest.mark.once

OWN = ("192.0.2.7", "2001:db8::7")
ENDS = tuple(f"198.51.100.{number}" for number in range(1, 5))
PORTS = range(20000, 20000 + 2 * 8192)
"""Two blocks."""
FORWARDED = (20001, 30001)
"""A port in each block that leads elsewhere: only a probe finds it."""

MACHINE = f"""
ip link add eth0 type bridge
ip link set eth0 addrgenmode none up
ip address add {OWN[0]}/24 dev eth0
ip address add {OWN[1]}/64 dev eth0 nodad
ip address add 127.0.0.2 dev lo
"""
CONTAINER = """
ip link add {end} type veth peer name c{end}
ip link set {end} addrgenmode none up
ip address add {address}/32 dev {end}
"""
RULES = """
table inet nat {
    chain output {
        type nat hook output priority -100
        tcp dport { 20001, 30001 } redirect to :9999
    }
}
"""


@pytest.fixture(name="big")
def big_fixture(empty: Namespace) -> Iterator[Namespace]:
    """A machine with four containers, whose ends come before its own device."""
    for number, address in enumerate(ENDS):
        empty.shell(CONTAINER.format(end=f"veth{number}", address=address))
    empty.shell(MACHINE)
    empty.rules(RULES)
    with empty.entered(), socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::", 9999))
        listener.listen(4096)  # nobody accepts
        yield empty


def chosen(there: Namespace) -> Sequence[Interface]:
    with there.entered():
        return interfaces.choose([Choice("all", "--interface")], [], official=False).interfaces


def short_time(looks: int) -> Deadline:
    """A deadline after so many looks at the clock by each probing process, whatever the time."""
    here, ticks = os.getpid(), itertools.count()
    return Deadline.after(looks, lambda: 0.0 if os.getpid() == here else float(next(ticks)))


def probed(found: Look) -> set[tuple[str, int]]:
    """The blocks that were probed, by address and the port that leads elsewhere."""
    return {
        (interface.address, service.port.number)
        for service in found.services
        for interface in service.interfaces
        if service.no_socket
    }


def blocks(*addresses: str) -> set[tuple[str, int]]:
    return set(itertools.product(addresses, FORWARDED))


def test_what_others_can_reach_comes_first_and_later_runs_do_the_rest(big: Namespace) -> None:
    scanned = chosen(big)
    wanted = {(each, Protocol.TCP): PortSet(PORTS) for each in scanned}
    every = blocks(*OWN, *ENDS, "127.0.0.1", "127.0.0.2", "::1")
    done: set[tuple[str, int]] = set()
    first: Look | None = None
    resume: int | None = 0
    runs = 0
    while done != every:
        with big.entered():
            found = look.look(Method.FULL, scanned, wanted, short_time(8), Earlier(resume))
        done |= probed(found)
        first = first or found
        resume, runs = found.coverage.resume, runs + 1
        assert runs <= len(every)
    assert first
    assert blocks(*OWN) <= probed(first) < every
    assert len(probed(first) & blocks(*ENDS)) < len(probed(first)) / 2
    assert first.coverage.probed < first.coverage.ports
    assert runs <= first.coverage.runs + 1


def test_what_was_found_is_looked_at_first_whatever_the_time(big: Namespace) -> None:
    scanned = chosen(big)
    wanted = {(each, Protocol.TCP): PortSet(PORTS) for each in scanned}
    targets = [(each, Protocol.TCP) for each in scanned if each.address in ENDS]
    before = {target: {20001, 20002, 1} for target in targets[:1]}
    for earlier, expected in ((Earlier(0, before), {(ENDS[0], 20001)}), (Earlier(0), set())):
        with big.entered():
            found = look.look(Method.FULL, scanned, wanted, short_time(1), earlier)
        assert probed(found) == expected
        assert found.unanswered == ()
