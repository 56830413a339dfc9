"""Of the processes that run the tests and of their own children: no root is needed."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from check_portcheck.deadline import Deadline
from check_portcheck.kernel import descriptors, processes
from check_portcheck.model import Unseen

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER = Deadline(at=1.0, clock=lambda: 0.0)
PAST = Deadline(at=1.0, clock=lambda: 1.0)


def inode(of: socket.socket) -> int:
    return os.fstat(of.fileno()).st_ino


@pytest.fixture(name="pair")
def pair_fixture() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


Pair = tuple[socket.socket, socket.socket]


def test_whoever_has_a_descriptor_is_a_holder(pair: Pair) -> None:
    one, other = pair
    waiting = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[one.fileno()])
    with waiting:
        found = descriptors.holders({inode(one), inode(other), 1}, NEVER)
    assert found.pids == {inode(one): {os.getpid(), waiting.pid}, inode(other): {os.getpid()}}


def test_only_the_sockets_asked_for_are_answered(pair: Pair) -> None:
    assert descriptors.holders([], NEVER).pids == {}
    assert descriptors.holders([inode(pair[1])], NEVER).pids == {inode(pair[1]): {os.getpid()}}


def test_a_descriptor_of_something_else_does_not_count() -> None:
    reader, writer = os.pipe()
    try:
        assert descriptors.holders([os.fstat(reader).st_ino], NEVER).pids == {}
    finally:
        os.close(reader)
        os.close(writer)


def test_time_that_is_up_is_the_reason(pair: Pair) -> None:
    assert descriptors.holders([inode(pair[0])], PAST).unseen is Unseen.TIME_LIMIT


class Proc:
    """The processes of a machine, and what their descriptors refer to."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, links: dict[int, list[str] | OSError]
    ) -> None:
        self._links = links
        self.walked: list[int] = []
        monkeypatch.setattr(descriptors, "_pids", lambda: list(links))
        monkeypatch.setattr(descriptors, "_descriptors", self._descriptors)
        monkeypatch.setattr(processes, "refused", lambda: Unseen.DENIED)

    def _descriptors(self, pid: int) -> Iterator[str]:
        self.walked.append(pid)
        links = self._links[pid]
        if isinstance(links, OSError):
            raise links
        yield from links


def test_every_process_examined_leaves_nothing_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    Proc(monkeypatch, {1: [], 5: ["/dev/null", "socket:[7]", "socket:[77]"], 6: ["socket:[7]"]})
    assert descriptors.holders([7, 8], NEVER) == ({7: {5, 6}}, None, None)


@pytest.mark.parametrize("error", [FileNotFoundError(), ProcessLookupError()])
def test_a_process_that_ends_meanwhile_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    Proc(monkeypatch, {1: [], 5: error, 6: ["socket:[7]"]})
    assert descriptors.holders([7], NEVER) == ({7: {6}}, None, None)


def test_a_process_that_may_not_be_examined_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    Proc(monkeypatch, {1: [], 5: PermissionError(), 6: ["socket:[7]"]})
    assert descriptors.holders([7], NEVER) == ({7: {6}}, Unseen.DENIED, Unseen.DENIED)


def test_process_1_is_apart_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    Proc(monkeypatch, {1: PermissionError(), 5: [], 6: ["socket:[7]"]})
    assert descriptors.holders([7], NEVER) == ({7: {6}}, Unseen.DENIED, None)


def test_processes_that_are_hidden_are_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    Proc(monkeypatch, {5: PermissionError(), 6: ["socket:[7]"]})
    assert descriptors.holders([7], NEVER) == ({7: {6}}, Unseen.HIDEPID, Unseen.HIDEPID)


def test_no_other_error_is_taken_for_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Proc(monkeypatch, {1: OSError(errno.EIO, "EIO")})
    with pytest.raises(OSError, match="EIO"):
        descriptors.holders([7], NEVER)


def test_the_walk_ends_in_the_middle_of_a_process_when_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = iter([0.0, 1.0])
    deadline = Deadline(at=1.0, clock=lambda: next(moments))
    proc = Proc(monkeypatch, {5: ["x", "socket:[7]", "socket:[8]"], 6: ["socket:[8]"]})
    assert descriptors.holders([7, 8], deadline) == ({7: {5}}, Unseen.TIME_LIMIT, Unseen.TIME_LIMIT)
    assert proc.walked == [5]


def test_a_process_whose_first_thread_has_none_is_asked_by_its_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def links(directory: str) -> Iterator[str]:
        asked.append(directory)
        if directory != f"/proc/{pid}/fd":
            yield "socket:[7]"

    pid = os.getpid()
    asked: list[str] = []
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    monkeypatch.setattr(descriptors, "_links", links)
    found = list(descriptors._descriptors(pid))
    over.set()
    thread.join()
    assert f"/proc/{pid}/task/{thread.native_id}/fd" in asked
    assert len(found) == len(asked) - 1 > 1


def test_the_threads_of_a_process_that_has_descriptors_are_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def links(directory: str) -> Iterator[str]:
        asked.append(directory)
        yield "/dev/null"

    asked: list[str] = []
    monkeypatch.setattr(descriptors, "_links", links)
    assert list(descriptors._descriptors(5)) == ["/dev/null"]
    assert asked == ["/proc/5/fd"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(errno.ENOENT, False), (errno.ENAMETOOLONG, False), (errno.EACCES, True)],
)
def test_a_descriptor_that_is_gone_or_too_deep_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, error: int, *, raised: bool
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "readlink", fail)
    before = len(list(Path("/proc/self/fd").iterdir()))
    if raised:
        with pytest.raises(PermissionError):
            list(descriptors._links("/proc/self/fd"))
    else:
        assert list(descriptors._links("/proc/self/fd")) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before
