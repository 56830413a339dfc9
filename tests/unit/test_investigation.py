"""Whole runs against a machine that is written out, in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.config.settings import Settings
from check_portcheck.deadline import Deadline
from check_portcheck.investigation import investigate
from check_portcheck.kernel.selection import Chosen
from check_portcheck.memory.history import Memory
from check_portcheck.model import (
    Coverage,
    Device,
    Earlier,
    Endpoint,
    Failure,
    Interface,
    Look,
    Method,
    Owner,
    Port,
    Protocol,
    Registrations,
    ScanError,
    Socket,
    Span,
    Unseen,
)
from unit.samples import (
    HERE,
    LOOPBACK,
    SIX,
    Seen,
    owned,
    port,
    process,
    service,
    task,
    unanswered,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from check_portcheck.model import Target
    from check_portcheck.outcome import Outcome
    from check_portcheck.policy.verdict import Finding
    from check_portcheck.probing.portset import PortSet
    from check_portcheck.provisional import Tell

NOW = 1_700_000_000.0
NFS, PORTMAPPER, MOUNTD = 100003, 100000, 100005


NOTHING_LISTED = Look(())


class Asked:
    """What a look was asked for."""

    def __init__(
        self,
        method: Method,
        wanted: Mapping[Target, PortSet],
        seconds: float,
        earlier: Earlier,
    ) -> None:
        self.method = method
        self.ports = {target: list(ports.numbers()) for target, ports in wanted.items()}
        self.seconds = seconds
        self.earlier = earlier


class Written:
    """A machine whose answers are written out; each may take time."""

    def __init__(
        self,
        *looks: Look | ScanError,
        registrations: Mapping[Interface, list[Registrations]] | None = None,
        owners: Mapping[Socket, Owner] | None = None,
        forwarded: Mapping[tuple[Interface, Port], Endpoint] | None = None,
        takes: float = 0.0,
        glance: Look | None = NOTHING_LISTED,
        glance_takes: float = 0.0,
    ) -> None:
        """*glance* is what the table alone has before the first look, None where nobody asks."""
        self._looks = list(looks)
        self._glance = glance
        self._glance_takes = glance_takes
        self._registrations = {each: list(known) for each, known in (registrations or {}).items()}
        self._owners = owners or {}
        self._forwarded = forwarded or {}
        self._takes = takes
        self.now = 100.0
        self.scanned: Sequence[Interface] = ()
        self.asked: list[Asked] = []
        self.asked_owners: list[set[Socket]] = []
        self.asked_executables: set[str] = set()
        self.later_owners: dict[Socket, Owner] = {}
        """Who has sockets from the second question on."""
        self.asked_programs: list[tuple[int, ...]] = []
        self.asked_portmappers: list[tuple[Interface, float, bool]] = []
        self.asked_forwards: list[tuple[set[tuple[Interface, Port]], float]] = []
        self.pauses: list[float] = []

    def deadline(self, seconds: float) -> Deadline:
        """A deadline by this machine's clock."""
        return Deadline.after(seconds, lambda: self.now)

    def look(
        self,
        method: Method,
        interfaces: Sequence[Interface],
        wanted: Mapping[Target, PortSet],
        deadline: Deadline,
        earlier: Earlier,
    ) -> Look:
        if self._glance is not None and method is Method.TABLE and not self.asked:
            glance, self._glance = self._glance, None
            self.now += self._glance_takes
            return glance
        self.scanned = interfaces
        self.asked.append(Asked(method, wanted, deadline.left(), earlier))
        self.now += self._takes
        found = self._looks.pop(0)
        if isinstance(found, ScanError):
            raise found
        return found

    def registrations(
        self,
        interface: Interface,
        deadline: Deadline,
        *,
        loopback: bool,
        programs: Collection[int],
    ) -> Registrations:
        self.asked_programs.append(tuple(programs))
        self.asked_portmappers.append((interface, deadline.left(), loopback))
        self.now += self._takes
        known = self._registrations[interface]
        return known.pop(0) if len(known) > 1 else known[0]

    def owners(
        self, sockets: Collection[Socket], deadline: Deadline, *, executables: Collection[str]
    ) -> Mapping[Socket, Owner]:
        self.asked_owners.append(set(sockets))
        self.asked_executables.update(executables)
        self.now += self._takes
        late = Owner(unseen=Unseen.TIME_LIMIT)
        known, self._owners = self._owners, {**self._owners, **self.later_owners}
        return {each: late if deadline.passed else known[each] for each in sockets}

    def forwarded(
        self, asked: Collection[tuple[Interface, Port]], deadline: Deadline
    ) -> Mapping[tuple[Interface, Port], Endpoint]:
        self.asked_forwards.append((set(asked), deadline.left()))
        return self._forwarded

    def time(self) -> float:
        return NOW

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def seen(*of: Seen, **more: object) -> Look:
    """What a look finds."""
    return Look(tuple(each.service for each in of), **more)  # type: ignore[arg-type]


