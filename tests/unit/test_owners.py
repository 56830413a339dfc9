from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from check_portcheck.deadline import Deadline
from check_portcheck.kernel import descriptors, executables, owners, processes
from check_portcheck.kernel.descriptors import Holders
from check_portcheck.model import Owner, Process, Protocol, Socket, Unseen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from check_portcheck.kernel.executables import Files

NEVER = Deadline(at=1.0, clock=lambda: 0.0)
PAST = Deadline(at=1.0, clock=lambda: 1.0)


def udp(uid: int | None = 0, inode: int | None = 7) -> Socket:
    return Socket(Protocol.UDP, "0.0.0.0", 2049, v6only=False, device=0, uid=uid, inode=inode)


def process(pid: int, started: float | None = 1.0) -> Process:
    return Process(pid, f"daemon{pid}", None, started=started)


def no_table() -> Iterable[Socket]:
    pytest.fail("the table is read although it does not matter")


class Machine:
    """What a machine tells of its processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *looks: Holders) -> None:
        self.asked: list[set[int]] = []
        """The inodes that each look was for."""
        self.processes: dict[int, Process | None] = {}
        self.denied: set[int] = set()
        self._looks = iter(looks)
        self.whole = True
        """Whether every process of the machine is shown."""
        monkeypatch.setattr(descriptors, "holders", self._holders)
        monkeypatch.setattr(processes, "details", self._details)
        monkeypatch.setattr(processes, "are_all_visible", lambda: self.whole)
        monkeypatch.setattr(os, "geteuid", lambda: 65534)

    def _holders(self, inodes: Collection[int], deadline: Deadline) -> Holders:
        assert deadline in (NEVER, PAST)
        self.asked.append(set(inodes))
        return next(self._looks)

    def _details(self, pid: int, _: Files) -> Process | None:
        if pid in self.denied:
            raise PermissionError
        return self.processes.get(pid, process(pid))


def holders(pids: dict[int, set[int]] | None = None, unseen: Unseen | None = None) -> Holders:
    return Holders(pids or {}, unseen, unseen)


def late(known: tuple[Process, ...] = ()) -> Owner:
    return Owner("root", known, unseen=Unseen.TIME_LIMIT, others=Unseen.TIME_LIMIT)


# A socket that processes hold


def test_every_holder_is_named_the_first_to_start_in_front(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, holders({7: {30, 20, 10, 40}}))
    in_order = (process(40, None), process(20, 0.5), process(30, 0.5), process(10, 3.0))
    machine.processes = {each.pid: each for each in in_order}
    found = owners.find([udp()], NEVER, no_table)
    assert found == {udp(): Owner("root", in_order)}
    assert machine.asked == [{7}]


def test_each_socket_has_its_own_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, holders({7: {10}, 8: {10, 11}}))
    one, other = udp(), udp(inode=8)
    assert owners.find([one, other], NEVER, no_table) == {
        one: Owner("root", (process(10),)),
        other: Owner("root", (process(10), process(11))),
    }


def test_what_no_process_is_seen_to_hold_is_looked_for_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, holders({7: {10}}), holders({8: {11}}))
    one, other = udp(), udp(inode=8)
    found = owners.find([one, other], NEVER, no_table)
    assert machine.asked == [{7, 8}, {8}]
    assert found == {one: Owner("root", (process(10),)), other: Owner("root", (process(11),))}


def test_a_holder_that_ends_meanwhile_is_looked_for_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, holders({7: {10}}), holders({7: {11}}))
    machine.processes = {10: None}
    assert owners.find([udp()], NEVER, no_table) == {udp(): Owner("root", (process(11),))}
    assert machine.asked == [{7}, {7}]


def test_a_holder_that_has_ended_twice_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for again in (holders({7: {10}}), holders()):
        machine = Machine(monkeypatch, holders({7: {10}}), again)
        machine.processes = {10: None}
        found = owners.find([udp()], NEVER, no_table)
        assert found == {udp(): Owner("root", unseen=Unseen.ENDED)}


def test_a_holder_that_may_not_be_examined_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, holders({7: {10}}))
    machine.denied = {10}
    found = owners.find([udp()], NEVER, no_table)
    assert found == {udp(): Owner("root", unseen=Unseen.NOT_ROOT, others=Unseen.NOT_ROOT)}
    assert machine.asked == [{7}]


def test_one_known_holder_stands_for_those_that_may_not_be_examined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, holders({7: {10, 11}}, Unseen.HIDEPID))
    machine.denied = {10}
    known = Owner("root", (process(11),), others=Unseen.NOT_ROOT)
    assert owners.find([udp()], NEVER, no_table) == {udp(): known}


def test_that_more_processes_may_hold_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, Holders({7: {10}}, Unseen.DENIED, None))
    assert owners.find([udp()], NEVER, no_table) == {udp(): Owner("root", (process(10),))}
    Machine(monkeypatch, Holders({7: {10}}, Unseen.DENIED, Unseen.DENIED))
    known = Owner("root", (process(10),), others=Unseen.DENIED)
    assert owners.find([udp()], NEVER, no_table) == {udp(): known}


def test_each_process_is_asked_for_the_program_files_of_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Files] = []

    def details(pid: int, files: Files) -> Process:
        asked.append(files)
        return process(pid)

    Machine(monkeypatch, holders({7: {10}}))
    monkeypatch.setattr(processes, "details", details)
    owners.find([udp()], NEVER, no_table, ["/bin/sh"])
    assert asked == [executables.at(["/bin/sh"])]


def test_what_is_found_too_late_is_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, holders({7: {10}}, Unseen.TIME_LIMIT))
    found = owners.find([udp()], NEVER, no_table)
    assert found == {udp(): late((process(10),))}


def test_details_that_there_is_no_time_for_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, holders({7: {10}}, Unseen.HIDEPID))
    found = owners.find([udp()], PAST, no_table)
    assert found == {udp(): late()}


def test_details_are_read_until_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 0.0, 1.0])
    deadline = Deadline(at=1.0, clock=lambda: next(moments))
    monkeypatch.setattr(descriptors, "holders", lambda *_: holders({7: {30, 10, 20}}))
    monkeypatch.setattr(processes, "details", lambda pid, _: process(pid))
    found = owners.find([udp()], deadline, no_table)
    assert found == {udp(): late((process(10), process(20)))}


# A socket that nobody is seen to hold


@pytest.mark.parametrize(
    ("socket", "owner"),
    [
        (udp(), Owner("root", kernel=True)),
        (udp(inode=8), Owner("root", unseen=Unseen.CLOSED)),
        (udp(uid=4_000_000_000), Owner("4000000000", unseen=Unseen.NO_PROCESS)),
        (udp(uid=4_000_000_000, inode=8), Owner("4000000000", unseen=Unseen.CLOSED)),
    ],
)
def test_the_kernel_is_named_only_when_nothing_else_is_left(
    monkeypatch: pytest.MonkeyPatch, socket: Socket, owner: Owner
) -> None:
    machine = Machine(monkeypatch, holders(), holders())
    assert owners.find([socket], NEVER, lambda: [udp()]) == {socket: owner}
    assert machine.asked == [{socket.inode}] * 2


@pytest.mark.parametrize("unseen", [Unseen.NOT_ROOT, Unseen.HIDEPID, Unseen.TIME_LIMIT])
@pytest.mark.parametrize("uid", [0, 4_000_000_000])
def test_where_not_every_process_was_examined_that_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, unseen: Unseen, uid: int
) -> None:
    machine = Machine(monkeypatch, holders(unseen=unseen))
    machine.whole = False
    (owner,) = owners.find([udp(uid)], NEVER, no_table).values()
    assert (owner.kernel, owner.processes, owner.unseen) == (False, (), unseen)
    assert len(machine.asked) == 1


def test_what_the_second_look_could_not_examine_is_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Machine(monkeypatch, holders(), holders(unseen=Unseen.TIME_LIMIT))
    found = owners.find([udp()], NEVER, no_table)
    assert found == {udp(): Owner("root", unseen=Unseen.TIME_LIMIT)}


def test_inside_a_container_the_holder_may_be_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, holders({8: {10}}), holders())
    machine.whole = False
    inside = udp(inode=8)
    assert owners.find([udp(), inside], NEVER, no_table) == {
        udp(): Owner("root", unseen=Unseen.OUTSIDE),
        inside: Owner("root", (process(10),)),
    }


def test_a_table_without_owners_says_nothing_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.whole = False
    found = owners.find([udp(None, None)], NEVER, no_table)
    assert found == {udp(None, None): Owner(unseen=Unseen.NO_OWNERS)}


def test_no_process_can_hold_a_socket_without_inode(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    for machine.whole in (True, False):
        found = owners.find([udp(inode=0)], PAST, no_table)
        assert found == {udp(inode=0): Owner("root", kernel=True)}


def test_nothing_is_read_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch)
    assert owners.find([], PAST, no_table) == {}
