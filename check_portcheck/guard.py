"""Run the check in a child process, so that a result comes out in time whatever the child does.

A name lookup that hangs, a file on a dead server, a crash, a missing library: the parent does
nothing but wait, and so can always answer. It also answers SIGTERM, which is how monitoring systems
end a check that takes too long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from check_portcheck.deadline import Deadline
from check_portcheck.pipes import collect

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_UNKNOWN = 3
_LONGEST_REASON = 150


class _StoppedError(Exception):
    """A signal asked for the end; its name is the text."""


class _EndSignals:
    """Handler of the signals by which a check is ended: the first one raises _StoppedError.

    The others do nothing, since the answer is under way; timeout(1) for one signals twice. The
    handler stays for good: put SIG_IGN in its place, and Python complains on standard error of each
    signal that has arrived and was not handled yet (https://github.com/python/cpython/issues/87572).
    """

    __slots__ = ("_awaited",)

    def __init__(self) -> None:
        self._awaited = True
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle one signal."""
        del frame
        if self._awaited:
            self._awaited = False
            raise _StoppedError(signal.Signals(number).name)

    def disregard(self) -> None:
        """From now on none raises."""
        self._awaited = False


def in_child(
    work: Callable[[], tuple[str, int]],
    seconds: float,
    unknown: Callable[[str], tuple[str, int]],
) -> NoReturn:
    """Print the text that *work* gives and exit with its code, or say after *seconds* why not.

    *work* runs in a child process, whose standard error is read for the reason when it fails.
    *unknown* makes text and exit code of such a reason.
    """
    _open_standard_streams()
    output, output_inlet = os.pipe()
    trouble, trouble_inlet = os.pipe()
    child = os.fork()
    if child == 0:
        _make_group(0)
        os.dup2(trouble_inlet, sys.stderr.fileno() if sys.stderr else 2)
        text, code = work()
        with os.fdopen(output_inlet, "wb") as out:
            out.write(bytes([code]) + text.encode(errors="replace"))
        os._exit(0)
    os.close(output_inlet)
    os.close(trouble_inlet)
    _make_group(child)
    written, complaint = bytearray(), bytearray()
    try:
        signals = _EndSignals()
        # All pipes are closed at the other end once the child, and all that it started, have ended.
        ended = not collect({output: written, trouble: complaint}, Deadline.after(seconds))
        signals.disregard()
        reason = _last_line(complaint) if ended else f"timeout after {seconds:g} s"
    except _StoppedError as stopped:
        ended, reason = False, f"ended by {stopped}"
    _end(child)
    if ended and written and written[0] <= _UNKNOWN:
        finish(bytes(written[1:]).decode(), written[0])
    finish(*unknown(reason))


def finish(text: str, code: int) -> NoReturn:
    """Write to standard output and exit; where nobody can read it, the state is unknown."""
    rest = text.encode(errors="replace")
    try:
        while rest:
            rest = rest[os.write(1, rest) :]
    except OSError:
        os._exit(_UNKNOWN)
    os._exit(code)


def _end(child: int) -> None:
    """End the child and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    # Not waited for when it hangs in the kernel: the result is due now.
    os.waitpid(child, os.WNOHANG)


def _last_line(complaint: bytearray) -> str:
    """What a traceback ends with."""
    lines = complaint.decode(errors="replace").strip().splitlines()
    text = lines[-1] if lines else "the check ended without a result"
    return text[:_LONGEST_REASON]


def _make_group(child: int) -> None:
    """Give the child its own process group; parent and child both do it, the first one wins."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
        os.setpgid(child, child)


def _open_standard_streams() -> None:
    """See to it that no pipe gets the number of a standard stream that the caller closed."""
    while (null := os.open(os.devnull, os.O_RDONLY)) < 3:
        pass
    os.close(null)
