from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck import snapshot
from check_portcheck.config import ConfigFile, Settings, parse
from check_portcheck.interfaces import Chosen
from check_portcheck.judgement import judge
from check_portcheck.model import Interface
from check_portcheck.plugin import Portcheck
from check_portcheck.policy import Policy
from unit.samples import names, owned, report, rule, service, task

if TYPE_CHECKING:
    from pathlib import Path

    from check_portcheck.model import OpenService

A = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("eth0",))
B = Interface("192.0.2.8", "eth0", 2, "eth0:1", chosen=("eth0",))
C = Interface("2001:db8::9", "eth1", 3, "eth1", chosen=("2001:db8::9",))
D = Interface("2001:db8::10", "eth1", 3, "eth1", chosen=("2001:db8::10",))
E = Interface("fe80::1%eth1", "eth1", 3, "eth1", chosen=("fe80::1%eth1",))


def printed(
    tmp_path: Path, *services: OpenService, interfaces: tuple[Interface, ...], rules: str = ""
) -> list[str]:
    """What is printed below the settings."""
    of = tuple(rule(text) for text in rules.splitlines())
    settings = Settings(rules=of, print_policy=True)
    scan = task(settings, Policy(of), names(tmp_path), interfaces)
    resource = Portcheck(scan, Chosen(interfaces, (), (), ()))
    resource.report = report(*services, interfaces=interfaces)
    resource.verdict = judge(resource.report, scan.policy)
    text, code = snapshot.policy(resource)
    assert code == 0
    assert parse([ConfigFile("printed", text)], [], scan.names)
    lines = text.splitlines()
    return lines[lines.index("# --verbose 0") + 1 :]


def required(tmp_path: Path, *where: Interface, of: tuple[Interface, ...]) -> list[str]:
    """The interfaces of what is printed for one port that is open on some of them."""
    lines = printed(tmp_path, *(service("22/tcp", each) for each in where), interfaces=of)
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
    tmp_path: Path, where: tuple[Interface, ...], of: tuple[Interface, ...], patterns: list[str]
) -> None:
    assert required(tmp_path, *where, of=of) == patterns


def test_an_address_that_was_also_chosen_by_its_device_belongs_to_it(tmp_path: Path) -> None:
    twice = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("192.0.2.7", "eth0"))
    assert required(tmp_path, twice, B, of=(twice, B, C)) == ["eth0"]


def test_ports_for_clients_are_optional_and_others_required(tmp_path: Path) -> None:
    lines = printed(
        tmp_path,
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


def test_programs_go_by_name_and_are_named_once(tmp_path: Path) -> None:
    lines = printed(
        tmp_path,
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


def test_the_owners_are_a_comment_above(tmp_path: Path) -> None:
    lines = printed(
        tmp_path,
        service("22/tcp", A, owners=(owned("sshd"),)),
        service("22/tcp", C, owners=(owned("sshd"), owned("evil\nPortCheckActive = no"))),
        service("23/tcp", A, owners=(owned(user="alice", unseen="not root"),)),
        interfaces=(A, C),
    )
    assert lines == [
        "# sshd[4711] user root, evil?PortCheckActive = no[4711] user root",
        "PortCheckRequired = *:22/tcp",
        "# user alice",
        "PortCheckRequired = eth0:23/tcp",
    ]


def test_what_is_ignored_is_left_out_and_ignored_and_skipped_again(tmp_path: Path) -> None:
    rules = "ignore * 6000-6063/tcp\nskip * 3306/tcp\nrequired * 25/tcp\noptional * 80/tcp"
    open_now = (service("80/tcp", A), service("6000/tcp", A))
    assert printed(tmp_path, *open_now, interfaces=(A,), rules=rules) == [
        "PortCheckIgnore = *:6000-6063/tcp",
        "PortCheckSkip = *:3306/tcp",
        "PortCheckRequired = *:80/tcp",
    ]


def test_nothing_open_is_an_empty_policy(tmp_path: Path) -> None:
    assert printed(tmp_path, interfaces=(A,)) == []
