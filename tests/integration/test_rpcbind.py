from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, LINK_LOCAL, PATIENCE, until
from portmapper import PORT, daemon, portmapper

from check_portcheck.deadline import Deadline
from check_portcheck.model import Interface, Port, Protocol, Registrations
from check_portcheck.names import names
from check_portcheck.rpc.rpcbind import registrations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from namespace import Namespace

    Behaviour = Callable[[socket.socket], None]

pytestmark = pytest.mark.daemons

LOOPBACK = [("tcp", "127.0.0.1"), ("udp", "127.0.0.1"), ("tcp", "::1"), ("udp", "::1")]
TCP, UDP = 6, 17
RPC = """
portmapper 100000
nfs 100003
mountd 100005
status 100024
nfs_acl 100227
"""
NAMES = names("", RPC)

NFS = """
mount -t tmpfs tmpfs /var/lib/nfs
mkdir /var/lib/nfs/sm /var/lib/nfs/sm.bak
chown -R statd /var/lib/nfs
"""
"""Gives rpc.statd a state of its own."""
REGISTERED = r"(?m)^ +(100005|100024) "
"""A line of rpcinfo; mountd has three versions, status one, each on four transports."""
SERVICES = {"rpcbind": "portmapper", "rpc.statd": "status", "rpc.mountd": "mountd"}

WITHOUT = "grep -v {} /etc/netconfig >/run/netconfig; mount --bind /run/netconfig /etc/netconfig"
"""Takes transports away from rpcbind; libtirpc reads from netconfig(5) which ones there are."""
DENY = "echo '{}' >/run/deny; mount --bind /run/deny /etc/hosts.deny"
"""Denies clients the use of rpcbind (hosts_access(5))."""
FILTER = """
table inet filter {{
    chain input {{
        type filter hook input priority 0
        {}
    }}
}}
"""

WATCH = """
table inet watch {{
    counter asked {{}}
    counter stray {{}}
    chain output {{
        type filter hook output priority 0;
        meta l4proto != {{ tcp, udp }} accept
        th sport 111 accept
        {family} daddr {host} th dport 111 counter name asked accept
        ip daddr 127.0.0.1 th dport 111 accept
        ip6 daddr ::1 th dport 111 accept
        counter name stray
    }}
}}
"""
"""Counts what is sent to port 111 of one host, and what to anything but that and loopback."""


@pytest.fixture(name="there")
def there_fixture(pair: tuple[Namespace, Namespace]) -> Namespace:
    return pair[0]


class Asker:
    """Asks for the registrations of addresses of a namespace."""

    def __init__(self, there: Namespace) -> None:
        self._there = there

    def __call__(self, address: str, seconds: float = 60) -> list[str]:
        """The registrations for an address, as text."""
        found = self._registrations(address, seconds)
        assert found.unreachable is None
        return [
            f"{port} {NAMES.rpc(program)}"
            for port, programs in found.programs.items()
            for program in programs
        ]

    def failure(self, address: str, seconds: float = 60) -> str:
        """Why nothing could be learnt."""
        found = self._registrations(address, seconds)
        assert found.unreachable is not None
        assert found.programs == {}
        return found.unreachable

    def _registrations(self, address: str, seconds: float) -> Registrations:
        device = "lo" if address in ("127.0.0.1", "::1") else "eth0"
        with self._there.entered():
            interface = Interface(address, device, socket.if_nametoindex(device), device)
            return registrations(interface, Deadline.after(seconds))


@pytest.fixture(name="ask")
def ask_fixture(there: Namespace) -> Asker:
    return Asker(there)


@pytest.mark.parametrize("address", [IPV4, "127.0.0.1"])
def test_programs_registered_for_ipv4_are_found(address: str, there: Namespace, ask: Asker) -> None:
    with portmapper(there) as rpcbind:
        for version in (3, 4):
            rpcbind.register_port(100003, version, TCP, 2049)
        rpcbind.register_port(100227, 3, TCP, 2049)
        rpcbind.register_port(100075, 1, UDP, 47777)
        for version in (1, 2, 3):
            rpcbind.register_port(100005, version, TCP, 20000 + version)
        rpcbind.register(100024, 1, "tcp6", "::.8.1")
        assert ask(address) == [
            "111/tcp portmapper",
            "2049/tcp nfs",
            "2049/tcp nfs_acl",
            "20001/tcp mountd",
            "20002/tcp mountd",
            "20003/tcp mountd",
            "111/udp portmapper",
            "47777/udp RPC_100075",
        ]


