"""Situations at the edge: nothing to ask from, answers of every kind, packets that go elsewhere."""

from __future__ import annotations

import contextlib
import errno
import json
import platform
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, NOBODY, PEER_IPV4, PEER_IPV6, Check, family, opened, unhurried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Namespace, Report

    Pair = tuple[Namespace, Namespace]

pytestmark = pytest.mark.once

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
LOOPBACK = ("--no-official", "--interface", "127.0.0.1")
QUICK = ("--confirm", "0.1")
CLIENTS = range(40000, 40050)
"""The ports that clients get after few_clients()."""


def port_of(made: socket.socket) -> int:
    return int(made.getsockname()[1])


def forwarded(report: Report) -> dict[str, str | None]:
    """What is open without a socket, and where it leads by the report."""
    return {
        f"{each['port']}/{each['protocol']}": (
            each["forwarded_to"] and " ".join(each["forwarded_to"].values())
        )
        for each in report["services"]
        if each["no_socket"]
    }


def redirecting(*rules: str, family: str = "inet") -> str:
    """A chain that changes where the machine's own packets go."""
    body = "\n".join(("type nat hook output priority -100", *rules))
    return f"table {family} nat {{\nchain output {{\n{body}\n}}\n}}\n"


@contextlib.contextmanager
def echo(service: socket.socket) -> Iterator[None]:
    """Meanwhile every datagram is sent back."""
    done = threading.Event()
    service.settimeout(0.05)

    def answer() -> None:
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                data, sender = service.recvfrom(100)
                service.sendto(data, sender)

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        yield
    finally:
        done.set()
        answering.join()


# Nothing to ask from


def few_clients(here: Namespace) -> None:
    here.shell(f"sysctl -qw net.ipv4.ip_local_port_range='{CLIENTS[0]} {CLIENTS[-1]}'")


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("method", ["probe", "full"])
def test_a_forwarded_port_is_found_although_all_client_ports_are_bound(
    alone: Check, method: str, user: int
) -> None:
    here = alone.there
    few_clients(here)
    here.rules(redirecting("tcp dport 777 redirect to :888"))
    options = (*LOOPBACK, *QUICK, "--max-port", "999", "--method", method)
    with contextlib.ExitStack() as stack:
        for port in CLIENTS:
            stack.enter_context(here.bound(STREAM, "127.0.0.1", port))
            stack.enter_context(here.bound(DGRAM, "127.0.0.1", port))
        stack.enter_context(here.listener("127.0.0.1", 888))
        report = alone.report(*options, "--optional", "*:888/tcp", user=user)
    assert (report["state"], set(forwarded(report))) == ("CRITICAL", {"777/tcp"})
    assert report["coverage"]["probed"] == report["coverage"]["ports"]


def test_a_forwarded_port_is_found_although_all_client_ports_are_in_time_wait(
    alone: Check,
) -> None:
    here = alone.there
    few_clients(here)
    here.rules(redirecting("tcp dport 777 redirect to :888"))
    with here.listener("127.0.0.1", 888) as listener:
        for port in CLIENTS:
            with here.bound(STREAM, "127.0.0.1", port) as client:
                client.connect(("127.0.0.1", 888))
                accepted, _ = listener.accept()
            with accepted:  # whose client has closed first
                assert accepted.recv(1) == b""
        report = alone.report(*LOOPBACK, *QUICK, "--max-port", "999")
    assert forwarded(report) == {"777/tcp": "127.0.0.1:888"}
    assert report["coverage"]["probed"] == report["coverage"]["ports"]


_NO_BIND = """
import ctypes, errno, runpy, struct, sys
LOAD, EQUAL, GIVE = 0x20, 0x15, 0x06
steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, int(sys.argv.pop(1))),
         (GIVE, 0, 0, 0x50000 | errno.EADDRINUSE), (GIVE, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(len(steps), ctypes.addressof(program)))) == 0
runpy.run_module("check_portcheck", run_name="__main__", alter_sys=True)
"""
"""Runs the check where every port is in use (seccomp(2))."""

_BIND_CALL = {"x86_64": 49, "aarch64": 200}


def without_ports(check: Check, *options: str) -> Report:
    """What the check reports where there is no source port at all."""
    done = check.there.run(
        check.program.interpreters[0],
        "-c",
        _NO_BIND,
        str(_BIND_CALL[platform.machine()]),
        *unhurried("--format", "json", *options),
        env=check.program.environment,
    )
    assert done.stderr == ""
    report: Report = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("method", ["probe", "full"])
