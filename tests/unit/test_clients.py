"""Source ports outside the range for clients: each once, from anywhere on."""

from __future__ import annotations

import pytest

from check_portcheck.model import Span
from check_portcheck.probing.clients import sources

RESERVED = list(range(512, 1024))
USUAL = Span(32768, 60999)
RANGES = [USUAL, Span(1024, 40000), Span(0, 20000), Span(40000, 65535), Span(9, 9), Span(0, 1024)]


@pytest.mark.parametrize("start", [0, 5000, 2**32 - 1])
@pytest.mark.parametrize("taken", RANGES, ids=str)
def test_every_port_outside_the_range_comes_once_and_root_s_come_last(
    taken: Span, start: int
) -> None:
    found = list(sources(taken, start))
    assert found[-len(RESERVED) :] == RESERVED
    users = found[: -len(RESERVED)]
    assert sorted(users) == [port for port in range(1024, 65536) if port not in taken]


def test_the_start_decides_which_comes_first() -> None:
    starts = (0, 1, 31743, 31744, 31744 + 4535, 31744 + 4536)
    firsts = [next(sources(USUAL, start)) for start in starts]
    assert firsts == [1024, 1025, 32767, 61000, 65535, 1024]


def test_a_range_of_all_ports_leaves_those_of_root() -> None:
    assert list(sources(Span(0, 65535), 7)) == RESERVED
