#!/usr/bin/env python3
"""Measure check_portcheck beside the tools that do a part of its work; prints tables in Markdown.

Run as root, on a machine that does nothing else: python3 benchmarks/run.py
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

_ROOT = Path(__file__).parent.parent
sys.path.append(str(_ROOT / "tests" / "integration"))

import contenders
import loads
from contenders import Contender, portcheck
from namespace import Namespace, namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_DESCRIPTORS = 1024
"""Soft limit of open files, as most systems set it: Samhain closes as many when it starts."""

_SERVICES = 20
"""Listeners of an ordinary server, half of them TCP, half UDP."""

_AMPLE = ("--timeout", "600")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took, or the medians of several."""

    wall: float
    """Seconds until it ended."""
    cpu: float
    """CPU seconds of all its processes."""
    peak: float
    """Resident MiB of its largest process."""


Medians = dict[str, Sample]
"""By the name of the contender."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What the machine is busy with while it is checked."""

    name: str
    load: Callable[[Namespace], contextlib.AbstractContextManager[object]]
    addresses: int = 1
    allowed: str = contenders.EVERYTHING
    """The services that the policy allows."""


class Arena:
    """A network namespace in which commands are measured."""

    def __init__(self, there: Namespace, directory: Path) -> None:
        self.there = there
        self._measure = contenders.compiled("measure", directory)
        self._env = {"PYTHONPATH": str(contenders.copied_package(directory))}

    def race(self, racers: Sequence[Contender], rounds: int) -> Medians:
        """The medians of everyone's runs; in each round everyone runs once."""
        runs: dict[str, list[Sample]] = {each.name: [] for each in racers}
        for _ in range(rounds):
            for each in racers:
                runs[each.name].append(self._sample(each))
        return {name: _median(samples) for name, samples in runs.items()}

    def report(self, run: Contender) -> dict[str, Any]:
        """What a run of check_portcheck says in JSON."""
        answer: dict[str, Any] = json.loads(self._output(*run.command, "--format", "json"))
        return answer

    def _sample(self, run: Contender) -> Sample:
        wall, cpu, peak, status = self._output(*run.prefix, self._measure, *run.command).split()
        if int(status) != run.status:
            raise ChildProcessError(f"{run.command} ended with {status}")
        return Sample(float(wall), float(cpu), int(peak) / 1024)

    def _output(self, *command: str) -> str:
        with self.there.start(*command, env=self._env) as process:
            return process.communicate()[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="runs of each command (11)")
    rounds = parser.parse_args().rounds
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, hard))
    print(f"{_machine()}. Medians of {rounds} runs.\n")
    with tempfile.TemporaryDirectory() as made, namespace() as there:
        directory = Path(made)
        directory.chmod(0o755)
        arena = Arena(there, directory)
        racers = _racers(there, directory)
        _print_race("one address, nothing listening", arena.race(racers, rounds))
        with loads.listeners(there, _SERVICES):
            server = arena.race(racers, rounds)
        _print_race(f"one address, {_SERVICES} listeners", server)
        growth = _growth(arena, rounds)
        _print_targets(server, growth)
        _print_partial(arena)
        _print_many(arena, max(3, rounds // 3))


def _racers(there: Namespace, directory: Path) -> list[Contender]:
    """All that looks at the ports of one address, and what start-up and the floor cost."""
    racers = [portcheck(method) for method in contenders.METHODS]
    racers += [contenders.start_up(), contenders.socket_statistics(), contenders.floor(directory)]
    racers += contenders.scanners()
    try:
        racers.append(contenders.samhain(there, directory))
    except subprocess.CalledProcessError as failed:
        print(f"Left out: Samhain ({failed})\n")
    return racers


def _print_race(title: str, medians: Medians) -> None:
    full = medians["full"].wall
    _print_table(
        (title, "seconds", "CPU seconds", "peak MiB", "`full` / this"),
        (
            (f"`{name}`", f"{of.wall:.3f}", f"{of.cpu:.3f}", f"{of.peak:.1f}", full / of.wall)
            for name, of in medians.items()
        ),
    )


def _growth(arena: Arena, rounds: int) -> dict[str, Medians]:
    """Medians by condition."""
    growth: dict[str, Medians] = {}
    for condition in _conditions():
        addresses = loads.addresses(arena.there, condition.addresses)
        full, probe, table = (
            portcheck(method, addresses, *_AMPLE, allowed=condition.allowed)
            for method in contenders.METHODS
        )
        quick = (table, contenders.start_up(), contenders.socket_statistics())
        with condition.load(arena.there):
            growth[condition.name] = arena.race(quick, 3 * rounds) | arena.race(
                (full, probe), max(3, rounds // condition.addresses)
            )
    _print_table(
        ("machine", "`table` ms", "`ss -lntu` ms", "`full` s", "CPU s", "peak MiB", "`probe` s"),
        (
            (
                name,
                f"{of['table'].wall * 1000:.0f}",
                f"{of['ss -lntu'].wall * 1000:.0f}",
                *(f"{value:.2f}" for value in astuple(of["full"])),
                of["probe"].wall,
            )
            for name, of in growth.items()
        ),
    )
    return growth


def _conditions() -> Iterator[Condition]:
    yield Condition("nothing", contextlib.nullcontext)
    for count in (4, 16, 63):
        yield Condition(f"{count} addresses", contextlib.nullcontext, addresses=count)
    for count in (100, 2000):
        yield Condition(f"{count:,} listeners", partial(loads.listeners, count=count))
    for count in (20_000, 100_000):
        yield Condition(f"{count:,} connections", partial(loads.connections, count=count))
    yield Condition("2,000 processes", lambda _: loads.processes(2000))
    own_name = Path("/proc/self/comm").read_text().strip()
    yield Condition("2,000 processes, rule with an owner", _owned, allowed=f"*:*/tcp@{own_name}")


@contextlib.contextmanager
def _owned(there: Namespace) -> Iterator[None]:
    """A listener of this process among many others."""
    with loads.processes(2000), there.listener("0.0.0.0"):
        yield


def _print_targets(one: Medians, growth: dict[str, Medians]) -> None:
    full, table, floor = (one[name].wall for name in ("full", "table", contenders.FLOOR))
    targets = [
        (f"`full` / `{name}`", full / one[name].wall, most)
        for name, most in contenders.TARGETS.items()
        if name in one
    ]
    alone, many = growth["nothing"], growth["100,000 connections"]
    linear = growth["16 addresses"]["full"].wall / alone["full"].wall / 16
    # Less what everything else is slower by at that time, as the start-up shows.
    more = sum(
        sign * (of["table"].wall - of[contenders.START_UP].wall) * 1000
        for sign, of in ((1, many), (-1, alone))
    )
    peak = max(runs[method].peak for runs in growth.values() for method in contenders.METHODS)
    targets += [
        (f"(`full` - `table`) / `{contenders.FLOOR}`", (full - table) / floor, 1.35),
        (f"`table` / `{contenders.START_UP}`", table / one[contenders.START_UP].wall, 1.6),
        ("`table`: ms more with 100,000 connections", more, 1),
        ("`full`: 16 addresses / 16 x one", linear, 1),
        ("peak MiB, all methods and machines", peak, 40),
    ]
    _print_table(
        ("target", "measured", "at most", ""),
        ((*row, "reached" if row[1] <= row[2] else "**not reached**") for row in targets),
    )


def _print_partial(arena: Arena) -> None:
    """What is reached of many addresses within the default time limit, and what it costs."""
    for count in (63, 92):
        run = portcheck("full", loads.addresses(arena.there, count))
        took = arena.race([run], 3)["full"]
        coverage = arena.report(run)["coverage"]
        probed, looked_up = (coverage[key] / coverage["ports"] for key in ("probed", "looked_up"))
        print(
            f"`full` of {count} addresses within the default limit of 10 s: {took.wall:.1f} s, "
            f"{took.cpu:.1f} CPU seconds, probed {probed:.0%}, looked up {looked_up:.0%}.\n"
        )


def _print_many(arena: Arena, rounds: int) -> None:
    """What thousands of listeners that no rule allows cost, with all defaults: SPEC 10."""
    rows: list[tuple[object, ...]] = []
    for name, count, number, bound in (
        ("60,000 listeners on one address", 60_000, 1, ()),
        ("30,000 on all of six", 30_000, 6, ("0.0.0.0",)),
        ("5,000 on each of twelve", 5000, 12, ()),
        ("30,000 on each of six", 30_000, 6, ()),
    ):
        chosen = loads.addresses(arena.there, number)
        racers = [contenders.alarmed(form, chosen) for form in ("nagios", "checkmk", "json")]
        owned = contenders.alarmed("nagios", chosen, "--optional", "*:*/tcp@nobody")
        racers.append(dataclasses.replace(owned, name="nagios, each port has an owner rule"))
        with loads.many_listeners(arena.there, bound or chosen, count):
            for form, of in arena.race(racers, rounds).items():
                rows.append((name, form, of.wall, of.cpu, of.peak))
    _print_table(("machine", "form", "seconds", "CPU seconds", "peak MiB"), rows)


def _print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        texts = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row)
        print(f"| {' | '.join(texts)} |")
    print(flush=True)


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(*map(statistics.median, zip(*map(astuple, samples), strict=True)))


def _machine() -> str:
    """The machine in words, without its name."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{len(os.sched_getaffinity(0))} cores ({cpu[1] if cpu else platform.machine()}), "
        f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {kernel}, "
        f"Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