def known(*of: Seen) -> dict[Socket, Owner]:
    """The owners of some services, root where nothing else is said."""
    return {
        row: owner
        for each in of
        for row, owner in zip(each.service.sockets, each.owners or (owned("x"),), strict=True)
    }


def registered(**ports: int) -> Registrations:
    """``nfs=2049``: over TCP."""
    numbers = {"nfs": NFS, "portmapper": PORTMAPPER, "mountd": MOUNTD}
    return Registrations(
        {Port(Protocol.TCP, number): (numbers[name],) for name, number in ports.items()}
    )


def run(
    machine: Written,
    *rules: str,
    interfaces: tuple[Interface, ...] = (HERE,),
    settings: Settings | None = None,
    seconds: float = 10.0,
    memory: Memory | None = None,
    failures: tuple[Failure, ...] = (),
    chosen: Chosen | None = None,
    tell: Tell | None = None,
) -> Outcome:
    about = task(
        *rules,
        interfaces=interfaces,
        settings=settings or Settings(),
        deadline=machine.deadline(seconds),
        memory=memory,
        failures=failures,
        chosen=chosen,
        notes=("a note",),
    )
    return investigate(about, machine, tell or (lambda *_: None))


def said(finding: Finding) -> str:
    where = ",".join(map(str, finding.interfaces))
    return f"{finding.kind} {where}:{finding.item}" + (f": {finding.reason}" * bool(finding.reason))


def findings(outcome: Outcome) -> list[str]:
    return [said(each) for each in outcome.verdict.findings]


SSH = service("22/tcp")
WEB = service("80/tcp")


# A quiet run


def test_one_look_is_enough_where_all_is_as_it_should_be() -> None:
    machine = Written(seen(SSH, coverage=Coverage(9, 8, 1)))
    told = run(machine, "required * 22/tcp", failures=(Failure("eth7 is gone", "eth7"),))
    assert findings(told) == []
    assert (machine.pauses, machine.asked_owners, machine.asked_portmappers) == ([], [], [])
    assert (told.notes, told.taken) == (("a note",), NOW)
    assert told.report.coverage == Coverage(9, 8, 1)
    assert told.report.failures == (Failure("eth7 is gone", "eth7"),)
    assert told.report.protocols == (Protocol.TCP, Protocol.UDP)
    (asked,) = machine.asked
    assert (asked.method, asked.earlier) == (Method.FULL, Earlier(None))
    assert asked.seconds == pytest.approx(10 - 1 - 1.5)


def test_the_first_look_is_at_the_range_without_what_is_skipped() -> None:
    machine = Written(seen())
    settings = Settings(span=Span(20, 25), method=Method.PROBE, udp=False)
    rules = ("skip 192.0.2.7 22/tcp", "skip lo 24-30/tcp", "skip * 20/udp")
    run(machine, *rules, interfaces=(HERE, LOOPBACK, SIX), settings=settings)
    assert machine.asked[0].method is Method.PROBE
    assert machine.asked[0].ports == {
        (HERE, Protocol.TCP): [20, 21, 23, 24, 25],
        (LOOPBACK, Protocol.TCP): [20, 21, 22, 23],
        (SIX, Protocol.TCP): [20, 21, 22, 23, 24, 25],
    }


def test_the_first_look_goes_on_where_the_last_run_stopped() -> None:
    machine = Written(seen())
    before = {"192.0.2.7 198.51.100.1": {"80/tcp": [], "53/udp": [], "22/tcp": ["nfs"]}}
    run(machine, memory=Memory(NOW - 300, "", "", 0, open=before, resume=7))
    assert machine.asked[0].earlier == Earlier(
        7, {(HERE, Protocol.TCP): {80, 22}, (HERE, Protocol.UDP): {53}}
    )


def test_the_first_of_all_runs_begins_at_the_front() -> None:
    machine = Written(seen())
    run(machine, settings=Settings(state="/var/lib/portcheck/state"))
    assert machine.asked[0].earlier == Earlier(0)


