from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config.conflicts import Reach, contradictions
from check_portcheck.model import PortRange, Span
from check_portcheck.policy.rules import (
    EphemeralPorts,
    InterfacePattern,
    Item,
    Kind,
    OwnerKind,
    OwnerPattern,
    RpcProgram,
    Rule,
)
from unit.config_samples import TCP, UDP, ports

REQUIRED, OPTIONAL, IGNORE, SKIP = Kind
SSH = ports("22/tcp")
DNS = ports("53/udp")
LOW = ports("1-1023/tcp")
NFS = RpcProgram(TCP, 100003, "nfs")
NFS_BY_NUMBER = RpcProgram(TCP, 100003, "RPC_100003")
PORTMAPPER = RpcProgram(TCP, 100000, "portmapper")
SSHD = OwnerPattern(OwnerKind.NAME, "sshd")
DROPBEAR = OwnerPattern(OwnerKind.EXECUTABLE, "/usr/sbin/dropbear")

Listed = tuple[Kind, str, Item] | tuple[Kind, str, Item, OwnerPattern]


def rules(*listed: Listed) -> list[Rule]:
    """Rules as lines 1, 2 and so on of the file F."""
    found = []
    for number, (kind, where, item, *owner) in enumerate(listed, 1):
        network = ip_network(where) if "/" in where else None
        pattern = InterfacePattern(where, network)
        found.append(Rule(kind, pattern, item, owner[0] if owner else None, f"F:{number}"))
    return found


