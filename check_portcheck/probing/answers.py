"""What contacting some ports gave."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Answers:
    """What a look at some ports of one interface and protocol gave; the others are closed."""

    __slots__ = ("failure", "open", "unasked", "undecided")

    def __init__(self) -> None:
        self.open: list[int] = []
        """A connection was made, or a datagram was answered."""
        self.undecided: list[int] = []
        """No answer came, or one that is neither yes nor no."""
        self.unasked: list[int] = []
        """Not asked, since too many stayed silent or nothing could be sent."""
        self.failure = ""
        """Why nothing could be sent, empty where it could."""

    def failed(self, why: OSError, unasked: Iterable[int]) -> None:
        """Note that no more could be asked.

        That the address has gone, or its device (ENODEV where it has a scope), is no failure:
        addresses come and go, and nothing is there to ask.
        """
        self.unasked += unasked
        if why.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            self.failure = why.strerror or str(why)

    def add(self, others: Answers) -> None:
        """Take the answers of other ports as well."""
        self.open += others.open
        self.undecided += others.undecided
        self.unasked += others.unasked
        self.failure = self.failure or others.failure