def test_where_nothing_can_be_asked_all_is_unanswered_and_nothing_is_missing(
    alone: Check, method: str
) -> None:
    required = ("--required", "*:99/tcp,98/tcp", "--max-port", "999", "--method", method)
    with alone.there.listener("127.0.0.1", 99):
        report = without_ports(alone, *LOOPBACK, *QUICK, *required)
    assert (report["state"], opened(report)) == ("UNKNOWN", {("127.0.0.1", "tcp", 99)})
    findings = {(each["kind"], each["item"], each["reason"]) for each in report["findings"]}
    reason = "unanswered: no source port to be had"
    assert ("unverified", "98/tcp", reason) in findings
    assert {kind for kind, _, _ in findings} == {"unverified"}
    assert {reason for _, _, reason in findings} == {reason}


def test_what_the_table_lists_is_found_where_nothing_can_be_asked(alone: Check) -> None:
    with alone.there.listener("127.0.0.1", 99):
        report = without_ports(alone, *LOOPBACK, *QUICK, "--max-port", "999")
    assert report["state"] == "CRITICAL"
    assert ("unexpected", "99/tcp") in {(each["kind"], each["item"]) for each in report["findings"]}


# Answers


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("method", ["probe", "full"])
def test_a_redirected_datagram_that_is_answered_shows_an_open_port(
    alone: Check, method: str, user: int
) -> None:
    here = alone.there
    here.rules(redirecting("udp dport 100 redirect to :7000"))
    options = (*LOOPBACK, *QUICK, "--max-port", "999", "--method", method)
    with here.bound(DGRAM, "127.0.0.1", 7000) as service, echo(service):
        report = alone.report(*options, user=user)
    assert forwarded(report) == {"100/udp": None if user else "127.0.0.1:7000"}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("hook", ["input", "output"])
def test_a_refusal_by_icmp_closes_a_port_whatever_listens(
    alone: Check, hook: str, address: str
) -> None:
    here = alone.there
    body = f"type filter hook {hook} priority 0\nth dport 100-110 reject"
    here.rules(f"table inet filter {{\nchain c {{\n{body}\n}}\n}}\n")
    options = ("--no-official", "--interface", address, *QUICK, "--max-port", "200")
    with (
        here.listener(address, 105),
        here.bound(DGRAM, address, 106),
        here.listener(address, 150),
        here.bound(DGRAM, address, 151),
    ):
        report = alone.report(*options, "--method", "probe")
    assert opened(report) == {(address, "tcp", 150), (address, "udp", 151)}
    assert report["coverage"]["filtered"] == 0


@pytest.mark.parametrize("hook", ["input", "output"])
@pytest.mark.parametrize("kind", ["host-unreachable", "admin-prohibited", "no-route"])
def test_a_prohibition_filters_tcp_and_udp_alike(alone: Check, hook: str, kind: str) -> None:
    body = f"type filter hook {hook} priority 0\nth dport 100-104 reject with icmpx {kind}"
    alone.there.rules(f"table inet filter {{\nchain c {{\n{body}\n}}\n}}\n")
    with alone.there.listener("127.0.0.1", 103), alone.there.bound(DGRAM, "127.0.0.1", 104):
        report = alone.report(*LOOPBACK, *QUICK, "--max-port", "200", "--method", "probe")
    assert opened(report) == {("127.0.0.1", "tcp", 103), ("127.0.0.1", "udp", 104)}
    assert report["coverage"]["filtered"] == 2 * 5 - 2


# Where a packet went


NFT = {
    "a set": "tcp dport {{ 8101, 9200 }} dnat ip to {end}",
    "a named set": "tcp dport @ports dnat ip to {end}",
    "a map": "dnat ip to tcp dport map {{ 8101 : {address} . {port}, 9 : 192.0.2.1 . 9 }}",
    "a named map": "dnat ip to tcp dport map @ends",
    "a verdict map": "tcp dport vmap {{ 8101 : jump there, 9 : drop }}",
    "a jump": "jump there",
    "a mark": "meta mark 7 meta l4proto tcp dnat ip to {end}",
    "an address": "ip daddr {own} tcp dport 8101 dnat ip to {end}",
}


def nft_rules(rule: str, end: str) -> str:
    address, _, port = end.partition(":")
    filled = rule.format(end=end, address=address, port=port, own=IPV4)
    return f"""
    table inet nat {{
        set ports {{
            type inet_service
            elements = {{ 8101, 9200 }}
        }}
        map ends {{
            type inet_service : ipv4_addr . inet_service
            elements = {{ 8101 : {address} . {port} }}
        }}
        chain there {{
            tcp dport 8101 dnat ip to {end}
        }}
        chain marking {{
            type filter hook output priority -150
            tcp dport 8101 meta mark set 7
        }}
        chain output {{
            type nat hook output priority -100
            tcp dport 9999 dnat ip to 198.51.100.9:9
            {filled}
        }}
    }}
    """


