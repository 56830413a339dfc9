from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, NOBODY, PATIENCE, PEER_IPV4, Check, opened, parents, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from namespace import Namespace, Report

    Pair = tuple[Namespace, Namespace]

pytestmark = pytest.mark.once

LOOPBACK = ("--no-official", "--interface", "127.0.0.1")
BOTH = ("--no-official", "--interface", f"127.0.0.1,{IPV4}")
ANYTHING_GOES = ("--optional", "*:*/tcp,*/udp")
AT_ONCE = ("--confirm", "0")
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def port_of(made: socket.socket) -> int:
    return int(made.getsockname()[1])


def ports(report: Report, protocol: str = "tcp") -> set[int]:
    return {number for _, of, number in opened(report) if of == protocol}


def filtering(hook: str, rule: str) -> str:
    chain = f"chain c {{ type filter hook {hook} priority 0; {rule}; }}"
    return f"table inet filter {{\n{chain}\n}}\n"


# Exactness


def test_twenty_sweeps_of_nothing_find_nothing(alone: Check) -> None:
    for address, label in [("127.0.0.1", "127_0_0_1"), ("::1", "__1")] * 10:
        assert alone.output("--no-official", "--interface", address) == (
            "PORTCHECK OK - 0 open services on 1 interface, all expected"
            " (full scan of 65536 TCP and UDP ports each)"
            f" | open_{label}=0;;;0 unexpected_{label}=0;;0;0 missing_{label}=0;;0;0"
            " time=0.000s\n"
            "exit 0\n"
        )


@pytest.mark.parametrize("method", ["probe", "full"])
def test_a_scanner_among_its_own_ports_never_reports_itself(alone: Check, method: str) -> None:
    alone.there.shell("sysctl -qw net.ipv4.ip_local_port_range='40000 40063'")
    for _ in range(5):
        report = alone.report(*LOOPBACK, *AT_ONCE, "--method", method, "--min-port", "39000")
        assert (report["services"], report["coverage"]["filtered"]) == ([], 0)


