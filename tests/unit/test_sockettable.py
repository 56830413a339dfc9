from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.kernel import netlink, procnet, sockettable
from check_portcheck.model import (
    V4_MAPPED,
    Evidence,
    Interface,
    OpenService,
    Port,
    Protocol,
    Socket,
    Span,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

TCP, UDP = Protocol.TCP, Protocol.UDP

LO = Interface("127.0.0.1", "lo", 1, "lo")
LO6 = Interface("::1", "lo", 1, "lo")
FOUR = Interface("192.0.2.7", "eth0", 2, "eth0")
SIX = Interface("2001:db8::7", "eth0", 2, "eth0")
LINK_LOCAL = Interface("fe80::7%eth0", "eth0", 2, "eth0")
OTHER = Interface("198.51.100.5", "eth1", 3, "eth1")
OTHER_LINK_LOCAL = Interface("fe80::7%eth1", "eth1", 3, "eth1")
ALL = (LO, FOUR, OTHER, LO6, SIX, LINK_LOCAL, OTHER_LINK_LOCAL)
IPV4 = (LO, FOUR, OTHER)
IPV6 = (LO6, SIX, LINK_LOCAL, OTHER_LINK_LOCAL)


def tcp(address: str, port: int = 80, *, v6only: bool = False, device: int = 0) -> Socket:
    return Socket(TCP, address, port, v6only, device)


def udp(address: str, port: int = 80) -> Socket:
    return Socket(UDP, address, port, v6only=False, device=0)


def numbered(rows: Iterable[Socket]) -> list[Socket]:
    """The rows with inodes, so that no two are equal."""
    return [row._replace(inode=inode) for inode, row in enumerate(rows, 1)]


def where(*rows: Socket) -> tuple[Interface, ...]:
    """On which of all interfaces the rows answer; they must do so together."""
    services = sockettable.open_services(rows, ALL)
    assert [service.sockets for service in services] == [rows] * len(services)
    return services[0].interfaces if services else ()


# One socket


@pytest.mark.parametrize(
    ("row", "interfaces"),
    [
        (tcp("0.0.0.0"), IPV4),
        (tcp("::"), ALL),
        (tcp("::", v6only=True), IPV6),
        (tcp("::ffff:0.0.0.0"), IPV4),
        (tcp("127.0.0.1"), (LO,)),
        (tcp("192.0.2.7"), (FOUR,)),
        (tcp("::ffff:192.0.2.7"), (FOUR,)),
        (tcp("::1"), (LO6,)),
        (tcp("::1", v6only=True), (LO6,)),
        (tcp("2001:db8::7"), (SIX,)),
        (tcp("192.0.2.99"), ()),
        (tcp("::ffff:192.0.2.99"), ()),
        (tcp("2001:db8::99"), ()),
        (tcp("127.0.0.2"), ()),
        (tcp("224.0.0.251"), ()),
    ],
)
def test_a_socket_answers_where_its_address_says(
    row: Socket, interfaces: tuple[Interface, ...]
) -> None:
    assert where(row) == interfaces


@pytest.mark.parametrize(
    ("row", "interfaces"),
    [
        (tcp("0.0.0.0", device=1), (LO,)),
        (tcp("0.0.0.0", device=2), (FOUR,)),
        (tcp("::", device=2), (FOUR, SIX, LINK_LOCAL)),
        (tcp("::", device=2, v6only=True), (SIX, LINK_LOCAL)),
        (tcp("::", device=9), ()),
        (tcp("192.0.2.7", device=2), (FOUR,)),
        (tcp("192.0.2.7", device=3), ()),
        (tcp("fe80::7", device=2), (LINK_LOCAL,)),
        (tcp("fe80::7", device=3), (OTHER_LINK_LOCAL,)),
        (tcp("fe80::7"), (LINK_LOCAL, OTHER_LINK_LOCAL)),
    ],
)
def test_a_socket_bound_to_a_device_answers_at_addresses_of_that_device(
    row: Socket, interfaces: tuple[Interface, ...]
) -> None:
    assert where(row) == interfaces


# Several sockets on one port


def test_sockets_that_share_an_address_answer_together() -> None:
    rows = numbered([tcp("0.0.0.0")] * 3)
    assert where(*rows) == IPV4


def test_equal_rows_count_each() -> None:
    # /proc/net tells nothing by which sockets of one port differ.
    assert where(tcp("::"), tcp("::")) == ALL


def test_a_wildcard_for_each_family_makes_a_service_of_each() -> None:
    four, six = tcp("0.0.0.0"), tcp("::", v6only=True)
    assert sockettable.open_services([six, four], [*IPV6, *IPV4]) == [
        OpenService(Port(TCP, 80), IPV6, Evidence.TABLE, (six,)),
        OpenService(Port(TCP, 80), IPV4, Evidence.TABLE, (four,)),
    ]


def test_a_socket_beside_the_wildcard_sets_its_interface_apart() -> None:
    for rows in ([tcp("0.0.0.0"), tcp("192.0.2.7")], [tcp("192.0.2.7"), tcp("0.0.0.0")]):
        assert sockettable.open_services(rows, ALL) == [
            OpenService(Port(TCP, 80), (LO, OTHER), Evidence.TABLE, (tcp("0.0.0.0"),)),
            OpenService(Port(TCP, 80), (FOUR,), Evidence.TABLE, tuple(rows)),
        ]


def test_interfaces_apart_in_the_list_come_together_in_its_order() -> None:
    rows = numbered([tcp("::"), tcp("192.0.2.7"), tcp("2001:db8::7")])
    services = sockettable.open_services(rows, [SIX, LO, FOUR, LO6])
    assert [(each.interfaces, each.sockets) for each in services] == [
        ((SIX,), (rows[0], rows[2])),
        ((LO, LO6), (rows[0],)),
        ((FOUR,), (rows[0], rows[1])),
    ]


def test_a_socket_that_answers_nowhere_is_no_part_of_a_service() -> None:
    rows = [tcp("192.0.2.99"), tcp("127.0.0.1"), tcp("::", device=9)]
    assert sockettable.open_services(rows, [LO]) == [
        OpenService(Port(TCP, 80), (LO,), Evidence.TABLE, (rows[1],))
    ]
    assert sockettable.open_services(rows, [FOUR]) == []


def test_services_come_by_protocol_and_number() -> None:
    rows = [udp("::", 22), tcp("::", 443), udp("::", 9), tcp("::", 22), tcp("::", 65535)]
    services = sockettable.open_services(rows, [LO])
    assert [str(each.port) for each in services] == [
        "22/tcp",
        "443/tcp",
        "65535/tcp",
        "9/udp",
        "22/udp",
    ]


def test_nothing_is_open_without_sockets_or_interfaces() -> None:
    assert sockettable.open_services([], ALL) == []
    assert sockettable.open_services([tcp("::")], []) == []


def test_equal_groups_of_interfaces_are_one_object() -> None:
    rows = [tcp("0.0.0.0", 1), tcp("0.0.0.0", 2), udp("0.0.0.0"), tcp("0.0.0.0", 2)]
    services = sockettable.open_services(rows, ALL)
    assert len(services) == 3
    assert len({id(each.interfaces) for each in services}) == 1


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def answers(row: Socket, interface: Interface) -> bool:
    """Whether a socket answers on an interface, said of the two alone."""
    own, bound = interface.packed, packed(row.address)
    if interface.family == socket.AF_INET:
        wildcards = (bytes(4), bytes(16), V4_MAPPED + bytes(4))
        there = bound in (own, V4_MAPPED + own) or (bound in wildcards and not row.v6only)
    else:
        there = bound in (own, bytes(16))
    return there and row.device in (0, interface.ifindex)


BOUND = """0.0.0.0 :: ::ffff:0.0.0.0 127.0.0.1 192.0.2.7 192.0.2.99 ::ffff:192.0.2.7
::1 2001:db8::7 fe80::7"""
bindings = st.builds(
    tcp,
    st.sampled_from(BOUND.split()),
    st.sampled_from([1, 2, 80]),
    v6only=st.booleans(),
    device=st.sampled_from([0, 0, 0, 1, 2, 3, 9]),
)
tables = st.lists(bindings, max_size=12).map(numbered)


@given(tables, st.lists(st.sampled_from(ALL), unique=True))
def test_each_interface_has_just_the_sockets_that_answer_on_it(
    table: list[Socket], interfaces: list[Interface]
) -> None:
    found: dict[tuple[Port, Interface], Sequence[Socket]] = {}
    for service in sockettable.open_services(table, interfaces):
        assert service.interfaces == tuple(i for i in interfaces if i in service.interfaces)
        for interface in service.interfaces:
            assert (service.port, interface) not in found
            found[service.port, interface] = service.sockets
    expected = {
        (Port(TCP, row.port), interface): tuple(
            each for each in table if each.port == row.port and answers(each, interface)
        )
        for row in table
        for interface in interfaces
    }
    assert found == {key: sockets for key, sockets in expected.items() if sockets}


@given(tables, st.lists(st.sampled_from(ALL), unique=True))
def test_no_two_services_of_a_port_have_the_same_sockets(
    table: list[Socket], interfaces: list[Interface]
) -> None:
    services = sockettable.open_services(table, interfaces)
    assert len({(each.port, each.sockets) for each in services}) == len(services)


# What is read


class Kernel:
    """Answers lookups over netlink."""

    def __init__(self, *, listening: set[int]) -> None:
        self.sent: list[list[int]] = []
        """The ports of each batch."""
        self.options: list[tuple[int, ...]] = []
        self._listening = listening
        self._answers: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)

    def send(self, requests: bytes) -> None:
        ports = [sequence for _, _, sequence, _ in netlink.messages(requests)]
        self.sent.append(ports)
        for port in ports:
            row = port in self._listening
            content = bytes(72) if row else struct.pack("=i", -errno.ENOENT)
            kind = 20 if row else 2
            self._answers.append(netlink.HEADER.pack(16 + len(content), kind, 0, port, 0) + content)

    def recv(self, size: int) -> bytes:
        answer = self._answers.pop(0)
        assert len(answer) <= size
        return answer