SCANNED = ("--no-official", "--interface", IPV4, *QUICK, "--min-port", "8000", "--max-port", "8999")


@pytest.mark.parametrize("kind", NFT)
def test_whatever_rule_of_nft_sends_packets_elsewhere_the_end_is_named(
    pair: Pair, check: Check, kind: str
) -> None:
    here, there = pair
    with there.listener(PEER_IPV4) as target:
        end = f"{PEER_IPV4}:{port_of(target)}"
        here.rules(nft_rules(NFT[kind], end))
        report = check.report(*SCANNED)
    assert forwarded(report) == {"8101/tcp": end}


IPTABLES = {
    "dnat": "-A OUTPUT -p tcp --dport 8101 -j DNAT --to {end}",
    "several ports": "-A OUTPUT -p tcp -m multiport --dports 8101,9000 -j DNAT --to {end}",
    "its own chain": """
        -N KUBE-SERVICES
        -N KUBE-SEP
        -A OUTPUT -j KUBE-SERVICES
        -A KUBE-SERVICES -d 198.51.100.1 -p tcp --dport 8102 -j DNAT --to 198.51.100.9:9
        -A KUBE-SERVICES -p tcp --dport 8101 -j KUBE-SEP
        -A KUBE-SEP -p tcp -j DNAT --to {end}
    """,
}


@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy"])
@pytest.mark.parametrize("kind", IPTABLES)
def test_whatever_rule_of_iptables_sends_packets_elsewhere_the_end_is_named(
    pair: Pair, check: Check, kind: str, tool: str
) -> None:
    here, there = pair
    with there.listener(PEER_IPV4) as target:
        end = f"{PEER_IPV4}:{port_of(target)}"
        for line in IPTABLES[kind].format(end=end).strip().splitlines():
            here.shell(f"{tool} -t nat {line.strip()}")
        report = check.report(*SCANNED)
    assert forwarded(report) == {"8101/tcp": end}


def test_an_ipv6_port_is_forwarded_too(pair: Pair, check: Check) -> None:
    here, there = pair
    with there.listener(PEER_IPV6) as target:
        end = f"[{PEER_IPV6}]:{port_of(target)}"
        here.rules(redirecting(f"tcp dport 8101 dnat to {end}", family="ip6"))
        report = check.report("--no-official", "--interface", IPV6, *SCANNED[3:])
    assert forwarded(report) == {"8101/tcp": end}


def test_an_ipv6_address_that_only_a_route_makes_local_is_probed(alone: Check) -> None:
    alone.there.shell("ip route add local 2001:db8:5::/64 dev lo")
    alone.there.rules(redirecting("tcp dport 777 redirect to :888"))
    options = ("--no-official", "--interface", "2001:db8:5::7", *QUICK, "--max-port", "800")
    with alone.there.listener("::1", 888):
        report = alone.report(*options)
    assert forwarded(report) == {"777/tcp": "[::1]:888"}
    assert report["coverage"]["probed"] == report["coverage"]["ports"]


@pytest.mark.parametrize("user", [0, NOBODY])
def test_a_silent_datagram_that_went_elsewhere_shows_an_open_port_to_root(
    pair: Pair, check: Check, user: int
) -> None:
    here, there = pair
    rules = (
        f"udp dport 8100 dnat to {PEER_IPV4}:7000",
        "udp dport 8102 dnat to 192.0.2.99:53",  # where nobody is
        "udp dport 8103 redirect to :9",  # where nothing is: refused
    )
    here.rules(redirecting(*rules, family="ip"))
    with there.bound(DGRAM, PEER_IPV4, 7000):
        report = check.report(*SCANNED, user=user)
    ends = {"8100/udp": f"{PEER_IPV4}:7000", "8102/udp": "192.0.2.99:53"}
    assert forwarded(report) == ({} if user else ends)


def test_a_tcp_port_that_leads_to_nobody_is_filtered(pair: Pair, check: Check) -> None:
    here, _ = pair
    here.rules(redirecting("tcp dport 8101 dnat to 192.0.2.99:80", family="ip"))
    report = check.report(*SCANNED)
    assert (report["services"], report["coverage"]["filtered"]) == ([], 1)


