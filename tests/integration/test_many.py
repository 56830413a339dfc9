"""Thousands of listeners: the right counts, and memory for each that is little.

A tenth of what SPEC 10 speaks of, and a tenth of its memory; the whole is in benchmarks/run.py.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
from typing import TYPE_CHECKING, NamedTuple

import pytest
from namespace import LIMIT, NOBODY

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from namespace import Check

FIRST = 2000
PEAK = 17 + 150 / 10
"""MiB: what Python and the package take, and a tenth of what 60,000 sockets may take."""

_MEASURED = """
import ctypes, json, os, resource, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: whom nobody waits for counts, too
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
try:
    while True:
        os.wait()
except ChildProcessError:
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps([done.stdout, done.stderr, done.returncode, peak]))
"""
"""Runs a command and prints what it told, and the resident MiB of its largest process."""


class Measured(NamedTuple):
    """What a run told, and the resident MiB of its largest process."""

    text: str
    errors: str
    code: int
    peak: float


def measured(check: Check, *options: str, user: int = 0) -> Measured:
    """A run of the check; the library ctypes, which measures, is not loaded in it."""
    command = check.program.command(*LIMIT, *options, user=user)
    done = check.there.run(
        *(check.program.interpreters[user], "-c", _MEASURED, *command),
        user=user,
        env=check.program.environment,
    )
    assert done.stderr == ""
    return Measured(*json.loads(done.stdout))


_LISTENING = """
import socket, sys
held = [socket.create_server(("", port)) for port in range(*map(int, sys.argv[1:]))]
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def listening(check: Check, user: str, ports: range) -> Iterator[None]:
    """A program of a user that listens on some ports."""
    command = (check.program.interpreters[NOBODY], "-c", _LISTENING)
    numbers = (str(ports.start), str(ports.stop))
    with check.there.start(*command, *numbers, user=user, stdin=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate()


@contextlib.contextmanager
def listeners(check: Check, addresses: Sequence[str], count: int) -> Iterator[None]:
    """Listeners on each of the addresses, at the same ports, all of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made: list[socket.socket] = []
    try:
        for address in addresses:
            made += (check.there.listener(address, FIRST + n, backlog=1) for n in range(count))
        yield
    finally:
        for each in made:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def addresses(check: Check, count: int) -> list[str]:
    """So many addresses of the machine."""
    made = [f"192.0.2.{number}" for number in range(1, count + 1)]
    check.there.shell("".join(f"ip address add {each}/32 dev lo\n" for each in made))
    return made


SITUATIONS = {
    "on one address": (1, 6000, False),
    "on every one of six": (6, 3000, True),
    "on each of twelve": (12, 500, False),
}
"""How many addresses, how many ports, and whether one socket has all addresses."""


@pytest.fixture(name="many", params=SITUATIONS, scope="module")
def many_fixture(request: pytest.FixtureRequest) -> tuple[int, int, bool]:
    return SITUATIONS[request.param]


@pytest.mark.parametrize(
    ("options", "user"),
    [
        ((), 0),
        (("--optional", "*:1-1999/tcp@nobody,*/udp@nobody"), 0),
        (("--optional", "*:*/tcp@nobody"), 0),
        ((), NOBODY),
    ],
    ids=["root", "owner rule", "owner rule for all", "nobody"],
)
def test_thousands_of_listeners(
    alone: Check, many: tuple[int, int, bool], options: tuple[str, ...], user: int
) -> None:
    number, count, everywhere = many
    chosen = addresses(alone, number)
    what = ("--no-official", "--interface", ",".join(chosen), "--method", "table", *options)
    with listeners(alone, ["0.0.0.0"] if everywhere else chosen, count):
        done = measured(alone, *what, user=user)
    assert done.errors == ""
    assert done.text.startswith(f"PORTCHECK CRITICAL - {count} unexpected: ")
    assert done.code == 2
    for address in chosen:
        name = address.replace(".", "_")
        assert f" unexpected_{name}={count};" in done.text
        assert re.search(rf"[| ]open_{name}={count};", done.text)
    assert done.peak < PEAK


def test_a_full_scan_beside_thousands_of_listeners(alone: Check) -> None:
    (chosen,) = addresses(alone, 1)
    options = ("--no-official", "--interface", chosen, "--max-port", "9999")
    with listeners(alone, [chosen], 6000):
        done = measured(alone, *options)
    assert done.text.startswith("PORTCHECK CRITICAL - 6000 unexpected: ")
    assert " | open_192_0_2_1=6000;" in done.text
    assert done.peak < PEAK


def test_every_service_of_checkmk_has_its_count(alone: Check) -> None:
    chosen = addresses(alone, 12)
    options = ("--no-official", "--interface", ",".join(chosen), "--method", "table")
    with listeners(alone, chosen, 500):
        done = measured(alone, *options, "--format", "checkmk")
    lines = done.text.splitlines()
    heads = [f'2 "Portcheck {each}" open=500|unexpected=500;1;1|missing=0;1;1 ' for each in chosen]
    assert [line.startswith(head) for line, head in zip(lines, heads, strict=True)] == [True] * 12
    assert done.peak < PEAK


def test_json_has_them_all(alone: Check) -> None:
    (chosen,) = addresses(alone, 1)
    with listeners(alone, [chosen], 6000):
        report = alone.report("--no-official", "--interface", chosen, "--method", "table")
    ports = list(range(FIRST, FIRST + 6000))
    assert [each["port"] for each in report["services"]] == ports
    assert [each["item"] for each in report["findings"]] == [f"{port}/tcp" for port in ports]
    assert "left_out" not in report


def test_two_hundred_decoys_do_not_hide_the_one_port_of_another_user(alone: Check) -> None:
    (chosen,) = addresses(alone, 1)
    decoys = range(FIRST, FIRST + 200)
    with (
        listening(alone, "games", decoys),
        listening(alone, "www-data", range(45678, 45679)),
    ):
        text = alone.output("--no-official", "--interface", chosen, "--method", "table")
    told = re.sub(r"python[0-9.]*\[\d+\]", "python", text.partition(" | ")[0])
    assert told == (
        f"PORTCHECK CRITICAL - 201 unexpected: {chosen}:45678/tcp python user www-data,"
        f" {chosen}:2000-2199/tcp python user games"
    )
    assert [line.split()[1] for line in text.splitlines() if line.startswith("unexpected: ")] == [
        f"{chosen}:45678/tcp",
        f"{chosen}:2000-2199/tcp",
    ]


def test_what_verbosity_adds_stands_before_the_many_ports_that_are_open(alone: Check) -> None:
    (chosen,) = addresses(alone, 1)
    options = ("--optional", "*:2000-2400/tcp,25/tcp", "--skip", "9/tcp", "-vv")
    with listeners(alone, [chosen], 371):
        text = alone.output("--no-official", "--interface", chosen, "--method", "table", *options)
    assert text.startswith("PORTCHECK OK - 371 open services ")
    assert text.splitlines()[1:3] == [
        "unused: *:25/tcp, --optional",
        "skipped: *:9/tcp, --skip",
    ]
    assert text.splitlines()[3].startswith(f"open: {chosen}:2000")
    assert len(text.encode()) < 8192
