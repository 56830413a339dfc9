from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.model import Owner, Process, Unseen
from check_portcheck.policy.judgement import owner_held, owner_matters
from check_portcheck.policy.ownership import Held
from unit.samples import (
    HERE,
    LOOPBACK,
    Seen,
    owned,
    policy,
    process,
    report,
    rule,
    service,
)
from unit.verdicts import NOT_ROOT, SSH, by, findings

if TYPE_CHECKING:
    from check_portcheck.policy.rules import Rule


def held(owners: tuple[Owner, ...] | None, asked: Rule) -> Held:
    """Whether a port with a socket of each owner has the one that a rule asks for."""
    found = service("22/tcp", owners=owners)
    return owner_held(report(found), found.service, asked)


@pytest.mark.parametrize(
    ("wanted", "owner", "holds"),
    [
        ("sshd", owned("sshd"), Held.YES),
        ("sshd", owned("ssh"), Held.NO),
        ("sshd", owned("systemd", "sshd"), Held.YES),
        ("/usr/sbin/sshd", owned("sshd"), Held.YES),
        ("/usr/sbin/ssh", owned("sshd"), Held.NO),
        ("unit:sshd.service", owned("sshd"), Held.YES),
        ("unit:sshd", owned("sshd"), Held.NO),
        ("user:root", owned("sshd"), Held.YES),
        ("user:daemon", owned("sshd"), Held.NO),
        ("sshd", NOT_ROOT, Held.UNTOLD),
        ("/usr/sbin/sshd", NOT_ROOT, Held.UNTOLD),
        ("user:root", NOT_ROOT, Held.YES),
        ("user:daemon", NOT_ROOT, Held.NO),
        ("user:root", Owner(unseen=Unseen.NO_OWNERS), Held.UNTOLD),
        ("user:www", Owner("root", (Process(7, "a", None, user="www"),)), Held.NO),
        ("kernel", Owner(kernel=True), Held.YES),
        ("kernel", owned("kernel"), Held.NO),
        ("kernel", NOT_ROOT, Held.UNTOLD),
        ("sshd", Owner(kernel=True), Held.NO),
        ("sshd", owned("sshd", unseen=Unseen.HIDEPID), Held.YES),
        # A name is not a user, a unit or a program file, nor the other way round.
        ("root", owned("sshd"), Held.NO),
        ("root", Owner("root", unseen=Unseen.NOT_ROOT), Held.UNTOLD),
        ("root", owned("root", user="www"), Held.YES),
        ("user:sshd", owned("sshd"), Held.NO),
        ("unit:root", owned("sshd"), Held.NO),
        ("sshd.service", owned("sshd"), Held.NO),
        ("sshd", Owner("root", (Process(1, "x", "sshd"),)), Held.NO),
        # The user may be called so, and is not the kernel; nor is a unit.
        ("user:kernel", Owner("root", kernel=True), Held.NO),
        ("user:kernel", owned("nc", user="kernel"), Held.YES),
        ("user:root", Owner("root", kernel=True), Held.YES),
        ("unit:kernel", Owner("root", kernel=True), Held.NO),
        # What a process does not have is nobody's.
        ("/usr/sbin/sshd", Owner("root", (Process(1, "sshd", None),)), Held.NO),
        ("unit:a.service", Owner("root", (Process(7, "a", "/a"),)), Held.NO),
    ],
)
def test_the_owner_of_a_socket(wanted: str, owner: Owner, holds: Held) -> None:
    asked = rule(f"optional * 22/tcp@{wanted}")
    assert held((owner,), asked) is holds


SYSTEMD = Process(1, "systemd", "/usr/lib/systemd/systemd", unit="init.scope")
SSHD, SMTPD, SHELL = process("sshd"), process("smtpd", 12), process("bash", 13)


