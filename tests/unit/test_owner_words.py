from __future__ import annotations

import pytest

from check_portcheck.config import grammar, owners
from check_portcheck.names import names as names_in
from check_portcheck.policy.rules import Kind, Rule

USERS = {"www-data": "www-data", "33": "www-data", "4711": "4711", "sshd": "sshd", "nosuch": None}
"""Two users with names, one of them by its number too, and one without a name."""
PROCESSES = ("sshd", "systemd-network")


def rules(text: str) -> list[Rule]:
    found, errors = grammar.rules(Kind.OPTIONAL, text, "F:2", names_in("", ""))
    assert errors == []
    return found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("*:80/tcp@user:nosuch", "no user is called nosuch"),
        ("*:80/tcp@user:33", "its name is www-data: write *:80/tcp@user:www-data"),
        (
            "[::1]:80/tcp@www-data",
            (
                "no process is called www-data now; "
                "for the user of that name write [::1]:80/tcp@user:www-data"
            ),
        ),
        (
            "*:22/tcp@unit:ssh.socket",
            (
                "no process is in a socket unit: "
                "write *:22/tcp@unit:ssh.service and *:22/tcp@unit:init.scope"
            ),
        ),
    ],
)
def test_an_owner_that_is_not_here_is_doubtful(text: str, reason: str) -> None:
    users = {name: USERS[name] for name in owners.named(rules(text))}
    assert owners.doubtful(rules(text), users, PROCESSES) == [f"{text}, F:2: {reason}"]
    if advised := reason.partition(" write ")[2]:
        for each in advised.split(" and "):
            assert owners.doubtful(rules(each), USERS, PROCESSES) == []


@pytest.mark.parametrize(
    "text",
    [
        "*:22/tcp",
        "*:22/tcp@sshd",
        "*:22/tcp@nosuch",
        "*:22/tcp@user:sshd",
        "*:22/tcp@user:4711",
        "*:22/tcp@/usr/sbin/nosuch",
        "*:22/tcp@unit:nosuch.service",
    ],
)
def test_an_owner_that_may_be_meant_is_not_doubtful(text: str) -> None:
    assert owners.doubtful(rules(text), USERS, PROCESSES) == []


def test_the_kernel_keeps_the_start_of_the_name_of_a_process() -> None:
    users = {"systemd-networkd": "systemd-networkd"}
    assert owners.doubtful(rules("*:68/udp@systemd-networkd"), users, PROCESSES) == []


def test_users_and_names_of_processes_are_asked_for_once() -> None:
    text = "*:1/tcp@a,2/tcp@a,3/tcp@user:b,4/tcp@/c,5/tcp@unit:d.service,6/tcp"
    assert owners.named(rules(text)) == {"a", "b"}
