"""A known daemon does not notice the check: a real sshd has nothing to write in its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, until
from portmapper import daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from namespace import Check

pytestmark = [pytest.mark.daemons, pytest.mark.once]

RUNS = 50

SSHD = "ssh-keygen -q -t ed25519 -N '' -f {key}; mount -t tmpfs none /run; mkdir -m 755 /run/sshd"


@pytest.fixture(name="log")
def log_fixture(check: Check, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """What an sshd on port 22 of all addresses has written, at its most talkative."""
    key, log = tmp_path / "key", tmp_path / "log"
    check.there.shell(SSHD.format(key=key))
    options = ("-D", "-f", "/dev/null", "-h", str(key), "-E", str(log), "-o", "LogLevel=DEBUG3")
    with daemon(check.there, "/usr/sbin/sshd", *options):
        until(lambda: log.exists() and "listening on :: port 22" in log.read_text(), "sshd is up")
        yield log.read_text


@pytest.mark.parametrize("method", ["full", "table"])
def test_fifty_runs_leave_no_line_in_the_log_of_sshd(
    check: Check, log: Callable[[], str], method: str
) -> None:
    before = log()
    for _ in range(RUNS):
        text = check.output(
            *("--method", method, "--no-official", "--device", "eth0", "--max-port", "100"),
            *("--required", f"{IPV4}:22/tcp", "--optional", "*:*/tcp", "--confirm", "0"),
        )
        assert text.startswith("PORTCHECK OK - 1 open service on 3 interfaces, all expected ")
    assert log() == before


def test_a_probe_is_noticed_by_sshd(check: Check, log: Callable[[], str]) -> None:
    before = log()
    options = ("--method", "probe", "--no-official", "--interface", IPV4, "--max-port", "100")
    check.output(*options, "--optional", "*:*/tcp")
    until(lambda: log() != before, "sshd logs the connection of a probe")
