"""Whose turn it is where time does not suffice for all. Pure.

What others can reach comes first, then one loopback address of each family. What remains, other
loopback addresses and the host's ends of containers, has every fourth turn until those are done, so
that runs which go on where the last one stopped come round.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from check_portcheck.model import Interface

_T = TypeVar("_T")

_EVERY = 4
"""One turn of so many belongs to what can wait."""


def parted(interfaces: Iterable[Interface]) -> tuple[list[Interface], list[Interface]]:
    """The interfaces that come first, and those that can wait, each part in its order."""
    interfaces = list(interfaces)
    loopback = [each for each in interfaces if each.loopback]
    reached = [each for each in interfaces if not each.loopback]
    # Within a container its own end is all that others reach it by.
    own = [each for each in reached if not each.host_end] or reached
    front = [*own, *_one_of_each_family(loopback)]
    return front, [each for each in (*loopback, *reached) if each not in front]


def _one_of_each_family(interfaces: Iterable[Interface]) -> Iterable[Interface]:
    first: dict[int, Interface] = {}
    for each in interfaces:
        first.setdefault(each.family, each)
    return first.values()


def order(front: Sequence[_T], rest: Sequence[_T], first: int) -> Iterator[tuple[int, _T]]:
    """Each of them once, with its turn, from the turn *first* on."""
    turn = first
    coming = _from(front, first - first // _EVERY), _from(rest, first // _EVERY)
    while any(coming):
        waiting = coming[turn % _EVERY == _EVERY - 1]
        if waiting:
            yield turn, waiting.popleft()
        turn += 1


def _from(items: Sequence[_T], start: int) -> deque[_T]:
    """The items, from one of them round to the one before it."""
    queue = deque(items)
    queue.rotate(-start)
    return queue