def conflicts(
    *listed: Listed, lowest: int = 0, highest: int = 65535, udp: bool = True
) -> list[str]:
    reach = Reach(Span(lowest, highest), udp, "F:90", "--max-port", "--no-udp")
    return contradictions(rules(*listed), reach)


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        pytest.param(
            (REQUIRED, "192.0.2.7", SSH),
            (REQUIRED, "192.0.2.7", SSH),
            "F:2: required 22/tcp on 192.0.2.7 is listed already by F:1",
            id="twice-in-one-list",
        ),
        pytest.param(
            (REQUIRED, "::1", SSH),
            (IGNORE, "::1", SSH),
            "F:2: ignore 22/tcp on [::1] is listed already, as required, by F:1",
            id="in-two-lists",
        ),
        pytest.param(
            (OPTIONAL, "*", SSH, SSHD),
            (REQUIRED, "*", SSH, DROPBEAR),
            "F:2: required 22/tcp@/usr/sbin/dropbear on * is listed already, as optional, by F:1",
            id="in-two-lists-with-differing-owners",
        ),
        pytest.param(
            (REQUIRED, "*", SSH, SSHD),
            (REQUIRED, "*", SSH, SSHD),
            "F:2: required 22/tcp@sshd on * is listed already by F:1",
            id="twice-with-the-same-owner",
        ),
        pytest.param(
            (REQUIRED, "*", NFS),
            (OPTIONAL, "*", NFS_BY_NUMBER),
            "F:2: optional RPC_100003/tcp on * is listed already, as required, by F:1",
            id="program-by-name-and-number",
        ),
        pytest.param(
            (OPTIONAL, "10.0.0.0/8", LOW),
            (IGNORE, "10.0.0.0/8", LOW),
            "F:2: ignore 1-1023/tcp on 10.0.0.0/8 is listed already, as optional, by F:1",
            id="range",
        ),
        pytest.param(
            (IGNORE, "eth0", EphemeralPorts(UDP)),
            (OPTIONAL, "eth0", EphemeralPorts(UDP)),
            "F:2: optional ephemeral/udp on eth0 is listed already, as ignore, by F:1",
            id="ephemeral",
        ),
        pytest.param(
            (SKIP, "*", LOW),
            (SKIP, "*", LOW),
            "F:2: skip 1-1023/tcp on * is listed already by F:1",
            id="skipped-twice",
        ),
        pytest.param(
            (REQUIRED, "192.0.2.7", SSH),
            (SKIP, "192.0.2.7", SSH),
            "F:1: required 22/tcp on 192.0.2.7 is skipped by F:2",
            id="required-and-skipped",
        ),
        pytest.param(
            (SKIP, "*", LOW),
            (REQUIRED, "192.0.2.7", SSH),
            "F:2: required 22/tcp on 192.0.2.7 is skipped by F:1",
            id="required-and-skipped-everywhere-by-a-range",
        ),
        pytest.param(
            (REQUIRED, "*", SSH),
            (SKIP, "eth0", LOW),
            "F:1: required 22/tcp on * is skipped by F:2",
            id="required-everywhere-and-skipped-somewhere",
        ),
        pytest.param(
            (REQUIRED, "eth0", PORTMAPPER),
            (SKIP, "eth0", LOW),
            "F:1: required portmapper/tcp on eth0 is skipped by F:2",
            id="the-portmapper-has-port-111",
        ),
    ],
)
def test_rules_that_cannot_hold_together_are_refused(
    first: Listed, second: Listed, error: str
) -> None:
    assert conflicts(first, second) == [error]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param((REQUIRED, "*", SSH), (OPTIONAL, "eth0", SSH), id="different-interfaces"),
        pytest.param((REQUIRED, "*", SSH), (OPTIONAL, "*", LOW), id="single-in-a-range"),
        pytest.param(
            (OPTIONAL, "*", LOW), (IGNORE, "*", ports("1-1024/tcp")), id="overlapping-ranges"
        ),
        pytest.param((REQUIRED, "*", SSH, SSHD), (REQUIRED, "*", SSH, DROPBEAR), id="either-owner"),
        pytest.param((REQUIRED, "*", SSH, SSHD), (REQUIRED, "*", SSH), id="an-owner-or-any"),
        pytest.param((OPTIONAL, "*", SSH), (SKIP, "*", SSH), id="optional-and-skipped"),
        pytest.param((REQUIRED, "eth0", SSH), (SKIP, "eth1", SSH), id="skipped-elsewhere"),
        pytest.param((REQUIRED, "*", SSH), (SKIP, "*", ports("22/udp")), id="skipped-protocol"),
        pytest.param((REQUIRED, "*", SSH), (SKIP, "*", ports("23-99/tcp")), id="skipped-behind-it"),
        pytest.param((REQUIRED, "*", SSH), (SKIP, "*", ports("0-21/tcp")), id="skipped-before-it"),
        pytest.param((REQUIRED, "*", NFS), (SKIP, "*", LOW), id="program-without-fixed-port"),
        pytest.param(
            (REQUIRED, "*", NFS), (REQUIRED, "*", RpcProgram(UDP, 100003, "nfs")), id="protocols"
        ),
    ],
)
def test_rules_that_can_hold_together_are_accepted(first: Listed, second: Listed) -> None:
    assert conflicts(first, second) == []
    assert conflicts(second, first) == []


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (ports("100/tcp"), None),
        (ports("200/tcp"), None),
        (NFS, None),
        (ports("99/tcp"), "required 99/tcp on * is below the lowest port, 100 by F:90"),
        (
            ports("201/tcp"),
            "required 201/tcp on * is above the highest port, 200 by --max-port",
        ),
        (DNS, "required 53/udp on * cannot be seen: UDP is off by --no-udp"),
        (
            RpcProgram(UDP, 100003, "nfs"),
            "required nfs/udp on * cannot be seen: UDP is off by --no-udp",
        ),
    ],
    ids=str,
)
def test_required_service_must_be_in_reach_of_the_scan(item: Item, error: str | None) -> None:
    found = conflicts((REQUIRED, "*", item), lowest=100, highest=200, udp=False)
    assert found == ([f"F:1: {error}"] if error else [])


def test_portmapper_is_out_of_reach_when_port_111_is() -> None:
    assert conflicts((REQUIRED, "*", PORTMAPPER), lowest=1024) == [
        "F:1: required portmapper/tcp on * is below the lowest port, 1024 by F:90"
    ]


@pytest.mark.parametrize("kind", [OPTIONAL, IGNORE, SKIP])
def test_what_is_not_required_may_be_out_of_reach(kind: Kind) -> None:
    assert conflicts((kind, "*", DNS), lowest=1024, udp=False) == []


def test_every_contradiction_is_reported() -> None:
    listed: list[Listed] = [
        (REQUIRED, "*", SSH),
        (OPTIONAL, "*", SSH),
        (REQUIRED, "*", SSH),
        (SKIP, "*", LOW),
        (REQUIRED, "*", DNS),
    ]
    assert conflicts(*listed, udp=False) == [
        "F:2: optional 22/tcp on * is listed already, as required, by F:1",
        "F:3: required 22/tcp on * is listed already by F:1",
        "F:1: required 22/tcp on * is skipped by F:4",
        "F:3: required 22/tcp on * is skipped by F:4",
        "F:5: required 53/udp on * cannot be seen: UDP is off by --no-udp",
    ]


