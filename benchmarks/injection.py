"""System calls that fail in turn: strace makes the N-th call of a name give an error.

A run has three kinds of processes: the parent, its child that does the work, and workers that
probe. strace counts the calls of each process by itself, so it follows none, but is attached to the
one in question where that begins.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trial
from trial import MISSED, Attack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ERRORS = tuple(
    f"error={name}" for name in ("ENOMEM", "EMFILE", "EINTR", "EAGAIN", "EPERM", "ENOSYS")
)
_NO_MEMORY = ("retval=0",)
"""For brk, which has no errors: the C library sees by the result that nothing was added."""
_ALL_ERRORS_UP_TO = 16
"""Calls that are made no more often than this get each of the errors, others one in turn."""

_NEVER_FAIL = {"exit", "exit_group", "rt_sigreturn", "restart_syscall", "execve"}
"""Calls that do not return, or that come before the interpreter."""

_FIRST = "rt_sigprocmask(SIG_BLOCK, ~["
"""What the first statement of the start script does, and nobody before it."""

_PAUSING = """
import os, signal, sys, time
depth, wanted, told, script = 0, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
fork, first = os.fork, True
def pausing():
    global depth, first
    made = fork()
    if made == 0:
        depth += 1
    if made == 0 and depth == wanted:
        if first:
            os.write(told, b"%d\\n" % os.getpid())
            os.close(told)
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            time.sleep(0.5)  # so that the first one finds work
    elif made and depth == wanted - 1 and first:
        os.close(told)
        first = False
    return made
os.fork = pausing
sys.argv = sys.argv[3:]
exec(compile(open(script, "rb").read(), script, "exec"))
"""
"""Runs a script of which the first process so many forks deep stops when it has told its number."""


class Target(NamedTuple):
    """A process of a run."""

    name: str
    depth: int
    """How many forks lie between it and the process that was started."""


TARGETS = (Target("parent", 0), Target("child", 1), Target("worker", 2))


class Fault(NamedTuple):
    """A call that fails, once."""

    target: Target
    call: str
    occurrence: int
    """From 1, in its process."""
    result: str
    """As strace spells it: ``error=ENOMEM``, ``retval=0``."""

    def __str__(self) -> str:
        return f"{self.target.name} {self.call} {self.occurrence} {self.result}"


class Injection(NamedTuple):
    """Makes runs of a start script whose calls fail."""

    script: Path
    scratch: Path
    private: Path
    """A directory in which nothing may be left but a state file."""
    options: tuple[str, ...] = ()

    def attacks(self, targets: Iterable[Target]) -> list[Attack]:
        """The calls that these processes make, with each error or one in turn."""
        return [Attack(str(each), partial(self.attempt, each)) for each in self._faults(targets)]

    def _faults(self, targets: Iterable[Target]) -> Iterator[Fault]:
        errors = itertools.cycle(_ERRORS)
        for target in targets:
            for call, number in sorted(self._calls(target).items()):
                for occurrence in range(1, number + 1):
                    chosen = _ERRORS if number <= _ALL_ERRORS_UP_TO else (next(errors),)
                    for result in _NO_MEMORY if call == "brk" else chosen:
                        yield Fault(target, call, occurrence, result)

    def _calls(self, target: Target) -> Counter[str]:
        """How often each call is made in a run without a fault."""
        told = self._run(target, ())[1]
        made = Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", told, re.MULTILINE))
        return Counter({call: made[call] for call in made.keys() - _NEVER_FAIL})

    def attempt(self, fault: Fault) -> str:
        """What comes of a fault, as trial.state() or BEFORE or MISSED."""
        inject = f"inject={fault.call}:{fault.result}:when={fault.occurrence}"
        trace = f"trace={fault.call},rt_sigprocmask"
        ended, told = self._run(fault.target, ("-e", trace, "-e", inject))
        before, injected, _ = told.partition("(INJECTED)")
        if not injected:
            return MISSED
        if fault.target.depth == 0 and _FIRST not in before:
            return trial.early(ended)
        if litter := [each for each in self.private.iterdir() if each.name.startswith(".")]:
            for each in litter:
                each.unlink()
            return f"{trial.WRONG}: left {litter}"
        is_output = before.splitlines()[-1].startswith("write(1, ")
        return trial.unread(ended) if is_output else trial.state(ended)

    @property
    def _options(self) -> tuple[str, ...]:
        return (*trial.OPTIONS, *self.options)

    def _run(self, target: Target, options: tuple[str, ...]) -> tuple[trial.Ended, str]:
        """A run whose target strace watches; and what that tells."""
        log = self.scratch / "strace"
        log.write_text("")
        strace = ("strace", "-qq", "-o", str(log), *options)
        began = time.monotonic()
        command = (sys.executable, "-I", str(self.script), *self._options)
        if target.depth == 0:
            ended = trial.ended(trial.started((*strace, *command)), began)
        else:
            ended = self._attached(strace, target.depth, began)
        return ended, log.read_text(errors="replace")

    def _attached(self, strace: tuple[str, ...], depth: int, began: float) -> trial.Ended:
        """The same for a process that is stopped where it begins until strace is there."""
        told, inlet = os.pipe()
        pausing = ("-c", _PAUSING, str(depth), str(inlet), str(self.script))
        command = (sys.executable, "-I", *pausing, *self._options)
        process = trial.started(command, kept=(inlet,))
        os.close(inlet)
        with os.fdopen(told) as pipe:
            pid = int(pipe.readline())
        with subprocess.Popen([*strace, "-p", str(pid)], stderr=subprocess.DEVNULL) as tracer:
            while _tracer(pid) != tracer.pid:
                time.sleep(0.002)
            os.kill(pid, signal.SIGCONT)
            return trial.ended(process, began)


def _tracer(pid: int) -> int:
    """The process that traces another one, 0 where there is none (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"TracerPid:\t(\d+)", status)[0])