def test_where_nothing_can_be_learnt_there_is_no_outcome() -> None:
    with pytest.raises(ScanError, match="no table"):
        run(Written(ScanError("no table")))


# Between the looks


def test_what_was_seen_twice_is_reported_with_its_owner() -> None:
    nc = service("80/tcp", owners=(owned("nc"),))
    machine = Written(seen(SSH, nc), seen(nc), owners=known(nc))
    told = run(machine, "optional * 22/tcp")
    assert findings(told) == ["unexpected 192.0.2.7:80/tcp"]
    assert [list(each.ports.values()) for each in machine.asked] == [
        [list(range(65536)), list(range(65536))],
        [[80]],
    ]
    assert machine.pauses == [1.0]
    assert machine.asked[1].earlier == Earlier(0)
    assert machine.asked_owners == [set(nc.service.sockets)]
    assert told.report.owners[nc.service.sockets[0]] == owned("nc")


def test_a_daemon_that_restarts_meanwhile_is_no_alarm() -> None:
    machine = Written(seen(), seen(SSH))
    told = run(machine, "required * 22/tcp")
    assert findings(told) == []
    assert told.report.services == (SSH.service,)


def test_a_daemon_that_ends_meanwhile_is_missing_only_where_it_must_be() -> None:
    machine = Written(seen(SSH, WEB), seen())
    told = run(machine, "required * 25/tcp")
    assert findings(told) == ["missing 192.0.2.7:25/tcp"]
    assert told.report.services == ()


def test_a_service_that_comes_to_another_address_is_judged_there() -> None:
    first, second = service("80/tcp", HERE), service("80/tcp", HERE, LOOPBACK)
    machine = Written(seen(first), seen(second), owners=known(first, second))
    told = run(machine, interfaces=(HERE, LOOPBACK))
    assert findings(told) == ["unexpected 192.0.2.7:80/tcp", "unexpected 127.0.0.1:80/tcp"]


def test_the_second_look_leaves_alone_what_is_skipped() -> None:
    machine = Written(seen(WEB), seen(WEB), owners=known(WEB))
    run(machine, "required * nfs/tcp", "skip * 111/tcp", "skip * 2049/tcp")
    assert machine.asked[1].ports == {(HERE, Protocol.TCP): [80]}


@pytest.mark.parametrize(("confirm", "looks"), [(0.0, 1), (0.5, 2)])
def test_without_a_pause_there_is_no_second_look(confirm: float, looks: int) -> None:
    machine = Written(*[seen(WEB)] * 2, owners=known(WEB))
    told = run(machine, settings=Settings(confirm=confirm))
    assert (len(machine.asked), machine.pauses) == (looks, [confirm] * (looks - 1))
    assert findings(told) == ["unexpected 192.0.2.7:80/tcp"]


# Time


def test_the_pause_takes_its_share_of_the_limit_at_most() -> None:
    machine = Written(seen(WEB), seen(WEB), owners=known(WEB))
    run(machine, settings=Settings(confirm=60.0), seconds=10)
    assert machine.pauses == [3.0]


@pytest.mark.parametrize(
    ("takes", "paused"), [(0.0, 1.0), (7.6, 0.9), (8.4, 0.1), (9.0, 0.0), (11.0, 0.0)]
)
def test_a_late_first_look_leaves_less_pause_and_what_was_found_is_told(
    takes: float, paused: float
) -> None:
    machine = Written(seen(WEB), seen(WEB), owners=known(WEB), takes=takes)
    told = run(machine, seconds=10)
    assert sum(machine.pauses) == pytest.approx(paused)
    assert findings(told) == ["unexpected 192.0.2.7:80/tcp"]


def test_owners_for_which_no_time_is_left_are_told_as_such() -> None:
    nc = service("80/tcp", owners=(owned("nc"),))
    machine = Written(seen(nc), seen(nc), owners=known(nc), takes=4.0)
    told = run(machine, "optional * 80/tcp@nc", seconds=10)
    assert findings(told) == []
    machine = Written(seen(nc), seen(nc), owners=known(nc), takes=11.0)
    told = run(machine, "optional * 80/tcp@nc", seconds=10)
    assert findings(told) == [
        "unverified 192.0.2.7:80/tcp: owner not determined (time limit), expected nc"
    ]