def test_errors_after_a_required_rule_without_any_are_found() -> None:
    listed: list[Listed] = [
        (REQUIRED, "*", SSH),
        (REQUIRED, "*", NFS),
        (REQUIRED, "*", DNS),
        (REQUIRED, "*", ports("80/tcp")),
        (REQUIRED, "*", ports("443/tcp")),
        (SKIP, "*", ports("80/tcp")),
    ]
    assert conflicts(*listed, highest=442, udp=False) == [
        "F:3: required 53/udp on * cannot be seen: UDP is off by --no-udp",
        "F:4: required 80/tcp on * is skipped by F:6",
        "F:5: required 443/tcp on * is above the highest port, 442 by --max-port",
    ]


@pytest.mark.parametrize(
    ("required", "reason"),
    [
        (DNS, "cannot be seen: UDP is off by --no-udp"),
        (SSH, "is below the lowest port, 100 by F:90"),
        (ports("80/udp"), "cannot be seen: UDP is off by --no-udp"),
    ],
)
def test_only_the_first_reason_of_a_rule_is_given(required: PortRange, reason: str) -> None:
    found = conflicts(
        (REQUIRED, "*", required), (SKIP, "*", required), lowest=100, highest=200, udp=False
    )
    assert found == [f"F:1: required {required} on * {reason}"]


@pytest.mark.parametrize(
    ("skips", "port", "number"),
    [
        (["1-100", "10-20"], 50, 2),
        (["10-20", "1-100"], 50, 3),
        (["1-100", "50-100"], 60, 2),
        (["50-100", "1-100"], 60, 3),
        (["1-5", "50-60"], 50, 3),
        (["1-5", "50-60"], 5, 2),
        (["1-5", "50-60", "2-3"], 60, 3),
    ],
)
def test_of_overlapping_skips_the_first_that_reaches_furthest_is_named(
    skips: list[str], port: int, number: int
) -> None:
    listed: list[Listed] = [(SKIP, "*", ports(f"{skip}/tcp")) for skip in skips]
    found = conflicts((REQUIRED, "*", ports(f"{port}/tcp")), *listed)
    assert found == [f"F:1: required {port}/tcp on * is skipped by F:{number}"]


def test_owners_are_told_from_each_other_in_one_list_only() -> None:
    listed: list[Listed] = [
        (REQUIRED, "*", SSH, SSHD),
        (REQUIRED, "*", SSH, DROPBEAR),
        (OPTIONAL, "*", SSH, SSHD),
        (OPTIONAL, "*", SSH, SSHD),
        (REQUIRED, "*", SSH, DROPBEAR),
        (REQUIRED, "*", SSH),
        (REQUIRED, "*", SSH),
    ]
    assert conflicts(*listed) == [
        "F:3: optional 22/tcp@sshd on * is listed already, as required, by F:1",
        "F:4: optional 22/tcp@sshd on * is listed already, as required, by F:1",
        "F:5: required 22/tcp@/usr/sbin/dropbear on * is listed already by F:2",
        "F:7: required 22/tcp on * is listed already by F:6",
    ]


ranges = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(
    lambda ends: PortRange(TCP, Span(min(ends), max(ends)))
)


@given(st.lists(st.tuples(st.sampled_from(["*", "eth0", "eth1"]), ranges)), st.integers(0, 30))
def test_skip_is_found_exactly_when_a_range_covers_the_port(
    skips: list[tuple[str, PortRange]], port: int
) -> None:
    listed: list[Listed] = [(SKIP, where, item) for where, item in dict.fromkeys(skips)]
    found = conflicts((REQUIRED, "eth0", ports(f"{port}/tcp")), *listed)
    covering = [
        f"F:1: required {port}/tcp on eth0 is skipped by F:{number}"
        for number, (_, where, item, *_) in enumerate(listed, 2)
        if where != "eth1" and isinstance(item, PortRange) and port in item.span
    ]
    assert len(found) == bool(covering)
    assert set(found) <= set(covering)
