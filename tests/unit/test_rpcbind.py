from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from check_portcheck.deadline import Deadline
from check_portcheck.model import Interface, Port, Protocol, Registrations
from check_portcheck.rpc import rpcbind

if TYPE_CHECKING:
    from collections.abc import Callable

TCP, UDP = Protocol.TCP, Protocol.UDP
NUMBERS = {TCP: 6, UDP: 17}
NOW = Deadline(at=9.0, clock=lambda: 0.0)

FOUR = Interface("192.0.2.7", "eth0", 2, "eth0")
SIX = Interface("2001:db8::7", "eth0", 2, "eth0")
LINK_LOCAL = Interface("fe80::7%eth0", "eth0", 2, "eth0")
LO = Interface("127.0.0.1", "lo", 1, "lo")
LO6 = Interface("::1", "lo", 1, "lo")

FOUR_AT, SIX_AT = ("192.0.2.7", 111), ("2001:db8::7", 111, 0, 0)
LINK_LOCAL_AT = ("fe80::7", 111, 0, 2)
LO_AT, LO6_AT = ("127.0.0.1", 111), ("::1", 111, 0, 0)

Address = tuple[object, ...]
Answer = bytes | Exception
"""The results of a call that is carried out, or what happens instead."""


def number(value: int) -> bytes:
    return struct.pack(">I", value)


def string(text: str) -> bytes:
    return number(len(text)) + text.encode() + bytes(-len(text) % 4)


def rpcbind_list(*entries: tuple[int, str, str]) -> bytes:
    """Programs with their netids and universal addresses, as versions 3 and 4 list them."""
    body = b"".join(
        number(1) + number(program) + number(1) + string(netid) + string(uaddr) + string("x")
        for program, netid, uaddr in entries
    )
    return number(0) + body + number(0)


NOTHING = rpcbind_list()
UNSUPPORTED = number(2) + number(2) + number(2)
"""PROG_MISMATCH, with the lowest and the highest version."""


