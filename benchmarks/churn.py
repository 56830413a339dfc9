#!/usr/bin/env python3
"""Run the check on a machine on which everything comes and goes, and open ten kinds of backdoors.

First no run may raise an alarm, then each backdoor must be found by the first run of each method
that can see it. Run as root: python3 benchmarks/churn.py
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parent.parent / "tests" / "integration"))

import contenders
from backdoors import BACKDOORS, SET_UP
from disturbances import AMONG_CLIENTS, OPTIONAL, REQUIRED, disturbances
from namespace import Check, Program, host
from resolver import resolver
from scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Namespace

_OPTIONS = (
    *("--no-official", "--interface", "all", "--timeout", "60"),
    *("--required", REQUIRED, "--optional", OPTIONAL),
)
_FEW, _ALL = ("--min-port", "1", "--max-port", "7999"), ("--required", AMONG_CLIENTS)
_RANGES = {"all ports": _ALL, "ports below 8000": _FEW}
"""What is scanned, by turns."""


def main() -> None:
    """Let it churn, and end with 1 where a run differs from what it should say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="runs without backdoors (300)")
    parser.add_argument("--rounds", type=int, default=1, help="times that each is opened (1)")
    chosen = parser.parse_args()
    with _churning() as (here, there, check):
        wrong = _quiet(check, chosen.seconds)
        for _ in range(chosen.rounds):
            wrong += _found(here, there, check)
    sys.exit(wrong > 0)


@contextlib.contextmanager
def _churning() -> Iterator[tuple[Namespace, Namespace, Check]]:
    """A machine with its churn, the one at the other end of its cable, and the check."""
    with (
        tempfile.TemporaryDirectory() as made,
        host() as (here, there),
        resolver(here, Path(made)),
        disturbances(here),
    ):
        here.shell(SET_UP)
        program = Program(contenders.copied_package(Path(made)), {0: sys.executable})
        yield here, there, Check(here, program)


def _quiet(check: Check, seconds: int) -> int:
    """Print how many runs of each kind were quiet in so many seconds; gives the others."""
    alarms, runs = 0, Counter[str]()
    end = time.monotonic() + seconds
    for method, name in itertools.cycle(itertools.product(contenders.METHODS, _RANGES)):
        if time.monotonic() > end:
            break
        report = check.report(*_OPTIONS, *_RANGES[name], "--method", method)
        runs[f"{method}, {name}"] += 1
        if report["state"] != "OK":
            alarms += 1
            _tell(f"{method}, {name}: {_told(report)}")
    for kind, count in runs.items():
        _tell(f"{kind}: {count} runs")
    _tell(f"{alarms} of {runs.total()} runs in {seconds} s raise an alarm")
    return alarms


def _found(here: Namespace, there: Namespace, check: Check) -> int:
    """Open each backdoor, and print which first run does not find just it; gives how many."""
    wrong = runs = 0
    for backdoor, method in itertools.product(BACKDOORS, contenders.METHODS):
        if not (expected := backdoor.seen(method)):
            continue
        with contextlib.ExitStack() as opened:
            backdoor.opened(Scene(here, there, opened))
            ports = _ALL if backdoor.everywhere else _FEW
            report = check.report(*_OPTIONS, *ports, "--method", method)
        runs += 1
        found = {(each["kind"], each["item"]) for each in report["findings"]}
        if found != {("unexpected", text) for text in expected}:
            wrong += 1
            _tell(f"{backdoor.name}, {method}: {_told(report)}")
    _tell(f"{runs - wrong} of {runs} first runs find just the backdoor of {len(BACKDOORS)} kinds")
    return wrong


def _tell(line: str) -> None:
    print(line, flush=True)


def _told(report: dict[str, Any]) -> str:
    findings = [f"{each['kind']} {each['item']} {each['reason']}" for each in report["findings"]]
    return f"{report['state']} {report['summary']} {findings} {report['failures']}"


if __name__ == "__main__":
    main()
