"""Every method finds in a zoo of sockets exactly what real connects and datagrams find there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, IPV6, LINK_LOCAL, NOBODY, opened
from zoo import ADDRESSES, DOWN, FOREIGN, LOCAL_ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo import Living

pytestmark = pytest.mark.once

ANYTHING_GOES = ("--no-official", "--optional", "*:*/tcp,*/udp")


def interfaces(addresses: tuple[str, ...]) -> list[str]:
    return ["--interface", ",".join(addresses)]


@contextlib.contextmanager
def all_cores_busy() -> Iterator[None]:
    """As many processes that compute as there are cores."""
    with contextlib.ExitStack() as stack:
        for _ in range(len(os.sched_getaffinity(0))):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(busy.wait)
            stack.callback(busy.kill)
        yield


def test_the_oracle_knows_the_kinds_apart(living: Living) -> None:
    found: dict[str, set[str]] = {}
    for (protocol, number), text in living.zoo.ports.items():
        found.setdefault(f"{protocol} {text}", set()).update(
            address for address in ADDRESSES if (address, protocol, number) in living.truth
        )
    v4 = {"127.0.0.1", "127.0.1.1", IPV4, DOWN, LOCAL_ROUTE}
    v6 = {"::1", IPV6, LINK_LOCAL}
    expected: dict[str, set[str]] = {}
    for protocol in ("tcp", "udp"):
        expected |= {
            f"{protocol} 0.0.0.0": v4,
            f"{protocol} ::": v4 | v6,
            f"{protocol} ::, V6ONLY": v6,
            f"{protocol} ::ffff:0.0.0.0": v4,
            f"{protocol} ::ffff:127.0.0.1": {"127.0.0.1"},
            f"{protocol} ::ffff:{IPV4}": {IPV4},
            f"{protocol} 127.0.0.1; ::, V6ONLY": {"127.0.0.1"} | v6,
            f"{protocol} 0.0.0.0, on lo, shared; 0.0.0.0, on eth0, shared": {
                "127.0.0.1",
                "127.0.1.1",
                IPV4,
                LOCAL_ROUTE,
            },
            **{f"{protocol} {address}": {address} for address in ("127.0.0.1", *ADDRESSES)},
            **{f"{protocol} {address}": set() for address in FOREIGN},
        }
    expected |= {
        "tcp 0.0.0.0, bound, not listening": set(),
        f"tcp {IPV6}, bound, not listening": set(),
        "tcp 127.0.0.1, full": {"127.0.0.1"},
        "tcp ::1, full": {"::1"},
        "tcp 0.0.0.0, full": v4,
        "tcp client of a full queue": set(),
        "tcp 127.0.0.1, TIME_WAIT": set(),
        "tcp 127.0.0.1, established, server": set(),
        "udp 224.0.0.251, multicast": set(),
        f"udp {IPV4}, connected to port 7": set(),
    }
    assert {kind: found[kind] for kind in expected} == expected


@pytest.mark.parametrize(
    ("method", "user"), [("table", 0), ("table", NOBODY), ("probe", 0), ("full", NOBODY)]
)
def test_each_method_finds_what_answers(living: Living, method: str, user: int) -> None:
    report = living.check.report(
        *ANYTHING_GOES, *interfaces(ADDRESSES), "--method", method, user=user
    )
    assert opened(report) == living.truth
    assert report["coverage"] == {
        "ports": len(ADDRESSES) * 2 * 65536,
        "probed": len(ADDRESSES) * 2 * 65536,
        "looked_up": 0,
        "untracked": 0,
        "filtered": 0,
    }
    assert (report["state"], report["findings"], report["failures"]) == ("OK", [], [])


def test_without_a_policy_all_that_answers_is_unexpected_at_the_second_look_too(
    living: Living,
) -> None:
    report = living.check.report("--no-official", *interfaces(ADDRESSES), "--confirm", "0.1")
    assert opened(report) == living.truth
    assert {each["verdict"] for each in report["services"]} == {"unexpected"}
    assert not any(each["no_socket"] for each in report["services"])
    found = [each for each in report["findings"] if not each["bound"]]
    assert sum(len(each["interfaces"]) for each in found) == len(living.truth)
    # What a wildcard socket has on several addresses is one finding.
    assert len(found) < len(living.truth)
    assert (report["state"], report["failures"]) == ("CRITICAL", [])


def test_runs_under_load_are_exact(living: Living) -> None:
    some = ("127.0.0.1", "::1", IPV4)
    truth = {each for each in living.truth if each[0] in some}
    with all_cores_busy():
        for _ in range(3):
            assert opened(living.check.report(*ANYTHING_GOES, *interfaces(some))) == truth