def test_a_second_look_without_time_leaves_what_it_could_not_see() -> None:
    hidden = service("80/tcp", no_socket=True)
    machine = Written(seen(hidden), seen(coverage=Coverage(1, 0, 1)))
    told = run(machine)
    assert findings(told) == ["unexpected 192.0.2.7:80/tcp"]


def test_the_time_that_went_by_is_told() -> None:
    assert run(Written(seen(), takes=2.5)).report.seconds == pytest.approx(2.5)
    # More than the limit: the excess has gone by nobody's clock but the guard's.
    assert run(Written(seen(), takes=25.0), seconds=10).report.seconds == pytest.approx(10)


# Owners


def test_owners_are_asked_for_where_a_rule_wants_one_and_once() -> None:
    ssh, web = service("22/tcp", owners=(owned("sshd"),)), service("80/tcp")
    machine = Written(seen(ssh, web), owners=known(ssh))
    assert findings(run(machine, "optional * 22/tcp@sshd", "optional * 80/tcp")) == []
    assert machine.asked_owners == [set(ssh.service.sockets)]


def test_a_wrong_owner_is_looked_at_again_and_a_new_socket_asked_for_anew() -> None:
    nc, sshd = service("22/tcp", owners=(owned("nc"),)), service("22/tcp", owners=(owned("sshd"),))
    machine = Written(seen(nc), seen(sshd), owners=known(nc, sshd))
    assert findings(run(machine, "optional * 22/tcp@sshd")) == []
    assert machine.asked_owners == [set(nc.service.sockets), set(sshd.service.sockets)]


def test_an_owner_that_was_seen_at_a_bad_moment_is_seen_again() -> None:
    web = service("80/tcp", owners=(owned("nc"),))
    machine = Written(seen(web), seen(web), owners=known(web))
    machine.later_owners = dict.fromkeys(web.service.sockets, owned("nginx"))
    assert findings(run(machine, "optional * 80/tcp@nginx")) == []
    assert machine.asked_owners == [set(web.service.sockets)] * 2


def test_an_owner_for_which_there_is_no_time_again_stays_as_it_was_seen() -> None:
    web = service("80/tcp", owners=(owned("nc"),))
    machine = Written(seen(web), seen(web), owners=known(web), takes=3.0)
    assert findings(run(machine, "optional * 80/tcp@nginx", seconds=10)) == [
        "unexpected 192.0.2.7:80/tcp: owner nc, expected nginx"
    ]
    assert machine.now > 10


def test_which_of_the_program_files_of_rules_a_process_runs_is_asked() -> None:
    ssh = service("22/tcp", owners=(owned("sshd"),))
    machine = Written(seen(ssh), owners=known(ssh))
    run(machine, "optional * 22/tcp@/usr/sbin/sshd", "optional * 80/tcp@nginx", "skip * 1/tcp")
    assert machine.asked_executables == {"/usr/sbin/sshd"}


def test_owners_that_may_not_be_seen_leave_the_rule_unverified() -> None:
    hidden = service("22/tcp", owners=(Owner("root", unseen=Unseen.NOT_ROOT),))
    machine = Written(seen(hidden), seen(hidden), owners=known(hidden))
    assert findings(run(machine, "required * 22/tcp@sshd")) == [
        (
            "unverified 192.0.2.7:22/tcp: owner not determined (not root: run it by sudo),"
            " expected sshd"
        )
    ]


@pytest.mark.parametrize("settings", [Settings(verbosity=1), Settings(print_policy=True)])
def test_who_wants_to_know_all_gets_all_owners(settings: Settings) -> None:
    machine = Written(seen(SSH, WEB), owners=known(SSH, WEB))
    run(machine, "optional * 22/tcp", "optional * 80/tcp", settings=settings)
    assert machine.asked_owners == [{*SSH.service.sockets, *WEB.service.sockets}]


# Portmappers


def test_portmappers_are_asked_first_and_only_where_a_rule_names_a_program() -> None:
    nfs = service("2049/tcp")
    machine = Written(
        seen(nfs, WEB), seen(WEB), registrations={HERE: [registered(nfs=2049)]}, owners=known(WEB)
    )
    told = run(machine, "required * nfs/tcp")
    assert findings(told) == ["unexpected 192.0.2.7:80/tcp"]
    assert [each for each, _, _ in machine.asked_portmappers] == [HERE, HERE]
    assert told.report.programs_at(HERE, nfs.service.port) == (NFS,)


