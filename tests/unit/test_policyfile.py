from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config.parser import ConfigFile, parse
from check_portcheck.config.settings import Settings
from check_portcheck.model import Interface, Unseen
from check_portcheck.policy.judgement import judge
from check_portcheck.policy.rules import Policy
from check_portcheck.report.policyfile import policy_file
from unit.samples import (
    NAMES,
    Registered,
    Seen,
    outcome,
    owned,
    registration,
    report,
    rule,
    service,
)

if TYPE_CHECKING:
    from check_portcheck.model import Report

A = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("eth0",))
B = Interface("192.0.2.8", "eth0", 2, "eth0:1", chosen=("eth0",))
C = Interface("2001:db8::9", "eth1", 3, "eth1", chosen=("2001:db8::9",))
D = Interface("2001:db8::10", "eth1", 3, "eth1", chosen=("2001:db8::10",))
E = Interface("fe80::1%eth1", "eth1", 3, "eth1", chosen=("fe80::1%eth1",))


def printed(*seen: Seen, interfaces: tuple[Interface, ...], rules: str = "") -> list[str]:
    """What is printed below the settings."""
    return printed_for(report(*seen, interfaces=interfaces), rules)


def printed_for(of: Report, rules: str = "") -> list[str]:
    """What is printed below the settings of a report; the report is as that policy wants it."""
    texts = rules.splitlines()
    settings = Settings(rules=tuple(rule(text) for text in texts), print_policy=True)
    text, code = policy_file(outcome(of, *texts, settings=settings))
    assert code == 0
    again = parse([ConfigFile("printed", text)], [], NAMES)
    assert judge(of, Policy(again.rules)).findings == ()
    lines = text.splitlines()
    return lines[lines.index("# --verbose 0") + 1 :]


def required(*where: Interface, of: tuple[Interface, ...]) -> list[str]:
    """The interfaces of what is printed for one port that is open on some of them."""
    lines = printed(*(service("22/tcp", each) for each in where), interfaces=of)
    start, end = "PortCheckRequired = ", ":22/tcp"
    assert all(line.startswith(start) and line.endswith(end) for line in lines)
    return [line.removeprefix(start).removesuffix(end) for line in lines]


@pytest.mark.parametrize(
    ("where", "of", "patterns"),
    [
        ((A,), (A,), ["*"]),
        ((A, B), (A, B), ["*"]),
        ((A, B, C), (A, B, C), ["*"]),
        ((A,), (A, B), ["192.0.2.7"]),
        ((B,), (A, B, C), ["192.0.2.8"]),
        ((A, B), (A, B, C), ["eth0"]),
        ((C,), (A, B, C), ["[2001:db8::9]"]),
        ((A, C), (A, B, C), ["192.0.2.7", "[2001:db8::9]"]),
        # eth1 was not chosen as such: its addresses may be others next time.
        ((C, D), (A, C, D), ["[2001:db8::9]", "[2001:db8::10]"]),
        ((A, B, C), (A, B, C, D), ["eth0", "[2001:db8::9]"]),
        ((E,), (A, E), ["[fe80::1%eth1]"]),
    ],
)
def test_few_patterns_name_the_interfaces(
    where: tuple[Interface, ...], of: tuple[Interface, ...], patterns: list[str]
) -> None:
    assert required(*where, of=of) == patterns


def test_an_address_that_was_also_chosen_by_its_device_belongs_to_it() -> None:
    twice = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("192.0.2.7", "eth0"))
    assert required(twice, B, of=(twice, B, C)) == ["eth0"]


def test_ports_for_clients_are_optional_and_others_required() -> None:
    lines = printed(
        *(service(f"{n}/{p}", A) for p in ("tcp", "udp") for n in (22, 32767, 32768, 60999, 61000)),
        interfaces=(A,),
    )
    assert lines == [
        f"PortCheck{kind} = *:{number}/{protocol}"
        for protocol in ("tcp", "udp")
        for number, kind in (
            (22, "Required"),
            (32767, "Required"),
            (32768, "Optional"),
            (60999, "Optional"),
            (61000, "Required"),
        )
    ]


def test_programs_go_by_name_and_are_named_once() -> None:
    lines = printed(
        service("40000/tcp", A, rpc=("nfs", "mountd")),
        service("40001/tcp", A, rpc=("mountd",)),
        service("111/udp", A, rpc=("portmapper",)),
        interfaces=(A, C),
    )
    assert lines == [
        "PortCheckRequired = eth0:nfs/tcp",
        "PortCheckRequired = eth0:mountd/tcp",
        "PortCheckRequired = eth0:portmapper/udp",
    ]


def test_the_owners_are_a_comment_above() -> None:
    lines = printed(
        service("22/tcp", A, owners=(owned("sshd"),)),
        service("22/tcp", C, owners=(owned("sshd"), owned("evil\nPortCheckActive = no"))),
        service("23/tcp", A, owners=(owned(user="alice", unseen=Unseen.NOT_ROOT),)),
        interfaces=(A, C),
    )
    assert lines == [
        "# sshd[4711] user root, evil?PortCheckActive = no[4711] user root",
        "PortCheckRequired = *:22/tcp",
        "# user alice",
        "PortCheckRequired = eth0:23/tcp",
    ]


def test_what_is_ignored_is_left_out_and_ignored_and_skipped_again() -> None:
    rules = "ignore * 6000-6063/tcp\nskip * 3306/tcp\nrequired * 25/tcp\noptional * 80/tcp"
    open_now = (service("80/tcp", A), service("6000/tcp", A))
    assert printed(*open_now, interfaces=(A,), rules=rules) == [
        "PortCheckIgnore = *:6000-6063/tcp",
        "PortCheckSkip = *:3306/tcp",
        "PortCheckRequired = *:80/tcp",
    ]


def test_nothing_open_is_an_empty_policy() -> None:
    assert printed(interfaces=(A,)) == []


def test_a_program_that_is_registered_on_one_interface_only_is_a_port_on_others() -> None:
    of = report(
        service("2049/tcp", A, C),
        interfaces=(A, C),
        registered=(registration("2049/tcp", "nfs", A),),
    )
    assert printed_for(of) == [
        "PortCheckRequired = eth0:nfs/tcp",
        "PortCheckRequired = [2001:db8::9]:2049/tcp",
    ]


def test_a_dead_registration_is_not_required() -> None:
    of = report(interfaces=(A,), registered=(registration("2049/tcp", "nfs", A),))
    assert printed_for(of) == []


EVERY = (A, B, C, D)
SEEN = st.dictionaries(
    st.sampled_from(["22/tcp", "2049/tcp", "2049/udp", "40000/tcp"]),
    st.lists(st.sampled_from(EVERY), min_size=1, unique=True).map(
        lambda where: sorted(where, key=EVERY.index)
    ),
)
REGISTERED = st.builds(
    registration,
    st.sampled_from(["22/tcp", "2049/tcp", "2049/udp", "40000/tcp"]),
    st.sampled_from(["nfs", "mountd"]),
    st.sampled_from(EVERY),
)


@given(SEEN, st.lists(REGISTERED, max_size=6, unique=True))
def test_what_is_open_is_as_the_printed_policy_wants_it(
    found: dict[str, list[Interface]], registered: list[Registered]
) -> None:
    seen = [service(port, *interfaces) for port, interfaces in found.items()]
    printed_for(report(*seen, interfaces=EVERY, registered=tuple(registered)))
