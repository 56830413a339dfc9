#!/usr/bin/env python3
"""Attack runs of the check: failing system calls, signals, and surroundings that are broken.

Each run must end in time with a line and an exit code of 0 to 3, with nothing on standard error and
no process left, and never be OK, since a port is open that no rule allows. As root, with strace:
/usr/bin/python3 benchmarks/faults.py
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.append(str(Path(__file__).parent.parent / "tests" / "integration"))

import contenders
import surroundings
import trial
from injection import TARGETS, Injection
from interruption import Interruption
from namespace import namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trial import Attack

_SIGNALS = 300
_SECONDS = 0.25
"""How long a run takes, about."""
_MORE = ("--required", "*:nfs/tcp", "--optional", "*:65503/tcp@user:games", "--interval", "1")
"""Options of runs that ask the portmapper too, and remember something."""


class Bench(NamedTuple):
    """What the attacks need."""

    script: Path
    """The start script of the check."""
    scratch: Path
    private: Path
    """A directory that root alone can change, as those above it, with nothing in it."""


def main() -> None:
    """Attack, print what came of it, and end with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="all of them by default")
    parser.add_argument("--share", type=int, default=1, help="make only each N-th attack (1)")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first N attacks (0)")
    parser.add_argument("--only", default="", help="make attacks whose name has this in it")
    parser.add_argument("--log", type=Path, help="a file for the end of every run")
    given = parser.parse_args()
    if os.getpid() != 1:
        # Alone, so that it does not matter what else has how many descriptors open.
        alone = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        os.execvp(alone[0], (*alone, sys.executable, *sys.argv))
    wrong = 0
    with _bench() as bench:
        for kind in given.kinds or KINDS:
            attacks = KINDS[kind](bench)[given.skip :: given.share]
            chosen = [each for each in attacks if given.only in each.name]
            wrong += trial.report(kind, chosen, given.log)
    sys.exit(wrong > 0)


@contextlib.contextmanager
def _bench() -> Iterator[Bench]:
    """Everything, in a network of its own, in which one port is open that no rule allows."""
    with (
        tempfile.TemporaryDirectory() as made,
        tempfile.TemporaryDirectory(dir="/var/lib") as private,
        namespace() as there,
        there.entered(),
        there.listener("127.0.0.1", trial.UNEXPECTED),
    ):
        directory = Path(made)
        directory.chmod(0o755)
        packages = contenders.copied_package(directory)
        compileall.compile_dir(packages, quiet=1)
        yield Bench(trial.script(directory, packages), directory, Path(private))


def _calls(bench: Bench) -> list[Attack]:
    return Injection(bench.script, bench.scratch, bench.private).attacks(TARGETS)


def _more_calls(bench: Bench) -> list[Attack]:
    options = (*_MORE, "--state", str(bench.private / "state.json"))
    return Injection(bench.script, bench.scratch, bench.private, options).attacks(TARGETS[1:2])


def _signals(bench: Bench) -> list[Attack]:
    return Interruption(bench.script, _SECONDS).attacks(_SIGNALS)


def _surroundings(bench: Bench) -> list[Attack]:
    return surroundings.attacks(bench.script, bench.scratch)


KINDS = {
    "calls": _calls,
    "more-calls": _more_calls,
    "signals": _signals,
    "surroundings": _surroundings,
}


if __name__ == "__main__":
    main()
