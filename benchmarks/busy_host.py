#!/usr/bin/env python3
"""A day on a busy host in an hour: a printed policy raises no alarm, and every intrusion does.

Run as root on Debian 12: python3 benchmarks/busy_host.py
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
import time
from typing import TYPE_CHECKING

import busy_daemons
import busy_network
from busy_checks import Check, explanations
from busy_intrusions import INTRUSIONS
from busy_machine import machine
from busy_restarts import Restarts

if TYPE_CHECKING:
    from busy_intrusions import Intrusion
    from busy_machine import Machine

_EVERYWHERE = ("--interface", "all", "--print-policy")
_POLICIES = {
    "plain": (*_EVERYWHERE, "--timeout", "240"),
    "strict": (*_EVERYWHERE, "--timeout", "60", "--method", "table", "-v"),
}
"""How the policies are printed: the plain one scans all ports, the strict one has owners."""

_TURNS = ("plain", *["strict"] * 19)
"""Which of them the checks take in turn: a scan takes many times as long as a look at the table."""


class Day:
    """What the checks of a day say, and which of it is wrong."""

    def __init__(self, host: Machine, restarts: Restarts) -> None:
        self._host = host
        self._restarts = restarts
        self._turns = itertools.cycle(_TURNS)
        self.checks: list[Check] = []
        self.right = self.wrong = self.missed = 0
        """Alarms of what was down, alarms of nothing, intrusions that were not named."""
        self.told: dict[str, str] = {}
        """What the first line said of each intrusion."""

    def print_policies(self) -> None:
        """Write the policies down, as the host is now."""
        for name, options in _POLICIES.items():
            printed = self._host.check(*options)
            if printed.returncode:
                raise ChildProcessError(printed.stdout)
            print(f"{name} policy:\n{printed.stdout}", flush=True)
            text = printed.stdout
            if name == "strict":
                # By the user that is printed another program of root's would do as well.
                text = re.sub(r"\*:22/tcp\S*", "*:22/tcp@/usr/sbin/sshd", text)
            self._host.write(f"/etc/portcheck/{name}.conf", text)

    def expect_no_alarm(self, occasion: str) -> None:
        """Check, and see that it complains of nothing but what was down."""
        done = self._check(next(self._turns))
        found = explanations(done, self._restarts.absences)
        is_wrong = not all(found.values()) or not (done.is_ok or found)
        self.wrong += is_wrong
        self.right += bool(found) and not is_wrong
        self._tell("WRONG" if is_wrong else "right" if found else "OK", occasion, done)
        for absence in dict.fromkeys(itertools.chain(*found.values())):
            print(f"  was down: {absence.beside(done)}", flush=True)

    def expect_alarm(self, intrusion: Intrusion) -> None:
        """Make an intrusion, check once, and see that it and nothing else is named."""
        with intrusion.made(self._host):
            done = self._check(intrusion.policy or next(self._turns))
        named = [each for each in done.findings if intrusion.named in each]
        others = [each for each in done.findings if each not in named]
        self.missed += not named
        self.wrong += bool(others)
        self.told[intrusion.name] = done.headline
        verdict = "named" if named else "MISSED"
        self._tell(verdict + ", BESIDE OTHERS" * bool(others), intrusion.name, done)

    def _check(self, policy: str) -> Check:
        began = time.monotonic()
        done = self._host.check("--config", f"/etc/portcheck/{policy}.conf")
        made = Check(policy, began, time.monotonic(), done.stdout + done.stderr)
        self.checks.append(made)
        return made

    def _tell(self, verdict: str, occasion: str, check: Check) -> None:
        print(f"{verdict}: {occasion}, {check.policy}, {check.ended - check.began:.1f} s")
        if not check.is_ok:
            print(check.output, end="")
        sys.stdout.flush()


def main() -> None:
    """Have a day, and end with 1 where a check was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=100, help="checks under restarts (100)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of restarts (1)")
    options = parser.parse_args()
    with machine() as host:
        print("installing:", *busy_daemons.PACKAGES, flush=True)
        host.install(busy_daemons.PACKAGES)
        with busy_network.connected(host), busy_network.containers(host) as containers:
            busy_daemons.prepare(host)
            restarts = Restarts(host, containers, random.Random(options.seed))
            day = Day(host, restarts)
            live(day, restarts, host, options.checks)
    summarise(day, len(restarts.absences))
    sys.exit(bool(day.wrong or day.missed))


def live(day: Day, restarts: Restarts, host: Machine, checks: int) -> None:
    """Print the policies, restart all, check on and on, and let everybody in."""
    day.print_policies()
    for occasion in ("at once", "once more"):
        day.expect_no_alarm(occasion)
    restarts.everything()
    with busy_network.queries(host):
        for occasion in ("after everything was restarted", "once more"):
            day.expect_no_alarm(occasion)
        with restarts.going_on():
            for number in range(1, checks + 1):
                day.expect_no_alarm(f"check {number}")
        for intrusion in INTRUSIONS:
            day.expect_alarm(intrusion)


def summarise(day: Day, restarted: int) -> None:
    """Print what came of it."""
    seconds = sorted(check.ended - check.began for check in day.checks)
    labels = len({check.labels for check in day.checks})
    rows = (
        ("checks", len(day.checks)),
        ("restarts of daemons and containers", restarted),
        (
            "seconds of a check, median and most",
            f"{seconds[len(seconds) // 2]:.1f}, {seconds[-1]:.1f}",
        ),
        ("sets of labels of performance data", labels),
        ("alarms of what was down", day.right),
        ("alarms of anything else", day.wrong),
        ("intrusions named at once", f"{len(INTRUSIONS) - day.missed} of {len(INTRUSIONS)}"),
    )
    for name, value in (*rows, *day.told.items()):
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