@contextlib.contextmanager
def meanwhile(act: Callable[[], None], pause: float = 0.002) -> Iterator[None]:
    """Do something again and again in another thread."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(pause):
            act()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_daemon_that_starts_during_the_scan_is_not_hidden(alone: Check) -> None:
    # So many that each time there is one, and that no process has too many descriptors (ulimit -n).
    unused = random.sample(range(1024, 32768), 900)
    with contextlib.ExitStack() as stack:

        def start() -> None:
            if unused:
                stack.enter_context(alone.there.listener("127.0.0.1", unused.pop()))

        with meanwhile(start, pause=0.01):
            report = alone.report(*LOOPBACK, *AT_ONCE)
    found = report["services"]
    assert "probe" in {each["evidence"] for each in found}
    assert not any(each["no_socket"] for each in found)


def test_a_daemon_that_ends_during_the_scan_is_not_hidden(alone: Check) -> None:
    running: deque[socket.socket] = deque()
    unused = itertools.cycle(random.sample(range(1024, 32768), 20000))

    def start_one_and_end_another() -> None:
        running.append(alone.there.listener("127.0.0.1", next(unused)))
        if len(running) > 50:
            running.popleft().close()

    with meanwhile(start_one_and_end_another):
        reports = [alone.report(*LOOPBACK, *AT_ONCE) for _ in range(3)]
    for listener in running:
        listener.close()
    for report in reports:
        assert report["services"]
        assert not any(each["no_socket"] for each in report["services"])


def test_two_hundred_stuck_daemons_are_open(alone: Check) -> None:
    with contextlib.ExitStack() as stack:
        stuck = {
            port_of(stack.enter_context(alone.there.full_listener("127.0.0.1"))) for _ in range(200)
        }
        for method in ("probe", "full"):
            report = alone.report(*LOOPBACK, *ANYTHING_GOES, "--method", method)
            assert (ports(report), report["coverage"]["filtered"]) == (stuck, 0)


# Gentleness


@pytest.mark.parametrize("user", [0, NOBODY])
def test_skipped_ports_are_never_contacted(check: Check, user: int) -> None:
    here = check.there
    skips = (
        "127.0.0.1:1000/tcp,1000/udp",
        f"{IPV4}:1000/tcp,1001/udp",
        "eth0:1002-1003/tcp",
        "192.0.2.0/24:1002/udp",
    )
    for order in (skips, skips[::-1], skips[2:] + skips[:2]):
        with contextlib.ExitStack() as stack:
            counted = {
                (address, kind, port): stack.enter_context(
                    here.listener(address, port)
                    if kind is STREAM
                    else here.bound(DGRAM, address, port)
                )
                for address in ("127.0.0.1", IPV4)
                for kind in (STREAM, DGRAM)
                for port in range(1000, 1004)
            }
            options = [word for skip in order for word in ("--skip", skip)]
            options += [*BOTH, *ANYTHING_GOES, "--method", "probe", "--max-port", "2000"]
            found = check.report(*options, user=user)
            contacted = {place for place, made in counted.items() if was_contacted(made)}
        skipped = {
            ("127.0.0.1", STREAM, 1000),
            ("127.0.0.1", DGRAM, 1000),
            (IPV4, STREAM, 1000),
            (IPV4, DGRAM, 1001),
            (IPV4, STREAM, 1002),
            (IPV4, STREAM, 1003),
            (IPV4, DGRAM, 1002),
        }
        assert contacted == counted.keys() - skipped
        names = {STREAM: "tcp", DGRAM: "udp"}
        assert opened(found) == {(a, names[kind], port) for a, kind, port in contacted}


def was_contacted(made: socket.socket) -> bool:
    made.settimeout(0)
    try:
        if made.type == STREAM:
            made.accept()[0].close()
        else:
            made.recv(1)
    except BlockingIOError:
        return False
    return True


def test_a_port_skipped_without_an_interface_is_skipped_on_all(check: Check) -> None:
    here = check.there
    with here.listener("127.0.0.1", 1000) as one, here.listener(IPV4, 1000) as two:
        report = check.report(*BOTH, "--skip", "1000/tcp", "--method", "probe")
        assert (report["services"], was_contacted(one), was_contacted(two)) == ([], False, False)


def test_without_udp_no_datagram_is_sent(alone: Check) -> None:
    sent = "grep ^Udp: /proc/net/snmp"
    before = alone.there.shell(sent)
    with alone.there.bound(DGRAM, "127.0.0.1"):
        for method in ("probe", "full"):
            report = alone.report(*LOOPBACK, "--no-udp", "--method", method)
            assert (report["protocols"], report["services"]) == (["tcp"], [])
    assert alone.there.shell(sent) == before
    alone.report(*LOOPBACK, "--max-port", "9")
    assert alone.there.shell(sent) != before


def contacted_ports(check: Check, trace: Path, *options: str) -> dict[str, set[int]]:
    """The ports to which the check, run under strace, connected or sent, by protocol."""
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    command = check.program.command(*options)
    strace = ("strace", "-f", "-e", calls, "-o", trace, *command)
    done = check.there.run(*strace, env=check.program.environment)
    assert (done.stdout[:10], done.stderr) == ("PORTCHECK ", "")
    found: dict[str, set[int]] = {"tcp": set(), "udp": set()}
    for line in trace.read_text().splitlines():
        if "sa_family=AF_INET" in line:
            call = re.search(r"(connect|send\w+)\(.* sin6?_port=htons\((\d+)\)", line)
            assert call, line
            found["tcp" if call[1] == "connect" else "udp"].add(int(call[2]))
    return found


def test_table_contacts_no_port(alone: Check, tmp_path: Path) -> None:
    with alone.there.listener("127.0.0.1"), alone.there.bound(DGRAM, "127.0.0.1"):
        contacted = contacted_ports(alone, tmp_path / "trace", *LOOPBACK, "--method", "table")
    assert contacted == {"tcp": set(), "udp": set()}


def test_full_contacts_every_port_but_those_that_the_table_lists(
    alone: Check, tmp_path: Path
) -> None:
    whole = set(range(2000, 2200))
    with contextlib.ExitStack() as stack:
        for number in (2000, 2077, 2199):
            stack.enter_context(alone.there.listener("127.0.0.1", number))
        stack.enter_context(alone.there.listener("0.0.0.0", 2100))
        for number in (2001, 2077):
            stack.enter_context(alone.there.bound(DGRAM, "127.0.0.1", number))
        options = (*LOOPBACK, "--confirm", "0.1", "--min-port", "2000", "--max-port", "2199")
        contacted = contacted_ports(alone, tmp_path / "trace", *options)
    assert contacted == {"tcp": whole - {2000, 2077, 2199, 2100}, "udp": whole - {2001, 2077}}


def test_a_sweep_leaves_connection_tracking_its_room(alone: Check) -> None:
    def figure(name: str) -> int:
        return int(alone.there.shell(f"cat /proc/sys/net/netfilter/nf_conntrack_{name}"))

    alone.there.rules(filtering("input", "ct state established accept"))
    # Entries shall not expire before they are counted.
    alone.there.shell("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=3600")
    room = (figure("max") - figure("count")) // 4
    addresses = [f"127.0.0.{number}" for number in range(1, room // 65535 + 3)]
    assert room < 65535 * len(addresses)
    with alone.there.bound(DGRAM, "0.0.0.0") as service, alone.there.listener("0.0.0.0") as other:
        options = ("--no-official", "--interface", ",".join(addresses), *ANYTHING_GOES)
        report = alone.report(*options)
        taken = figure("count")
        expected = {(each, "udp", port_of(service)) for each in addresses}
        expected |= {(each, "tcp", port_of(other)) for each in addresses}
    assert room * 9 // 10 < taken < room
    assert opened(report) == expected
    covered = report["coverage"]
    assert covered["ports"] == len(addresses) * 2 * 65536
    assert covered["untracked"] > 0
    assert covered["probed"] + covered["untracked"] == covered["ports"]
    share = covered["probed"] * 100 // covered["ports"]
    assert report["state"] == "OK"
    assert f"(socket table of all, {share} % probed" in report["summary"]


def hurried(check: Check, method: str, *options: str) -> Report:
    """A run that has one core and no time for its 63 addresses."""
    core = str(min(os.sched_getaffinity(0)))
    addresses = ",".join(f"127.0.0.{number}" for number in range(1, 64))
    options += ("--no-official", "--interface", addresses, "--timeout", "12", "--confirm", "0.1")
    command = check.program.command(*options, "--method", method, "--format", "json")
    done = check.there.run("taskset", "-c", core, *command, env=check.program.environment)
    assert done.stderr == ""
    report: Report = json.loads(done.stdout)
    return report


def test_what_a_full_scan_has_no_time_for_is_known_from_the_table(alone: Check) -> None:
    with alone.there.listener("0.0.0.0", 99), alone.there.bound(DGRAM, "0.0.0.0", 98):
        report = hurried(alone, "full", "--required", "*:99/tcp,98/udp")
    covered = report["coverage"]
    assert 0 < covered["probed"] < covered["ports"] == 63 * 2 * 65536
    share = covered["probed"] * 100 // covered["ports"]
    assert report["summary"].endswith(f"(socket table of all, {share} % probed)")
    assert report["state"] == "OK"
    assert [len(each["interfaces"]) for each in report["services"]] == [63, 63]


def test_what_a_probe_has_no_time_for_is_unanswered_and_not_missing(alone: Check) -> None:
    with alone.there.listener("0.0.0.0", 99):
        report = hurried(alone, "probe", "--required", "*:99/tcp", "--required", "*:97/tcp")
    kinds = {each["kind"] for each in report["findings"]}
    assert (report["state"], "unverified" in kinds) in (("UNKNOWN", True), ("CRITICAL", True))
    assert not any(
        each["kind"] == "missing" and each["item"] == "99/tcp" for each in report["findings"]
    )


# Filters


@pytest.mark.parametrize("hook", ["input", "output"])
@pytest.mark.parametrize("verdict", ["drop", "reject", "reject with icmpx type admin-prohibited"])
@pytest.mark.parametrize("method", ["probe", "full"])
def test_filtered_ports_are_open_only_where_a_socket_is(
    alone: Check, hook: str, verdict: str, method: str
) -> None:
    alone.there.rules(filtering(hook, f"th dport 100-199 {verdict}"))
    with (
        alone.there.listener("127.0.0.1", 150),
        alone.there.bound(DGRAM, "127.0.0.1", 151),
        alone.there.listener("127.0.0.1", 250),
    ):
        report = alone.report(
            *LOOPBACK, *AT_ONCE, *ANYTHING_GOES, "--method", method, "--max-port", "999"
        )
    sockets = {("127.0.0.1", "tcp", 150), ("127.0.0.1", "udp", 151), ("127.0.0.1", "tcp", 250)}
    if method == "full" or verdict == "drop" or "admin" in verdict:
        assert opened(report) == sockets
    else:  # a refusal is an answer, even if a filter gives it
        assert ("127.0.0.1", "tcp", 250) in opened(report) <= sockets
    assert (report["state"], report["findings"]) == ("OK", [])


@pytest.mark.parametrize("method", ["probe", "full"])
def test_ports_that_are_all_dropped_are_decided_in_time(alone: Check, method: str) -> None:
    alone.there.rules(filtering("input", "meta l4proto { tcp, udp } drop"))
    with alone.there.listener("127.0.0.1") as one, alone.there.bound(DGRAM, "127.0.0.1") as two:
        tcp, udp = port_of(one), port_of(two)
        needed = f"127.0.0.1:{tcp}/tcp,{udp}/udp"
        report = alone.report(*LOOPBACK, "--required", needed, "--method", method)
    assert (report["state"], opened(report)) == (
        "OK",
        {("127.0.0.1", "tcp", tcp), ("127.0.0.1", "udp", udp)},
    )
    assert report["coverage"]["filtered"] > 65000


@pytest.mark.parametrize("method", ["probe", "full"])
def test_a_dropped_port_without_a_socket_is_missing_when_required(
    alone: Check, method: str
) -> None:
    alone.there.rules(filtering("input", "tcp dport 443 drop"))
    report = alone.report(
        *LOOPBACK, "--required", "*:443/tcp", *AT_ONCE, "--method", method, "--max-port", "999"
    )
    assert [(each["kind"], each["item"]) for each in report["findings"]] == [("missing", "443/tcp")]
    assert report["coverage"]["filtered"] == 1


# No socket


REDIRECTS = {
    "nft redirect": "nft insert rule ip n c tcp dport 8101 redirect to :{own}",
    "nft dnat": "nft insert rule ip n c ip daddr {here} tcp dport 8101 dnat to {there}:{foreign}",
    "iptables redirect": """
        iptables -t nat -A OUTPUT -p tcp --dport 8101 -j REDIRECT --to-ports {own}
        """,
    "iptables dnat": """
        iptables -t nat -A OUTPUT -d {here} -p tcp --dport 8101 -j DNAT --to {there}:{foreign}
        """,
}


def forward(here: Namespace, kind: str, own: int, foreign: int) -> None:
    """Send 8101/tcp to a port of the same machine or of its peer."""
    here.rules("table ip n {\nchain c { type nat hook output priority -100; }\n}\n")
    here.shell(REDIRECTS[kind].format(own=own, here=IPV4, there=PEER_IPV4, foreign=foreign))


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("kind", REDIRECTS)
def test_a_forwarded_port_is_found_and_said_to_have_no_socket(
    pair: Pair, check: Check, kind: str, user: int
) -> None:
    here, there = pair
    # A redirect of the machine's own packets goes to its loopback address.
    with here.listener("0.0.0.0") as own, there.listener(PEER_IPV4) as foreign:
        forward(here, kind, port_of(own), port_of(foreign))
        options = ("--no-official", "--interface", IPV4, "--max-port", "9000")
        text = check.output(*options, "--confirm", "0.1", user=user)
        end = (
            f"127.0.0.1:{port_of(own)}" if "redirect" in kind else f"{PEER_IPV4}:{port_of(foreign)}"
        )
        mark = "no socket" if user else f"forwarded to {end}"
    label = IPV4.replace(".", "_")
    assert text == (
        f"PORTCHECK CRITICAL - 1 unexpected: {IPV4}:8101/tcp {mark}"
        f" | open_{label}=1;;;0 unexpected_{label}=1;;0;0 missing_{label}=0;;0;0 time=0.000s\n"
        f"unexpected: {IPV4}:8101/tcp {mark}\n"
        "exit 2\n"
    )


@pytest.mark.parametrize("confirm", ["0", "0.1"])
def test_a_forwarded_port_whose_server_is_slow_to_accept_is_found(
    pair: Pair, check: Check, confirm: str
) -> None:
    here, there = pair
    # The first connection fills the queue, and the next one finds no room.
    with there.listener(PEER_IPV4, backlog=0) as foreign:
        forward(here, "nft dnat", 0, port_of(foreign))
        options = ("--no-official", "--interface", IPV4, "--max-port", "9000")
        report = check.report(*options, "--confirm", confirm)
    assert opened(report) == {(IPV4, "tcp", 8101)}


def test_a_forwarded_port_is_seen_by_probe_and_not_by_table(pair: Pair, check: Check) -> None:
    here, there = pair
    with there.listener(PEER_IPV4) as foreign:
        forward(here, "nft dnat", 0, port_of(foreign))
        options = ("--no-official", "--interface", IPV4, "--max-port", "9000")
        found = {
            method: ports(check.report(*options, "--method", method))
            for method in ("table", "probe", "full")
        }
    assert found == {"table": set(), "probe": {8101}, "full": {8101}}


# The second look


class Paused:
    """A check that is stopped in the pause before its second look."""

    def __init__(self, process: subprocess.Popen[str], child: int) -> None:
        self._process = process
        self._child = child

    def result(self) -> tuple[str, int]:
        """Let it go on; its state and exit code."""
        os.kill(self._child, signal.SIGCONT)
        output, errors = self._process.communicate(timeout=PATIENCE)
        assert errors == ""
        return output.split()[1], self._process.returncode


@contextlib.contextmanager
def between_looks(check: Check, *options: str) -> Iterator[Paused]:
    """The running check after its first look and before its second."""
    process = check.start(*LOOPBACK, *options, "--confirm", "3")
    try:
        until(lambda: bool(sleeping(process.pid)), "no pause before a second look")
        child = sleeping(process.pid)
        os.kill(child, signal.SIGSTOP)
        yield Paused(process, child)
    finally:
        process.terminate()
        process.communicate()


def sleeping(guard: int) -> int:
    """The child of the process if it sleeps for a time (proc(5), wchan), else 0."""
    for pid, parent in parents().items():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if parent == guard and "nanosleep" in Path(f"/proc/{pid}/wchan").read_text():
                return pid
    return 0


@pytest.mark.parametrize("method", ["table", "probe", "full"])
def test_a_listener_that_goes_away_raises_nothing(alone: Check, method: str) -> None:
    listener = alone.there.listener("127.0.0.1")
    with between_looks(alone, "--method", method) as running:
        listener.close()
        assert running.result() == ("OK", 0)


@pytest.mark.parametrize("method", ["table", "probe", "full"])
def test_a_daemon_that_is_back_at_the_second_look_is_not_missing(alone: Check, method: str) -> None:
    with (
        between_looks(alone, "--method", method, "--required", "*:99/tcp,98/udp") as running,
        alone.there.listener("127.0.0.1", 99),
        alone.there.bound(DGRAM, "127.0.0.1", 98),
    ):
        assert running.result() == ("OK", 0)


def test_a_finding_that_stays_is_reported_once(alone: Check) -> None:
    with alone.there.listener("127.0.0.1", 99):
        report = alone.report(*LOOPBACK, "--required", "*:98/tcp", "--confirm", "0.1")
    found = [(each["kind"], each["item"]) for each in report["findings"]]
    assert found == [("missing", "98/tcp"), ("unexpected", "99/tcp")]


@pytest.mark.parametrize("method", ["table", "full"])
def test_a_client_that_goes_away_raises_nothing(alone: Check, method: str) -> None:
    with (
        alone.there.bound(DGRAM, "127.0.0.1") as client,
        between_looks(alone, "--method", method) as running,
    ):
        client.close()
        assert running.result() == ("OK", 0)


@pytest.mark.parametrize("method", ["table", "probe", "full"])
def test_a_socket_that_stays_is_no_client(alone: Check, method: str) -> None:
    with alone.there.bound(DGRAM, "127.0.0.1") as client:
        report = alone.report(*LOOPBACK, "--confirm", "0.1", "--method", method)
        assert ports(report, "udp") == {port_of(client)}
        assert report["state"] == "CRITICAL"


def test_a_restarted_service_outside_the_range_of_clients_is_still_unexpected(
    alone: Check,
) -> None:
    alone.there.shell("sysctl -qw net.ipv4.ip_local_port_range='32768 45000'")
    service = alone.there.bound(DGRAM, "127.0.0.1", 45001)
    with service, between_looks(alone, "--method", "table") as running:
        service.close()
        with alone.there.bound(DGRAM, "127.0.0.1", 45001):
            assert running.result() == ("CRITICAL", 2)


def test_without_a_second_look_a_finding_is_reported_at_once(alone: Check) -> None:
    with alone.there.bound(DGRAM, "127.0.0.1") as client:
        report = alone.report(*LOOPBACK, *AT_ONCE, "--method", "table")
        assert ports(report, "udp") == {port_of(client)}
        assert report["state"] == "CRITICAL"
