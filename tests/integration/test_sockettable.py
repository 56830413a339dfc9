from __future__ import annotations

import socket
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import IPV6
from zoo import ADDRESSES

from check_portcheck.kernel import interfaces, sockettable
from check_portcheck.model import Choice, Port, Protocol

if TYPE_CHECKING:
    from namespace import Namespace
    from zoo import Living

    from check_portcheck.model import Interface

pytestmark = pytest.mark.once

SO_COOKIE = 57


def resolved(there: Namespace, *addresses: str) -> tuple[Interface, ...]:
    with there.entered():
        choices = [Choice(address, "--interface") for address in addresses]
        return interfaces.choose(choices, [], official=False).interfaces


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_lookup_finds_what_answers(living: Living, address: str) -> None:
    (interface,) = resolved(living.zoo.there, address)
    with living.zoo.there.entered():
        found = {
            (address, protocol.value, number)
            for protocol in Protocol
            for number in sockettable.lookup(interface, protocol, range(65536))
        }
    assert found == {each for each in living.truth if each[0] == address}


def test_the_table_says_what_answers_on_all_addresses(living: Living) -> None:
    interfaces = resolved(living.zoo.there, *ADDRESSES)
    with living.zoo.there.entered():
        services = sockettable.open_services(sockettable.rows(), interfaces)
    found = [
        (interface.address, service.port.protocol.value, service.port.number)
        for service in services
        for interface in service.interfaces
    ]
    assert len(found) == len(set(found))
    assert set(found) == living.truth


def test_the_lookup_sends_no_packet(empty: Namespace) -> None:
    (interface,) = resolved(empty, "127.0.0.1")
    counters = "cat /proc/net/snmp"
    before = empty.shell(counters)
    with empty.entered():
        assert sockettable.lookup(interface, Protocol.UDP, range(65536)) == []
        assert sockettable.lookup(interface, Protocol.TCP, range(65536)) == []
    assert empty.shell(counters) == before
    with empty.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"", ("127.0.0.1", 9))
    assert empty.shell(counters) != before


def test_the_table_lists_what_ss_lists(living: Living) -> None:
    there = living.zoo.there
    lines = [line.split() for line in there.shell("ss -HlntuO").splitlines()]
    listed = Counter((line[0], int(line[4].rpartition(":")[2])) for line in lines)
    with there.entered():
        rows = sockettable.rows()
    assert Counter((row.protocol.value, row.port) for row in rows) == listed


def test_the_table_knows_user_inode_and_socket(pair: tuple[Namespace, Namespace]) -> None:
    there = pair[0]
    with there.listener("127.0.0.1") as one, there.bound(socket.SOCK_DGRAM, IPV6) as other:
        with there.entered():
            rows = {Port(row.protocol, row.port): row for row in sockettable.rows()}
        for opened_here, protocol in ((one, Protocol.TCP), (other, Protocol.UDP)):
            row = rows[Port(protocol, opened_here.getsockname()[1])]
            assert (row.uid, row.inode) == (
                0,
                Path(f"/proc/self/fd/{opened_here.fileno()}").stat().st_ino,
            )
            cookie = opened_here.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
            assert row.cookie == int.from_bytes(cookie, sys.byteorder)