def test_a_program_that_moves_meanwhile_is_no_alarm() -> None:
    old, new = service("2049/tcp"), service("2050/tcp")
    machine = Written(
        seen(new),
        seen(new),
        registrations={HERE: [registered(nfs=2049), registered(nfs=2050)]},
        owners=known(old, new),
    )
    assert findings(run(machine, "required * nfs/tcp")) == []


def test_a_program_that_was_restarted_between_the_looks_is_looked_at_where_it_is_now() -> None:
    old, new = service("2049/tcp"), service("2050/tcp")
    machine = Written(
        seen(old, WEB),
        seen(new),
        registrations={HERE: [registered(nfs=2049, portmapper=111), registered(nfs=2050)]},
    )
    told = run(machine, "required * nfs/tcp")
    assert findings(told) == []
    assert told.report.services == (new.service,)
    assert machine.asked[1].ports == {(HERE, Protocol.TCP): [80, 111, 2049, 2050]}


def test_a_portmapper_that_dies_between_the_looks_takes_its_names_along() -> None:
    # The names of the first look allow 2049 no more: what the next run would say.
    nfs = service("2049/tcp")
    dead = Registrations(unreachable="portmapper on 192.0.2.7 refused the connection")
    machine = Written(
        seen(nfs, WEB),
        seen(nfs, WEB),
        registrations={HERE: [registered(nfs=2049), dead]},
        owners=known(nfs, WEB),
    )
    assert findings(run(machine, "optional * nfs/tcp")) == [
        "unexpected 192.0.2.7:80/tcp",
        "unexpected 192.0.2.7:2049/tcp",
    ]


def test_registrations_that_are_gone_in_the_second_look_are_gone() -> None:
    nfs = service("2049/tcp")
    machine = Written(
        seen(nfs, WEB),
        seen(nfs, WEB),
        registrations={HERE: [registered(nfs=2049), Registrations()]},
        owners=known(nfs, WEB),
    )
    assert findings(run(machine, "required * nfs/tcp")) == [
        "missing 192.0.2.7:nfs/tcp: not registered",
        "unexpected 192.0.2.7:80/tcp",
        "unexpected 192.0.2.7:2049/tcp",
    ]


def test_only_portmappers_of_doubtful_interfaces_are_asked_again() -> None:
    nfs = service("2049/tcp", HERE, LOOPBACK)
    machine = Written(
        seen(nfs, WEB),
        seen(WEB),
        registrations={each: [registered(nfs=2049)] for each in (HERE, LOOPBACK)},
        owners=known(WEB),
    )
    told = run(machine, "required * nfs/tcp", interfaces=(HERE, LOOPBACK))
    assert findings(told) == ["unexpected 192.0.2.7:80/tcp"]
    assert [each for each, _, _ in machine.asked_portmappers] == [HERE, LOOPBACK, HERE]


@pytest.mark.parametrize(
    ("skip", "asked", "loopback"),
    [
        ("skip * 1/tcp", [HERE, SIX], True),
        ("skip * 100-120/udp", [], True),
        ("skip 192.0.2.7 111/tcp", [SIX], True),
        ("skip 127.0.0.1 111/tcp", [HERE, SIX], False),
        ("skip ::1 111/udp", [HERE, SIX], False),
        ("skip lo 111/tcp", [HERE, SIX], False),
    ],
)
def test_a_portmapper_that_is_skipped_is_not_asked(
    skip: str, asked: list[Interface], *, loopback: bool
) -> None:
    machine = Written(seen(), registrations={each: [Registrations()] for each in (HERE, SIX)})
    told = run(machine, skip, "optional * nfs/tcp", interfaces=(HERE, SIX))
    assert [each for each, _, _ in machine.asked_portmappers] == asked
    assert {allowed for _, _, allowed in machine.asked_portmappers} <= {loopback}
    reason = "the portmapper's port is skipped"
    skipped = [each for each in (HERE, SIX) if told.report.registered(each).unreachable == reason]
    assert skipped == [each for each in (HERE, SIX) if each not in asked]


@pytest.mark.parametrize(("limit", "given"), [(5.0, 1.5), (10.0, 3.0), (60.0, 3.0)])
def test_portmappers_get_a_part_of_the_time(limit: float, given: float) -> None:
    machine = Written(seen(), registrations={HERE: [Registrations()]})
    run(machine, "optional * nfs/tcp", seconds=limit)
    assert [seconds for _, seconds, _ in machine.asked_portmappers] == [pytest.approx(given)]


