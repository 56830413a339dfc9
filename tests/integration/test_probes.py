from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, LINK_LOCAL

from check_portcheck.kernel import interfaces
from check_portcheck.model import Choice
from check_portcheck.probing import probes

if TYPE_CHECKING:
    from namespace import Namespace

    from check_portcheck.model import Interface

    Pair = tuple[Namespace, Namespace]

ALL_PORTS = range(65536)
FEW = range(40000, 40100)
"""The ports that clients get after few_client_ports()."""


def interface_of(there: Namespace, address: str) -> Interface:
    with there.entered():
        choice = Choice(address, "--interface")
        return interfaces.choose([choice], [], official=False).interfaces[0]


def few_client_ports(there: Namespace) -> None:
    """Any scanner's own ports are now among FEW, where a careless one meets itself for sure."""
    there.shell(f"sysctl -qw net.ipv4.ip_local_port_range='{FEW[0]} {FEW[-1]}'")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", IPV4, IPV6, LINK_LOCAL])
def test_tcp_sweep_finds_listeners_and_nothing_else(pair: Pair, address: str) -> None:
    here, _ = pair
    interface = interface_of(here, address)
    with here.listener(address) as one, here.listener(address) as two, here.entered():
        listening = {one.getsockname()[1], two.getsockname()[1]}
        answers = probes.sweep_tcp(interface, ALL_PORTS)
    assert (set(answers.open), answers.undecided, answers.unasked) == (listening, [], [])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", IPV4, IPV6, LINK_LOCAL])
def test_udp_sweep_leaves_open_ports_undecided_and_few_others(pair: Pair, address: str) -> None:
    here, _ = pair
    interface = interface_of(here, address)
    with here.bound(socket.SOCK_DGRAM, address) as service, here.entered():
        answers = probes.sweep_udp(interface, range(1, 65536))
        again = probes.sweep_udp(interface, answers.undecided)
        port = service.getsockname()[1]
    assert port in answers.undecided
    # Each socket of the sweep meets itself when it comes to its own port.
    assert len(answers.undecided) < 50
    assert (again.undecided, answers.open, answers.unasked) == ([port], [], [])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", IPV4, LINK_LOCAL])
def test_tcp_sweep_never_meets_itself(pair: Pair, address: str) -> None:
    here, _ = pair
    few_client_ports(here)
    interface = interface_of(here, address)
    with here.entered():
        for _ in range(20):
            answers = probes.sweep_tcp(interface, FEW)
            assert (answers.open, answers.undecided, answers.unasked) == ([], [], [])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", IPV4, LINK_LOCAL])
def test_sockets_that_ask_at_once_never_meet_each_other(pair: Pair, address: str) -> None:
    here, _ = pair
    few_client_ports(here)
    interface = interface_of(here, address)
    with here.entered():
        for _ in range(20):
            answers = probes.ask_patiently(interface, FEW, 0.1)
            assert answers.open == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", LINK_LOCAL])
def test_patient_look_tells_open_from_silent_from_closed(pair: Pair, address: str) -> None:
    here, _ = pair
    interface = interface_of(here, address)
    with here.listener(address) as one, here.full_listener(address) as full:
        ports = {"open": one.getsockname()[1], "full": full.getsockname()[1]}
        with here.entered():
            answers = probes.ask_patiently(interface, [1, *ports.values()], 0.1)
    assert (answers.open, answers.undecided) == ([ports["open"]], [ports["full"]])


def test_no_source_port_is_an_error_not_an_answer(empty: Namespace) -> None:
    few_client_ports(empty)
    interface = interface_of(empty, "127.0.0.1")
    with contextlib.ExitStack() as stack:
        for port in FEW:
            stack.enter_context(empty.bound(socket.SOCK_DGRAM, "127.0.0.1", port))
            stack.enter_context(empty.bound(socket.SOCK_STREAM, "127.0.0.1", port))
        with empty.entered():
            with pytest.raises(OSError, match="in use"):
                probes.sweep_udp(interface, [1])
            with pytest.raises(OSError, match="in use"):
                probes.sweep_tcp(interface, [1])


@pytest.mark.parametrize("hook", ["input", "output"])
@pytest.mark.parametrize(
    ("verdict", "decided"),
    [
        ("reject with tcp reset", True),
        ("reject with icmpx type admin-prohibited", False),
        ("drop", False),
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_a_filter_does_to_tcp(
    empty: Namespace, address: str, verdict: str, hook: str, *, decided: bool
) -> None:
    interface = interface_of(empty, address)
    empty.rules(filtering(hook, "tcp dport 100-200", verdict))
    with empty.listener(address, 150), empty.listener(address, 250), empty.entered():
        answers = probes.sweep_tcp(interface, range(50, 300))
    assert answers.open == [250]
    assert sorted(answers.undecided) == ([] if decided else list(range(100, 201)))


@pytest.mark.parametrize("hook", ["input", "output"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_refusal_by_icmp_may_be_lost_to_tcp_but_is_never_open(
    empty: Namespace, address: str, hook: str
) -> None:
    # While connect() holds the socket, an ICMP error is but a soft one (tcp_v4_err).
    interface = interface_of(empty, address)
    verdict = "reject with icmpx type port-unreachable"
    empty.rules(filtering(hook, "tcp dport 100-200", verdict))
    with empty.listener(address, 150), empty.listener(address, 250), empty.entered():
        answers = probes.sweep_tcp(interface, range(50, 300))
    assert answers.open == [250]
    assert set(answers.undecided) <= set(range(100, 201))


@pytest.mark.parametrize(
    ("hook", "verdict", "decided"),
    [
        ("input", "drop", False),
        ("output", "drop", False),
        ("input", "reject", True),
        ("input", "reject with icmpx type admin-prohibited", True),
        ("output", "reject", False),
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_a_filter_does_to_udp(
    empty: Namespace, address: str, verdict: str, hook: str, *, decided: bool
) -> None:
    interface = interface_of(empty, address)
    empty.rules(filtering(hook, "udp dport 100-200", verdict))
    with empty.bound(socket.SOCK_DGRAM, address, 150), empty.entered():
        answers = probes.sweep_udp(interface, range(50, 300))
    assert (answers.open, answers.unasked) == ([], [])
    assert answers.undecided == ([] if decided else list(range(100, 201)))


def filtering(hook: str, match: str, verdict: str) -> str:
    chain = f"chain c {{ type filter hook {hook} priority 0; {match} {verdict}; }}"
    return f"table inet filter {{\n{chain}\n}}\n"


def test_a_filter_on_all_ports_ends_the_asking(empty: Namespace) -> None:
    interface = interface_of(empty, "127.0.0.1")
    empty.rules(filtering("input", "meta l4proto { tcp, udp }", "drop"))
    with empty.entered():
        answers = probes.sweep_udp(interface, range(1, 65536))
        assert answers.undecided + answers.unasked == list(range(1, 65536))
        assert len(answers.unasked) > 60000
        answers = probes.sweep_tcp(interface, range(8192))
        assert sorted(answers.undecided) == list(range(8192))
