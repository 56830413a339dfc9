"""Numbers of ports, many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True)
class PortSet:
    """Numbers of ports, held without one object per number."""

    whole: Sequence[int]
    """A range, or the numbers in ascending order."""
    without: frozenset[int] = frozenset()
    """Those of *whole* that do not belong."""

    def minus(self, numbers: Iterable[int]) -> PortSet:
        """The set without some more."""
        return PortSet(self.whole, self.without.union(n for n in numbers if n in self.whole))

    def cut(self, size: int) -> Iterator[PortSet]:
        """The set in parts of *size* numbers of the whole."""
        for start in range(0, len(self.whole), size):
            yield PortSet(self.whole[start : start + size], self.without)

    def numbers(self) -> Sequence[int]:
        """The numbers, in ascending order."""
        if not self.without:
            return self.whole
        return [number for number in self.whole if number not in self.without]

    def __contains__(self, number: int) -> bool:
        return number not in self.without and number in self.whole

    def __len__(self) -> int:
        return len(self.whole) - sum(number in self.whole for number in self.without)