@pytest.mark.parametrize(
    ("wanted", "owner", "holds"),
    [
        # Of a unit every process must be, process 1 apart, which opens sockets for others.
        ("unit:sshd.service", Owner("root", (SSHD, SHELL)), Held.NO),
        ("unit:sshd.service", Owner("root", (SSHD, SSHD._replace(pid=12))), Held.YES),
        ("unit:sshd.service", Owner("root", (SYSTEMD, SSHD)), Held.YES),
        ("unit:init.scope", Owner("root", (SYSTEMD, SSHD)), Held.NO),
        # Which of its units process 1 has a socket for, it does not tell.
        ("unit:sshd.service", Owner("root", (SYSTEMD,)), Held.UNTOLD),
        ("unit:sshd.socket", Owner("root", (SYSTEMD,)), Held.UNTOLD),
        ("unit:init.scope", Owner("root", (SYSTEMD,)), Held.YES),
        ("unit:sshd.service", Owner("root", (SSHD._replace(pid=1),)), Held.YES),
        # More processes may have it than were seen.
        ("unit:sshd.service", Owner("root", (SSHD,), others=Unseen.NOT_ROOT), Held.UNTOLD),
        ("unit:init.scope", Owner("root", (SYSTEMD,), others=Unseen.NOT_ROOT), Held.UNTOLD),
        ("unit:sshd.service", Owner("root", (SHELL,), others=Unseen.NOT_ROOT), Held.NO),
        ("unit:sshd.service", owned("sshd", unseen=Unseen.TIME_LIMIT), Held.UNTOLD),
        ("unit:sshd.service", Owner("root", unseen=Unseen.NOT_ROOT), Held.UNTOLD),
        # Of a name or a program file one process is enough.
        ("smtpd", Owner("root", (SSHD, SMTPD)), Held.YES),
        ("/usr/sbin/smtpd", Owner("root", (SSHD, SMTPD)), Held.YES),
        ("sshd", Owner("root", (SSHD,), others=Unseen.NOT_ROOT), Held.YES),
        # The same path may be another file.
        ("/usr/sbin/sshd", Owner("root", (SSHD._replace(files=()),)), Held.NO),
        ("/sbin/sshd", Owner("root", (SSHD._replace(files=("/sbin/sshd",)),)), Held.YES),
        ("/x", Owner("root", (SSHD._replace(unread=("/x",)),)), Held.UNTOLD),
        # A user is the one that opened it, whoever has it now.
        ("user:www", Owner("root", (process(user="www"),)), Held.NO),
        ("user:root", Owner("www", (process(user="root"),)), Held.NO),
        ("user:www", Owner("www", (process(user="root"),), unseen=Unseen.TIME_LIMIT), Held.YES),
    ],
)
def test_what_each_form_of_owner_asks_of_the_processes(
    wanted: str, owner: Owner, holds: Held
) -> None:
    assert held((owner,), rule(f"optional * 22/tcp@{wanted}")) is holds


@pytest.mark.parametrize(
    ("owners", "holds"),
    [
        ((owned("sshd"), owned("sshd")), Held.YES),
        ((owned("sshd"), owned("nc")), Held.NO),
        ((owned("sshd"), NOT_ROOT), Held.UNTOLD),
        ((owned("nc"), NOT_ROOT), Held.NO),
        ((NOT_ROOT, NOT_ROOT), Held.UNTOLD),
        ((NOT_ROOT, owned("nc"), owned("sshd")), Held.NO),
        ((), Held.UNTOLD),
        (None, Held.UNTOLD),
    ],
)
def test_every_socket_of_a_port_must_have_the_owner(
    owners: tuple[Owner, ...] | None, holds: Held
) -> None:
    asked = rule("optional * 22/tcp@sshd")
    assert held(owners, asked) is holds


def test_an_owner_of_whom_nobody_asked_cannot_be_told() -> None:
    found = service("22/tcp", owners=(owned("sshd"), owned("sshd")))
    asked, other = found.service.sockets
    of = report(found)._replace(owners={asked: owned("sshd")})
    assert owner_held(of, found.service, rule("optional * 22/tcp@sshd")) is Held.UNTOLD
    of = report(found)._replace(owners={other: owned("nc")})
    assert owner_held(of, found.service, rule("optional * 22/tcp@sshd")) is Held.NO


def test_without_an_owner_in_the_rule_anybody_will_do() -> None:
    assert held((NOT_ROOT,), rule("optional * 22/tcp")) is Held.YES