def test_lookups_are_sent_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(listening={2, 128, 129, 300})
    monkeypatch.setattr(netlink, "connect", {4: kernel}.__getitem__)  # NETLINK_SOCK_DIAG
    ports = range(1, 301)
    assert sockettable.lookup(FOUR, TCP, ports) == [2, 128, 129, 300]
    assert kernel.sent == [[*ports[:128]], [*ports[128:256]], [*ports[256:]]]
    assert kernel.options == [(270, 10, 1)]  # SOL_NETLINK, NETLINK_CAP_ACK


def test_the_table_has_both_protocols_and_families(monkeypatch: pytest.MonkeyPatch) -> None:
    def dump(_: Kernel, kind: int, body: bytes) -> list[bytes]:
        assert kind == 20  # SOCK_DIAG_BY_FAMILY
        family, protocol, _, _, states = struct.unpack_from("=BBBBI", body)
        asked.append((family, protocol, states))
        return [struct.pack("=BBBBHH16s48x", family, 0, 0, 0, len(asked), 0, b"")]

    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(netlink, "connect", {4: Kernel(listening=set())}.__getitem__)
    monkeypatch.setattr(netlink, "dump", dump)
    rows = sockettable.rows()
    assert asked == [(2, 6, 1 << 10), (10, 6, 1 << 10), (2, 17, 1 << 7), (10, 17, 1 << 7)]
    assert [(row.protocol, row.address) for row in rows] == [
        (TCP, "0.0.0.0"),
        (TCP, "::"),
        (UDP, "0.0.0.0"),
        (UDP, "::"),
    ]


