"""Read what child processes write until they have ended, be it message by message."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from check_portcheck.deadline import Deadline

_LARGEST_PART = 1 << 16
_SIZE = 8
"""Bytes of a message's length."""


def collect(
    outputs: Mapping[int, bytearray], deadline: Deadline, stops: Collection[int] = ()
) -> set[int]:
    """Add to each buffer what comes out of its pipe until all of them are closed at the other end.

    Gives the pipes that were still open at *deadline*, or when something could be read from one of
    the descriptors *stops*.
    """
    poll = select.poll()
    for output in outputs:
        poll.register(output, select.POLLIN)
    for stop in stops:
        poll.register(stop, select.POLLIN)
    unfinished = set(outputs)
    while unfinished:
        ready = {descriptor for descriptor, _ in poll.poll(deadline.left() * 1000)}
        for output in unfinished & ready:
            if part := os.read(output, _LARGEST_PART):
                outputs[output].extend(part)
            else:
                poll.unregister(output)
                unfinished.discard(output)
        # What came before that is read all the same: it may be all that is known.
        if deadline.passed or not ready.isdisjoint(stops):
            break
    return unfinished


def tell(inlet: int, kind: bytes, *contents: bytes) -> None:
    """Write a message; its kind is a single byte."""
    size = sum(map(len, contents))
    write(inlet, kind + size.to_bytes(_SIZE, "big"))
    for content in contents:
        write(inlet, content)


def write(inlet: int, data: bytes) -> None:
    """Write all of it to a pipe."""
    # A view, since it may be long and a pipe takes little at a time.
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(inlet, rest) :]


def messages(written: bytearray) -> dict[bytes, memoryview]:
    """The last whole message of each kind."""
    last: dict[bytes, memoryview] = {}
    view = memoryview(written)
    start = 0
    while head := bytes(view[start : start + 1 + _SIZE]):
        begin = start + len(head)
        start = begin + int.from_bytes(head[1:], "big")
        if len(head) <= _SIZE or start > len(view):
            break  # whoever wrote it was ended meanwhile
        last[head[:1]] = view[begin:start]
    return last
