from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import (
    Interface,
    Port,
    PortRange,
    Protocol,
    Registrations,
    Span,
    is_link_local,
)
from unit.samples import HERE, LOOPBACK, SIX, port, registration, report, service

LINK_LOCAL = Interface("fe80::7%eth0", "eth0", 2, "eth0")
PORTS = st.integers(0, 65535)


@given(PORTS, PORTS, PORTS)
def test_a_span_holds_what_is_between_its_ends_and_these(
    first: int, last: int, number: int
) -> None:
    assert (number in Span(first, last)) == (number in range(first, last + 1))


def test_a_span_holds_numbers_only() -> None:
    for other in (None, 5.0, "5", Span(5, 5)):
        assert not Span(1, 9).__contains__(other)


def test_what_is_one_is_written_as_one() -> None:
    assert (str(Span(1, 9)), str(Span(9, 9))) == ("1-9", "9")
    assert str(PortRange(Protocol.TCP, Span(1, 9))) == "1-9/tcp"
    assert str(PortRange.of(port("9/udp"))) == str(port("9/udp")) == "9/udp"


def test_a_range_is_one_port_or_covers_those_of_its_protocol() -> None:
    few, one = PortRange(Protocol.TCP, Span(22, 23)), PortRange.of(port("22/tcp"))
    assert (few.single, one.single) == (None, Port(Protocol.TCP, 22))
    covered = [text for text in ("21/tcp", "22/tcp", "23/tcp", "24/tcp") if few.covers(port(text))]
    assert covered == ["22/tcp", "23/tcp"]
    assert not few.covers(port("22/udp"))
    assert one.covers(port("22/tcp"))


@pytest.mark.parametrize(
    ("interface", "family", "packed", "scope", "text"),
    [
        (HERE, socket.AF_INET, "c0000207", 0, "192.0.2.7"),
        (SIX, socket.AF_INET6, "20010db8000000000000000000000007", 0, "[2001:db8::7]"),
        (LINK_LOCAL, socket.AF_INET6, "fe800000000000000000000000000007", 2, "[fe80::7%eth0]"),
    ],
)
def test_an_address(
    interface: Interface, family: socket.AddressFamily, packed: str, scope: int, text: str
) -> None:
    assert (interface.family, interface.packed.hex()) == (family, packed)
    assert (interface.scope, str(interface)) == (scope, text)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("::1", True),
        ("192.0.2.127", False),
        ("12.7.0.1", False),
        ("::1:1", False),
        ("2001:db8::1", False),
    ],
)
def test_addresses_that_only_this_machine_reaches(address: str, *, loopback: bool) -> None:
    assert Interface(address, "x", 1, "x").loopback is loopback


@pytest.mark.parametrize(
    ("address", "link_local"),
    [
        ("fe7f:ffff::1", False),
        ("fe80::", True),
        ("febf::1", True),
        ("fec0::", False),
        ("ff80::1", False),
        ("254.128.0.1", False),  # the bits of fe80::/10, but IPv4
    ],
)
def test_addresses_that_each_device_may_have(address: str, *, link_local: bool) -> None:
    assert is_link_local(Interface(address, "x", 1, "x").packed) is link_local


def test_the_ports_of_a_program_are_those_of_its_protocol_in_order() -> None:
    known = Registrations(
        {
            port("9/tcp"): (1, 2),
            port("10/tcp"): (2,),
            port("8/tcp"): (2,),
            port("7/tcp"): (1,),
            port("9/udp"): (2,),
        }
    )
    assert known.ports_of(2, Protocol.TCP) == [port("8/tcp"), port("9/tcp"), port("10/tcp")]
    assert known.ports_of(3, Protocol.TCP) == []


def test_a_service_is_cut_where_other_programs_are_registered_on_it() -> None:
    found = service("2049/tcp", HERE, SIX, LOOPBACK)
    of = report(
        found,
        registered=(
            registration("2049/tcp", "nfs", HERE),
            registration("2049/tcp", "nfs", LOOPBACK),
            registration("2049/udp", "mountd", SIX),
        ),
    )
    assert list(of.by_programs(found.service)) == [
        (found.service.on((HERE, LOOPBACK)), (100003,)),
        (found.service.on((SIX,)), ()),
    ]


def test_a_service_is_the_same_on_all_its_interfaces() -> None:
    found = service("22/tcp", HERE, SIX).service
    assert found.on((HERE, SIX)) is found
    assert found.on((SIX,)) == found._replace(interfaces=(SIX,))


def test_a_portmapper_that_was_not_asked_says_nothing() -> None:
    of = report(registered=(registration("111/tcp", "portmapper", SIX),))
    assert of.registered(HERE) == Registrations()
    assert of.programs_at(HERE, port("111/tcp")) == ()
    assert of.programs_at(SIX, port("111/tcp")) == (100000,)