@pytest.mark.parametrize("address", [IPV6, LINK_LOCAL, "::1"])
def test_programs_registered_for_ipv6_are_found(address: str, there: Namespace, ask: Asker) -> None:
    with portmapper(there) as rpcbind:
        for version in (3, 4):
            rpcbind.register(100003, version, "tcp6", "::.8.1")
        rpcbind.register(100227, 3, "tcp6", "::.8.1")
        rpcbind.register(100075, 1, "udp6", "::.186.161")
        rpcbind.register_port(100024, 1, TCP, 2050)
        assert ask(address) == [
            "111/tcp portmapper",
            "2049/tcp nfs",
            "2049/tcp nfs_acl",
            "111/udp portmapper",
            "47777/udp RPC_100075",
        ]


def test_a_registration_for_one_address_concerns_that_address_only(
    there: Namespace, ask: Asker
) -> None:
    with portmapper(there) as rpcbind:
        rpcbind.register(100003, 3, "tcp", f"{IPV4}.8.1")
        rpcbind.register(100003, 4, "tcp", "127.0.0.1.8.2")
        rpcbind.register(100003, 3, "tcp6", f"{IPV6}.8.3")
        rpcbind.register(100003, 4, "tcp6", "fe80:0::7.8.4")
        found = {
            address: [each for each in ask(address) if "nfs" in each]
            for address in (IPV4, "127.0.0.1", IPV6, LINK_LOCAL, "::1")
        }
    assert found == {
        IPV4: ["2049/tcp nfs"],
        "127.0.0.1": ["2050/tcp nfs"],
        IPV6: ["2051/tcp nfs"],
        LINK_LOCAL: ["2052/tcp nfs"],
        "::1": [],
    }


def test_what_a_local_user_registers_does_not_hide_the_others(there: Namespace, ask: Asker) -> None:
    with portmapper(there) as rpcbind:
        rpcbind.register(300001, 1, "tcp", "no address")
        rpcbind.register(300002, 1, "tcp", "1" * 8000)
        rpcbind.register(300003, 1, "tcp6", "::1%lo.8.1")
        rpcbind.register(300004, 1, "no transport", "\x1b[2J|\n")
        rpcbind.register_port(300005, 1, TCP, 0)
        rpcbind.register_port(100003, 3, TCP, 2049)
        assert ask(IPV4) == [
            "111/tcp portmapper",
            "2049/tcp nfs",
            "111/udp portmapper",
        ]


@pytest.mark.parametrize(("address", "netids"), [(IPV4, ("tcp", "udp")), (IPV6, ("tcp6", "udp6"))])
def test_what_is_named_is_found_under_a_flood_of_registrations(
    there: Namespace, address: str, netids: tuple[str, str]
) -> None:
    """150 of 8 KB, by whoever may register, are more than a reply may have."""
    wildcard = "0.0.0.0" if address == IPV4 else "::"
    interface = Interface(address, "eth0", 2, "eth0")
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    with portmapper(there) as rpcbind, contextlib.ExitStack() as opened:
        ports = []
        for version, netid, kind in zip((3, 1), netids, kinds, strict=True):
            bound = opened.enter_context(there.bound(kind, address))
            ports.append(bound.getsockname()[1])
            universal = f"{wildcard}.{ports[-1] >> 8}.{ports[-1] & 255}"
            rpcbind.register(400003, version, netid, universal)
        for number in range(150):
            rpcbind.register(500000 + number, 1, netids[0], "x" * 8000)
        with there.entered():
            found = registrations(interface, Deadline.after(60), programs=(400003, 400005))
            nothing = registrations(interface, Deadline.after(60))
    assert nothing.unreachable
    assert "sent garbage: more than" in nothing.unreachable
    tcp, udp = ports
    assert found == Registrations(
        {Port(Protocol.TCP, tcp): (400003,), Port(Protocol.UDP, udp): (400003,)}
    )


def test_a_long_list_is_complete(there: Namespace, ask: Asker) -> None:
    with portmapper(there) as rpcbind:
        for program in range(400000, 401000):
            rpcbind.register_port(program, 1, TCP, program - 390000)
        found = ask(IPV4)
    assert found[1:-1] == [f"{n - 390000}/tcp RPC_{n}" for n in range(400000, 401000)]


