"""RPC services in the policy and in the report, with a real rpcbind; R1 to R8 are Samhain's."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, LINK_LOCAL
from portmapper import PORT, portmapper
from test_rpcbind import LOOPBACK, TCP, UDP, WITHOUT, fake, hang_up, speak_http

from check_portcheck.model import Port, PortRange, Protocol, State
from check_portcheck.report.wording import ports_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from namespace import Check, Namespace
    from portmapper import Portmapper

    Broken = Callable[[Namespace], AbstractContextManager[None]]

pytestmark = pytest.mark.daemons

RPC = """
portmapper 100000
nfs 100003
mountd 100005
status 100024
nfs_acl 100227
"""

MANUAL = f"""
[PortCheck]
# Activate (default is on)
PortCheckActive = yes
# The severity of reports: debug/info/notice/warn/err/crit/alert
SeverityPortCheck = crit
PortCheckMinPort = 0
PortCheckMaxPort = 65535
# Services that are required: ssh, smtp, http, and portmapper.
PortCheckRequired = {IPV4}:22/tcp,25/tcp,80/tcp,portmapper/tcp,portmapper/udp
# Services that are optional: mysql.
PortCheckOptional = {IPV4}:3306/tcp
PortCheckInterface = {IPV4}
PortCheckInterval = 300
PortCheckUDP = yes
"""
"""The example of Samhain's manual, for the address of a namespace."""
MANUAL_LINE = 9
"""Where it says what is required."""

ONE = ("--no-official", "--interface", IPV4)
TABLE = ("--method", "table", "--confirm", "0.1")
PORTMAPPER = ("--optional", "*:portmapper/tcp,portmapper/udp")

WATCH = f"""
table inet watch {{
    counter here {{}}
    counter loopback {{}}
    counter datagrams {{}}
    chain output {{
        type filter hook output priority 0;
        udp dport {PORT} counter name datagrams
        tcp dport {PORT} tcp flags & (syn | ack) == syn jump connection
    }}
    chain connection {{
        ip daddr {IPV4} counter name here
        ip daddr 127.0.0.1 counter name loopback
        ip6 daddr ::1 counter name loopback
    }}
}}
"""
"""Counts the connections and datagrams to portmappers."""


def result(
    state: State,
    headline: str,
    counts: tuple[int, int, int],
    *lines: str,
    label: str = "192_0_2_7",
) -> str:
    """The whole output of a run on one interface; *counts* of open, unexpected, missing."""
    perfdata = (
        f"open_{label}={counts[0]};;;0 unexpected_{label}={counts[1]};;0;0 "
        f"missing_{label}={counts[2]};;0;0 time=0.000s"
    )
    first = f"PORTCHECK {state.name} - {headline} | {perfdata}"
    return "\n".join((first, *lines, f"exit {state:d}\n"))


def expected(number: int, coverage: str = "socket table for") -> str:
    """The headline of a clean run."""
    return (
        f"{number} open service{'s' * (number > 1)} on 1 interface, all expected "
        f"({coverage} 65536 TCP and UDP ports each)"
    )


def missing(service: str, reason: str, place: str = "--required") -> tuple[str, str]:
    """Headline and line of a run in which one service is missing."""
    text = f"{IPV4}:{service}: {reason}, required by {place}"
    return f"1 missing: {text}", f"missing: {text}"


@pytest.fixture(name="here")
def here_fixture(check: Check, tmp_path: Path) -> Namespace:
    """The namespace of the check, with an /etc/rpc of its own."""
    file = tmp_path / "rpc"
    file.write_text(RPC)
    check.there.shell(f"mount --bind {file} /etc/rpc")
    return check.there


@pytest.fixture(name="rpcbind")
def rpcbind_fixture(here: Namespace) -> Iterator[Portmapper]:
    with portmapper(here) as running:
        yield running


@pytest.fixture(name="opened")
def opened_fixture(here: Namespace) -> Iterator[Opened]:
    with Opened(here) as made:
        yield made


