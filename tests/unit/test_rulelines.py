"""The lines that would allow what is open, read again as they are written."""

from __future__ import annotations

import pytest

from check_portcheck.config.parser import ConfigFile, parse
from check_portcheck.model import Interface, Owner
from check_portcheck.policy.judgement import judge
from check_portcheck.policy.rules import Policy
from check_portcheck.report.entries import Subject, entries
from check_portcheck.report.places import Places
from check_portcheck.report.rulelines import allowing
from unit.samples import HERE, LOOPBACK, NAMES, SIX, Seen, outcome, owned, report, service

EVERY = (HERE, LOOPBACK, SIX)
GAMES = owned("nc", user="games")
BOUND = Interface("0.0.0.0", "eth2", 4, "0.0.0.0%eth2", scanned=False)
GROUP = Interface("ff02::1", "eth0", 2, "ff02::1%eth0", scanned=False)


def lines(*seen: Seen) -> list[str]:
    """The lines for findings; with them a policy is content."""
    of = report(*seen, interfaces=EVERY)
    findings = outcome(of).verdict.findings
    places = Places(of.interfaces)
    told = [
        line
        for entry in entries(of, map(Subject.found, findings))
        for line in allowing(entry, places, NAMES)
    ]
    again = parse([ConfigFile("written", "\n".join(["[PortCheck]", *told]))], [], NAMES)
    assert judge(of, Policy(again.rules)).findings == ()
    assert judge(of, Policy(again.rules)).unused == ()
    return told


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ([service("4444/tcp", *EVERY, owners=(GAMES,))], ["*:4444/tcp@user:games"]),
        (
            [service(f"{n}/tcp", *EVERY, owners=(GAMES,)) for n in range(20000, 20200)],
            ["*:20000-20199/tcp@user:games"],
        ),
        (
            [service(each, *EVERY, owners=(GAMES,)) for each in ("53/tcp", "53/udp", "9/udp")],
            ["*:53/tcp@user:games,9/udp@user:games,53/udp@user:games"],
        ),
        ([service("80/tcp", HERE, LOOPBACK, owners=(GAMES,))], ["0.0.0.0/0:80/tcp@user:games"]),
        ([service("80/tcp", SIX, owners=(GAMES,))], ["[2001:db8::7]:80/tcp@user:games"]),
        (
            [service("80/tcp", LOOPBACK, SIX, owners=(GAMES,))],
            ["[2001:db8::7]:80/tcp@user:games", "127.0.0.1:80/tcp@user:games"],
        ),
        (
            [service("2049/tcp", HERE, rpc=("nfs",), owners=(GAMES,))],
            ["192.0.2.7:nfs/tcp@user:games"],
        ),
        (
            [service(f"{n}/tcp", HERE, rpc=("mountd",), owners=(GAMES,)) for n in (700, 800, 900)],
            ["192.0.2.7:mountd/tcp@user:games"],
        ),
        ([service("80/tcp", HERE, no_socket=True)], ["192.0.2.7:80/tcp"]),
        ([service("80/tcp", HERE)], ["192.0.2.7:80/tcp"]),
        (
            [service("80/tcp", HERE, owners=(GAMES, owned("x", user="root")))],
            ["192.0.2.7:80/tcp"],
        ),
        ([service("80/tcp", HERE, owners=(Owner("a b, c"),))], ["192.0.2.7:80/tcp"]),
        ([service("80/tcp", HERE, owners=(Owner("DOMAIN\\x-y.z"),))], None),
        ([service("53/udp", BOUND, owners=(GAMES,))], ["eth2:53/udp@user:games"]),
        ([service("53/udp", GROUP, owners=(GAMES,))], ["[ff02::1]:53/udp@user:games"]),
    ],
)
def test_the_line_that_allows_it(seen: list[Seen], told: list[str] | None) -> None:
    written = lines(*seen)
    assert told is None or written == [f"PortCheckOptional = {each}" for each in told]


def test_a_hundred_scattered_ports_are_no_line_to_keep() -> None:
    of = report(*(service(f"{n}/tcp") for n in range(1, 200, 2)))
    (entry,) = entries(of, map(Subject.found, outcome(of).verdict.findings))
    assert list(allowing(entry, Places(of.interfaces), NAMES)) == []