@pytest.mark.parametrize(("address", "wildcard"), [(IPV4, "0.0.0.0"), (IPV6, "[::]")])
def test_the_ports_of_the_real_daemons_are_found(
    address: str, wildcard: str, there: Namespace, ask: Asker
) -> None:
    there.shell(NFS)
    with (
        portmapper(there),
        daemon(there, "rpc.statd", "--foreground", "--no-notify"),
        daemon(there, "rpc.mountd", "--foreground"),
    ):
        until(lambda: len(re.findall(REGISTERED, there.shell("rpcinfo"))) == 16, "registered")
        found = ask(address)
        sockets = there.shell("ss --no-header --listening --numeric --tcp --udp --process")
    listening = set()
    for protocol, *_, local, _, users in map(str.split, sockets.splitlines()):
        host, _, port = local.rpartition(":")
        holder = re.search(r'"(rpc.*?)"', users)
        if host == wildcard and holder:
            listening.add(f"{port}/{protocol} {SERVICES[holder[1]]}")
    assert len(found) == 10
    assert set(found) == listening


@pytest.mark.parametrize("address", [IPV4, IPV6])
def test_udp_is_asked_where_tcp_is_not_to_be_had(
    address: str, there: Namespace, ask: Asker
) -> None:
    with portmapper(there, prepare=WITHOUT.format("^tcp")):
        assert ask(address) == ["111/udp portmapper"]


def test_udp_is_asked_where_tcp_is_filtered(there: Namespace, ask: Asker) -> None:
    there.rules(FILTER.format("tcp dport 111 drop"))
    with portmapper(there):
        found = ask(IPV4)
        assert found == ["111/tcp portmapper", "111/udp portmapper"]


def test_a_list_too_long_for_a_datagram_is_asked_by_an_older_version(
    there: Namespace, ask: Asker
) -> None:
    there.rules(FILTER.format("ip daddr 192.0.2.7 tcp dport 111 drop"))
    with portmapper(there) as rpcbind:
        for program in range(400000, 400200):
            rpcbind.register_port(program, 1, UDP, program - 390000)
        found = ask(IPV4)
    assert found[2:] == [f"{n - 390000}/udp RPC_{n}" for n in range(400000, 400200)]


@pytest.mark.parametrize("address", [IPV4, IPV6, LINK_LOCAL])
def test_a_portmapper_on_loopback_only_is_asked_there(
    address: str, there: Namespace, ask: Asker
) -> None:
    with portmapper(there, *LOOPBACK) as rpcbind:
        rpcbind.register_port(100003, 3, TCP, 2049)
        rpcbind.register(100003, 3, "tcp6", "::.8.1")
        # The portmapper itself is registered too, but not for this address.
        assert ask(address) == ["2049/tcp nfs"]


@pytest.mark.parametrize("loopback", ["ip address show dev lo", "ip address del ::1/128 dev lo"])
def test_a_portmapper_without_ipv6_is_asked_over_ipv4(
    loopback: str, there: Namespace, ask: Asker
) -> None:
    with portmapper(there, prepare=f"{WITHOUT.format('6')}; {loopback}") as rpcbind:
        rpcbind.register_port(100003, 3, TCP, 2049)
        rpcbind.register(100005, 3, "tcp6", "::.2.123")
        assert ask(IPV6) == ["635/tcp mountd"]


def test_a_portmapper_that_serves_loopback_only_is_asked_there(
    there: Namespace, ask: Asker
) -> None:
    with portmapper(there, prepare=DENY.format("rpcbind: ALL EXCEPT 127.0.0.1")):
        found = ask(IPV4)
        assert found == ["111/tcp portmapper", "111/udp portmapper"]


def test_a_portmapper_that_serves_nobody_is_named(there: Namespace, ask: Asker) -> None:
    with portmapper(there, prepare=DENY.format("rpcbind: ALL")):
        text = ask.failure(IPV4)
        assert text == "portmapper on 192.0.2.7 refused to answer: access denied"


def test_a_hung_portmapper_is_given_up_after_two_seconds(there: Namespace, ask: Asker) -> None:
    with portmapper(there) as rpcbind:
        there.shell(f"kill -STOP {rpcbind.pid}")
        text = ask.failure(IPV4)
        assert text == "portmapper on 192.0.2.7 did not answer within 2 s"