class Opened(contextlib.ExitStack):
    """Ports without a name in /etc/services that this process holds open in a namespace."""

    def __init__(self, there: Namespace) -> None:
        super().__init__()
        self._there = there
        self._unused = itertools.count(61011)
        self._ephemeral = itertools.count(40011)

    def tcp(self, address: str = "0.0.0.0", port: int | None = None) -> int:
        """The number of one more TCP port."""
        number = next(self._unused) if port is None else port
        self.enter_context(self._there.listener(address, number))
        return number

    def udp(self, address: str = "0.0.0.0") -> int:
        """The number of one more UDP port, one that the kernel might have given to a client."""
        number = next(self._ephemeral)
        self.enter_context(self._there.bound(socket.SOCK_DGRAM, address, number))
        return number


def universal(address: str, port: int) -> str:
    """An address and a port as rpcbind writes them (RFC 5665, 5.2.3)."""
    return f"{address}.{port >> 8}.{port & 255}"


def asked(there: Namespace) -> dict[str, int]:
    """What the counters of WATCH say."""
    text = there.shell("nft list counters table inet watch")
    return {
        name: int(count) for name, count in re.findall(r"counter (\w+) {\s+packets (\d+)", text)
    }


# The manual's own example


@pytest.fixture(name="manual")
def manual_fixture(tmp_path: Path) -> Path:
    file = tmp_path / "samhainrc"
    file.write_text(MANUAL.lstrip("\n"))
    return file


def as_in_the_manual(check: Check, manual: Path) -> str:
    return check.output("--config", manual, "--no-official", "--confirm", "0.1")


@pytest.mark.parametrize("mysql", [(), (3306,)])
@pytest.mark.usefixtures("rpcbind")
def test_the_manuals_example_is_ok_when_all_is_there(
    check: Check, opened: Opened, manual: Path, mysql: tuple[int, ...]
) -> None:
    for port in (22, 25, 80, *mysql):
        opened.tcp(port=port)
    text = as_in_the_manual(check, manual)
    number = 5 + len(mysql)
    assert text == result(State.OK, expected(number, "full scan of"), (number, 0, 0))


@pytest.mark.parametrize(("absent", "name"), [(22, "ssh"), (25, "smtp"), (80, "http")])
@pytest.mark.usefixtures("rpcbind")
def test_the_manuals_example_names_the_port_that_is_missing(
    check: Check, opened: Opened, manual: Path, absent: int, name: str
) -> None:
    for port in {22, 25, 80} - {absent}:
        opened.tcp(port=port)
    text = f"{IPV4}:{absent}/tcp (maybe_{name}), required by {manual}:{MANUAL_LINE}"
    assert as_in_the_manual(check, manual) == result(
        State.CRITICAL, f"1 missing: {text}", (4, 0, 1), f"missing: {text}"
    )


@pytest.mark.parametrize("absent", ["tcp", "udp"])
def test_the_manuals_example_names_the_portmapper_that_is_missing(
    check: Check, here: Namespace, opened: Opened, manual: Path, absent: str
) -> None:
    for port in (22, 25, 80):
        opened.tcp(port=port)
    with portmapper(here, prepare=WITHOUT.format(f"^{absent}")):
        text = as_in_the_manual(check, manual)
    headline, line = missing(f"portmapper/{absent}", "not registered", f"{manual}:{MANUAL_LINE}")
    assert text == result(State.CRITICAL, headline, (4, 0, 1), line)


@pytest.mark.usefixtures("here")
def test_the_manuals_example_says_why_the_portmapper_is_missing(
    check: Check, opened: Opened, manual: Path
) -> None:
    for port in (22, 25, 80):
        opened.tcp(port=port)
    refused = f"portmapper on {IPV4} refused the connection"
    first, *lines = as_in_the_manual(check, manual).splitlines()
    assert first.startswith(f"PORTCHECK CRITICAL - 2 missing: {IPV4}:portmapper/tcp: {refused}")
    assert lines == [
        *(
            f"missing: {IPV4}:portmapper/{each}: {refused}, required by {manual}:{MANUAL_LINE}"
            for each in ("tcp", "udp")
        ),
        f"note: RPC services have no names: {refused}",
        "exit 2",
    ]


@pytest.mark.usefixtures("rpcbind")
def test_the_manuals_example_names_what_it_does_not_list(
    check: Check, opened: Opened, manual: Path
) -> None:
    for port in (22, 25, 80, 8080):
        opened.tcp(port=port)
    text = f"{IPV4}:8080/tcp (maybe_http-alt) OWNER"
    assert as_in_the_manual(check, manual) == result(
        State.CRITICAL, f"1 unexpected: {text}", (6, 1, 0), f"unexpected: {text}"
    )