@pytest.mark.parametrize(
    ("found", "rules", "told"),
    [
        (by(owned("sshd")), ["optional * 22/tcp@sshd"], []),
        (
            by(owned("nc", user="www")),
            ["required * 22/tcp@sshd"],
            ["unexpected 192.0.2.7:22/tcp: owner nc, expected sshd"],
        ),
        (
            by(owned("nc"), owned("sshd"), owned("nc")),
            ["optional * 22/tcp@sshd", "optional * 20-30/tcp@user:www"],
            [
                (
                    "unexpected 192.0.2.7:22/tcp: owner nc, user:root and sshd, user:root,"
                    " expected sshd or user:www"
                )
            ],
        ),
        (
            by(Owner(kernel=True)),
            ["optional * 22/tcp@sshd"],
            ["unexpected 192.0.2.7:22/tcp: owner kernel, expected sshd"],
        ),
        (by(owned("nc")), ["optional * 22/tcp@sshd", "optional eth0 22/tcp"], []),
        (by(NOT_ROOT), ["optional * 22/tcp@sshd", "optional * 22/tcp@user:root"], []),
        (
            by(NOT_ROOT),
            ["optional * 22/tcp@sshd", "required * 22/tcp@/sbin/sshd"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (not root: run it by sudo),"
                    " expected /sbin/sshd or sshd (required * 22/tcp@/sbin/sshd)"
                )
            ],
        ),
        (
            by(NOT_ROOT, owned("x", unseen=Unseen.HIDEPID), Owner(unseen=Unseen.ENDED)),
            ["optional * 22/tcp@sshd"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (hidepid: run it by sudo;"
                    " holder ended meanwhile; not root: run it by sudo), expected sshd"
                    " (optional * 22/tcp@sshd)"
                )
            ],
        ),
        (
            by(NOT_ROOT),
            ["optional * 22/tcp@sshd", "optional * 22/tcp@user:www", "required * 1-99/tcp@a"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (not root: run it by sudo),"
                    " expected a or sshd or user:www (required * 1-99/tcp@a)"
                )
            ],
        ),
        (
            by(owned("sshd"), NOT_ROOT),
            ["optional * 22/tcp@sshd"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (not root: run it by sudo),"
                    " expected sshd (optional * 22/tcp@sshd)"
                )
            ],
        ),
        (
            by(NOT_ROOT, owned("nc"), Owner("www", unseen=Unseen.ENDED)),
            ["optional * 22/tcp@sshd"],
            ["unexpected 192.0.2.7:22/tcp: owner nc and user root and user www, expected sshd"],
        ),
        (
            by(owned("nc"), Owner(unseen=Unseen.NO_OWNERS)),
            ["optional * 22/tcp@sshd"],
            ["unexpected 192.0.2.7:22/tcp: owner nc and unknown, expected sshd"],
        ),
        (
            by(Owner("root", (Process(7, "a", None),))),
            ["optional * 22/tcp@/a", "optional * 22/tcp@unit:a.service"],
            [
                (
                    "unexpected 192.0.2.7:22/tcp: owner without executable, without unit,"
                    " expected /a or unit:a.service"
                )
            ],
        ),
        (
            by(Owner("root", (Process(1, "", "/usr/bin/x"),))),
            ["optional * 22/tcp@sshd"],
            ["unexpected 192.0.2.7:22/tcp: owner without name, expected sshd"],
        ),
        (
            by(owned("kernel", user="kernel")),
            ["optional * 22/tcp@kernel"],
            ["unexpected 192.0.2.7:22/tcp: owner process kernel, expected kernel"],
        ),
        (
            by(owned("n" * 81)),
            ["optional * 22/tcp@sshd"],
            [f"unexpected 192.0.2.7:22/tcp: owner {'n' * 80}, expected sshd"],
        ),
        (
            by(Owner("root", (SSHD, SHELL))),
            ["optional * 22/tcp@unit:sshd.service"],
            [
                (
                    "unexpected 192.0.2.7:22/tcp: owner unit:bash.service and unit:sshd.service,"
                    " expected unit:sshd.service"
                )
            ],
        ),
        (
            by(Owner("root", (SYSTEMD,))),
            ["optional * 22/tcp@unit:sshd.socket"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined"
                    " (held by process 1 alone: allow unit:init.scope too),"
                    " expected unit:sshd.socket (optional * 22/tcp@unit:sshd.socket)"
                )
            ],
        ),
        (
            by(Owner("root", (SYSTEMD._replace(unit=None),))),
            ["optional * 22/tcp@unit:sshd.socket"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (held by process 1 alone),"
                    " expected unit:sshd.socket (optional * 22/tcp@unit:sshd.socket)"
                )
            ],
        ),
        (
            by(Owner("root", (SSHD,), others=Unseen.NOT_ROOT)),
            ["optional * 22/tcp@unit:sshd.service"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (not root: run it by sudo),"
                    " expected unit:sshd.service (optional * 22/tcp@unit:sshd.service)"
                )
            ],
        ),
        (
            by(Owner("root", (SSHD._replace(files=()),))),
            ["optional * 22/tcp@/usr/sbin/sshd"],
            [
                (
                    "unexpected 192.0.2.7:22/tcp: owner /usr/sbin/sshd (not the file here),"
                    " expected /usr/sbin/sshd"
                )
            ],
        ),
        (
            by(Owner("root", (SSHD._replace(files=(), unread=("/usr/sbin/sshd",)),))),
            ["optional * 22/tcp@/usr/sbin/sshd"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (program file not readable),"
                    " expected /usr/sbin/sshd (optional * 22/tcp@/usr/sbin/sshd)"
                )
            ],
        ),
        (
            by(Owner("www", (SSHD,))),
            ["optional * 22/tcp@user:root"],
            ["unexpected 192.0.2.7:22/tcp: owner user:www, expected user:root"],
        ),
        (
            by(Owner("www", unseen=Unseen.NOT_ROOT, others=Unseen.NOT_ROOT)),
            ["optional * 22/tcp@user:root"],
            ["unexpected 192.0.2.7:22/tcp: owner user:www, expected user:root"],
        ),
        (
            by(Owner("root", kernel=True)),
            ["optional * 22/tcp@user:www"],
            ["unexpected 192.0.2.7:22/tcp: owner user:root, expected user:www"],
        ),
        (
            service("22/tcp", no_socket=True, owners=()),
            ["optional * 22/tcp@sshd"],
            [
                (
                    "unverified 192.0.2.7:22/tcp: owner not determined (no socket),"
                    " expected sshd (optional * 22/tcp@sshd)"
                )
            ],
        ),
    ],
)
def test_the_verdict_on_an_owner(found: Seen, rules: list[str], told: list[str]) -> None:
    assert findings(report(found), *rules) == told


