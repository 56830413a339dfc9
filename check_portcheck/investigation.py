"""The conductor: what to look at, what to look at again, whom to ask, and what comes of it.

Pure: it meets the world through a Machine, which a test may write out. One run is

    first look -> judgement -> (findings: pause, second look -> judgement) -> explanation -> Outcome

What is known is told before each step that takes time, since the run may be ended in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.confirmation import (
    clients,
    confirmed,
    doubtful,
    in_doubt,
    replaced,
    with_renamed,
    without,
)
from check_portcheck.daemons import (
    client_ports,
    held_by_daemons,
    is_registered,
    may_be_client,
    of_users,
    ports_of,
    restless_users,
    shows_a_daemon,
    users_of,
)
from check_portcheck.elsewhere import bound_services
from check_portcheck.inquiry import Inquiry
from check_portcheck.memory.history import History, compare, remembered
from check_portcheck.model import Earlier, Evidence, Interface, Method, Protocol, Report
from check_portcheck.outcome import Outcome
from check_portcheck.policy.judgement import judge
from check_portcheck.probing.portset import PortSet
from check_portcheck.provisional import Provisional, not_probed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from check_portcheck.confirmation import Doubts
    from check_portcheck.deadline import Deadline
    from check_portcheck.model import Look, OpenService, Port, Span, Target
    from check_portcheck.outcome import Task
    from check_portcheck.policy.verdict import Verdict
    from check_portcheck.provisional import Tell
    from check_portcheck.questions import Machine

    Wanted = Mapping[Target, PortSet]

_PAUSE_SHARE, _RESERVE_SHARE = 0.3, 0.15
"""Parts of the time limit: the pause at most, and what is kept for the second look."""

_ALIKE = 2
"""For each second that a glance at the table and its judgement takes, where sockets come by the ten
thousand, so many more are kept: the same is to be done again after the ports."""

_OWNERS = "looking for owners"

_CLIENT_LOOKS, _CLIENT_TIME = 5, 3.0
"""Looks at UDP ports for clients, and the seconds over which they are spread at least."""

_COMPANY_TIME = 10.0
"""Seconds at most in which other ports of a daemon have to come or go."""


def _scanned(verdict: Verdict) -> Iterable[Interface]:
    """The scanned interfaces that findings concern, each once."""
    found = (each for finding in verdict.findings for each in finding.interfaces)
    return dict.fromkeys(each for each in found if each.scanned)


def investigate(task: Task, machine: Machine, tell: Tell) -> Outcome:
    """Look, look again at what is not as the policy wants it, and name who is behind it.

    Raises ScanError where nothing could be learnt, or nothing more than *tell* was told.
    """
    return _Investigation(task, machine, tell).outcome()


class _Investigation:
    """One run; the steps take a report and give the next one."""

    def __init__(self, task: Task, machine: Machine, tell: Tell) -> None:
        self._task = task
        self._machine = machine
        self._inquiry = Inquiry(task, machine)
        self._provisional = Provisional(task, machine, self._inquiry, tell)
        self._policy = task.policy
        whole = task.deadline.left()
        self._pause = min(task.settings.confirm, whole * _PAUSE_SHARE)
        self._reserve = whole * _RESERVE_SHARE
        """Seconds kept for the second look and for the owners of what it confirms."""
        self._portsets: dict[tuple[Span, ...], PortSet] = {}

    def outcome(self) -> Outcome:
        """The outcome, from the first look to the last."""
        began = self._task.deadline.left()
        report = self._first_look()
        verdict = judge(report, self._policy)
        if verdict.findings and self._task.settings.confirm:
            self._provisional.tell_unconfirmed(report, verdict, "looking again")
            report = self._second_look(report, verdict)
            verdict = judge(report, self._policy)
        self._provisional.tell(report, verdict, "looking up what is behind it")
        report = self._inquiry.explained(report, verdict)
        taken = self._machine.time()
        history = History()
        if self._task.settings.state:
            history = compare(self._task.memory, report, verdict, self._task.names, taken)
        report = report._replace(seconds=began - self._task.deadline.left())
        notes = (*self._task.notes, *report.notes)
        return Outcome(self._task, report, verdict, history, notes, taken)

    # The looks

    def _first_look(self) -> Report:
        """What is open in the whole range, with all that the judgement needs."""
        settings = self._task.settings
        report = Report(
            method=settings.method,
            interfaces=self._task.chosen.interfaces,
            protocols=tuple(Protocol) if settings.udp else (Protocol.TCP,),
            span=settings.span,
            ephemeral=self._task.ephemeral,
            present=self._task.chosen.present,
            failures=self._task.chosen.failures,
        )
        wanted = {
            (interface, protocol): self._ports(interface, protocol)
            for interface in report.interfaces
            for protocol in report.protocols
        }
        report = self._asked_beforehand(report, wanted)
        deadline = self._task.deadline.earlier(self._pause + self._reserve)
        found = self._look(report, wanted, deadline, self._earlier(report), self._ports)
        report = report._replace(
            services=found.services,
            unanswered=found.unanswered,
            coverage=found.coverage,
            notes=found.notes,
        )
        if self._policy.names_owners:
            self._tell_before_owners(report)
        return self._inquiry.with_decisive_owners(report)

    def _tell_before_owners(self, report: Report) -> None:
        """Tell what is known before owners are looked for, where that is more than at a glance."""
        probed = any(service.evidence is not Evidence.TABLE for service in report.services)
        if probed or report.method is not Method.FULL:
            self._provisional.tell_at_once(report, _OWNERS)
        else:
            self._provisional.tell_step(_OWNERS)

    def _asked_beforehand(self, report: Report, wanted: Wanted) -> Report:
        """The report with what is asked before ports are contacted, which may take long.

        What the socket table has to say is told before that, and in between.
        """
        questions = list(self._questions(report))
        if not questions and report.method is Method.TABLE:
            return report
        steps = [*(step for step, _ in questions), "looking at the ports"]
        began = self._task.deadline.left()
        glance = self._glance(report, wanted)
        self._provisional.tell_at_once(glance, steps[0])
        self._reserve += _ALIKE * (began - self._task.deadline.left())
        for (_, ask), following in zip(questions, steps[1:], strict=True):
            glance = ask(glance)
            self._provisional.tell_at_once(glance, following)
        return report._replace(registrations=glance.registrations, owners=glance.owners)

    def _questions(self, report: Report) -> Iterator[tuple[str, Callable[[Report], Report]]]:
        """What is asked before ports are contacted: the step, and how a report knows more by it."""
        if self._policy.names_rpc:
            where = report.interfaces
            yield "asking the portmapper", lambda of: self._inquiry.with_registrations(of, where)
        if self._policy.names_owners and report.method is Method.FULL:
            yield _OWNERS, self._inquiry.with_decisive_owners

    def _glance(self, report: Report, wanted: Wanted) -> Report:
        """What the socket table alone has to say, which takes no time and contacts nothing."""
        if report.method is Method.PROBE:
            return report._replace(unanswered=not_probed(report))
        table = report._replace(method=Method.TABLE)
        found = self._look(table, wanted, self._task.deadline, Earlier(0), self._ports)
        unprobed = not_probed(report) if report.method is Method.FULL else ()
        return report._replace(services=found.services, unanswered=unprobed)

    def _earlier(self, report: Report) -> Earlier:
        """What the last run leaves to the first look of this one."""
        if self._task.memory:
            return Earlier(
                self._task.memory.resume, remembered(self._task.memory, report.interfaces)
            )
        return Earlier(0 if self._task.settings.state else None)

    def _second_look(self, report: Report, verdict: Verdict) -> Report:
        """The report after a second look at all that is not as the policy wants it."""
        doubts = doubtful(report, verdict)
        before = [service for service in report.services if may_be_client(report, service)]
        report, doubts = self._outlasted(report, doubts)
        # Either a server that replaces its socket, or clients that came to one port by chance.
        if others := replaced(before, report, doubts):
            report, lasting = self._outlasted(report, others)
            doubts = without(doubts, without(others, lasting))
        report, passed = self._clients_of_daemons(report, verdict, before, doubts)
        if self._policy.names_rpc:
            asked = self._inquiry.with_registrations(report, _scanned(verdict))
            report, doubts = asked, with_renamed(doubts, report, asked)
        report = self._looked_at_again(report, doubts)
        left = tuple(
            service
            for service in report.services
            if service.port not in passed or is_registered(report, service)
        )
        return self._inquiry.with_owners_again(report._replace(services=left), verdict)

    def _clients_of_daemons(
        self, report: Report, verdict: Verdict, before: Sequence[OpenService], doubts: Doubts
    ) -> tuple[Report, Collection[Port]]:
        """The report with owners, and the ports that daemons have open as clients.

        A resolver whose upstream is dead keeps its sockets for ten seconds and longer. That it is
        one shows when others of its ports come or go meanwhile.
        """
        waiting = [each for each in report.services if may_be_client(report, each)]
        waiting = [each for each in waiting if in_doubt(each, doubts)]
        if not waiting:
            return report, ()
        allowed = [judged.service for judged in verdict.judged if shows_a_daemon(judged)]
        report = self._inquiry.with_owners(report, (*of_users(allowed, waiting), *waiting))
        suspects = held_by_daemons(report, allowed, waiting)
        restless: set[int] = set()
        least = max(self._reserve, self._task.deadline.left() - _COMPANY_TIME)
        while users_of(suspects) - restless and self._task.deadline.left() > least:
            restless |= restless_users(before, self._clients_now(report))
            self._wait(_CLIENT_TIME / _CLIENT_LOOKS)
        passed = [each for each in suspects if users_of([each]) <= restless]
        # Others may have the same port of another family or address.
        return report, ports_of(passed) - ports_of(each for each in waiting if each not in passed)

    def _clients_now(self, report: Report) -> list[OpenService]:
        """The ports for clients that are open now, by the socket table."""
        ports = PortSet(client_ports(report))
        wanted = {(interface, Protocol.UDP): ports for interface in report.interfaces}
        found = self._machine.look(
            Method.TABLE, report.interfaces, wanted, self._task.deadline, Earlier(0)
        )
        return [each for each in found.services if may_be_client(report, each)]

    def _outlasted(self, report: Report, doubts: Doubts) -> tuple[Report, Doubts]:
        """The report and what is in doubt, once the pause has gone by.

        A resolver's sockets come and go, while a server's port stays open, even where its socket is
        replaced each time: of ports for clients only those stay that are open at every look.
        """
        left = self._task.deadline.left() - self._reserve
        short, waiting = min(self._pause, left), clients(report, doubts)
        step = max(short, min(_CLIENT_TIME, left)) / _CLIENT_LOOKS
        waited = 0.0
        while waiting and waited < step * (_CLIENT_LOOKS - 1):
            self._wait(step)
            waited += step
            report = self._looked_at_again(report, waiting)
            lasting = clients(report, waiting)
            doubts = without(doubts, without(waiting, lasting))
            waiting = lasting
        self._wait(step if waiting else short - waited)
        return report, doubts

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._machine.pause(seconds)

    def _looked_at_again(self, report: Report, doubts: Doubts) -> Report:
        """The report after another look at some ports."""
        wanted = self._again(doubts)

        def ports(interface: Interface, protocol: Protocol) -> PortSet:
            return wanted.get((interface, protocol), PortSet(()))

        found = self._look(report, wanted, self._task.deadline, Earlier(0), ports)
        return report._replace(services=tuple(confirmed(report, doubts, found)))

    def _look(
        self,
        report: Report,
        wanted: Wanted,
        deadline: Deadline,
        earlier: Earlier,
        ports: Callable[[Interface, Protocol], PortSet],
    ) -> Look:
        """One look at the wanted ports, and at those that are bound where nothing is scanned.

        Of these *ports* tells which are wanted at such a place.
        """
        asked = {target: each for target, each in wanted.items() if target[0].scanned}
        found = self._machine.look(report.method, report.interfaces, asked, deadline, earlier)
        bound = [
            service
            for service in bound_services(found.unreached, self._task.chosen)
            if service.port.protocol in report.protocols
            and service.port.number in ports(service.interfaces[0], service.port.protocol)
        ]
        return found._replace(services=(*found.services, *bound), unreached=())

    def _again(self, numbers: Mapping[Target, set[int]]) -> dict[Target, PortSet]:
        """The ports in doubt that are not skipped; where the same are, the same object."""
        alike: dict[tuple[int, int], PortSet] = {}
        wanted: dict[Target, PortSet] = {}
        for (interface, protocol), doubted in numbers.items():
            allowed = self._ports(interface, protocol)
            key = (id(doubted), id(allowed))
            if key not in alike:
                alike[key] = PortSet(tuple(sorted(filter(allowed.__contains__, doubted))))
            wanted[interface, protocol] = alike[key]
        return wanted

    def _ports(self, interface: Interface, protocol: Protocol) -> PortSet:
        """The ports in the range that are not skipped; where the same are, the same object."""
        skips = tuple(self._policy.skips(interface, protocol))
        if skips not in self._portsets:
            first, last = self._task.settings.span
            ports = PortSet(range(first, last + 1))
            for skip in skips:
                ports = ports.minus(range(skip.first, skip.last + 1))
            self._portsets[skips] = ports
        return self._portsets[skips]
