"""Without sock_diag: the table of /proc/net, and what it does not know is asked or unanswered."""

from __future__ import annotations

import errno
import json
import re
import socket
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, LIMIT, NOBODY, Check, Report, opened, told, without_netlink
from zoo import ADDRESSES

from check_portcheck.deadline import Deadline
from check_portcheck.kernel import netlink
from check_portcheck.model import Earlier, Interface, Method, Port, PortRange, Protocol, Unanswered
from check_portcheck.probing import look
from check_portcheck.probing.portset import PortSet

if TYPE_CHECKING:
    from namespace import Namespace, Program
    from zoo import Living

    Pair = tuple[Namespace, Namespace]

NETLINK_SOCK_DIAG = 4
FILES = "/proc/net/tcp, /proc/net/tcp6, /proc/net/udp, /proc/net/udp6"
DEGRADED = (
    f"socket table degraded: {FILES} tell neither V6ONLY nor bound devices"
    " (netlink: Protocol not supported)"
)
UNTOLD = "unanswered: the socket table does not tell, --method full asks the port"
SILENT = "unanswered: silent, and the socket table does not tell whether a socket is there"
ANIMALS = range(33000, 39000)
ZOO = (
    "--no-official",
    "--interface",
    ",".join(ADDRESSES),
    "--confirm",
    "0",
    *("--min-port", "33000", "--max-port", "38999"),
)
BOTH = ("--no-official", "--interface", f"{IPV4},{IPV6}", "--confirm", "0")


def report_of(check: Check, *options: str, user: int = 0) -> Report:
    done = without_netlink(check, NETLINK_SOCK_DIAG, "--format", "json", *options, user=user)
    assert done.stderr == ""
    report: Report = json.loads(done.stdout)
    return report


def text_of(check: Check, *options: str) -> str:
    return told(without_netlink(check, NETLINK_SOCK_DIAG, *LIMIT, *options))


def unanswered(report: Report) -> dict[tuple[str, str, int], str]:
    """Address, protocol and number of each port that is neither open nor closed, and the reason."""
    found: dict[tuple[str, str, int], str] = {}
    for each in report["findings"]:
        if each["kind"] == "unverified":
            span, _, protocol = each["item"].partition("/")
            first, _, last = span.partition("-")
            for port in range(int(first), int(last or first) + 1):
                for interface in each["interfaces"]:
                    found[interface, protocol, port] = each["reason"]
    return found


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("method", ["probe", "full"])
def test_each_doubtful_port_is_asked(living: Living, method: str, user: int) -> None:
    report = report_of(living.check, *ZOO, "--method", method, user=user)
    silent = unanswered(report)
    truth = {each for each in living.truth if each[2] in ANIMALS}
    assert opened(report) == truth - silent.keys()
    assert silent.keys() <= truth
    assert set(silent.values()) == {SILENT}
    # Full queues, and what is bound to the device that is down, so that no answer leaves it.
    kinds = {living.zoo.ports[protocol, port] for _, protocol, port in silent}
    assert kinds == {"0.0.0.0, full", "0.0.0.0, on eth1", "::, on eth1"}
    assert report["notes"] == [DEGRADED]
    assert not any(each["no_socket"] for each in report["services"])


@pytest.mark.parametrize("user", [0, NOBODY])
def test_the_table_alone_leaves_what_it_does_not_tell_unanswered(living: Living, user: int) -> None:
    report = report_of(living.check, *ZOO, "--method", "table", user=user)
    untold = unanswered(report)
    truth = {each for each in living.truth if each[2] in ANIMALS}
    assert set(untold.values()) == {UNTOLD}
    # A socket at an address is taken to answer there; one of the zoo's is bound to another device.
    wrong = {living.zoo.ports[each[1:]] for each in opened(report) - truth}
    assert all(re.fullmatch(r"[\d.a-f:]+, on \w+", each) for each in wrong), wrong
    assert truth <= opened(report) | untold.keys()
    assert not opened(report) & untold.keys()
    assert report["notes"] == [DEGRADED]