_STATELESS = """
table ip stateless {
    chain out {
        type filter hook output priority -300
        tcp dport 8101 tcp dport set 5000 notrack
    }
    chain back {
        type filter hook input priority -300
        tcp sport 5000 tcp sport set 8101
    }
    chain raw {
        type filter hook prerouting priority -300
        tcp sport 5000 notrack
        tcp dport 5000 notrack
    }
}
"""
"""Sends a port elsewhere without connection tracking."""

OTHERS_RULES = (
    "tcp dport 9101 dnat ip to 198.51.100.9:9",
    f"meta skuid {NOBODY} tcp dport 8101 dnat ip to 198.51.100.9:9",
    "ip daddr 198.51.100.1 tcp dport 8101 dnat ip to 198.51.100.9:9",
    'oifname "eth9" tcp dport 8101 dnat ip to 198.51.100.9:9',
    "udp dport 8101 dnat ip to 198.51.100.9:9",
)


@pytest.mark.parametrize("rule", OTHERS_RULES)
def test_a_rule_that_does_not_touch_the_packet_explains_nothing(check: Check, rule: str) -> None:
    here = check.there
    here.rules(redirecting(rule) + _STATELESS)
    here.shell(
        "iptables-legacy -t nat -A PREROUTING -p tcp --dport 8101 -j DNAT --to 198.51.100.9:9"
    )
    with here.listener("0.0.0.0", 5000):
        report = check.report(*SCANNED, "--no-udp")
    assert forwarded(report) == {"8101/tcp": None}


# Filtered


def test_a_host_that_drops_every_probe_is_said_to_have_filtered_all(alone: Check) -> None:
    body = (
        f"type filter hook output priority 0\nmeta skuid {NOBODY} meta l4proto {{ tcp, udp }} drop"
    )
    alone.there.rules(f"table inet filter {{\nchain c {{\n{body}\n}}\n}}\n")
    report = alone.report(*LOOPBACK, *QUICK, "--max-port", "999", user=NOBODY)
    covered = report["coverage"]
    assert covered["filtered"] == covered["ports"] - 1  # nothing is sent to port 0 over UDP
    assert report["summary"].endswith("(socket table of all, 1999 of 2000 filtered)")


# Which device an own address belongs to


TWICE = {
    "203.0.113.7": ("203.0.113.7/32", "203.0.113.0/24", "0.0.0.0"),
    "2001:db8:7::7": ("2001:db8:7::7/128 nodad", "2001:db8:7::/64", "::"),
}
"""Addresses, as a device gets them, the networks of which they are, and their wildcards."""

PLACES = {
    "on two devices": """
        ip address add {own} dev eth0
        ip address add {own} dev eth1
    """,
    "on two devices in the other order": """
        ip address add {own} dev eth1
        ip address add {own} dev eth0
    """,
    "on a device, then on lo": """
        ip address add {own} dev eth0
        ip address add {own} dev lo
    """,
    "on lo, then on a device": """
        ip address add {own} dev lo
        ip address add {own} dev eth0
    """,
    "within a network that a route makes local on a device": """
        ip route add local {network} dev eth1
    """,
}


def does_not_refuse(here: Namespace, address: str, port: int) -> bool:
    """Whether a connect is taken, or reaches a socket whose answer finds no way back."""
    with here.entered(), socket.socket(family(address)) as client:
        client.settimeout(1)
        return client.connect_ex((address, port)) != errno.ECONNREFUSED


@pytest.mark.parametrize("address", TWICE)
@pytest.mark.parametrize("place", PLACES)
def test_device_bound_listeners_are_where_a_connect_finds_them(
    pair: Pair, check: Check, place: str, address: str
) -> None:
    here, _ = pair
    own, network, wildcard = TWICE[address]
    here.shell("ip link add eth1 up type veth peer name eth2")
    here.shell(PLACES[place].format(own=own, network=network))
    devices = dict(zip(range(7001, 7004), ("eth0", "eth1", "lo"), strict=True))
    with contextlib.ExitStack() as stack:
        for port, device in devices.items():
            listener = stack.enter_context(here.listener(wildcard, port))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            datagrams = stack.enter_context(here.bound(DGRAM, wildcard, port))
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        truth = {port for port in devices if does_not_refuse(here, address, port)}
        options = ("--no-official", "--interface", address, *QUICK, "--max-port", "7999")
        reports = {
            method: check.report(*options, "--min-port", "7000", "--method", method)
            for method in ("table", "probe", "full")
        }
    assert len(truth) == 1
    expected = {(address, kind, port) for kind in ("tcp", "udp") for port in truth}
    assert {method: opened(each) for method, each in reports.items()} == dict.fromkeys(
        reports, expected
    )
    assert [forwarded(each) for each in reports.values()] == [{}, {}, {}]