def test_the_deadline_of_the_caller_comes_first(there: Namespace, ask: Asker) -> None:
    with portmapper(there):
        text = ask.failure(IPV4, seconds=-1)
        assert text == "portmapper on 192.0.2.7 did not answer within 0 s"


@pytest.mark.parametrize("address", [IPV4, IPV6, LINK_LOCAL, "127.0.0.1", "::1"])
def test_an_absent_portmapper_is_sought_on_the_interface_and_on_loopback_only(
    address: str, there: Namespace, ask: Asker
) -> None:
    host = address.partition("%")[0]
    there.rules(WATCH.format(family="ip6" if ":" in host else "ip", host=host))
    assert ask.failure(address) == f"portmapper on {host} refused the connection"
    assert "packets 2 " in there.shell("nft list counter inet watch asked")
    assert "packets 0 " in there.shell("nft list counter inet watch stray")


def test_a_portmapper_behind_a_packet_filter_is_named(there: Namespace, ask: Asker) -> None:
    there.rules(FILTER.format("th dport 111 reject with icmpx admin-prohibited"))
    with portmapper(there):
        text = ask.failure(IPV4)
        assert text == "portmapper on 192.0.2.7 is out of reach: No route to host"


@contextlib.contextmanager
def fake(there: Namespace, behaviour: Behaviour, address: str = IPV4) -> Iterator[None]:
    """A portmapper over TCP that treats each connection in its own way."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            # The other end gives up some day, and may leave bytes unread.
            with connection, contextlib.suppress(ConnectionError):
                behaviour(connection)

    listener = there.listener(address, PORT)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def read_call(connection: socket.socket) -> tuple[int, int]:
    """The xid and the version of a call, which comes as one fragment."""
    header, xid, *_, version, _, _, _, _, _ = struct.unpack(
        ">11I", connection.recv(44, socket.MSG_WAITALL)
    )
    arguments = (header & ~(1 << 31)) - 40
    assert len(connection.recv(arguments, socket.MSG_WAITALL) if arguments else b"") == arguments
    return xid, version


def accepted(xid: int, *results: int) -> bytes:
    """A reply with an accept status and what follows it, as a record."""
    numbers = (xid, 1, 0, 0, 0, *results)
    return struct.pack(f">{len(numbers) + 1}I", 1 << 31 | 4 * len(numbers), *numbers)


def say_nothing(connection: socket.socket) -> None:
    connection.recv(44, socket.MSG_WAITALL)
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    xid, _ = read_call(connection)
    for octet in accepted(xid, 0, *itertools.repeat(1, 1000)):
        connection.sendall(bytes([octet]))
        time.sleep(0.01)


def send_empty_fragments(connection: socket.socket) -> None:
    read_call(connection)
    while True:
        connection.sendall(bytes(4))


def send_an_endless_list(connection: socket.socket) -> None:
    xid, _ = read_call(connection)
    connection.sendall(struct.pack(">7I", 24, xid, 1, 0, 0, 0, 0))
    while True:
        connection.sendall(struct.pack(">6I", 20, 1, 400000, 0, 0, 0) * 1000)


def announce_a_huge_fragment(connection: socket.socket) -> None:
    read_call(connection)
    connection.sendall(b"\xff\xff\xff\xff")
    connection.recv(1)


def speak_http(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.recv(1)


def answer_another_call(connection: socket.socket) -> None:
    xid, _ = read_call(connection)
    connection.sendall(accepted(xid ^ 1, 0, 0))


def end_the_reply_too_soon(connection: socket.socket) -> None:
    xid, _ = read_call(connection)
    connection.sendall(accepted(xid, 0, 1, 400000))


def answer_twice(connection: socket.socket) -> None:
    xid, _ = read_call(connection)
    connection.sendall(accepted(xid, 0, 0) * 2)


def hang_up(connection: socket.socket) -> None:
    read_call(connection)


def hang_up_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_half(connection: socket.socket) -> None:
    xid, _ = read_call(connection)
    connection.sendall(accepted(xid, 0, 0)[:-1])
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)


def have_no_portmapper(connection: socket.socket) -> None:
    xid, _ = read_call(connection)
    connection.sendall(accepted(xid, 1))


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (send_empty_fragments, "sent garbage: more than 1024 fragments"),
        (send_an_endless_list, "sent garbage: more than 1024 fragments"),
        (announce_a_huge_fragment, "sent garbage: more than 1048576 bytes"),
        (speak_http, "sent garbage: more than 1048576 bytes"),
        (answer_another_call, "sent garbage: reply to another call"),
        (end_the_reply_too_soon, "sent garbage: cut short"),
        (answer_twice, "sent garbage: more than one reply"),
        (hang_up, "closed the connection before it had answered"),
        (hang_up_at_once, "closed the connection before it had answered"),
        (close_half, "closed the connection before it had answered"),
        (have_no_portmapper, "refused to answer: program unavailable"),
    ],
)
def test_a_misbehaving_portmapper_is_given_up_with_the_reason(
    behaviour: Behaviour, text: str, there: Namespace, ask: Asker
) -> None:
    with fake(there, behaviour):
        assert ask.failure(IPV4) == f"portmapper on 192.0.2.7 {text}"


@pytest.mark.parametrize("behaviour", [speak_http, hang_up])
def test_a_misbehaving_portmapper_is_not_covered_up_by_another_on_loopback(
    behaviour: Behaviour, there: Namespace, ask: Asker
) -> None:
    def answer(connection: socket.socket) -> None:
        xid, _ = read_call(connection)
        connection.sendall(accepted(xid, 0, 0))

    with fake(there, answer, "127.0.0.1"):
        assert ask(IPV4) == []
        with fake(there, behaviour):
            assert ask.failure(IPV4).startswith("portmapper on 192.0.2.7 ")


@pytest.mark.parametrize("behaviour", [say_nothing, drip])
def test_a_portmapper_that_does_not_come_to_the_point_is_given_up(
    behaviour: Behaviour, there: Namespace, ask: Asker
) -> None:
    with fake(there, behaviour):
        text = ask.failure(IPV4, seconds=0.3)
        # What is left of the time when the asking begins: on a busy machine somewhat less.
        assert re.fullmatch(r"portmapper on 192.0.2.7 did not answer within 0(\.\d+)? s", text)


def test_a_portmapper_that_accepts_no_connection_is_named(there: Namespace, ask: Asker) -> None:
    with there.listener(IPV4, PORT, backlog=0):
        with there.entered():
            waiting = socket.create_connection((IPV4, PORT))
        with waiting:
            assert ask.failure(IPV4) == "portmapper on 192.0.2.7 accepts no connection"


@pytest.mark.parametrize(
    ("answer", "text"),
    [(b"", "sent garbage: cut short"), (bytes(65503), "sent garbage: no reply")],
)
def test_a_misbehaving_portmapper_over_udp_is_given_up_with_the_reason(
    answer: bytes, text: str, there: Namespace, ask: Asker
) -> None:
    def serve() -> None:
        call, client = server.recvfrom(100)
        server.sendto(call[:4] + answer, client)

    with there.bound(socket.SOCK_DGRAM, IPV4, PORT) as server:
        server.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        assert ask.failure(IPV4) == f"portmapper on 192.0.2.7 {text}"
        thread.join()


def test_a_hung_portmapper_over_udp_is_given_up(there: Namespace, ask: Asker) -> None:
    with there.bound(socket.SOCK_DGRAM, IPV4, PORT):
        text = ask.failure(IPV4, seconds=0.3)
        # What is left of the time when the asking begins: on a busy machine somewhat less.
        assert re.fullmatch(r"portmapper on 192.0.2.7 did not answer within 0(\.\d+)? s", text)


@pytest.mark.parametrize(
    ("listens", "address", "found"),
    [
        (IPV4, IPV4, ["2049/tcp nfs", "2049/udp nfs"]),
        ("127.0.0.1", IPV4, ["2049/tcp nfs", "2049/udp nfs"]),
        ("127.0.0.1", IPV6, []),
    ],
)
def test_a_portmapper_of_version_2_is_asked_after_the_newer_versions(
    listens: str, address: str, found: list[str], there: Namespace, ask: Asker
) -> None:
    asked: list[int] = []

    def speak_version_2(connection: socket.socket) -> None:
        xid, version = read_call(connection)
        asked.append(version)
        nfs = (1, 100003, 3, TCP, 2049, 1, 100003, 3, UDP, 2049, 0)
        connection.sendall(accepted(xid, 0, *nfs) if version == 2 else accepted(xid, 2, 2, 2))

    with fake(there, speak_version_2, listens):
        assert ask(address) == found
    assert asked == [4, 3, 2]
