"""Run the check in a child process, so that a result comes out in time whatever the child does.

A name lookup that hangs, a file on a dead server, a crash, a missing library: the parent does
nothing but wait, and so can always answer. It also answers SIGTERM, which is how monitoring systems
end a check that takes too long.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from check_portcheck.deadline import Deadline
from check_portcheck.pipes import collect

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = tuple[str, int]
    """Text and exit code."""

_UNKNOWN = 3
_LONGEST_REASON = 150
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SECONDS_OF_OUTPUT = 10.0
"""For a text that needs no check. One of a check has the time that the check left."""


class Parent(NamedTuple):
    """What the child process may tell the one that waits for it."""

    step: Callable[[str], None]
    """Takes what is about to be done, such as ``reading FILE``; nothing when it is done."""
    limit: Callable[[float], None]
    """Takes the seconds of the whole run, once, as soon as they are known better.

    The parent reads no file, which may hang; so a limit in a file is told by who has read it.
    """


def in_child(
    work: Callable[[Parent], Answer], seconds: float, unknown: Callable[[str], Answer]
) -> NoReturn:
    """Print the text that *work* gives and exit with its code, or say after *seconds* why not.

    *work* runs in a child process, whose standard error is read for the reason when it fails, and
    whose last step is told when it is late. *unknown* makes text and exit code of such a reason.
    """
    limit = _Limit(Deadline.after(0), seconds)
    _open_standard_streams()
    signals = _signals()
    try:
        ending = _watched(work, limit, signals)
    except OSError as refused:
        reason = f"the check could not be started: {refused.strerror}"
        _print(*unknown(reason), limit.deadline, signals)
    answer = ending.answer()
    if answer is None:
        answer = unknown(_reason(ending, _came(signals)))
    _print(*answer, ending.limit.deadline, signals)


def finish(text: str, code: int) -> NoReturn:
    """Write to standard output and exit; where nobody can read it, the state is unknown."""
    _print(text, code, Deadline.after(_SECONDS_OF_OUTPUT), _signals())


class _Limit(NamedTuple):
    """How long the whole run may take."""

    began: Deadline
    seconds: float

    @property
    def deadline(self) -> Deadline:
        """When it must have ended."""
        return self.began.later(self.seconds)


class _Ending(NamedTuple):
    """How the child ended, or what it has written so far."""

    written: bytes
    """Its steps, a line each, then a zero byte, the exit code as a byte, and the text."""
    complaint: bytes
    """What came on its standard error."""
    complete: bool
    """Whether it, and all that it started, have ended by themselves."""
    limit: _Limit
    """By when it had to, as far as is known."""

    def answer(self) -> Answer | None:
        """Text and exit code, None where it gave none."""
        _, _, result = self.written.partition(b"\0")
        if not self.complete or not result or result[0] > _UNKNOWN:
            return None
        return result[1:].decode(), result[0]

    def step(self) -> str:
        """What it was about to do; empty where it did not say."""
        steps, _, _ = self.written.partition(b"\0")
        return steps.decode(errors="replace").split("\n")[-2] if b"\n" in steps else ""


def _watched(work: Callable[[Parent], Answer], limit: _Limit, signals: int) -> _Ending:
    """Run the work in a child until it has ended, the limit is reached or a signal has come.

    Raises OSError where that cannot be done.
    """
    output, output_inlet = os.pipe()
    trouble, trouble_inlet = os.pipe()
    lifeline, lifeline_inlet = os.pipe()
    told, told_inlet = os.pipe()
    child = os.fork()
    if child == 0:
        for end in (output, trouble, lifeline_inlet, told, signals):
            os.close(end)
        _live(work, output_inlet, trouble_inlet, told_inlet, lifeline)
    for end in (output_inlet, trouble_inlet, told_inlet, lifeline):
        os.close(end)
    _make_group(child)
    outputs = {output: bytearray(), trouble: bytearray()}
    try:
        # Pipes are closed at the other end once the child, and all that it started, have ended.
        unfinished = collect(outputs, limit.deadline, (signals, told))
        limit = _anew(limit, told)
        if unfinished:
            unfinished = collect(outputs, limit.deadline, (signals,))
    finally:
        _end(child)
    return _Ending(bytes(outputs[output]), bytes(outputs[trouble]), not unfinished, limit)


def _anew(limit: _Limit, told: int) -> _Limit:
    """The limit that the child has told, else the one there is."""
    os.set_blocking(told, False)
    try:
        seconds = os.read(told, select.PIPE_BUF)
    except BlockingIOError:
        return limit
    return limit._replace(seconds=float(seconds)) if seconds else limit


def _reason(ending: _Ending, number: int | None) -> str:
    """Why there is no answer; *number* is that of the signal that came."""
    if ending.complete:
        return _last_line(ending.complaint)
    end = f"timeout after {ending.limit.seconds:g} s"
    if number is not None:
        end = f"ended by {signal.Signals(number).name}"
    return f"{end} while {ending.step()}" if ending.step() else end


def _last_line(complaint: bytes) -> str:
    """What a complaint ends with."""
    lines = complaint.decode(errors="replace").strip().splitlines()
    text = lines[-1] if lines else "the check ended without a result"
    return text[:_LONGEST_REASON]


# The child


def _live(
    work: Callable[[Parent], Answer], output: int, trouble: int, told: int, lifeline: int
) -> NoReturn:
    """The life of the child process."""
    try:
        _default_signals()
        _make_group(0)
        _die_with_parent(lifeline)
        # The text is the parent's to print.
        for stream in (1, 2):
            os.dup2(trouble, stream)
        os.close(trouble)
        parent = Parent(
            step=lambda step: _tell(output, _line(step)),
            limit=lambda seconds: _tell(told, f"{seconds:f}".encode()),
        )
        text, code = work(parent)
        _tell(output, bytes([0, code]) + text.encode(errors="replace"))
    finally:
        if (failed := sys.exc_info()[1]) is not None:
            complaint = f"{type(failed).__name__}: {failed}".removesuffix(": ")
            _tell(2, complaint.encode(errors="replace"))
        os._exit(0)


def _default_signals() -> None:
    """Take back what the parent does with signals."""
    signal.set_wakeup_fd(-1)
    for number in (*_ENDING, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)


def _die_with_parent(lifeline: int) -> None:
    """Have the kernel end the child's group when the parent, even by SIGKILL, has ended.

    Only the parent can write to the pipe, and never does. Its end closes the pipe, for which the
    kernel sends SIGIO (fcntl(2), O_ASYNC) to the group that owns it. prctl(2) would take ctypes,
    8 ms, and would leave out the child's own children.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline)
    if poll.poll(0):  # it has ended before that
        os._exit(_UNKNOWN)


