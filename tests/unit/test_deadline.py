from __future__ import annotations

import time

import pytest

from check_portcheck.deadline import Deadline


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture(name="clock")
def clock_fixture() -> Clock:
    return Clock(1000)


def test_it_comes_nearer_and_passes(clock: Clock) -> None:
    deadline = Deadline.after(10, clock)
    assert (deadline.at, deadline.left(), deadline.passed) == (1010, 10, False)
    clock.now = 1009.5
    assert (deadline.left(), deadline.passed) == (0.5, False)
    clock.now = 1010
    assert (deadline.left(), deadline.passed) == (0, True)
    clock.now = 1011
    assert (deadline.left(), deadline.passed) == (0, True)


def test_a_part_is_of_what_is_left(clock: Clock) -> None:
    deadline = Deadline.after(10, clock)
    assert deadline.part(0.25).at == 1002.5
    clock.now = 1006
    assert deadline.part(0.25) == Deadline(1007, clock)
    clock.now = 1020
    assert deadline.part(0.25) == Deadline(1020, clock)


def test_within_is_never_later(clock: Clock) -> None:
    deadline = Deadline.after(10, clock)
    assert deadline.within(3) == Deadline(1003, clock)
    assert deadline.within(30) == deadline
    clock.now = 1020
    assert deadline.within(3) == deadline


def test_earlier_keeps_a_reserve(clock: Clock) -> None:
    deadline = Deadline.after(10, clock)
    assert deadline.earlier(3) == Deadline(1007, clock)
    assert deadline.earlier(30).passed


def test_the_clock_is_that_which_never_goes_back() -> None:
    before = time.monotonic()
    deadline = Deadline.after(60)
    assert before + 60 <= deadline.at <= time.monotonic() + 60
    assert 0 < deadline.left() <= 60
