from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import Span
from check_portcheck.probing.portset import PortSet, joined, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS = st.integers(0, 60)
WHOLE = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map(lambda ends: range(*ends)),
    st.sets(NUMBERS).map(sorted),
)


@given(WHOLE, st.lists(st.lists(NUMBERS)))
def test_what_is_taken_away_is_gone_and_all_else_is_left(
    whole: Sequence[int], taken: list[list[int]]
) -> None:
    ports = PortSet(whole)
    left = set(whole)
    for numbers in taken:
        before = list(ports.numbers())
        fewer = ports.minus(numbers)
        assert list(ports.numbers()) == before  # another set: this one never changes
        ports = fewer
        left.difference_update(numbers)
    assert list(ports.numbers()) == sorted(left)
    assert len(ports) == len(left)
    assert [number for number in range(61) if number in ports] == sorted(left)


@given(WHOLE, st.lists(NUMBERS), st.integers(1, 20))
def test_parts_make_up_the_whole(whole: Sequence[int], taken: list[int], size: int) -> None:
    ports = PortSet(whole).minus(taken)
    parts = list(ports.cut(size))
    numbers = [number for part in parts for number in part.numbers()]
    assert numbers == list(ports.numbers())
    assert sum(map(len, parts)) == len(ports)
    assert all(len(part) <= size for part in parts)
    assert len(parts) == -(-len(whole) // size)


def test_without_a_gap_it_is_a_range() -> None:
    """No object per number: on many addresses there would be millions."""
    every = PortSet(range(65536))
    assert every.numbers() == range(65536)
    assert [part.numbers() for part in every.cut(40000)] == [range(40000), range(40000, 65536)]
    assert every.minus([70000]).numbers() == range(65536)


def test_it_can_be_read() -> None:
    assert repr(PortSet(range(9)).minus([3])) == "PortSet(range(0, 9), frozenset({3}))"


@pytest.mark.parametrize(
    ("numbers", "runs"),
    [
        ([], []),
        (range(0), []),
        (range(5, 5), []),
        ([7], [Span(7, 7)]),
        (range(7, 8), [Span(7, 7)]),
        (range(65536), [Span(0, 65535)]),
        ([1, 2, 3, 5, 7, 8], [Span(1, 3), Span(5, 5), Span(7, 8)]),
        ([0, 65535], [Span(0, 0), Span(65535, 65535)]),
    ],
)
def test_runs_of_numbers(numbers: Sequence[int], runs: list[Span]) -> None:
    assert list(spans(numbers)) == runs


@given(WHOLE)
def test_runs_are_the_fewest_that_hold_the_numbers(numbers: Sequence[int]) -> None:
    runs = list(spans(numbers))
    assert [n for first, last in runs for n in range(first, last + 1)] == list(numbers)
    assert all(one.last + 1 < next_one.first for one, next_one in itertools.pairwise(runs))


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], []),
        ([(1, 2), (3, 4)], [(1, 4)]),
        ([(3, 4), (1, 2)], [(1, 4)]),
        ([(1, 2), (4, 5)], [(1, 2), (4, 5)]),
        ([(9, 9), (1, 2), (5, 8), (3, 3)], [(1, 3), (5, 9)]),
    ],
)
def test_runs_that_follow_each_other_are_one(
    parts: list[tuple[int, int]], whole: list[tuple[int, int]]
) -> None:
    assert list(joined(Span(*part) for part in parts)) == whole


@given(st.sets(st.integers(0, 60)), st.integers(0, 30), st.integers(30, 61))
def test_spans_of_a_set_are_those_of_its_numbers(without: set[int], start: int, stop: int) -> None:
    for whole in (range(start, stop), list(range(start, stop))):
        ports = PortSet(whole).minus(without)
        assert list(ports.spans()) == list(spans(ports.numbers()))