def test_a_required_service_with_another_owner_is_unexpected_and_not_missing() -> None:
    of = report(by(owned("nc")))
    assert findings(of, "required * 22/tcp@sshd", "required * 23/tcp@sshd") == [
        "unexpected 192.0.2.7:22/tcp: owner nc, expected sshd",
        "missing 192.0.2.7:23/tcp (required * 23/tcp@sshd)",
    ]


@pytest.mark.parametrize(
    ("rules", "matters"),
    [
        ([], False),
        (["optional * 22/tcp"], False),
        (["optional * 22/tcp@sshd"], True),
        (["optional * 22/tcp@sshd", "optional * 20-29/tcp"], False),
        (["optional * 23/tcp@sshd"], False),
        (["skip * 22/tcp", "required 192.0.2.7 22/tcp@sshd", "optional * 22/tcp@user:www"], True),
        (["optional 127.0.0.1 22/tcp@sshd"], False),
    ],
)
def test_when_the_owner_matters(rules: list[str], *, matters: bool) -> None:
    assert owner_matters(report(SSH), policy(*rules), SSH.service) is matters


def test_the_owner_matters_where_it_does_on_one_of_the_interfaces() -> None:
    found = service("22/tcp", HERE, LOOPBACK)
    of = report(found, interfaces=(HERE, LOOPBACK))
    rules = ["optional 192.0.2.7 22/tcp", "optional * 22/tcp@sshd"]
    assert owner_matters(of, policy(*rules), found.service)
    assert not owner_matters(of, policy(*rules, "optional lo 22/tcp"), found.service)