# Where netlink refuses

TCP_FILE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 1674 1 00 100
   1: 0702000A:1F90 00000000:0000 0A 00000000:00000005 00:00000000 00000000  1000 0 1675 1 00 100
   2: 0100007F:0016 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0 0 1676 1 00 100
   3: 0100007F:C350 0100007F:0016 06 00000000:00000000 03:00000FC8 00000000     0 0 0 3 00
"""
UDP6_FILE = """\
  sl  local_address                         remote_address                        st tx_queue
  7: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 00000000:\
00000000 00:00000000 00000000   101        0 1700 2 0000000000000000 0
  8: B80D0120000000000000000007000000:0036 00000000000000000000000000000000:0000 07 00000000:\
00000000 00:00000000 00000000     0        0 1701 2 0000000000000000 0
  9: 00000000000000000000000001000000:0037 00000000000000000000000001000000:0035 01 00000000:\
00000000 00:00000000 00000000     0        0 1702 2 0000000000000000 0
"""
NO_ROWS = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def of_file(protocol: Protocol, address: str, port: int, uid: int, inode: int) -> Socket:
    """A socket as the files tell of it."""
    v6only = None if ":" in address else False
    return Socket(protocol, address, port, v6only, None, uid, inode)


IN_TCP = (
    of_file(TCP, "0.0.0.0", 22, 0, 1674),
    of_file(TCP, "10.0.2.7", 8080, 1000, 1675),
)
IN_UDP6 = (
    of_file(UDP, "::", 53, 101, 1700),
    of_file(UDP, "2001:db8::7", 54, 0, 1701),
)


@pytest.fixture(name="files")
def files_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The directory that stands for /proc/net."""
    assert procnet._DIRECTORY == "/proc/net"
    monkeypatch.setattr(procnet, "_DIRECTORY", str(tmp_path))
    for name, text in (("tcp", TCP_FILE), ("tcp6", NO_ROWS), ("udp", NO_ROWS), ("udp6", UDP6_FILE)):
        (tmp_path / name).write_text(text)
    return tmp_path


def deny(*_: object) -> None:
    raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")


def degraded(names: str, reason: str) -> str:
    """What is said where some files tell in place of netlink."""
    lacking = "tell neither V6ONLY nor bound devices"
    return f"socket table degraded: {names} {lacking} (netlink: {reason})"


def refusing(*kinds: tuple[int, int]) -> Callable[[Kernel, int, bytes], list[bytes]]:
    """A kernel that refuses the dumps of some families and protocols; others have no sockets."""

    def dump(_: Kernel, kind: int, body: bytes) -> list[bytes]:
        del kind
        if (body[0], body[1]) in kinds:
            raise OSError(errno.ENOENT, "ENOENT")
        return []

    return dump


