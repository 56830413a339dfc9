"""The policy that --print-policy writes, given back with --config: all is as it should be."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, LINK_LOCAL, NOBODY, Check, host, opened, until
from portmapper import portmapper
from test_owners import NAMED, SLEEP, running
from test_rpcbind import TCP, UDP
from zoo import ADDRESSES, zoo

from check_portcheck.kernel import cgroups

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from namespace import Namespace, Program


@pytest.fixture(name="populous", scope="module")
def populous_fixture(program: Program) -> Iterator[Check]:
    """The check on a machine with a zoo of sockets, a portmapper and registered programs."""
    with (
        host() as (here, _),
        zoo(here),
        portmapper(here) as rpcbind,
        contextlib.ExitStack() as held,
    ):
        held.enter_context(here.listener("0.0.0.0", 61001))
        for program_number in (100003, 100227):
            rpcbind.register_port(program_number, 3, TCP, 61001)
        for version, port in enumerate((61002, 61003, 61004), 1):
            held.enter_context(here.listener("0.0.0.0", port))
            rpcbind.register_port(100005, version, TCP, port)
        held.enter_context(here.bound(socket.SOCK_DGRAM, IPV4, 40001))
        rpcbind.register_port(300075, 1, UDP, 40001)
        rpcbind.register_port(300076, 1, TCP, 1)
        rpcbind.register(100003, 3, "tcp6", "::.8.1")
        held.enter_context(here.listener(IPV6, 2049))
        held.enter_context(here.listener("0.0.0.0", 22))
        held.enter_context(here.bound(socket.SOCK_DGRAM, "0.0.0.0", 514))
        yield Check(here, program)


@pytest.mark.daemons
@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize(
    "chosen",
    [
        ("--interface", "all"),
        ("--interface", ",".join(ADDRESSES)),
        ("--device", "lo,eth0,eth1"),
        ("--device", "eth0", "--interface", "127.0.0.1"),
        ("--interface", LINK_LOCAL),
        ("--interface", f"{IPV4},{IPV6}", "--no-udp", "--min-port", "2", "--max-port", "40000"),
    ],
    ids=" ".join,
)
def test_what_is_printed_makes_the_check_ok(
    populous: Check, tmp_path: Path, chosen: tuple[str, ...], user: int
) -> None:
    table = ("--no-official", "--method", "table", "--confirm", "0")
    printed = populous(*chosen, *table, "--print-policy", user=user)
    assert (printed.stderr, printed.returncode) == ("", 0)
    file = tmp_path / "policy"
    file.write_text(printed.stdout)
    report = populous.report("--config", file)
    assert (report["state"], report["findings"], report["failures"]) == ("OK", [], [])
    assert opened(report) == opened(populous.report(*chosen, *table))
    assert {each["kind"] for each in report["unused_rules"]} <= {"optional"}


@pytest.mark.daemons
def test_a_whole_scan_prints_the_same(populous: Check) -> None:
    everything = ("--no-official", "--interface", "all", "--confirm", "0")
    scanned, listed = (
        populous(*everything, "--method", method, "--print-policy").stdout.splitlines()
        for method in ("full", "table")
    )
    assert [line for line in scanned if line not in listed] == []
    assert [line for line in listed if line not in scanned] == ["PortCheckMethod = table"]


def policy(check: Check, *options: str | Path) -> list[str]:
    """The lines that --print-policy prints."""
    done = check(
        *("--no-official", "--method", "table", "--confirm", "0", *options, "--print-policy")
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


@pytest.mark.daemons
def test_rules_are_few_and_general(populous: Check) -> None:
    lines = policy(populous, "--interface", "all")
    assert {
        "PortCheckInterface = all",
        "PortCheckRequired = *:portmapper/tcp",
        "PortCheckRequired = *:portmapper/udp",
        f"PortCheckRequired = {IPV4}:RPC_300075/udp",
        f"PortCheckRequired = [{IPV6}]:nfs/tcp",
    } <= set(lines)
    # One program on three ports has one rule for each address.
    mountd = [line for line in lines if "mountd" in line]
    assert len(mountd) == len(set(mountd)) > 0


@pytest.fixture(name="here")
def here_fixture(check: Check) -> Namespace:
    return check.there


def test_the_whole_text(check: Check, here: Namespace) -> None:
    with (
        here.listener("0.0.0.0", 22) as ssh,
        running([SLEEP, "600"], ssh) as sleep,
        here.listener(IPV4, 8080) as web,
        running([SLEEP, "600"], web, user="nobody") as other,
        here.bound(socket.SOCK_DGRAM, IPV6, 50000) as client,
        running([SLEEP, "600"], client),
    ):
        for each in (ssh, web, client):
            each.close()
        units = (unit(sleep), unit(other))
        lines = policy(check, "--interface", "127.0.0.1", "--device", "eth0")
    assert lines == [
        "[PortCheck]",
        "PortCheckInterface = 127.0.0.1",
        "PortCheckDevice = eth0",
        "PortCheckOfficial = no",
        "PortCheckMethod = table",
        "PortCheckConfirm = 0",
        "PortCheckTimeout = 240",
        f"# sleep, user root{units[0]}",
        "PortCheckRequired = 0.0.0.0/0:22/tcp",
        f"PortCheckOptional = [{IPV6}]:ephemeral/udp@user:root",
        f"# sleep, user nobody{units[1]}",
        f"PortCheckRequired = {IPV4}:8080/tcp",
    ]


def unit(process: subprocess.Popen[bytes]) -> str:
    """What is told of the unit of a process: nothing where it has none."""
    found = cgroups.unit(Path(f"/proc/{process.pid}/cgroup").read_text())
    return f", unit {found}" if found else ""


def test_what_closes_after_printing_is_missing_and_what_opens_is_unexpected(
    check: Check, here: Namespace, tmp_path: Path
) -> None:
    file = tmp_path / "policy"
    with here.listener("0.0.0.0", 22):
        file.write_text("\n".join(policy(check, "--interface", IPV4)) + "\n")
    with here.listener("0.0.0.0", 23):
        report = check.report("--config", file)
    assert [(each["kind"], each["item"]) for each in report["findings"]] == [
        ("missing", "22/tcp"),
        ("unexpected", "23/tcp"),
    ]


def test_what_is_ignored_and_skipped_stays_so(
    check: Check, here: Namespace, tmp_path: Path
) -> None:
    file = tmp_path / "policy"
    ignored = ("--ignore", "*:6000-6063/tcp", "--skip", "3306/tcp", "--required", "*:25/tcp")
    with here.listener(IPV4, 6000), here.listener(IPV4, 3306), here.listener(IPV4, 22):
        lines = policy(check, "--interface", IPV4, *ignored)
        file.write_text("\n".join(lines) + "\n")
        report = check.report("--config", file)
    assert [line for line in lines if re.match("PortCheck(Required|Opt|Ignore|Skip)", line)] == [
        "PortCheckIgnore = *:6000-6063/tcp",
        "PortCheckSkip = *:3306/tcp",
        f"PortCheckRequired = {IPV4}:22/tcp",
    ]
    assert (report["state"], report["findings"]) == ("OK", [])


@contextlib.contextmanager
def daemons(here: Namespace) -> Iterator[None]:
    """Two daemons: each has a port of its own, and one for its questions that is new each time."""
    with contextlib.ExitStack() as held:
        for user, number in (("nobody", 5353), ("daemon", 123)):
            for each in (
                held.enter_context(here.bound(socket.SOCK_DGRAM, "::", number)),
                held.enter_context(here.bound(socket.SOCK_DGRAM, "0.0.0.0")),
            ):
                held.enter_context(running([SLEEP, "600"], each, user=user))
        yield


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_daemons_may_start_again(
    check: Check, here: Namespace, tmp_path: Path, verbose: tuple[str, ...], user: int
) -> None:
    file = tmp_path / "policy"
    everything = ("--no-official", "--interface", "all", "--method", "table", "--confirm", "0")
    with daemons(here):
        file.write_text(check(*everything, *verbose, "--print-policy", user=user).stdout)
    with daemons(here):
        report = check.report("--config", file)
    assert (report["state"], report["findings"]) == ("OK", [])
    with daemons(here), here.listener("0.0.0.0", 4444):
        (finding,) = check.report("--config", file)["findings"]
    assert finding["item"] == "4444/tcp"


@contextlib.contextmanager
def rpc_daemon(here: Namespace, reserved: int) -> Iterator[None]:
    """A daemon like rpc.statd: a registered port, and a reserved one for its own questions."""
    with (
        portmapper(here) as rpcbind,
        here.listener("0.0.0.0") as registered,
        here.bound(socket.SOCK_DGRAM, "127.0.0.1", reserved),
    ):
        rpcbind.register_port(100024, 1, TCP, registered.getsockname()[1])
        yield


@pytest.mark.daemons
def test_an_rpc_daemon_may_start_again(check: Check, here: Namespace, tmp_path: Path) -> None:
    file = tmp_path / "policy"
    with rpc_daemon(here, 765):
        lines = policy(check, "--interface", "all")
    file.write_text("\n".join(lines) + "\n")
    with rpc_daemon(here, 766):
        report = check.report("--config", file)
    assert (report["state"], report["findings"]) == ("OK", [])
    assert "PortCheckRequired = 0.0.0.0/0:status/tcp" in lines
    assert "PortCheckOptional = 127.0.0.1:512-1023/udp@user:root" in lines


def test_wildcards_of_a_family_that_is_off_are_no_places_of_their_own(
    check: Check, here: Namespace, tmp_path: Path
) -> None:
    here.shell("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    file = tmp_path / "policy"
    everything = ("--no-official", "--interface", "all", "--method", "table", "--confirm", "0")
    with here.listener("0.0.0.0", 22), here.listener("::", 22), here.listener("::", 23):
        assert "unexpected: *:22/tcp (" in check(*everything).stdout
        file.write_text(check(*everything, "--print-policy").stdout)
        report = check.report("--config", file)
    assert (report["state"], report["findings"]) == ("OK", [])
    assert [line for line in file.read_text().splitlines() if line.startswith("PortCheckReq")] == [
        "PortCheckRequired = *:22/tcp",
        "PortCheckRequired = ::/0:23/tcp",
    ]


def test_a_fleet_s_settings_stand_where_a_printed_policy_comes_behind_them(
    check: Check, here: Namespace, tmp_path: Path
) -> None:
    fleet, file = tmp_path / "fleet", tmp_path / "policy"
    fleet.write_text(
        "[PortCheck]\nPortCheckMethod = table\nSeverityPortCheckUnexpected = warn\n"
        "PortCheckOfficial = no\n"
    )
    with here.listener("0.0.0.0", 22):
        file.write_text(check("--no-official", "--interface", IPV4, "--print-policy").stdout)
        with here.listener("0.0.0.0", 4444):
            report = check.report("--config", fleet, "--config", file)
    assert (report["state"], report["method"]) == ("WARNING", "table")


def has_address(here: Namespace, address: str) -> bool:
    """Whether a link-local address can be bound."""
    try:
        here.listener(address).close()
    except OSError:
        return False
    return True


def test_a_bridge_that_is_made_anew_keeps_its_rules(
    check: Check, here: Namespace, tmp_path: Path
) -> None:
    file = tmp_path / "policy"
    bridge = """
    ip link add br9 address {mac} type bridge
    ip address add 198.51.100.1/24 dev br9
    ip link add port9 type veth peer name peer9
    ip link set peer9 up
    ip link set port9 master br9 up
    ip link set br9 up
    """
    texts: list[str] = []
    for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
        here.shell(bridge.format(mac=mac))
        local = f"fe80::ff:fe00:{mac[-1]}%br9"
        until(partial(has_address, here, local), "no address")
        with here.listener("198.51.100.1", 53), here.listener(local, 53):
            if not texts:
                texts = policy(check, "--interface", "all")
                file.write_text("\n".join(texts) + "\n")
            report = check.report("--config", file)
        assert (report["state"], report["findings"]) == ("OK", [])
        here.shell("ip link delete br9\nip link delete port9")
    assert "PortCheckRequired = br9:53/tcp" in texts


def temporary(here: Namespace) -> str:
    """The address that privacy extensions have given to eth0 (RFC 8981), once it may be used."""
    found: list[str] = []

    def given() -> bool:
        rows = json.loads(here.shell("ip -json -6 address show dev eth0 temporary"))
        # Addresses that are not temporary come as empty objects.
        addresses = [each for row in rows for each in row.get("addr_info", ()) if each]
        found[:] = [each["local"] for each in addresses if "tentative" not in each]
        return bool(found)

    until(given, "no temporary address")
    return found[0]


def test_a_temporary_address_that_another_one_replaces_keeps_its_rules(
    check: Check, here: Namespace, tmp_path: Path
) -> None:
    file = tmp_path / "policy"
    here.shell("echo 2 >/proc/sys/net/ipv6/conf/eth0/use_tempaddr")
    seen: list[str] = []
    lines: list[str] = []
    for _ in range(2):
        here.shell("ip address add 2001:db8:5::7/64 dev eth0 nodad mngtmpaddr")
        seen.append(temporary(here))
        with here.listener(seen[-1], 8080), here.listener("2001:db8:5::7", 22):
            if not lines:
                lines = policy(check, "--interface", "all")
                file.write_text("\n".join(lines) + "\n")
            report = check.report("--config", file)
        assert (report["state"], report["findings"]) == ("OK", [])
        here.shell("ip address flush dev eth0 to 2001:db8:5::/64")
    assert seen[0] != seen[1]
    rules = {line for line in lines if "tcp" in line}
    assert rules == {
        "PortCheckOptional = eth0:8080/tcp",
        "PortCheckRequired = [2001:db8:5::7]:22/tcp",
    }


NAMES = (
    b"\nPortCheckIgno",
    b"x\n[PortCheck]\n",
    b"x\r\n@if true\r",
    b"\x85a\xe2\x80\xa8b\x0b\x0c\x1c",
    b"\xff|$(id)\x1b[2J",
    b"; // #",
)
"""Names of processes that would be lines of their own."""


def test_hostile_names_stay_comments(check: Check, here: Namespace, tmp_path: Path) -> None:
    script = tmp_path / "\nPortCheckActive = no"
    script.write_text("read line\n")
    with contextlib.ExitStack() as stack:
        commands = [[sys.executable, "-c", NAMED, name.hex()] for name in NAMES]
        for number, command in enumerate([*commands, ["/bin/sh", str(script)]], 2001):
            held = stack.enter_context(here.listener(IPV4, number))
            process = stack.enter_context(running(command, held))
            held.close()
            if NAMED in command:
                assert process.stdout
                assert process.stdout.readline() == b"ready\n"
        lines = policy(check, "--interface", IPV4)
        file = tmp_path / "policy"
        file.write_text("\n".join(lines) + "\n")
        report = check.report("--config", file)
    comments = [line for line in lines if line.startswith("#")]
    assert all(re.match(r"# .*, user root", line) for line in comments)
    assert [line for line in lines if line.startswith("PortCheckRequired")] == [
        f"PortCheckRequired = {IPV4}:{number}/tcp" for number in range(2001, 2002 + len(NAMES))
    ]
    assert all(line.isprintable() for line in lines)
    assert (report["state"], len(report["services"])) == ("OK", len(NAMES) + 1)