def test_programs_without_a_rule_are_named_where_a_portmapper_runs() -> None:
    nfs, mapper = service("2049/tcp"), service("111/tcp")
    machine = Written(
        seen(nfs, mapper),
        seen(nfs),
        registrations={HERE: [registered(nfs=2049)]},
        owners=known(nfs),
    )
    told = run(machine, "optional * 111/tcp")
    assert told.report.programs_at(HERE, nfs.service.port) == (NFS,)


def test_a_portmapper_that_only_names_services_may_fail() -> None:
    web, mapper = service("80/tcp"), service("111/tcp")
    machine = Written(
        seen(web, mapper),
        seen(web),
        registrations={HERE: [Registrations(unreachable="timed out")]},
        owners=known(web),
    )
    told = run(machine, "optional * 111/tcp")
    assert told.report.registrations == {}
    assert findings(told) == ["unexpected 192.0.2.7:80/tcp"]


# Forwards, memory


def test_what_has_no_socket_is_explained_by_where_packets_went() -> None:
    hidden, forwarded = service("80/tcp", no_socket=True), service("81/tcp", no_socket=True)
    ends = {(HERE, port("81/tcp")): Endpoint("172.17.0.2", 80)}
    machine = Written(
        *[seen(hidden, forwarded, WEB._replace())] * 2, owners=known(WEB), forwarded=ends
    )
    told = run(machine)
    assert told.report.forwarded == ends
    ((asked, seconds),) = machine.asked_forwards
    assert asked == {(HERE, port("80/tcp")), (HERE, port("81/tcp"))}
    assert 0 < seconds < 5


def test_what_is_remembered_dates_findings_and_tells_what_closed() -> None:
    memory = Memory(
        NOW - 300,
        "",
        "",
        0,
        since={"192.0.2.7": {"unexpected 80/tcp": 5.0}},
        open={"192.0.2.7": {"80/tcp": [], "25/tcp": []}},
    )
    machine = Written(seen(WEB), seen(WEB), owners=known(WEB))
    told = run(machine, settings=Settings(state="/state"), memory=memory)
    assert told.history.since == {"192.0.2.7": {"unexpected 80/tcp": 5.0}}
    (event,) = told.history.events
    assert (event.what, event.interfaces, event.ports) == ("closed", (HERE,), (port("25/tcp"),))


def test_without_a_state_file_nothing_is_dated() -> None:
    machine = Written(seen(WEB), seen(WEB), owners=known(WEB))
    assert run(machine).history.since == {}


def test_unanswered_ports_are_told_once_they_stay_so() -> None:
    machine = Written(seen(unanswered=(unanswered("1-9/tcp"),)), seen())
    assert findings(run(machine)) == ["unverified 192.0.2.7:1-9/tcp: unanswered"]


# Sockets that no scanned address reaches


MULTICAST = Socket(Protocol.UDP, "224.0.0.251", 5353, v6only=False, device=0, cookie=-1)
BEHIND = Socket(Protocol.TCP, "0.0.0.0", 4444, v6only=False, device=3, cookie=-2)
ALL = Chosen(
    (HERE,), counted=("eth0", "eth1", "other"), everything=True, devices={3: Device("eth1", "eth1")}
)


def unreached(*rows: Socket) -> Look:
    return Look((), unreached=rows)


def test_sockets_of_no_scanned_address_are_services_where_they_are_bound() -> None:
    owners = {MULTICAST: owned("avahi"), BEHIND: owned("nc")}
    machine = Written(*[unreached(MULTICAST, BEHIND)] * 2, owners=owners)
    told = run(machine, chosen=ALL)
    assert findings(told) == [
        "unexpected 0.0.0.0%eth1:4444/tcp",
        "unexpected 224.0.0.251:5353/udp",
    ]
    assert machine.asked[1].ports == {}
    assert machine.scanned == (HERE,)
    assert {name: count.unexpected for name, count in told.counts().items()} == {
        "eth0": 0,
        "eth1": 1,
        "other": 1,
    }


def test_such_a_socket_that_closes_meanwhile_is_no_alarm() -> None:
    machine = Written(unreached(MULTICAST), unreached(), owners={})
    assert findings(run(machine, chosen=ALL)) == []


@pytest.mark.parametrize(
    "rule",
    [
        "optional * 4444/tcp",
        "optional eth1 4444/tcp",
        "optional 0.0.0.0/0 4444/tcp",
        "ignore 0.0.0.0%eth1 4444/tcp",
        "skip * 4444/tcp",
        "skip eth1 4000-5000/tcp",
    ],
)
def test_rules_speak_of_such_sockets_as_of_any(rule: str) -> None:
    assert findings(run(Written(unreached(BEHIND)), rule, chosen=ALL)) == []


