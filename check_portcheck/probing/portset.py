"""Numbers of ports, many at a time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from check_portcheck.model import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class PortSet:
    """Numbers of ports, held without one object per number; it never changes."""

    __slots__ = ("_members", "_whole", "_without")

    def __init__(self, whole: Sequence[int], without: frozenset[int] = frozenset()) -> None:
        self._whole = whole
        """A range, or the numbers in ascending order."""
        self._members = whole if isinstance(whole, range) else frozenset(whole)
        """The same, for the question whether a number is among them: they may be many."""
        self._without = without
        """Those of *whole* that do not belong; all of them are in it."""

    def minus(self, numbers: Iterable[int]) -> PortSet:
        """The set without some more."""
        left_out = (number for number in numbers if number in self._members)
        return PortSet(self._whole, self._without.union(left_out))

    def cut(self, size: int) -> Iterator[PortSet]:
        """The set in parts of *size* numbers, those included that are left out."""
        without = sorted(self._without)
        for start in range(0, len(self._whole), size):
            part = self._whole[start : start + size]
            first, end = bisect_left(without, part[0]), bisect_right(without, part[-1])
            yield PortSet(part, frozenset(without[first:end]))

    def numbers(self) -> Sequence[int]:
        """The numbers, in ascending order."""
        if not self._without:
            return self._whole
        return [number for number in self._whole if number not in self._without]

    def spans(self) -> Iterator[Span]:
        """The numbers as unbroken runs, without one object per number of a range."""
        if not isinstance(self._whole, range):
            yield from spans(self.numbers())
            return
        first = self._whole.start
        for number in sorted(self._without):
            if number > first:
                yield Span(first, number - 1)
            first = number + 1
        if first < self._whole.stop:
            yield Span(first, self._whole.stop - 1)

    def __contains__(self, number: int) -> bool:
        return number not in self._without and number in self._members

    def __len__(self) -> int:
        return len(self._whole) - len(self._without)

    def __repr__(self) -> str:
        return f"PortSet({self._whole!r}, {self._without!r})"


def spans(numbers: Sequence[int]) -> Iterator[Span]:
    """Ascending numbers as unbroken runs."""
    start = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            yield Span(numbers[start], numbers[index - 1])
            start = index


def joined(parts: Iterable[Span]) -> Iterator[Span]:
    """The spans in ascending order, with those that follow each other as one."""
    open_span: Span | None = None
    for part in sorted(parts):
        if open_span and part.first == open_span.last + 1:
            open_span = Span(open_span.first, part.last)
            continue
        if open_span:
            yield open_span
        open_span = part
    if open_span:
        yield open_span
