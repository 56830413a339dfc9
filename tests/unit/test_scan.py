from __future__ import annotations

import dataclasses

import pytest

from check_portcheck.look import Look
from check_portcheck.model import (
    Coverage,
    Evidence,
    Interface,
    OpenService,
    Port,
    Protocol,
    Socket,
    Unanswered,
)
from check_portcheck.scan import confirmed

HERE = Interface("192.0.2.7", "eth0", 2, "eth0")
EPHEMERAL = (32768, 60999)
ALL_PROBED = Look((), (), Coverage(ports=3, probed=3))
NO_TIME = Look((), (), Coverage(ports=3, probed=2, looked_up=1))


def opened(port: Port, *, cookie: int | None = None) -> OpenService:
    if cookie is None:
        return OpenService(HERE, port, Evidence.PROBE, no_socket=True)
    row = Socket(port.protocol, "0.0.0.0", port.number, v6only=False, device=0, cookie=cookie)
    return OpenService(HERE, port, Evidence.TABLE, (row,))


TCP, UDP, CLIENT = Port(Protocol.TCP, 22), Port(Protocol.UDP, 53), Port(Protocol.UDP, 40000)


@pytest.mark.parametrize(
    ("first", "found", "stays"),
    [
        pytest.param(opened(TCP, cookie=1), opened(TCP, cookie=2), True, id="restarted"),
        pytest.param(opened(UDP, cookie=1), opened(UDP, cookie=2), True, id="udp-server"),
        pytest.param(opened(CLIENT, cookie=1), opened(CLIENT, cookie=1), True, id="same-socket"),
        pytest.param(opened(CLIENT, cookie=1), opened(CLIENT, cookie=2), False, id="new-client"),
    ],
)
def test_what_is_seen_twice_stays(first: OpenService, found: OpenService, *, stays: bool) -> None:
    assert confirmed(first, found, ALL_PROBED, EPHEMERAL) == (found if stays else None)


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        pytest.param(opened(TCP, cookie=1), ALL_PROBED, False, id="closed"),
        pytest.param(opened(TCP, cookie=1), NO_TIME, False, id="left-the-table"),
        pytest.param(opened(TCP), ALL_PROBED, False, id="no-socket-closed"),
        pytest.param(opened(TCP), NO_TIME, True, id="no-socket-not-probed"),
    ],
)
def test_only_what_was_looked_at_can_be_gone(
    first: OpenService, second: Look, *, stays: bool
) -> None:
    assert confirmed(first, None, second, EPHEMERAL) == (first if stays else None)


def test_a_port_that_the_second_look_left_undecided_stays() -> None:
    undecided = dataclasses.replace(
        ALL_PROBED, unanswered=(Unanswered(HERE, Protocol.TCP, 0, 65535),)
    )
    first = opened(TCP, cookie=1)
    assert confirmed(first, None, undecided, EPHEMERAL) == first