@pytest.mark.parametrize(
    "settings", [Settings(span=Span(1, 4000)), Settings(span=Span(5000, 6000), udp=False)]
)
def test_such_sockets_count_within_the_range_that_is_scanned(settings: Settings) -> None:
    machine = Written(unreached(BEHIND, MULTICAST))
    assert findings(run(machine, chosen=ALL, settings=settings)) == []


# Clients over UDP


CLIENT, OTHER_CLIENT = service("40000/udp"), service("40001/udp")
SERVER = service("50000/udp")


def test_a_port_for_clients_counts_when_it_is_open_at_every_look() -> None:
    looks = [seen(CLIENT, SERVER), seen(SERVER, CLIENT), *[seen(SERVER)] * 4]
    machine = Written(*looks, owners=known(SERVER))
    assert findings(run(machine)) == ["unexpected 192.0.2.7:50000/udp"]
    assert [list(each.ports.values())[-1] for each in machine.asked[1:]] == [
        [40000, 50000],
        [40000, 50000],
        [50000],
        [50000],
        [50000],
    ]
    assert sum(machine.pauses) == pytest.approx(3.0)


def test_a_server_may_replace_its_socket_each_time() -> None:
    sockets = [service("40000/udp") for _ in range(10)]
    machine = Written(*map(seen, sockets), owners=known(*sockets))
    assert findings(run(machine)) == ["unexpected 192.0.2.7:40000/udp"]
    # As long once more: two clients that had one port by chance do not keep it.
    assert sum(machine.pauses) == pytest.approx(6.0)


@pytest.mark.parametrize("until", [1, 2, 3, 4])
def test_two_clients_that_come_to_one_port_by_chance_are_no_alarm(until: int) -> None:
    other = service("40000/udp")
    looks = [*[seen(CLIENT, SERVER)] * until, *[seen(other, SERVER)] * (6 - until)]
    machine = Written(*looks, *[seen(SERVER)] * 4, owners=known(SERVER))
    assert findings(run(machine)) == ["unexpected 192.0.2.7:50000/udp"]


def test_a_port_that_was_closed_once_does_not_come_back() -> None:
    web = service("80/tcp")
    looks = [seen(CLIENT, web), seen(), seen(web)]
    machine = Written(*looks, owners=known(web))
    assert findings(run(machine)) == ["unexpected 192.0.2.7:80/tcp"]
    assert machine.asked[2].ports == {(HERE, Protocol.UDP): [], (HERE, Protocol.TCP): [80]}


def test_the_time_for_clients_is_spent_only_on_them() -> None:
    machine = Written(seen(CLIENT), seen(), seen())
    assert findings(run(machine)) == []
    assert sum(machine.pauses) == pytest.approx(1.0)


def test_clients_get_what_time_is_left() -> None:
    machine = Written(*[seen(CLIENT)] * 6, owners=known(CLIENT), takes=0.1)
    run(machine, seconds=2.0)
    assert sum(machine.pauses) == pytest.approx(2.0 - 0.3 - 0.1)


def by_daemon(text: str, name: str = "dnsmasq", pid: int = 53, uid: int = 100) -> Seen:
    """A port that a process of a user has open."""
    made = service(text, owners=(Owner("dnsmasq", (process(name, pid=pid),)),))
    (row,) = made.service.sockets
    return made._replace(service=made.service._replace(sockets=(row._replace(uid=uid),)))


DNS = by_daemon("53/udp")
ASKING = by_daemon("40000/udp")
NEXT = by_daemon("41000/udp")


def test_a_resolver_that_waits_for_its_upstream_is_no_alarm() -> None:
    lasting = [seen(DNS, ASKING)] * 5
    machine = Written(*lasting, seen(ASKING, NEXT), seen(ASKING), owners=known(DNS, ASKING))
    told = run(machine, "optional * 53/udp")
    assert findings(told) == []
    assert machine.asked[5].method is Method.TABLE
    assert machine.asked[5].ports[HERE, Protocol.UDP] == list(range(1024, 65536))