# The checklist


def test_r1_names_come_from_etc_rpc_and_are_rpc_number_else(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    named, nameless = opened.tcp(), opened.udp()
    rpcbind.register_port(100003, 3, TCP, named)
    rpcbind.register_port(100075, 1, UDP, nameless)
    names = {f"{named}/tcp": "nfs", f"{nameless}/udp": "RPC_100075"}
    for (port, name), other in zip(names.items(), reversed(names), strict=True):
        line = f"{IPV4}:{port} ({name}) OWNER"
        assert check.output(*ONE, *TABLE, *PORTMAPPER, "--optional", f"*:{other}") == result(
            State.CRITICAL, f"1 unexpected: {line}", (4, 1, 0), f"unexpected: {line}"
        )
    done = check(*ONE, *TABLE, *PORTMAPPER)
    items = "nfs/tcp@user:root,RPC_100075/udp@user:root"
    assert done.stdout.endswith(f"  allow: PortCheckOptional = {IPV4}:{items}\n")


@pytest.mark.usefixtures("rpcbind")
def test_r2_a_portmapper_is_asked_once_per_address_and_run(check: Check, here: Namespace) -> None:
    here.rules(WATCH)
    check.output(*ONE, "--interface", "127.0.0.1", *PORTMAPPER, "-v")
    assert asked(here) == {"here": 1, "loopback": 1, "datagrams": 0}


@pytest.mark.usefixtures("rpcbind")
def test_r2_the_second_look_asks_once_more(check: Check, here: Namespace) -> None:
    here.rules(WATCH)
    check.output(*ONE, *TABLE, *PORTMAPPER, "--required", "*:nfs/tcp")
    assert asked(here) == {"here": 2, "loopback": 0, "datagrams": 0}


@pytest.mark.parametrize("rule", ["nfs", "RPC_100003"])
@pytest.mark.parametrize("policy", ["--required", "--optional", "--ignore"])
def test_r3_a_name_or_program_number_matches_on_whatever_port(
    check: Check, opened: Opened, rpcbind: Portmapper, policy: str, rule: str
) -> None:
    rpcbind.register_port(100003, 3, TCP, opened.tcp())
    text = check.output(*ONE, *TABLE, *PORTMAPPER, policy, f"{IPV4}:{rule}/tcp")
    assert text == result(State.OK, expected(3), (3, 0, 0))


def test_r3_a_name_matches_its_own_protocol_only(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    port = opened.udp()
    rpcbind.register_port(100003, 3, UDP, port)
    surplus = f"{IPV4}:{port}/udp (nfs) OWNER"
    headline, line = missing("nfs/tcp", "not registered")
    assert check.output(*ONE, *TABLE, *PORTMAPPER, "--required", "*:nfs/tcp") == result(
        State.CRITICAL,
        f"1 unexpected, {headline.replace(': ', f': {surplus}, ', 1)}",
        (3, 1, 1),
        f"unexpected: {surplus}",
        line,
    )


def test_r4_a_port_number_matches_an_rpc_service_too(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    port = opened.tcp()
    rpcbind.register_port(100003, 3, TCP, port)
    options = (*ONE, *TABLE, "--required", f"*:{port}/tcp,111/tcp", "--ignore", "*:111/udp")
    assert check.output(*options) == result(State.OK, expected(3), (3, 0, 0))
    assert check.output(*options, *PORTMAPPER) == result(State.OK, expected(3), (3, 0, 0))


def test_r5_programs_that_share_a_port_and_ports_that_share_a_program_do_not_flap(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    shared = opened.tcp()
    for program in (100003, 100227):
        for version in (3, 4):
            rpcbind.register_port(program, version, TCP, shared)
    several = [opened.tcp() for _ in range(3)]
    for version, port in enumerate(several, 1):
        rpcbind.register_port(100005, version, TCP, port)
    options = (*ONE, *TABLE, *PORTMAPPER, "--required", "*:nfs/tcp,nfs_acl/tcp,mountd/tcp")
    runs = [check.output(*options, "-v") for _ in range(3)]
    stretch = ports_text((PortRange.of(Port(Protocol.TCP, port)) for port in several), 9)
    first, *lines = runs[0].splitlines(keepends=True)
    assert f"{first}exit 0\n" == result(State.OK, expected(6), (6, 0, 0))
    assert [line for line in lines if "OWNER" in line] == [
        f"open: {IPV4}:{shared}/tcp (nfs/nfs_acl) OWNER, required by --required\n",
        f"open: {IPV4}:{stretch} (mountd) OWNER, required by --required\n",
    ]
    assert runs == runs[:1] * 3


@pytest.mark.parametrize("rule", ["nfs", "nfs_acl"])
def test_r5_either_of_two_programs_allows_the_port(
    check: Check, opened: Opened, rpcbind: Portmapper, rule: str
) -> None:
    port = opened.tcp()
    for program in (100003, 100227):
        rpcbind.register_port(program, 3, TCP, port)
    text = check.output(*ONE, *TABLE, *PORTMAPPER, "--required", f"*:{rule}/tcp")
    assert text == result(State.OK, expected(3), (3, 0, 0))


@contextlib.contextmanager
def absent(_: Namespace) -> Iterator[None]:
    yield


@contextlib.contextmanager
def stopped(here: Namespace) -> Iterator[None]:
    """A portmapper that listens and does not answer."""
    with portmapper(here) as running:
        here.shell(f"kill -STOP {running.pid}")
        yield


@contextlib.contextmanager
def babbling(here: Namespace) -> Iterator[None]:
    with fake(here, speak_http):
        yield


@contextlib.contextmanager
def hanging_up(here: Namespace) -> Iterator[None]:
    with fake(here, hang_up):
        yield


BROKEN = {
    absent: "refused the connection",
    stopped: "did not answer within 2 s",
    babbling: "sent garbage: more than 1048576 bytes",
    hanging_up: "closed the connection before it had answered",
}
"""Portmappers that are of no use, and what is said of them."""
NUMBER_111 = ("--optional", "*:111/tcp,111/udp")

broken = pytest.mark.parametrize(("state", "said"), BROKEN.items())


@broken
def test_r6_without_portmapper_rpc_rules_are_unknown_and_port_rules_hold(
    check: Check, here: Namespace, opened: Opened, state: Broken, said: str
) -> None:
    port = opened.tcp()
    numbers = (*NUMBER_111, "--required", f"*:{port}/tcp")
    with state(here):
        text = check.output(*ONE, *TABLE, *numbers, "--required", "*:nfs/tcp")
        rows = here.shell("ss --no-header --listening --numeric --tcp --udp").splitlines()
    reason = f"portmapper on {IPV4} {said}"
    unverified = f"{IPV4}:nfs/tcp: {reason}, required by --required"
    assert text == result(
        State.UNKNOWN,
        f"1 unverified: {unverified}",
        (sum(not row.split()[4].startswith("[") for row in rows), 0, 0),
        f"unverified: {unverified}",
        f"note: RPC services have no names: {reason}",
    )


@broken
def test_r6_what_was_found_beside_a_broken_portmapper_stays_critical(
    check: Check, here: Namespace, opened: Opened, state: Broken, said: str
) -> None:
    port = opened.tcp()
    with state(here):
        text = check.output(*(*ONE, *TABLE, *NUMBER_111, "--required", "*:nfs/tcp,61001/tcp"))
    first, *lines = text.splitlines()
    reason = f"portmapper on {IPV4} {said}"
    assert first.startswith(
        f"PORTCHECK CRITICAL - 1 unexpected, 1 missing, 1 unverified: {IPV4}:{port}/tcp OWNER"
    )
    assert lines == [
        f"unexpected: {IPV4}:{port}/tcp OWNER",
        f"missing: {IPV4}:61001/tcp, required by --required",
        f"unverified: {IPV4}:nfs/tcp: {reason}, required by --required",
        f"note: RPC services have no names: {reason}",
        "exit 2",
    ]


@broken
def test_r6_a_broken_portmapper_is_itself_missing_or_in_doubt(
    check: Check, here: Namespace, state: Broken, said: str
) -> None:
    with state(here):
        text = check.output(*ONE, *TABLE, "--required", "*:portmapper/tcp")
    closed = state is absent
    kind = "missing" if closed else "unverified"
    lines = text.splitlines()
    (line,) = (line for line in lines if line.startswith(f"{kind}: "))
    assert line.endswith(f": portmapper on {IPV4} {said}, required by --required")
    assert line.startswith(f"{kind}: {IPV4}:{'portmapper/tcp' if closed else '111/tcp'}")
    assert f"missing_192_0_2_7={closed:d};" in lines[0]


@broken
def test_r6_without_rpc_rules_nothing_is_said_of_a_broken_portmapper(
    check: Check, here: Namespace, opened: Opened, state: Broken, said: str
) -> None:
    port = opened.tcp()
    with state(here):
        text = check.output(*ONE, *TABLE, *NUMBER_111)
        verbose = check.output(*ONE, *TABLE, *NUMBER_111, "-v")
    surplus = f"unexpected: {IPV4}:{port}/tcp OWNER"
    assert text.splitlines()[1:] == [surplus, "exit 2"]
    assert f"{surplus}\n" in verbose
    assert said not in verbose


def test_without_rpc_rules_an_absent_portmapper_is_not_asked(
    check: Check, here: Namespace, opened: Opened
) -> None:
    here.rules(WATCH)
    opened.tcp()
    check.output(*ONE, *TABLE, "-v")
    assert asked(here) == {"here": 0, "loopback": 0, "datagrams": 0}


@pytest.mark.usefixtures("rpcbind")
def test_without_rpc_rules_a_clean_run_asks_nobody(check: Check, here: Namespace) -> None:
    here.rules(WATCH)
    text = check.output(*ONE, *NUMBER_111)
    assert text == result(State.OK, expected(2, "full scan of"), (2, 0, 0))
    assert asked(here) == {"here": 0, "loopback": 0, "datagrams": 0}


@pytest.mark.parametrize(
    ("address", "label"), [(IPV6, "2001_db8__7"), (LINK_LOCAL, "fe80__7_eth0")]
)
def test_r7_ipv6_addresses_get_rpc_names_too(
    check: Check, opened: Opened, rpcbind: Portmapper, address: str, label: str
) -> None:
    port = opened.tcp("::")
    rpcbind.register(100003, 3, "tcp6", universal("::", port))
    options = ("--no-official", "--interface", address, *TABLE, *PORTMAPPER)
    text = check.output(*options, "--required", "*:nfs/tcp")
    assert text == result(State.OK, expected(3), (3, 0, 0), label=label)
    surplus = f"[{address}]:{port}/tcp (nfs) OWNER"
    assert check.output(*options) == result(
        State.CRITICAL,
        f"1 unexpected: {surplus}",
        (3, 1, 0),
        f"unexpected: {surplus}",
        label=label,
    )


def test_r8_the_portmapper_itself_is_listed_as_such(check: Check, rpcbind: Portmapper) -> None:
    owner = f"rpcbind[{rpcbind.pid}] user _rpc"
    line = f"{IPV4}:111/tcp,111/udp (portmapper) {owner}"
    assert check.output(*ONE, *TABLE) == result(
        State.CRITICAL, f"2 unexpected: {line}", (2, 2, 0), f"unexpected: {line}"
    )
    assert check.output(*ONE, *TABLE, *PORTMAPPER) == result(State.OK, expected(2), (2, 0, 0))


def test_t1_services_are_shown_by_interface_port_and_name(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    for address in (IPV4, IPV6):
        for port in (22, 2049, 61001):
            opened.tcp(address, port)
    rpcbind.register(100003, 3, "tcp", universal(IPV4, 2049))
    interfaces = ("--no-official", "--interface", f"{IPV4},{IPV6}")
    text = check.output(*interfaces, *TABLE, *PORTMAPPER)
    assert [line for line in text.splitlines() if line.startswith("unexpected: ")] == [
        f"unexpected: {IPV4}:2049/tcp (nfs) OWNER",
        f"unexpected: [{IPV6}]:2049/tcp (maybe_nfs) OWNER",
        "unexpected: *:22,61001/tcp OWNER",
    ]


# Beyond the checklist


def test_a_program_that_is_registered_and_not_open_is_missing_with_the_remark(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    opened.udp()
    for version, closed in ((3, 61001), (4, 61002)):
        rpcbind.register_port(100003, version, TCP, closed)
    headline, line = missing("nfs/tcp", "registered on 61001/tcp, 61002/tcp, not listening")
    options = (*PORTMAPPER, "--required", "*:nfs/tcp", "--ignore", "*:ephemeral/udp")
    assert check.output(*ONE, *TABLE, *options) == result(State.CRITICAL, headline, (3, 0, 1), line)


def test_a_program_that_is_open_on_one_of_its_ports_is_there(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    rpcbind.register_port(100003, 3, TCP, 61001)
    rpcbind.register_port(100003, 4, TCP, opened.tcp())
    text = check.output(*ONE, *TABLE, *PORTMAPPER, "--required", "*:nfs/tcp")
    assert text == result(State.OK, expected(3), (3, 0, 0))


def test_a_program_that_is_open_on_another_address_is_missing_here(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    port = opened.tcp("127.0.0.1")
    rpcbind.register_port(100003, 3, TCP, port)
    interfaces = (*ONE, "--interface", "127.0.0.1")
    text = check.output(*interfaces, *TABLE, *PORTMAPPER, "--required", "*:nfs/tcp")
    headline, line = missing("nfs/tcp", f"registered on {port}/tcp, not listening")
    assert text.startswith(f"PORTCHECK CRITICAL - {headline} | ")
    assert text.splitlines()[1:] == [line, "exit 2"]


def test_a_portmapper_on_loopback_only_gives_names_to_other_addresses(
    check: Check, here: Namespace, opened: Opened
) -> None:
    port = opened.tcp()
    with portmapper(here, *LOOPBACK) as rpcbind:
        rpcbind.register_port(100003, 3, TCP, port)
        found = check.output(*ONE, *TABLE, "--required", "*:nfs/tcp")
        itself = check.output(*ONE, *TABLE, "--required", "*:nfs/tcp,portmapper/tcp")
    assert found == result(State.OK, expected(1), (1, 0, 0))
    headline, line = missing("portmapper/tcp", "not registered")
    assert itself == result(State.CRITICAL, headline, (1, 0, 1), line)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("where", ["", f"{IPV4}:"])
def test_a_portmapper_whose_port_is_skipped_is_never_asked(
    check: Check, here: Namespace, opened: Opened, protocol: str, where: str
) -> None:
    port = opened.tcp()
    here.rules(WATCH)
    # Without TCP, so that it would have to be asked over UDP.
    with portmapper(here, prepare=WITHOUT.format("^tcp")):
        text = check.output(
            *(*ONE, *TABLE, "--skip", f"{where}111/{protocol}", "--required", "*:nfs/tcp"),
            *("--optional", f"*:{port}/tcp,111/udp", "-v"),
        )
    assert asked(here) == {"here": 0, "loopback": 0, "datagrams": 0}
    reason = "the portmapper's port is skipped"
    unverified = f"{IPV4}:nfs/tcp: {reason}, required by --required"
    first, *lines = text.splitlines()
    assert first.startswith(f"PORTCHECK UNKNOWN - 1 unverified: {unverified} | ")
    assert lines[:2] == [
        f"unverified: {unverified}",
        f"note: RPC services have no names: {reason}",
    ]


def test_a_portmapper_that_is_skipped_on_loopback_is_not_asked_there_for_others(
    check: Check, here: Namespace
) -> None:
    here.rules(WATCH)
    with portmapper(here, *LOOPBACK):
        text = check.output(
            *(*ONE, *TABLE, "--interface", "127.0.0.1", "--skip", "127.0.0.1:111/tcp"),
            *("--required", f"{IPV4}:nfs/tcp", "--optional", "127.0.0.1:111/udp"),
        )
    assert asked(here)["loopback"] == 0
    assert f"unverified: {IPV4}:nfs/tcp: portmapper on {IPV4} refused the connection" in text
    assert text.endswith("exit 3\n")


def test_json_has_number_and_name_of_each_program(
    check: Check, opened: Opened, rpcbind: Portmapper
) -> None:
    port = opened.tcp()
    for program in (100003, 100075):
        rpcbind.register_port(program, 3, TCP, port)
    report = check.report(*ONE, *TABLE, *PORTMAPPER, "--optional", "*:RPC_100075/tcp")
    (service,) = (each for each in report["services"] if each["port"] == port)
    assert service["name"] == "nfs/RPC_100075"
    assert service["rpc"] == [
        {"program": 100003, "name": "nfs"},
        {"program": 100075, "name": "RPC_100075"},
    ]
    assert service["rule"] == {
        "kind": "optional",
        "text": "*:RPC_100075/tcp",
        "source": "--optional",
    }
