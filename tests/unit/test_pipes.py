from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from check_portcheck.deadline import Deadline
from check_portcheck.pipes import collect, messages, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON = 1.0
LARGE = bytes(range(256)) * 4096
"""More than a pipe holds (pipe(7): 64 KiB)."""


class Pipe:
    """A pipe, and what has been read from it."""

    def __init__(self) -> None:
        self.output, self.inlet = os.pipe()
        self.read = bytearray()

    def write(self, data: bytes) -> None:
        """Write all of it, then close this end."""
        with os.fdopen(self.inlet, "wb") as inlet:
            inlet.write(data)


@pytest.fixture(name="pipes")
def pipes_fixture() -> Iterator[list[Pipe]]:
    """Two pipes; the outputs are closed at the end, the inlets by whoever wrote."""
    made = [Pipe(), Pipe()]
    yield made
    for pipe in made:
        os.close(pipe.output)


def collected(pipes: list[Pipe], seconds: float = 60) -> set[int]:
    return collect({pipe.output: pipe.read for pipe in pipes}, Deadline.after(seconds))


def test_all_is_read_until_all_are_closed(pipes: list[Pipe]) -> None:
    one, other = pipes
    one.write(b"one")
    other.write(b"")
    assert collected(pipes) == set()
    assert [one.read, other.read] == [b"one", b""]


def test_more_than_the_pipes_hold_is_read_from_both_at_once(pipes: list[Pipe]) -> None:
    writers = [threading.Thread(target=pipe.write, args=[LARGE]) for pipe in pipes]
    for writer in writers:
        writer.start()
    assert collected(pipes) == set()
    for writer in writers:
        writer.join()
    assert [pipe.read for pipe in pipes] == [LARGE, LARGE]


def test_what_is_read_is_added(pipes: list[Pipe]) -> None:
    for pipe in pipes:
        pipe.read.extend(b"before, ")
        pipe.write(b"after")
    assert collected(pipes) == set()
    assert [pipe.read for pipe in pipes] == [b"before, after"] * 2


def test_a_pipe_is_open_as_long_as_anyone_may_write(pipes: list[Pipe]) -> None:
    one, other = pipes
    heir = os.dup(one.inlet)
    one.write(b"one")
    other.write(b"other")
    assert collected(pipes, SOON) == {one.output}
    os.close(heir)
    assert collected(pipes) == set()
    assert [one.read, other.read] == [b"one", b"other"]


def test_after_the_deadline_only_what_has_come_is_read(pipes: list[Pipe]) -> None:
    one, other = pipes
    os.write(one.inlet, b"in time")
    assert collected(pipes, -1) == {one.output, other.output}
    assert [one.read, other.read] == [b"in time", b""]
    os.close(one.inlet)
    os.close(other.inlet)


def test_what_comes_from_another_descriptor_stops_it(pipes: list[Pipe]) -> None:
    one, other = pipes
    one.write(b"one")
    stopped = collect({other.output: other.read}, Deadline.after(60), [one.output])
    assert (stopped, bytes(other.read)) == ({other.output}, b"")
    os.close(other.inlet)


def test_what_has_come_before_it_was_stopped_is_read(pipes: list[Pipe]) -> None:
    one, other = pipes
    one.write(b"one")
    os.write(other.inlet, b"known")
    stopped = collect({other.output: other.read}, Deadline.after(60), [one.output])
    assert (stopped, bytes(other.read)) == ({other.output}, b"known")
    os.close(other.inlet)


def test_no_pipes_are_no_wait() -> None:
    assert collected([]) == set()


def told(*of: tuple[bytes, bytes]) -> bytearray:
    """What is written to a pipe for some messages."""
    pipe = Pipe()

    def write() -> None:
        for kind, content in of:
            tell(pipe.inlet, kind, content[:1], content[1:])
        os.close(pipe.inlet)

    writer = threading.Thread(target=write)
    writer.start()
    assert not collect({pipe.output: pipe.read}, Deadline.after(60))
    writer.join()
    os.close(pipe.output)
    return pipe.read


def test_of_each_kind_the_last_whole_message_counts() -> None:
    written = told((b"a", b"one"), (b"b", b""), (b"a", LARGE))
    assert messages(written) == {b"a": LARGE, b"b": b""}


def test_a_message_that_was_cut_off_is_none() -> None:
    written = told((b"a", b"one"), (b"a", b"two"))
    for end in range(len(written) // 2, len(written)):
        assert messages(written[:end]) == {b"a": b"one"}