def test_a_resolver_may_open_its_own_port_as_root_and_choose_the_others_itself() -> None:
    dns, asking, following = by_daemon("53/udp", uid=0), by_daemon("7045/udp"), by_daemon("9/udp")
    lasting, now = seen(dns, asking), seen(following)
    machine = Written(lasting, now, seen(asking), owners=known(dns, asking))
    assert findings(run(machine, "optional * 53/udp")) == []
    assert [each.method for each in machine.asked] == [Method.FULL, Method.TABLE, Method.FULL]


def test_what_is_registered_when_it_is_looked_at_again_is_no_client() -> None:
    # rpc.statd, restarted while its portmapper was asked: its port is one of the kernel's range.
    lasting = [seen(DNS, ASKING)] * 5
    named = Registrations({Port(Protocol.UDP, 40000): (NFS,)})
    machine = Written(
        *lasting,
        seen(ASKING, NEXT),
        seen(ASKING),
        registrations={HERE: [Registrations(), named]},
        owners=known(DNS, ASKING),
    )
    told = run(machine, "optional * 53/udp", "required * nfs/udp")
    assert findings(told) == []
    assert ASKING.service in told.report.services


@pytest.mark.parametrize(
    ("other", "rule"),
    [
        pytest.param(ASKING, "optional * 54/udp", id="the-policy-does-not-know-it"),
        pytest.param(by_daemon("40000/udp", pid=54), "optional * 53/udp", id="another-process"),
        pytest.param(by_daemon("40000/udp", uid=101), "optional * 53/udp", id="another-user"),
    ],
)
def test_a_port_of_nobody_known_stays_an_alarm(other: Seen, rule: str) -> None:
    looks = [*[seen(DNS, other)] * 5, *[seen(other, NEXT)] * 20]
    machine = Written(*looks, owners=known(DNS, other, NEXT))
    assert "unexpected 192.0.2.7:40000/udp" in findings(run(machine, rule))


@pytest.mark.parametrize(
    ("held", "rule"),
    [
        pytest.param(by_daemon("20000/udp"), "optional * 20000/udp", id="anybody-may-open-it"),
        pytest.param(by_daemon("20000/udp"), "optional * 20000/udp@dnsmasq", id="a-name"),
        pytest.param(by_daemon("20000/udp"), "ignore * 20000/udp", id="ignored"),
        pytest.param(DNS, "ignore * 53/udp", id="reserved-and-ignored"),
    ],
)
def test_a_port_that_anybody_may_have_makes_nobody_a_daemon(held: Seen, rule: str) -> None:
    looks = [*[seen(held, ASKING)] * 5, *[seen(ASKING, NEXT)] * 20]
    machine = Written(*looks, owners=known(held, ASKING, NEXT))
    assert "unexpected 192.0.2.7:40000/udp" in findings(run(machine, rule))


def test_a_daemon_whose_port_stays_and_no_other_comes_or_goes_is_an_alarm() -> None:
    machine = Written(*[seen(DNS, ASKING)] * 40, owners=known(DNS, ASKING))
    told = run(machine, "optional * 53/udp")
    assert findings(told) == ["unexpected 192.0.2.7:40000/udp"]
    # All the time that there is was used to see whether any comes or goes.
    assert sum(machine.pauses) == pytest.approx(10 - 1.5, abs=0.6)


# What is not here


def test_rules_for_what_is_not_here() -> None:
    about = Chosen((HERE,), counted=("192.0.2.7",), present=frozenset(("192.0.2.7", "127.0.0.1")))
    rules = (
        "required 192.0.2.99 25/tcp",
        "required 127.0.0.1 25/tcp",
        "required 198.51.100.0/24 25/tcp",
        "optional eth7 22/tcp",
        "skip 192.0.2.98 22/tcp",
        "ignore * 53/udp",
    )
    told = run(Written(seen(), seen()), *rules, chosen=about)
    assert [(each.kind, str(each.rule), each.reason) for each in told.verdict.findings] == [
        ("unverified", "192.0.2.99:25/tcp", "is not here now"),
        ("unverified", "127.0.0.1:25/tcp", "is not scanned"),
    ]
    assert list(map(str, told.verdict.idle)) == ["eth7:22/tcp", "192.0.2.98:22/tcp"]
    assert str(told.verdict.unused[-1]) == "*:53/udp"


def test_a_required_port_that_is_skipped_under_another_name_is_in_doubt() -> None:
    told = run(Written(seen(), seen()), "required eth0 25/tcp", "skip 192.0.2.7 20-30/tcp")
    assert findings(told) == ["unverified 192.0.2.7:25/tcp: skipped by skip 192.0.2.7 20-30/tcp"]
