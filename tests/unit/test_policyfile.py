from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config.parser import ConfigFile, parse
from check_portcheck.config.settings import Settings
from check_portcheck.model import (
    Coverage,
    Endpoint,
    Evidence,
    Failure,
    Interface,
    Method,
    OpenService,
    Owner,
    PortRange,
    Process,
    Protocol,
    Socket,
    Unanswered,
    Unseen,
)
from check_portcheck.policy.judgement import judge
from check_portcheck.policy.rules import Policy
from check_portcheck.report.policyfile import policy_file
from unit.samples import (
    NAMES,
    Registered,
    Seen,
    outcome,
    owned,
    port,
    process,
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
T = D._replace(address="2001:db8::aaaa", expires=True)
E = Interface("fe80::1%eth1", "eth1", 3, "eth1", chosen=("fe80::1%eth1",))


def printed(*seen: Seen, interfaces: tuple[Interface, ...], rules: str = "") -> list[str]:
    """What is printed below the settings."""
    return printed_for(report(*seen, interfaces=interfaces), rules)


def printed_for(of: Report, rules: str = "", verbosity: int = 0) -> list[str]:
    """What is printed of a report, which is as that policy wants it."""
    texts = rules.splitlines()
    settings = Settings(
        rules=tuple(rule(text) for text in texts), print_policy=True, verbosity=verbosity
    )
    text, code = policy_file(outcome(of, *texts, settings=settings))
    assert code == 0
    again = parse([ConfigFile("printed", text)], [], NAMES)
    assert judge(of, Policy(again.rules)).findings == ()
    remarks, _, lines = text.partition("[PortCheck]\n")
    assert all(line.startswith("# note: ") for line in remarks.splitlines())
    return lines.splitlines()


def bound(
    text: str, *sockets: Socket | str, of: tuple[Interface, ...], owner: Owner | None = None
) -> Seen:
    """A port with sockets that are bound so, and the interfaces on which they answer."""
    where = port(text)
    rows = tuple(
        each
        if isinstance(each, Socket)
        else Socket(where.protocol, each, where.number, v6only=False, device=0, cookie=id(of) + n)
        for n, each in enumerate(sockets)
    )
    service = OpenService(where, of, Evidence.TABLE, rows)
    return Seen(service, tuple(owner for _ in rows) if owner else None, (), None)


ONLY_SIX = Socket(Protocol.TCP, "::", 22, v6only=True, device=0, cookie=-1)
TO_DEVICE = Socket(Protocol.TCP, "0.0.0.0", 22, v6only=False, device=2, cookie=-2)
IDLE = Interface("::", "", 0, "::", chosen=("other",), scanned=False)
PLACE = Interface("224.0.0.251", "", 0, "224.0.0.251", chosen=("eth0",), scanned=False)


@pytest.mark.parametrize(
    ("sockets", "of", "scanned", "lines"),
    [
        (["::"], (A, B, C, D), (A, B, C, D), ["Required *"]),
        (["::"], (A, B), (A, B), ["Required *"]),
        (["::"], (A,), (A,), ["Required *"]),
        (["0.0.0.0"], (A, B), (A, B, C, D), ["Required 0.0.0.0/0"]),
        (["0.0.0.0"], (A,), (A,), ["Required 0.0.0.0/0"]),
        ([ONLY_SIX], (C, D), (A, B, C, D), ["Required ::/0"]),
        (["0.0.0.0", ONLY_SIX], (A, B, C, D), (A, B, C, D), ["Required *"]),
        (["192.0.2.7"], (A,), (A,), ["Required 192.0.2.7"]),
        (["2001:db8::9"], (C,), (A, B, C), ["Required [2001:db8::9]"]),
        # A skipped address is left out, so the wildcard's word would say too much.
        (["0.0.0.0"], (A,), (A, B), ["Required 192.0.2.7"]),
        (["fe80::1"], (E,), (A, E), ["Required eth1"]),
        (["fe80::1"], (E,), (A, D, E), ["Optional eth1"]),
        (["fe80::1", "2001:db8::10"], (D, E), (A, D, E), ["Required eth1"]),
        (
            ["fe80::1", "2001:db8::9"],
            (C, E),
            (C, D, E),
            ["Optional eth1", "Required [2001:db8::9]"],
        ),
        (["2001:db8::aaaa"], (T,), (A, D, T), ["Optional eth1"]),
        (["2001:db8::aaaa", "2001:db8::10"], (D, T), (A, D, T), ["Required eth1"]),
        ([TO_DEVICE], (A, B), (A, B, C), ["Required eth0"]),
        (["224.0.0.251"], (PLACE,), (A,), ["Optional 224.0.0.251"]),
        # A wildcard of IPv6 where IPv6 is off.
        (["0.0.0.0", ONLY_SIX], (A, B, IDLE), (A, B), ["Required *"]),
        ([ONLY_SIX], (IDLE,), (A, B), ["Required ::/0"]),
        (["192.0.2.7", ONLY_SIX], (A, IDLE), (A, B), ["Required 192.0.2.7", "Required ::/0"]),
    ],
)
def test_where_is_what_the_sockets_are_bound_to(
    sockets: list[Socket | str],
    of: tuple[Interface, ...],
    scanned: tuple[Interface, ...],
    lines: list[str],
) -> None:
    expected = [
        f"PortCheck{kind} = {where}:22/tcp" for kind, where in (line.split() for line in lines)
    ]
    assert sorted(printed(bound("22/tcp", *sockets, of=of), interfaces=scanned)) == sorted(expected)


AVAHI = owned("avahi-daemon", user="avahi")


def test_ports_that_a_daemon_gets_anew_are_a_range_of_its_user() -> None:
    of = (A, C)
    seen = [bound(f"{n}/udp", "::", of=of, owner=AVAHI) for n in (5353, 32768, 45678, 60999, 61000)]
    told = report(*seen, interfaces=of)
    assert printed_for(told) == [
        "# avahi-daemon, user avahi, unit avahi-daemon.service",
        "PortCheckRequired = *:5353/udp",
        "PortCheckOptional = *:ephemeral/udp@user:avahi",
        "PortCheckRequired = *:61000/udp",
    ]
    again = parse([ConfigFile("p", policy_file(outcome(told))[0])], [], NAMES)
    restarted = owned("avahi-daemon", user="avahi")
    others = [5353, 40001, 61000]
    later = [bound(f"{n}/udp", "::", of=of, owner=restarted) for n in others]
    assert judge(report(*later, interfaces=of), Policy(again.rules)).findings == ()
    stranger = bound("40002/udp", "::", of=of, owner=owned("nc", user="games"))
    (found,) = judge(report(*later, stranger, interfaces=of), Policy(again.rules)).findings
    assert str(found.item) == "40002/udp"


def test_such_ports_of_one_daemon_are_one_range_wherever_they_are() -> None:
    squid = owned("squid", user="proxy")
    of = (A, C)
    lines = printed(
        bound("50001/udp", "0.0.0.0", of=(A,), owner=squid),
        bound("50002/udp", "::", of=of, owner=squid),
        bound("50003/udp", ONLY_SIX, of=(C,), owner=AVAHI),
        bound("50004/udp", "0.0.0.0", of=(A,), owner=AVAHI),
        interfaces=of,
    )
    assert [line for line in lines if not line.startswith("#")] == [
        "PortCheckOptional = *:ephemeral/udp@user:proxy",
        "PortCheckOptional = *:ephemeral/udp@user:avahi",
    ]


def test_a_reserved_port_of_an_rpc_daemon_is_new_at_each_start() -> None:
    statd = Owner("statd", (process("rpc.statd", 500, "statd"),))
    other = Owner("root", (process("cupsd", 600, "root"),))
    named = service("40000/tcp", A, rpc=("mountd",), owners=(statd,))
    seen = [bound("765/udp", "127.0.0.1", of=(A,), owner=statd)]
    seen += [bound("631/tcp", "0.0.0.0", of=(A,), owner=other)]
    assert printed(named, *seen, interfaces=(A,)) == [
        "# cupsd, user root, unit cupsd.service",
        "PortCheckRequired = 0.0.0.0/0:631/tcp",
        "# rpc.statd, user statd, unit rpc.statd.service",
        "PortCheckOptional = 192.0.2.7:512-1023/udp@user:statd",
        "PortCheckRequired = 192.0.2.7:mountd/tcp",
    ]


def test_programs_go_by_name_and_are_named_once() -> None:
    lines = printed(
        service("40000/tcp", A, rpc=("nfs", "mountd")),
        service("40001/tcp", A, rpc=("mountd",)),
        service("111/udp", A, rpc=("portmapper",)),
        interfaces=(A, C),
    )
    assert lines == [
        "PortCheckRequired = 192.0.2.7:portmapper/udp",
        "PortCheckRequired = 192.0.2.7:mountd/tcp",
        "PortCheckRequired = 192.0.2.7:nfs/tcp",
    ]


def test_a_daemon_has_one_comment_above_its_ports() -> None:
    evil = owned("evil\nPortCheckActive = no")
    lines = printed(
        service("443/tcp", A, owners=(owned("nginx"),)),
        service("22/tcp", A, owners=(owned("sshd"),)),
        service("80/tcp", A, owners=(owned("nginx"),)),
        service("23/tcp", A, owners=(owned(user="alice", unseen=Unseen.NOT_ROOT),)),
        service("24/tcp", A, owners=(evil,)),
        service("25/tcp", A, owners=(Owner("root", kernel=True),)),
        service("26/tcp", A, no_socket=True),
        service("27/tcp", A, no_socket=True, forwarded=Endpoint("172.17.0.2", 80)),
        interfaces=(A, C),
    )
    assert lines == [
        "# sshd, user root, unit sshd.service",
        "PortCheckRequired = 192.0.2.7:22/tcp",
        "# user alice",
        "PortCheckRequired = 192.0.2.7:23/tcp",
        "# evil?PortCheckActive = no, user root, unit evil?PortCheckActive = no.service",
        "PortCheckRequired = 192.0.2.7:24/tcp",
        "# kernel",
        "PortCheckRequired = 192.0.2.7:25/tcp",
        "# no socket",
        "PortCheckRequired = 0.0.0.0/0:26/tcp",
        "# forwarded to 172.17.0.2:80",
        "PortCheckRequired = 0.0.0.0/0:27/tcp",
        "# nginx, user root, unit nginx.service",
        "PortCheckRequired = 192.0.2.7:80/tcp",
        "PortCheckRequired = 192.0.2.7:443/tcp",
    ]


def test_verbose_lines_have_the_strongest_owner() -> None:
    init = Process(1, "systemd", "/sbin/init", (), "root", 1.0, "init.scope")
    container = process("redis")._replace(unit="container:0123")
    of = report(
        service("22/tcp", A, owners=(owned("sshd"),)),
        service("80/tcp", A, owners=(Owner("root", (init, process("nginx"))),)),
        service("81/tcp", A, owners=(Owner("www-data", (container,)),)),
        service("82/tcp", A, owners=(owned("a"), owned("b"))),
        service("83/tcp", A, owners=(Owner("root", kernel=True),)),
        service("84/tcp", A, no_socket=True),
        service("40000/udp", A, owners=(AVAHI,)),
        interfaces=(A, C),
    )
    lines = [line for line in printed_for(of, verbosity=1) if not line.startswith("#")]
    assert [line.split(" = ")[1] for line in lines] == [
        "192.0.2.7:22/tcp@unit:sshd.service",
        "192.0.2.7:80/tcp@user:root",
        "192.0.2.7:81/tcp@user:www-data",
        "192.0.2.7:82/tcp@user:root",
        "192.0.2.7:83/tcp@kernel",
        "0.0.0.0/0:84/tcp",
        "192.0.2.7:ephemeral/udp@unit:avahi-daemon.service",
    ]


def test_what_is_ignored_is_left_out_and_ignored_and_skipped_again() -> None:
    rules = "ignore * 6000-6063/tcp\nskip * 3306/tcp\nrequired * 25/tcp\noptional * 80/tcp"
    open_now = (service("80/tcp", A), service("6000/tcp", A))
    assert printed(*open_now, interfaces=(A,), rules=rules) == [
        "PortCheckIgnore = *:6000-6063/tcp",
        "PortCheckSkip = *:3306/tcp",
        "PortCheckRequired = 192.0.2.7:80/tcp",
    ]


def test_only_what_was_chosen_is_printed() -> None:
    settings = Settings(method=Method.TABLE, udp=False, timeout=60.0, print_policy=True)
    text, _ = policy_file(outcome(report(), settings=settings))
    assert {line for line in text.splitlines() if "Timeout" not in line} == {
        "[PortCheck]",
        "PortCheckUDP = no",
        "PortCheckMethod = table",
    }


UNANSWERED = Unanswered(A, PortRange.of(port("80/tcp")), "no\nnetlink")


@pytest.mark.parametrize(
    ("of", "code", "remarks"),
    [
        (report(interfaces=(A,)), 0, []),
        (
            report(interfaces=(A,), unanswered=(UNANSWERED,)),
            3,
            ["# unverified: 192.0.2.7:80/tcp: unanswered: no?netlink"],
        ),
        (
            report(interfaces=(A,), failures=(Failure("no device eth9 here", "eth9"),)),
            3,
            ["# not looked at: no device eth9 here"],
        ),
        (
            report(service("22/tcp", A), interfaces=(A,))._replace(
                coverage=Coverage(ports=100, probed=70, looked_up=30)
            ),
            0,
            [
                "# note: socket table of all, 70 % probed",
                "# note: what is forwarded may be missing, a longer --timeout probes more",
            ],
        ),
    ],
)
def test_what_was_not_looked_at_stands_before_the_policy(
    of: Report, code: int, remarks: list[str]
) -> None:
    text, printed_code = policy_file(outcome(of))
    before, section, _ = text.partition("[PortCheck]\n")
    assert (before.splitlines(), section, printed_code) == (remarks, "[PortCheck]\n", code)


def test_nothing_open_is_an_empty_policy() -> None:
    assert printed(interfaces=(A,)) == []


def test_a_program_that_is_registered_on_one_interface_only_is_a_port_on_others() -> None:
    of = report(
        service("2049/tcp", A, C),
        interfaces=(A, C),
        registered=(registration("2049/tcp", "nfs", A),),
    )
    assert printed_for(of) == [
        "PortCheckRequired = 0.0.0.0/0:nfs/tcp",
        "PortCheckRequired = ::/0:2049/tcp",
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
