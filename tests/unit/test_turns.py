"""Whose turn it is: what others can reach first, and everything in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import Interface
from check_portcheck.probing.turns import order, parted

if TYPE_CHECKING:
    from collections.abc import Iterable


def interface(address: str, *, host_end: bool = False) -> Interface:
    return Interface(address, "eth0", 2, "eth0", host_end=host_end)


ETH0 = [interface("192.0.2.7"), interface("2001:db8::7")]
LO = [interface(each) for each in ("127.0.0.1", "127.0.0.2", "::1", "127.0.1.1")]
VETH = [interface(f"fe80::{n}%veth{n}", host_end=True) for n in range(3)]


@pytest.mark.parametrize(
    ("interfaces", "front", "rest"),
    [
        ([*VETH, *LO, *ETH0], [*ETH0, LO[0], LO[2]], [LO[1], LO[3], *VETH]),
        ([LO[3], LO[0]], [LO[3]], [LO[0]]),
        (VETH, VETH, []),
        # Within a container.
        ([*LO[:3], VETH[0]], [VETH[0], LO[0], LO[2]], [LO[1]]),
        ([], [], []),
    ],
)
def test_what_others_can_reach_comes_first(
    interfaces: list[Interface], front: list[Interface], rest: list[Interface]
) -> None:
    assert parted(interfaces) == (front, rest)


@pytest.mark.parametrize(
    ("front", "rest", "first", "turns"),
    [
        ("abcdef", "xyz", 0, "0a 1b 2c 3x 4d 5e 6f 7y 11z"),
        ("abcdef", "xyz", 6, "6f 7y 8a 9b 10c 11z 12d 13e 15x"),
        ("abcdef", "xyz", 15, "15x 16a 17b 18c 19y 20d 21e 22f 23z"),
        ("", "xyz", 0, "3x 7y 11z"),
        ("", "xyz", 7, "7y 11z 15x"),
        ("abcde", "", 0, "0a 1b 2c 4d 5e"),
        ("abcde", "", 4, "4d 5e 6a 8b 9c"),
        ("", "", 5, ""),
    ],
)
def test_every_fourth_turn_belongs_to_what_can_wait(
    front: str, rest: str, first: int, turns: str
) -> None:
    assert " ".join(f"{turn}{item}" for turn, item in order(front, rest, first)) == turns


@given(
    front=st.integers(0, 30),
    rest=st.integers(0, 30),
    first=st.integers(0, 2**40),
    share=st.integers(1, 9),
)
def test_runs_that_go_on_where_the_last_one_stopped_come_round(
    front: int, rest: int, first: int, share: int
) -> None:
    items = [("front", n) for n in range(front)], [("rest", n) for n in range(rest)]
    done: set[tuple[str, int]] = set()
    for _ in range(4 * (front + rest)):
        placed = list(order(*items, first))
        assert sorted(item for _, item in placed) == sorted((*items[0], *items[1]))
        done.update(of(placed[:share]))
        first = placed[share][0] if share < len(placed) else first
    assert len(done) == front + rest


def of(placed: Iterable[tuple[int, tuple[str, int]]]) -> set[tuple[str, int]]:
    return {item for _, item in placed}
