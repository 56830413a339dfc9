from __future__ import annotations

import socket
import struct

import pytest

from check_portcheck.kernel.timeouts import timeval


@pytest.mark.parametrize("option", [20, 21])
def test_the_numbers_that_have_always_been_take_two_longs(option: int) -> None:
    assert timeval(option, 0.01) == struct.pack("@ll", 0, 10_000)


@pytest.mark.parametrize("option", [66, 67])
def test_the_numbers_for_64_bit_time_take_two_64_bit_numbers(option: int) -> None:
    assert timeval(option, 2.5) == struct.pack("=qq", 2, 500_000)


@pytest.mark.parametrize("option", [socket.SO_RCVTIMEO, socket.SO_SNDTIMEO])
@pytest.mark.parametrize("new", [{20: 66, 21: 67}, {}])
def test_the_kernel_takes_both(option: int, new: dict[int, int]) -> None:
    number = new.get(option, option)
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, number, timeval(number, 2.5))
        # It rounds to its own ticks.
        assert struct.unpack("@ll", made.getsockopt(socket.SOL_SOCKET, option, 16)) == (2, 500_000)