def _line(step: str) -> bytes:
    return step.replace("\n", " ").encode(errors="replace") + b"\n"


def _tell(inlet: int, data: bytes) -> None:
    """Write all of it to a pipe."""
    while data:
        data = data[os.write(inlet, data) :]


def _make_group(child: int) -> None:
    """Give the child its own process group; parent and child both do it, the first one wins."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
        os.setpgid(child, child)


def _end(child: int) -> None:
    """End the child and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    # Not waited for when it hangs in the kernel: the result is due now.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, os.WNOHANG)


# Signals and standard streams


def _signals() -> int:
    """A descriptor from which the signals by which a check is ended can be read, a byte each.

    So none is lost between two statements, and none interrupts one. The descriptor comes before
    the handlers: a signal in between finds those of the program's start, or is in the pipe.
    """
    signals, inlet = os.pipe()
    for end in (signals, inlet):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(inlet, warn_on_full_buffer=False)
    for number in _ENDING:
        signal.signal(number, lambda *_: None)
    return signals


def _came(signals: int) -> int | None:
    """The number of the first signal that came, None where there was none."""
    try:
        return os.read(signals, 1)[0]
    except BlockingIOError:
        return None


def _open_standard_streams() -> None:
    """See to it that no pipe gets the number of a standard stream that the caller closed.

    A directory takes its place, since there may be no /dev/null.
    """
    while (place := os.open("/", os.O_RDONLY)) < 3:
        pass
    os.close(place)


def _print(text: str, code: int, limit: Deadline, signals: int) -> NoReturn:
    """Write to standard output and exit; the state is unknown where nobody reads it by *limit*.

    A signal ends the wait for a reader.
    """
    rest = text.encode(errors="replace")
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    poll.register(signals, select.POLLIN)
    try:
        while rest:
            if 1 not in _ready(poll, limit):
                os._exit(_UNKNOWN)
            # A pipe that takes anything takes so much without waiting (pipe(7)).
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
