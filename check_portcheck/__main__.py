"""The program: ``check_portcheck`` and ``python -m check_portcheck``.

Before anything else is loaded it sees to it that whatever comes ends in a line and an exit code.
"""

from __future__ import annotations

# Built into the interpreter. The module signal loads enum first: 3 ms in which a signal would end
# the check without a line.
import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False  # typing takes 3 ms as well
if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = (
    *("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"),
    *("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU"),
    *("SIGUSR1", "SIGUSR2", "SIGIO", "SIGPWR"),
)
_ENDING = {getattr(_signal, name): name for name in _NAMES}
"""Signals that end a process (signal(7)) and are no crash. A timer, as of ``alarm N; exec ...``, or
a limit of CPU time may be the caller's (execve(2))."""
_LONGEST_REASON = 150
_RESERVE = bytearray(1 << 16)
"""Memory with which the end can be told where there is no more."""


def _end(reason: str) -> None:
    """Say in one line why there is no result, with nothing but what is at hand; does not return."""
    _RESERVE.clear()
    text, code = _unknown(reason)
    try:
        # From here on no second signal adds a second line.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _ENDING)
    finally:
        try:
            _write(text)
        finally:
            os._exit(code)


def _write(text: str) -> None:
    """Write to standard output, unless that is a full pipe, which must not hold the end up.

    The module select, which could ask, need not be built in.
    """
    waits = True
    try:
        waits = os.get_blocking(1)
        os.set_blocking(1, False)
    finally:
        try:
            os.write(1, text.encode())
        finally:
            os.set_blocking(1, waits)


def _unknown(reason: str) -> tuple[str, int]:
    """Text and exit code in the form that was asked for, as the forms in report have them."""
    harmless = reason.encode("ascii", "replace").decode().translate(dict.fromkeys(b'|"\\', "?"))
    line = "".join(letter if letter.isprintable() else "?" for letter in harmless)[:_LONGEST_REASON]
    options = " ".join(sys.argv[1:]).replace("--format ", "--format=")
    if "--format=checkmk" in options:
        return f'3 "Portcheck" - {line}\n', 0
    if "--format=json" in options:
        return f'{{"state": "UNKNOWN", "exit_code": 3, "summary": "{line}"}}\n', 3
    return f"PORTCHECK UNKNOWN - {line}\n", 3


def _take_signals() -> None:
    """Answer the signals by which a check is ended; undo what the caller did to any signal."""
    for each in _ENDING:
        _signal.signal(each, lambda number, _: _end(f"ended by {_ENDING[number]}"))
    # Ignored, it has the kernel forget how children ended (wait(2), ECHILD).
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _close_standard_error() -> None:
    """Send what the interpreter may complain of nowhere: monitoring systems show it as output."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except OSError:
        nowhere = os.open("/", os.O_RDONLY)  # there always is one, and nobody can write to it
    if nowhere != 2:
        os.dup2(nowhere, 2)
        os.close(nowhere)


def main() -> None:
    """Run the plugin on sys.argv; does not return."""
    _or_end(_run)


def _run() -> None:
    _close_standard_error()
    import gc

    # A run is short and leaves no cycles worth collecting; loading the modules makes many objects.
    gc.disable()
    from check_portcheck import cli

    cli.main()


def _or_end(step: Callable[[], None]) -> None:
    """Do something, and where it fails end with the reason, since there is no other answer."""
    try:
        step()
    finally:
        kind, failed, _ = sys.exc_info()
        if kind:
            _end(f"{kind.__name__}: {failed}".removesuffix(": "))


_or_end(_take_signals)

if __name__ == "__main__":
    main()
