"""Where something is, in words that a policy takes."""

from __future__ import annotations

import pytest

from check_portcheck.config.interfaces import interface
from check_portcheck.model import Interface
from check_portcheck.report.places import Places
from unit.samples import ALIAS, HERE, LOOPBACK, SIX

LOOPBACK_SIX = Interface("::1", "lo", 1, "lo")
LINK_LOCAL = Interface("fe80::1%eth0", "eth0", 2, "eth0")
EVERY = (LOOPBACK, LOOPBACK_SIX, HERE, SIX)
MULTICAST = Interface("224.0.0.251", "", 0, "224.0.0.251", scanned=False)
GROUP = Interface("ff02::1", "eth0", 2, "ff02::1%eth0", scanned=False)
IDLE = Interface("::", "", 0, "::", scanned=False)
BOUND = Interface("0.0.0.0", "eth2", 4, "0.0.0.0%eth2", scanned=False)


@pytest.mark.parametrize(
    ("scanned", "interfaces", "text", "patterns"),
    [
        ((HERE,), (HERE,), "192.0.2.7", ["192.0.2.7"]),
        ((HERE, ALIAS), (HERE, ALIAS), "*", ["*"]),
        (EVERY, EVERY, "*", ["*"]),
        (EVERY, (SIX, HERE, LOOPBACK_SIX, LOOPBACK), "*", ["*"]),
        (EVERY, (LOOPBACK, HERE), "0.0.0.0/0", ["0.0.0.0/0"]),
        (EVERY, (LOOPBACK_SIX, SIX), "::/0", ["::/0"]),
        ((HERE, SIX), (HERE,), "192.0.2.7", ["192.0.2.7"]),
        ((HERE, SIX), (SIX,), "[2001:db8::7]", ["[2001:db8::7]"]),
        (
            EVERY,
            (LOOPBACK, HERE, SIX),
            "{192.0.2.7,[2001:db8::7],127.0.0.1}",
            ["192.0.2.7", "[2001:db8::7]", "127.0.0.1"],
        ),
        ((*EVERY, LINK_LOCAL), (LINK_LOCAL,), "[fe80::1%eth0]", ["[fe80::1%eth0]"]),
        (EVERY, (MULTICAST,), "224.0.0.251", ["224.0.0.251"]),
        (EVERY, (GROUP,), "[ff02::1%eth0]", ["[ff02::1]"]),
        (EVERY, (BOUND,), "0.0.0.0%eth2", ["eth2"]),
        ((LOOPBACK, HERE), (LOOPBACK, HERE, IDLE), "*", ["*"]),
        ((LOOPBACK, HERE), (HERE, IDLE), "{192.0.2.7,[::]}", ["192.0.2.7", "::/0"]),
        ((LOOPBACK, HERE), (IDLE,), "::/0", ["::/0"]),
    ],
)
def test_where(
    scanned: tuple[Interface, ...],
    interfaces: tuple[Interface, ...],
    text: str,
    patterns: list[str],
) -> None:
    places = Places(scanned)
    assert places.text(interfaces, 4) == text
    assert places.patterns(interfaces) == patterns
    rules = list(map(interface, patterns))
    assert all(any(each.matches(place) for each in rules) for place in interfaces)


def test_many_places_are_counted() -> None:
    many = tuple(HERE._replace(address=f"192.0.2.{n}") for n in range(1, 7))
    assert Places((*many, SIX, HERE)).text(many, 2) == "{192.0.2.1,192.0.2.2,4 more}"
