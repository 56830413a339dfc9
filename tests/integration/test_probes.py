from __future__ import annotations

import contextlib
import itertools
import resource
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, LINK_LOCAL, PATIENCE

from check_portcheck.kernel import interfaces
from check_portcheck.model import Choice, Protocol
from check_portcheck.probing import clients, patience, probes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Namespace

    from check_portcheck.model import Interface

    Pair = tuple[Namespace, Namespace]

pytestmark = pytest.mark.once

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
            answers = patience.ask(interface, Protocol.TCP, FEW, 0.1)
            assert answers.open == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", LINK_LOCAL])
def test_patient_look_tells_open_from_silent_from_closed(pair: Pair, address: str) -> None:
    here, _ = pair
    interface = interface_of(here, address)
    with here.listener(address) as one, here.full_listener(address) as full:
        ports = {"open": one.getsockname()[1], "full": full.getsockname()[1]}
        with here.entered():
            answers = patience.ask(interface, Protocol.TCP, [1, *ports.values()], 0.1)
    assert (answers.open, answers.undecided) == ([ports["open"]], [ports["full"]])


@contextlib.contextmanager
def all_client_ports_bound(there: Namespace, address: str) -> Iterator[None]:
    """Nobody gets a port of the range for clients any more: anybody may bind them all."""
    few_client_ports(there)
    with contextlib.ExitStack() as stack:
        for port, kind in itertools.product(FEW, (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            stack.enter_context(there.bound(kind, address, port))
        yield


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", LINK_LOCAL])
def test_where_the_range_for_clients_is_taken_others_ports_are_asked_from(
    pair: Pair, address: str
) -> None:
    here, _ = pair
    interface = interface_of(here, address)
    ports = range(1, 2000)
    with (
        all_client_ports_bound(here, address),
        here.listener(address, 1500),
        here.bound(socket.SOCK_DGRAM, address, 1600),
        here.entered(),
    ):
        tcp, udp = probes.sweep_tcp(interface, ports), probes.sweep_udp(interface, ports)
        late = patience.ask(interface, Protocol.TCP, [1499, 1500], 0.1)
        asked = patience.ask(interface, Protocol.UDP, [1599, 1600], 0.1)
    assert (tcp.open, tcp.undecided, tcp.failure) == ([1500], [], "")
    assert (udp.undecided, udp.failure) == ([1600], "")
    assert (late.open, late.undecided, late.failure) == ([1500], [], "")
    assert (asked.undecided, asked.failure) == ([1600], "")


@pytest.mark.parametrize("protocol", Protocol)
def test_one_port_left_in_the_range_for_clients_is_asked_too(
    empty: Namespace, protocol: Protocol
) -> None:
    empty.shell("sysctl -qw net.ipv4.ip_local_port_range='40000 40000'")
    interface = interface_of(empty, "127.0.0.1")
    sweep = probes.sweep_tcp if protocol is Protocol.TCP else probes.sweep_udp
    with empty.entered():
        answers = sweep(interface, range(39990, 40010))
    assert (answers.open, answers.undecided, answers.unasked) == ([], [], [])


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """This process may open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_where_nothing_can_be_sent_the_reason_is_told_and_nothing_is_decided(
    empty: Namespace,
) -> None:
    interface = interface_of(empty, "127.0.0.1")
    with empty.entered():
        clients.crowd()  # which asks for more descriptors, once
        with no_descriptors():
            told = [
                probes.sweep_tcp(interface, [1, 2]),
                probes.sweep_udp(interface, [1, 2]),
                patience.ask_alone(interface, Protocol.TCP, 1, 0.1),
                patience.ask_alone(interface, Protocol.UDP, 1, 0.1),
            ]
    for answers in told:
        assert (answers.failure, answers.open, answers.undecided) == ("Too many open files", [], [])
    assert [answers.unasked for answers in told] == [[1, 2], [1, 2], [1], [1]]


def test_an_ipv6_address_that_only_a_route_makes_local_is_asked(empty: Namespace) -> None:
    empty.shell("ip route add local 2001:db8:5::/64 dev lo")
    interface = interface_of(empty, "2001:db8:5::7")
    with empty.listener("::", 1500), empty.bound(socket.SOCK_DGRAM, "::", 1600), empty.entered():
        tcp = probes.sweep_tcp(interface, range(1, 2000))
        udp = probes.sweep_udp(interface, range(1, 2000))
    assert (tcp.open, tcp.undecided, tcp.failure) == ([1500], [], "")
    assert (udp.undecided, udp.failure) == ([1600], "")


@pytest.mark.parametrize(
    ("address", "gone"),
    [(IPV6, f"ip address del {IPV6}/64 dev eth0"), (LINK_LOCAL, "ip link del eth0")],
)
def test_an_ipv6_address_that_has_gone_is_not_asked(pair: Pair, address: str, gone: str) -> None:
    here, _ = pair
    interface = interface_of(here, address)
    here.shell(gone)
    with here.entered():
        late = [patience.ask(interface, protocol, [1], 0.1) for protocol in Protocol]
        for answers in (
            probes.sweep_tcp(interface, [1]),
            probes.sweep_udp(interface, [1]),
            *late,
        ):
            # No failure: addresses come and go.
            assert (answers.failure, answers.unasked, answers.undecided) == ("", [1], [])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", LINK_LOCAL])
def test_a_datagram_that_is_answered_shows_an_open_port(pair: Pair, address: str) -> None:
    here, _ = pair
    interface = interface_of(here, address)
    with here.bound(socket.SOCK_DGRAM, address) as echo, here.entered():
        port = echo.getsockname()[1]
        done = threading.Event()
        answering = threading.Thread(target=answer, args=(echo, done))
        answering.start()
        try:
            answers = patience.ask(interface, Protocol.UDP, [1, port], PATIENCE)
        finally:
            done.set()
            answering.join()
    assert (answers.open, answers.undecided) == ([port], [])


def answer(echo: socket.socket, done: threading.Event) -> None:
    """Send back what comes, until it is done."""
    echo.settimeout(0.05)
    while not done.is_set():
        with contextlib.suppress(TimeoutError):
            data, sender = echo.recvfrom(1)
            echo.sendto(data, sender)


@pytest.mark.parametrize("hook", ["input", "output"])
@pytest.mark.parametrize(
    ("verdict", "decided"),
    [
        ("reject with tcp reset", True),
        ("reject with icmpx type port-unreachable", True),
        ("reject with icmpx type host-unreachable", False),
        ("reject with icmpx type admin-prohibited", False),
        ("drop", False),
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_a_filter_does_to_tcp(
    empty: Namespace, address: str, verdict: str, hook: str, *, decided: bool
) -> None:
    # Few ports: the kernel limits the ICMP messages that an output chain makes it send.
    interface = interface_of(empty, address)
    empty.rules(filtering(hook, "tcp dport 100-119", verdict))
    with empty.listener(address, 110), empty.listener(address, 250), empty.entered():
        answers = probes.sweep_tcp(interface, range(50, 300))
    assert answers.open == [250]
    assert sorted(answers.undecided) == ([] if decided else list(range(100, 120)))


@pytest.mark.parametrize(
    ("verdict", "decided"),
    [
        ("reject", True),
        ("reject with icmpx type host-unreachable", False),
        ("reject with icmpx type admin-prohibited", False),
        ("drop", False),
    ],
)
@pytest.mark.parametrize("hook", ["input", "output"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_a_filter_does_to_udp(
    empty: Namespace, address: str, verdict: str, hook: str, *, decided: bool
) -> None:
    interface = interface_of(empty, address)
    empty.rules(filtering(hook, "udp dport 100-119", verdict))
    with empty.bound(socket.SOCK_DGRAM, address, 110), empty.entered():
        answers = probes.sweep_udp(interface, range(50, 300))
    assert (answers.open, answers.unasked) == ([], [])
    assert answers.undecided == ([] if decided else list(range(100, 120)))


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
