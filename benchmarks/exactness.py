#!/usr/bin/env python3
"""Run full scans on an empty machine and beside a zoo of sockets: each must find just the truth.

Half of them run while every core is busy; so do all methods in the situations of the tests' oracle.
Run as root: python3 benchmarks/exactness.py
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parent.parent / "tests" / "integration"))

import contenders
import loads
from namespace import IPV4, Check, Program, host, opened
from oracle import disagreements
from scene import scene
from situations import SITUATIONS
from zoo import oracle, zoo

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[[], contextlib.AbstractContextManager[object]]

_ADDRESSES = ("127.0.0.1", "::1", IPV4)
"""Loopback of both families and an address of a veth device."""

_OPTIONS = (
    *("--method", "full", "--no-official", "--interface", ",".join(_ADDRESSES)),
    # Everything is allowed and nothing is looked at twice, so that the first look has to be exact.
    *("--optional", contenders.EVERYTHING, "--confirm", "0", "--timeout", "60"),
)

_LOADS: dict[str, Load] = {"idle": contextlib.nullcontext, "all cores busy": loads.computing}

Services = set[tuple[str, str, int]]
"""Address, protocol and number of each open port."""


def main() -> None:
    """Scan, compare, and end with 1 where a scan differs from the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="scans of each machine (200)")
    runs = parser.parse_args().runs // len(_LOADS)
    wrong = 0
    with tempfile.TemporaryDirectory() as made, host() as (there, _):
        program = Program(contenders.copied_package(Path(made)), {0: sys.executable})
        check = Check(there, program)
        wrong += _compare("nothing listening", check, runs, set)
        with zoo(there) as animals:
            wrong += _compare("zoo", check, runs, lambda: oracle(animals, _ADDRESSES))
    wrong += _situations()
    sys.exit(wrong > 0)


def _compare(name: str, check: Check, runs: int, truth: Callable[[], Services]) -> int:
    """Print how many scans found the truth, which must not change meanwhile; gives the others."""
    wrong = 0
    expected = truth()
    for load_name, load in _LOADS.items():
        exact = 0
        with load():
            for _ in range(runs):
                exact += _is_exact(check.report(*_OPTIONS), expected)
        print(f"{name}, {load_name}: {exact} of {runs} scans find its {len(expected)} ports")
        wrong += runs - exact
    if truth() != expected:
        raise RuntimeError(f"{name}: what is open has changed meanwhile")
    return wrong


def _situations() -> int:
    """Print in how many situations all methods are right for root and nobody; gives the others."""
    wrong = 0
    for load_name, load in _LOADS.items():
        right = 0
        with load():
            for name, prepare in SITUATIONS.items():
                with scene() as at:
                    prepare(at)
                    found = disagreements(at)
                right += not found
                if found:
                    print(f"{name}: {found}")
        print(f"situations, {load_name}: {right} of {len(SITUATIONS)} are judged right")
        wrong += len(SITUATIONS) - right
    return wrong


def _is_exact(report: dict[str, Any], expected: Services) -> bool:
    """Whether a scan probed every port and found what is open; prints what is wrong."""
    found, coverage = opened(report), report["coverage"]
    if found == expected and coverage["probed"] == coverage["ports"]:
        return True
    print(f"not found {expected - found}, not open {found - expected}, {coverage}")
    return False


if __name__ == "__main__":
    main()
