"""A moment by which something must be done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline(NamedTuple):
    """A moment, by a clock that never goes back."""

    at: float
    """As of *clock*, in seconds."""
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """The moment in so many seconds."""
        return cls(clock() + seconds, clock)

    def left(self) -> float:
        """Seconds until then; 0 once it is past."""
        return max(0.0, self.at - self.clock())

    @property
    def passed(self) -> bool:
        """Whether it is past."""
        return self.clock() >= self.at

    def part(self, share: float) -> Deadline:
        """The moment at which *share* of what is left now will have gone by."""
        return Deadline(self.clock() + self.left() * share, self.clock)

    def within(self, seconds: float) -> Deadline:
        """The moment in so many seconds, or this one where it comes first."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def earlier(self, seconds: float) -> Deadline:
        """The moment so many seconds before this one."""
        return Deadline(self.at - seconds, self.clock)

    def later(self, seconds: float) -> Deadline:
        """The moment so many seconds after this one."""
        return Deadline(self.at + seconds, self.clock)