def test_without_netlink_the_table_is_that_of_proc(
    monkeypatch: pytest.MonkeyPatch, files: Path
) -> None:
    monkeypatch.setattr(netlink, "connect", deny)
    names = ", ".join(f"{files}/{name}" for name in ("tcp", "tcp6", "udp", "udp6"))
    assert sockettable.read() == (
        IN_TCP + IN_UDP6,
        (degraded(names, "Protocol not supported"),),
    )


def test_a_dump_that_fails_degrades_its_protocol_alone(
    monkeypatch: pytest.MonkeyPatch, files: Path
) -> None:
    monkeypatch.setattr(netlink, "connect", {4: Kernel(listening=set())}.__getitem__)
    monkeypatch.setattr(netlink, "dump", refusing((2, 17), (10, 17)))
    (files / "tcp").unlink()  # nobody reads it
    assert sockettable.read() == (
        IN_UDP6,
        (degraded(f"{files}/udp, {files}/udp6", "ENOENT"),),
    )


def test_a_kernel_without_ipv6_has_no_sockets_of_it(
    monkeypatch: pytest.MonkeyPatch, files: Path
) -> None:
    monkeypatch.setattr(netlink, "connect", {4: Kernel(listening=set())}.__getitem__)
    monkeypatch.setattr(netlink, "dump", refusing((10, 6), (10, 17)))
    (files / "tcp6").unlink()
    (files / "udp6").unlink()
    assert sockettable.read() == ((), ())


@pytest.mark.parametrize("spoilt", ["", None, "a\nb c d 0A\n", "a\n0: zz:16 0:0 0A 0 0 0 0 0 0\n"])
def test_without_any_table_both_reasons_are_given(
    monkeypatch: pytest.MonkeyPatch, files: Path, spoilt: str | None
) -> None:
    monkeypatch.setattr(netlink, "connect", deny)
    if spoilt is None:
        (files / "tcp").unlink()
    elif spoilt:
        (files / "tcp").write_text(spoilt)
    else:
        (files / "tcp6").unlink()
        (files / "tcp").unlink()
    with pytest.raises(sockettable.SocketTableError) as caught:
        sockettable.read()
    assert str(caught.value).startswith("netlink: Protocol not supported; /proc/net: ")


def unsure(address: str) -> Socket:
    """A row of a degraded table."""
    return of_file(TCP, address, 80, 0, 1)


@pytest.mark.parametrize(
    ("row", "certain", "perhaps"),
    [
        (unsure("0.0.0.0"), (), IPV4),
        (unsure("::"), (), ALL),
        (unsure("::ffff:0.0.0.0"), (), IPV4),
        (unsure("192.0.2.7"), (FOUR,), (FOUR,)),
        (unsure("::ffff:192.0.2.7"), (FOUR,), (FOUR,)),
        (unsure("::1"), (LO6,), (LO6,)),
        (unsure("fe80::7"), (), (LINK_LOCAL, OTHER_LINK_LOCAL)),
        (unsure("192.0.2.99"), (), ()),
        (tcp("::")._replace(v6only=None), IPV6, ALL),
    ],
)
def test_what_a_degraded_table_tells_for_certain_and_perhaps(
    row: Socket, certain: tuple[Interface, ...], perhaps: tuple[Interface, ...]
) -> None:
    assert where(row) == certain
    found = sockettable.open_services([row], ALL, perhaps=True)
    assert [each.interfaces for each in found] == ([perhaps] if perhaps else [])
    assert sockettable.unreached([row], ALL) == (() if perhaps else (row,))


def test_all_of_fe80_10_is_link_local_to_a_degraded_table() -> None:
    last = Interface("febf::7%eth0", "eth0", 2, "eth0")
    assert sockettable.open_services([unsure("febf::7")], [last]) == []
    (found,) = sockettable.open_services([unsure("febf::7")], [last], perhaps=True)
    assert found.interfaces == (last,)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("1024\t65535\n", Span(1024, 65535)),
        ("32768 60999", Span(32768, 60999)),
        ("1024\n", Span(32768, 60999)),
        ("one two\n", Span(32768, 60999)),
        (None, Span(32768, 60999)),
    ],
)
def test_the_ports_of_clients(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, ports: Span
) -> None:
    file = tmp_path / "ip_local_port_range"
    if text is not None:
        file.write_text(text)
    assert sockettable._LOCAL_PORT_RANGE == "/proc/sys/net/ipv4/ip_local_port_range"
    monkeypatch.setattr(sockettable, "_LOCAL_PORT_RANGE", str(file))
    assert sockettable.ephemeral_ports() == ports
