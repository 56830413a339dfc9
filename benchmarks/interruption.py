"""Signals at random moments: to the parent, its child, a worker, or the child's whole group."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trial
from trial import MISSED, Attack

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDING = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGVTALRM, signal.SIGPROF),
)
"""What others end a process with, and what comes of limits and timers that outlive execve(2)."""
_HARMLESS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGWINCH)
_HARD = (signal.SIGKILL, signal.SIGSTOP)
_TARGETS = {"parent": 0, "child": 1, "group": 1, "worker": 2}
"""How many forks lie between each and the process that was started."""
_START_UP = 0.08
"""Seconds in which half of the signals to the parent come: it takes them to load its modules."""
_WORK = 0.01
"""Seconds that a worker takes."""
_RUNNING = ("R", "S", "D")
"""States of a process that has neither ended nor been stopped (proc(5))."""


class Interruption(NamedTuple):
    """Makes runs of a start script that get a signal."""

    script: Path
    length: float
    """Seconds that a run takes."""

    def attacks(self, number: int) -> list[Attack]:
        """So many runs; signals and targets come in turn, the moment is random."""
        chance = random.Random(number)
        kinds = itertools.cycle(itertools.product((*_ENDING, *_HARMLESS, *_HARD), _TARGETS))
        made = []
        for sent, target in itertools.islice(kinds, number):
            early = target == "parent" and chance.random() < 0.5
            latest = _WORK if target == "worker" else _START_UP if early else self.length
            moment = chance.uniform(0, latest)
            name = f"{sent.name} to {target} after {moment * 1000:.0f} ms"
            made.append(Attack(name, partial(self._attempt, sent, target, moment)))
        return made

    def _attempt(self, sent: signal.Signals, target: str, moment: float) -> str:
        """What comes of a signal; the moment counts from the start of the process."""
        began = time.monotonic()
        process = trial.started((sys.executable, "-I", str(self.script), *trial.OPTIONS))
        pid = process.pid
        for _ in range(_TARGETS[target]):
            pid = _child(pid)
        time.sleep(moment)
        with _stopped(process.pid):
            before = not _has_begun(process.pid)
            met = _send(pid, sent, to_group=target == "group")
            if sent is signal.SIGSTOP:
                time.sleep(self.length)
        ended = trial.ended(process, began)
        if not met:
            return MISSED
        if before:
            return trial.early(ended)
        if sent is signal.SIGKILL and target == "parent":
            return trial.unheard(ended)
        return trial.state(ended)


def _child(pid: int) -> int:
    """The child of a process, once there is one; 0 where it ends without."""
    while pid and _status(pid, "State").startswith(_RUNNING):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                return int(found[0])
        time.sleep(0.001)
    return 0


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """A process, which may have ended, stands still meanwhile."""
    _send(pid, signal.SIGSTOP)
    while _status(pid, "State").startswith(_RUNNING):
        time.sleep(0.0005)
    yield
    _send(pid, signal.SIGCONT)


def _has_begun(pid: int) -> bool:
    """Whether the program has come to its first statement.

    SIGTERM shows it, which the interpreter itself leaves alone.
    """
    masks = (int(_status(pid, mask) or "0", 16) for mask in ("SigBlk", "SigCgt"))
    return any(mask >> signal.SIGTERM - 1 & 1 for mask in masks)


def _status(pid: int, field: str) -> str:
    """What /proc says of a process; empty where it has ended (proc(5))."""
    try:
        told = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    found = re.search(rf"^{field}:\t(.*)", told, re.MULTILINE)
    return found[1] if found else ""


def _send(pid: int, sent: signal.Signals, *, to_group: bool = False) -> bool:
    """Send a signal to a process or to its group; gives whether it was there and had not ended."""
    if not pid or not _status(pid, "State").startswith((*_RUNNING, "T")):
        return False
    try:
        os.kill(-pid if to_group else pid, sent)
    except ProcessLookupError:
        return False
    return True
