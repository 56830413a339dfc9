"""The standard streams of a check: there when it starts, written in time when it ends."""

from __future__ import annotations

import contextlib
import os
import select
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from check_portcheck.deadline import Deadline

_UNKNOWN = 3


def open_all() -> None:
    """See to it that no pipe gets the number of a standard stream that the caller closed.

    A directory takes its place, since there may be no /dev/null.
    """
    while (place := os.open("/", os.O_RDONLY)) < 3:
        pass
    os.close(place)


def finish(text: str, code: int, limit: Deadline, signals: int) -> NoReturn:
    """Write to standard output and exit; the state is unknown where nobody reads it by *limit*.

    A signal ends the wait for a reader.
    """
    # A view, since the text may be long and is written in small parts.
    rest = memoryview(text.encode(errors="replace"))
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    poll.register(signals, select.POLLIN)
    try:
        while rest:
            if 1 not in _ready(poll, limit):
                os._exit(_UNKNOWN)
            # A pipe that takes anything takes so much without waiting (pipe(7)).
            with contextlib.suppress(BlockingIOError):  # the caller's choice, for other than pipes
                rest = rest[os.write(1, rest[: select.PIPE_BUF]) :]
    except OSError:
        os._exit(_UNKNOWN)
    os._exit(code)


def _ready(poll: select.poll, limit: Deadline) -> list[int]:
    """The descriptors that are ready; where the kernel refuses to say, standard output."""
    try:
        return [each for each, _ in poll.poll(limit.left() * 1000)]
    except OSError:
        return [1]