class World:
    """Portmappers, by the address and the protocol at which they are asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[tuple[Protocol, Address], Callable[[int], Answer]] = {}
        """What each answers to a call by some version; the others refuse the connection."""
        self.ports: dict[tuple[int, int, Protocol], int] = {}
        """By program, version and protocol, as it tells them one by one."""
        self.asked: list[tuple[Protocol, Address, int]] = []
        monkeypatch.setattr(rpcbind, "_over_tcp", self._exchange(TCP))
        monkeypatch.setattr(rpcbind, "_over_udp", self._exchange(UDP))

    def _exchange(self, protocol: Protocol) -> Callable[[Address, bytes, Deadline], bytes]:
        def exchange(address: Address, call: bytes, deadline: Deadline) -> bytes:
            assert deadline.left() <= 2
            xid, _, _, _, version, procedure, *_ = struct.unpack(">10I", call[:40])
            self.asked.append((protocol, address, version))
            if procedure == 3:
                return struct.pack(">6I", xid, 1, 0, 0, 0, 0) + self.port(version, call[40:])
            refuse: Callable[[int], Answer] = lambda _: ConnectionRefusedError()  # noqa: E731
            answer = self.answers.get((protocol, address), refuse)(version)
            if isinstance(answer, Exception):
                raise answer
            return struct.pack(">IIIII", xid, 1, 0, 0, 0) + answer

        return exchange

    def port(self, version: int, question: bytes) -> bytes:
        """The port of one version of a program over one transport."""
        program, number_, *_ = struct.unpack(">II", question[:8])
        protocol = question[8:] if version == 2 else question[12:15]
        udp = protocol in (number(17) + number(0), b"udp")
        port = self.ports.get((program, number_, UDP if udp else TCP), 0)
        return number(port) if version == 2 else string(f"::.{port >> 8}.{port & 255}")

    def let(self, answer: Answer, *asked: tuple[Protocol, Address]) -> None:
        """The same answer by every version, there."""
        self.answers |= dict.fromkeys(asked, lambda _: answer)


@pytest.fixture(name="world")
def world_fixture(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def failure(interface: Interface = FOUR, *, deadline: Deadline = NOW) -> str | None:
    found = rpcbind.registrations(interface, deadline)
    assert found.programs == {}
    return found.unreachable


# What is registered


def test_programs_come_by_protocol_number_and_program_each_once(world: World) -> None:
    listed = rpcbind_list(
        (100227, "tcp", "0.0.0.0.8.1"),
        (100003, "udp", "0.0.0.0.8.1"),
        (100003, "tcp", "0.0.0.0.8.1"),
        (100003, "tcp", "192.0.2.7.8.1"),
        (100000, "udp", "0.0.0.0.0.111"),
        (100005, "tcp", "0.0.0.0.78.32"),
    )
    world.let(listed, (TCP, FOUR_AT))
    found = rpcbind.registrations(FOUR, NOW)
    assert list(found.programs.items()) == [
        (Port(TCP, 2049), (100003, 100227)),
        (Port(TCP, 20000), (100005,)),
        (Port(UDP, 111), (100000,)),
        (Port(UDP, 2049), (100003,)),
    ]
    assert found.unreachable is None


@pytest.mark.parametrize(
    ("interface", "address", "ports"),
    [
        (FOUR, FOUR_AT, [1, 2]),
        (LO, LO_AT, [1, 3]),
        (SIX, SIX_AT, [4, 5]),
        (LINK_LOCAL, LINK_LOCAL_AT, [4, 6]),
        (LO6, LO6_AT, [4]),
    ],
)
def test_a_registration_concerns_its_address_or_its_whole_family(
    world: World, interface: Interface, address: Address, ports: list[int]
) -> None:
    hosts = ("0.0.0.0", "192.0.2.7", "127.0.0.1", "::", "2001:db8::7", "fe80::7")
    world.let(
        rpcbind_list(
            *(
                (100003, "tcp6" if ":" in host else "tcp", f"{host}.0.{port}")
                for port, host in enumerate(hosts, 1)
            )
        ),
        (TCP, address),
    )
    found = rpcbind.registrations(interface, NOW).programs
    assert [port.number for port in found] == ports


def test_nothing_registered_is_an_answer(world: World) -> None:
    world.let(NOTHING, (TCP, FOUR_AT))
    assert rpcbind.registrations(FOUR, NOW) == Registrations({})
    assert world.asked == [(TCP, FOUR_AT, 4)]


# Whom to ask


def places(world: World) -> list[tuple[Protocol, Address]]:
    """Where was asked, each once."""
    return list(dict.fromkeys((protocol, address) for protocol, address, _ in world.asked))


def both(*addresses: Address) -> list[tuple[Protocol, Address]]:
    return [(protocol, address) for address in addresses for protocol in (TCP, UDP)]


@pytest.mark.parametrize(
    ("interface", "addresses"),
    [
        (FOUR, [FOUR_AT, LO_AT, LO6_AT]),
        (LO, [LO_AT, LO6_AT]),
        (SIX, [SIX_AT, LO6_AT, LO_AT]),
        (LO6, [LO6_AT, LO_AT]),
        (LINK_LOCAL, [LINK_LOCAL_AT, LO6_AT, LO_AT]),
    ],
)
def test_where_there_is_no_portmapper_loopback_is_asked_its_own_family_first(
    world: World, interface: Interface, addresses: list[Address]
) -> None:
    assert failure(interface) == f"portmapper on {addresses[0][0]} refused the connection"
    assert places(world) == both(*addresses)


def test_loopback_may_be_left_alone(world: World) -> None:
    world.let(NOTHING, (TCP, LO_AT))
    found = rpcbind.registrations(FOUR, NOW, loopback=False)
    assert found.unreachable == "portmapper on 192.0.2.7 refused the connection"
    assert places(world) == both(FOUR_AT)


@pytest.mark.parametrize("last", both(FOUR_AT, LO_AT, LO6_AT))
def test_the_first_that_answers_is_the_last_asked(
    world: World, last: tuple[Protocol, Address]
) -> None:
    world.let(NOTHING, last)
    assert rpcbind.registrations(FOUR, NOW) == Registrations({})
    assert places(world)[-1] == last


def test_older_versions_are_asked_after_newer_ones(world: World) -> None:
    nfs = number(0) + struct.pack(">6I", 1, 100003, 3, 6, 2049, 0)
    world.answers[TCP, FOUR_AT] = lambda version: nfs if version == 2 else UNSUPPORTED
    found = rpcbind.registrations(FOUR, NOW)
    assert found.programs == {Port(TCP, 2049): (100003,)}
    assert [version for *_, version in world.asked] == [4, 3, 2]


def test_a_portmapper_that_answers_no_version_is_passed_over(world: World) -> None:
    world.let(UNSUPPORTED, (TCP, FOUR_AT), (UDP, FOUR_AT))
    assert failure() == "portmapper on 192.0.2.7 refused to answer: version not supported"
    world.let(NOTHING, (UDP, LO_AT))
    assert rpcbind.registrations(FOUR, NOW).unreachable is None


UNREACHABLE = OSError(errno.EHOSTUNREACH, "No route to host")


def test_the_first_failure_is_the_one_that_is_told(world: World) -> None:
    world.let(UNREACHABLE, (TCP, FOUR_AT))
    assert failure() == "portmapper on 192.0.2.7 is out of reach: No route to host"
    assert places(world) == both(FOUR_AT, LO_AT, LO6_AT)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "sent garbage: cut short"),
        (number(9), "sent garbage: accept status 9"),
        (ConnectionResetError(), "closed the connection before it had answered"),
        (BrokenPipeError(), "closed the connection before it had answered"),
        (TimeoutError(), "did not answer within 2 s"),
    ],
)
def test_a_portmapper_that_misbehaves_is_not_covered_up_by_another(
    world: World, answer: Answer, text: str
) -> None:
    world.let(NOTHING, *both(LO_AT, LO6_AT))
    world.let(answer, (TCP, FOUR_AT))
    assert failure() == f"portmapper on 192.0.2.7 {text}"
    assert places(world) == [(TCP, FOUR_AT)]


@pytest.mark.parametrize(
    ("at", "seconds"), [(9.0, "2"), (2.0, "2"), (0.34, "0.34"), (0.0, "0"), (-1.0, "0")]
)
def test_the_time_that_was_given_is_told(world: World, at: float, seconds: str) -> None:
    world.let(TimeoutError(), (TCP, FOUR_AT))
    deadline = Deadline(at=at, clock=lambda: 0.0)
    text = f"portmapper on 192.0.2.7 did not answer within {seconds} s"
    assert failure(deadline=deadline) == text


def test_no_time_is_no_answer_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        pytest.fail("connected")

    monkeypatch.setattr(socket.socket, "connect", connect)
    past = Deadline(at=0.0, clock=lambda: 1.0)
    assert failure(deadline=past) == "portmapper on 192.0.2.7 did not answer within 0 s"


# A list that comes to no end

NAMED = {(100003, 3, TCP): 2049, (100003, 4, TCP): 2050, (100005, 1, UDP): 20048}
ENDLESS = number(0) + number(1)


@pytest.mark.parametrize(
    ("interface", "at", "ways"),
    [
        (FOUR, FOUR_AT, {(TCP, 2)}),
        (SIX, SIX_AT, {(TCP, 4), (UDP, 4)}),
    ],
)
@pytest.mark.parametrize("answer", [ENDLESS, TimeoutError(), ConnectionResetError(), number(7)])
def test_programs_are_asked_for_one_by_one(
    world: World,
    interface: Interface,
    at: Address,
    ways: set[tuple[Protocol, int]],
    answer: Answer,
) -> None:
    world.let(answer, (TCP, at))
    world.ports = dict(NAMED)
    found = rpcbind.registrations(interface, NOW, programs=(100003, 100005))
    assert found == Registrations(
        {Port(TCP, 2049): (100003,), Port(TCP, 2050): (100003,), Port(UDP, 20048): (100005,)}
    )
    assert {(protocol, version) for protocol, _, version in world.asked[1:]} == ways
    assert {address for _, address, _ in world.asked} == {at}


def test_without_programs_nothing_is_asked_one_by_one(world: World) -> None:
    world.let(ENDLESS, (TCP, FOUR_AT))
    assert failure() == "portmapper on 192.0.2.7 sent garbage: cut short"
    assert len(world.asked) == 1


def test_an_absent_portmapper_is_not_asked_one_by_one(world: World) -> None:
    found = rpcbind.registrations(LO, NOW, programs=(100003,))
    assert found.unreachable == "portmapper on 127.0.0.1 refused the connection"
    assert {version for _, _, version in world.asked} == {4}
    assert len(world.asked) == 4


def test_programs_that_cannot_be_asked_for_either_are_told_with_the_first_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.let(ENDLESS, (TCP, FOUR_AT))
    monkeypatch.setattr(world, "port", lambda *_: b"")
    found = rpcbind.registrations(FOUR, NOW, programs=(100003,))
    assert found.unreachable == "portmapper on 192.0.2.7 sent garbage: cut short"
