from __future__ import annotations

import pytest

from check_portcheck.daemons import (
    client_ports,
    held_by_daemons,
    is_client,
    may_be_client,
    of_users,
    restless_users,
    users_of,
)
from check_portcheck.model import OpenService, Owner, Process, Span, Unseen
from unit.samples import Seen, process, report, service


def opened(text: str, uid: int | None, *processes: Process) -> Seen:
    """A port that a user has open."""
    owner = Owner("x", processes, unseen=None if processes else Unseen.NOT_ROOT)
    made = service(text, owners=(owner,))
    (row,) = made.service.sockets
    return made._replace(service=made.service._replace(sockets=(row._replace(uid=uid),)))


def test_clients_have_a_socket_in_the_range_of_the_kernel() -> None:
    def told(seen: Seen) -> bool:
        return is_client(report(seen), seen.service)

    assert told(service("32768/udp"))
    assert told(service("60999/udp"))
    assert not told(service("32767/udp"))
    assert not told(service("61000/udp"))
    assert not told(service("40000/tcp"))
    assert not told(service("40000/udp", no_socket=True))


def test_daemons_may_choose_their_ports_above_the_reserved_ones() -> None:
    def told(seen: Seen) -> bool:
        return may_be_client(report(seen), seen.service)

    assert told(opened("1024/udp", 5))
    assert told(opened("65535/udp", 5))
    assert not told(opened("1023/udp", 5))
    assert not told(opened("7045/tcp", 5))
    assert not told(opened("7045/udp", 0))
    assert not told(opened("7045/udp", None))
    assert not told(service("7045/udp", no_socket=True))
    assert told(opened("40000/udp", 0))
    of = report()
    assert client_ports(of._replace(span=Span(2000, 3000))) == range(2000, 3001)
    assert client_ports(of._replace(ephemeral=Span(900, 60999))) == range(900, 65536)


@pytest.mark.parametrize(
    ("allowed", "waiting", "held"),
    [
        (opened("53/udp", 5, process(pid=1)), opened("40000/udp", 5, process(pid=1)), True),
        (opened("53/udp", 5, process(pid=1)), opened("40000/udp", 5, process(pid=2)), False),
        (
            opened("53/udp", 5, process(pid=1)),
            opened("40000/udp", 5, process(pid=1), process(pid=2)),
            False,
        ),
        (opened("53/udp", 5), opened("40000/udp", 5), True),
        (opened("53/udp", 5), opened("40000/udp", 6), False),
        (opened("53/udp", 0), opened("40000/udp", 0), False),
        (opened("53/udp", None), opened("40000/udp", None), False),
        (opened("41000/udp", 5, process(pid=1)), opened("40000/udp", 5, process(pid=1)), False),
        (opened("53/udp", 0, process(pid=1)), opened("7045/udp", 5, process(pid=1)), True),
        (opened("53/udp", 0, process(pid=1)), opened("7045/udp", 5, process(pid=2)), False),
        (opened("53/udp", 5), opened("7045/udp", 5), False),
    ],
)
def test_who_holds_an_allowed_port_too(allowed: Seen, waiting: Seen, *, held: bool) -> None:
    of = report(allowed, waiting)
    found = held_by_daemons(of, [allowed.service], [waiting.service])
    assert found == [waiting.service] * held


def test_users_are_restless_whose_ports_come_or_go() -> None:
    one, two, three = (opened(f"4000{n}/udp", n).service for n in (1, 2, 3))
    assert restless_users([one, two], [two, three]) == {1, 3}
    assert restless_users([one], [one]) == set()


def test_services_of_the_same_users() -> None:
    root, one, two, nobody = (opened("53/udp", uid).service for uid in (0, 1, 2, None))
    also: list[OpenService] = [opened("54/udp", 2).service, nobody]
    assert of_users([root, one, two, nobody], also) == [root, two]
    assert users_of([one, two, nobody]) == {1, 2}