@pytest.mark.parametrize("method", ["probe", "full"])
def test_what_listens_for_ipv6_alone_is_missing_for_ipv4(
    pair: Pair, check: Check, method: str
) -> None:
    required = ("--required", f"{IPV4}:80/tcp", "--required", f"{IPV6}:80/tcp")
    with pair[0].listener("::", 80):  # V6ONLY
        text = text_of(check, *BOTH, *required, "--method", method, "--max-port", "99")
    assert text.startswith(f"PORTCHECK CRITICAL - 1 missing: {IPV4}:80/tcp (maybe_http), required ")
    assert f"\nnote: {DEGRADED}\n" in text


def test_the_table_alone_does_not_guess_what_a_wildcard_answers(pair: Pair, check: Check) -> None:
    required = ("--required", f"{IPV4}:80/tcp", "--method", "table", "--max-port", "99")
    with pair[0].listener("::", 80):
        text = text_of(check, *BOTH, *required)
    assert text.startswith(f"PORTCHECK UNKNOWN - 1 unverified: {IPV4}:80/tcp (maybe_http): ")
    assert f"\nunverified: {IPV4}:80/tcp (maybe_http): {UNTOLD}" in text
    assert f"\nnote: {DEGRADED}\n" in text


def test_what_is_skipped_is_not_asked(pair: Pair, check: Check) -> None:
    options = (*BOTH, "--skip", f"{IPV4}:80/tcp", "--optional", "*:80/tcp", "--max-port", "99")
    with pair[0].listener("0.0.0.0", 80) as one:
        report = report_of(check, *options)
        one.settimeout(0)
        with pytest.raises(BlockingIOError):
            one.accept()
    assert (report["state"], opened(report)) == ("OK", set())


def test_a_wildcard_of_a_device_without_addresses_is_found_where_it_is_bound(
    pair: Pair, check: Check
) -> None:
    here, _ = pair
    here.shell("ip link add eth1 up type veth peer name eth2")
    with here.bound(socket.SOCK_DGRAM, "0.0.0.0", 53) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth1")
        options = ("--no-official", "--interface", "all", "--confirm", "0", "--max-port", "99")
        report = report_of(check, *options)
    assert opened(report) == set()
    assert [(each["item"], each["bound"]) for each in report["findings"]] == [
        ("53/udp", {"address": "0.0.0.0", "device": None})
    ]


def test_owners_are_known_all_the_same(pair: Pair, check: Check) -> None:
    with pair[0].listener("0.0.0.0", 80):
        options = ("--optional", "*:80/tcp@user:root", "--optional", "*:80/tcp@no-such")
        text = text_of(check, *BOTH, *options, "--max-port", "99")
    assert text.startswith("PORTCHECK OK - 1 open service on 2 interfaces, all expected ")


def test_thousands_of_doubtful_ports_are_asked_in_time(empty: Namespace, program: Program) -> None:
    numbers = range(20000, 23000)
    check = Check(empty, program)
    made = [empty.bound(socket.SOCK_DGRAM, "0.0.0.0", number) for number in numbers]
    try:
        options = ("--no-official", "--interface", "127.0.0.1", "--confirm", "0")
        report = report_of(check, *options, "--min-port", "19000", "--max-port", "24000")
    finally:
        for each in made:
            each.close()
    assert opened(report) == {("127.0.0.1", "udp", number) for number in numbers}
    assert unanswered(report) == {}


def test_what_no_time_was_left_to_ask_is_unanswered_by_full_too(
    empty: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(protocol: int) -> socket.socket:
        if protocol == NETLINK_SOCK_DIAG:
            raise OSError(errno.EPERM, "Operation not permitted")
        return own(protocol)

    own = netlink.connect
    monkeypatch.setattr(netlink, "connect", connect)
    lo = Interface("127.0.0.1", "lo", 1, "lo")
    wanted = {(lo, protocol): PortSet(range(100)) for protocol in Protocol}
    with empty.listener("0.0.0.0", 80), empty.bound(socket.SOCK_DGRAM, "::1", 81), empty.entered():
        found = look.look(Method.FULL, [lo], wanted, Deadline.after(0), Earlier())
    reason = "no time was left to ask the port"
    assert found.unanswered == (Unanswered(lo, PortRange.of(Port(Protocol.TCP, 80)), reason),)
    assert found.services == ()
