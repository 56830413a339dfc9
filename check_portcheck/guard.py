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

from check_portcheck import streams
from check_portcheck.deadline import Deadline
from check_portcheck.pipes import collect, messages, tell, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Answer = tuple[str, int]
    """Text and exit code."""

_UNKNOWN = 3
_STEP, _KNOWN, _RESULT = b"s", b"k", b"r"
"""Kinds of what the child tells."""
_LONGEST_REASON = 150
_ENDING = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGIO, signal.SIGPWR),
)
"""Signals that end a process and are no crash, as in ``__main__``."""
_SECONDS_OF_OUTPUT = 10.0
"""For a text that needs no check. One of a check has the time that the check left."""
_WORK_SHARE = 0.98
"""Part of the time limit after which the work is ended: the rest is for printing what is known."""


class Parent(NamedTuple):
    """What the child process may tell the one that waits for it."""

    step: Callable[[str], None]
    """Takes what is about to be done, such as ``reading FILE``; nothing when it is done."""
    known: Callable[[str, int], None]
    """Takes text and exit code to be printed where no result comes; the last ones count."""
    limit: Callable[[float], None]
    """Takes the seconds of the whole run, once, as soon as they are known better.

    The parent reads no file, which may hang; so a limit in a file is told by who has read it.
    """


def in_child(
    work: Callable[[Parent], Answer],
    seconds: float,
    unfinished: Callable[[str, Answer | None], Answer],
) -> NoReturn:
    """Print the text that *work* gives and exit with its code, or say after *seconds* why not.

    *work* runs in a child process, whose standard error is read for the reason when it fails, and
    whose last step is told when it is late. *unfinished* makes text and exit code of such a reason
    and of what was known by then, None for nothing.
    """
    limit = _Limit(Deadline.after(0), seconds)
    streams.open_all()
    signals = _signals()
    try:
        ending = _watched(work, limit, signals)
    except OSError as refused:
        reason = f"the check could not be started: {refused.strerror}"
        streams.finish(*unfinished(reason, None), limit.deadline, signals)
    answer = ending.answer(_RESULT) if ending.complete else None
    if answer is None:
        answer = unfinished(_reason(ending, _came(signals)), ending.answer(_KNOWN))
    streams.finish(*answer, ending.limit.deadline, signals)


def finish(text: str, code: int) -> NoReturn:
    """Write to standard output and exit; where nobody can read it, the state is unknown."""
    streams.finish(text, code, Deadline.after(_SECONDS_OF_OUTPUT), _signals())


class _Limit(NamedTuple):
    """How long the whole run may take."""

    began: Deadline
    seconds: float

    @property
    def deadline(self) -> Deadline:
        """When it must have ended."""
        return self.began.later(self.seconds)

    @property
    def of_work(self) -> Deadline:
        """When the work must have ended."""
        return self.began.later(self.seconds * _WORK_SHARE)


class _Ending(NamedTuple):
    """How the child ended, or what it has written so far."""

    written: bytearray
    """Messages: steps, and texts that begin with the exit code as a byte."""
    complaint: bytes
    """What came on its standard error."""
    complete: bool
    """Whether it, and all that it started, have ended by themselves."""
    limit: _Limit
    """By when it had to, as far as is known."""

    def answer(self, kind: bytes) -> Answer | None:
        """Text and exit code of the last message of a kind, None where there is none."""
        told = messages(self.written).get(kind)
        if not told or told[0] > _UNKNOWN:
            return None
        return str(told[1:], "utf-8"), told[0]

    def step(self) -> str:
        """What it was about to do; empty where it did not say."""
        return str(messages(self.written).get(_STEP, b""), "utf-8")


def _watched(work: Callable[[Parent], Answer], limit: _Limit, signals: int) -> _Ending:
    """Run the work in a child until it has ended, the limit is reached or a signal has come.

    Raises OSError where that cannot be done.
    """
    output, output_inlet = os.pipe()
    trouble, trouble_inlet = os.pipe()
    lifeline, lifeline_inlet = os.pipe()
    told, told_inlet = os.pipe()
    inlets = _Inlets(output_inlet, trouble_inlet, told_inlet)
    child = os.fork()
    if child == 0:
        _live(work, inlets, lifeline, (output, trouble, lifeline_inlet, told, signals))
    outputs = {output: bytearray(), trouble: bytearray()}
    try:
        for end in (*inlets, lifeline):
            os.close(end)
        _make_group(child)
        # Pipes are closed at the other end once the child, and all that it started, have ended.
        unfinished = collect(outputs, limit.of_work, (signals, told))
        limit = _anew(limit, told)
        if unfinished:
            unfinished = collect(outputs, limit.of_work, (signals,))
    finally:
        _end(child)
    return _Ending(outputs[output], bytes(outputs[trouble]), not unfinished, limit)


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


class _Inlets(NamedTuple):
    """Ends of pipes into which the child writes."""

    output: int
    trouble: int
    told: int


def _live(
    work: Callable[[Parent], Answer], inlets: _Inlets, lifeline: int, of_parent: Iterable[int]
) -> NoReturn:
    """The life of the child process, which has no use for some ends of the parent's.

    Whatever fails in it must not go back to the caller, who would be a second parent.
    """
    try:
        # The text is the parent's to print.
        for stream in (1, 2):
            os.dup2(inlets.trouble, stream)
        for end in of_parent:
            os.close(end)
        _default_signals()
        _make_group(0)
        _die_with_parent(lifeline)
        parent = Parent(
            step=lambda step: tell(inlets.output, _STEP, _encoded(step.replace("\n", " "))),
            known=lambda text, code: tell(inlets.output, _KNOWN, bytes([code]), _encoded(text)),
            limit=lambda seconds: write(inlets.told, f"{seconds:f}".encode()),
        )
        text, code = work(parent)
        tell(inlets.output, _RESULT, bytes([code]), _encoded(text))
    finally:
        if (failed := sys.exc_info()[1]) is not None:
            complaint = f"{type(failed).__name__}: {failed}".removesuffix(": ")
            write(inlets.trouble, _encoded(complaint))
        os._exit(0)


def _default_signals() -> None:
    """Take back what the parent does with signals."""
    signal.set_wakeup_fd(-1)
    for number in _ENDING:
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


def _encoded(text: str) -> bytes:
    return text.encode(errors="replace")


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


# Signals


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
