"""Reports and policies in as few words as a table of cases needs."""

from __future__ import annotations

import ipaddress
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.config.settings import Settings
from check_portcheck.deadline import Deadline
from check_portcheck.kernel.selection import Chosen
from check_portcheck.memory.history import Event, History, Memory
from check_portcheck.model import (
    Endpoint,
    Evidence,
    Failure,
    Interface,
    Method,
    OpenService,
    Owner,
    Port,
    PortRange,
    Process,
    Protocol,
    Registrations,
    Report,
    Socket,
    Span,
    Unanswered,
    Unseen,
)
from check_portcheck.names import names
from check_portcheck.outcome import Outcome, Task
from check_portcheck.policy.judgement import judge
from check_portcheck.policy.rules import (
    ANY_INTERFACE,
    EphemeralPorts,
    InterfacePattern,
    Kind,
    OwnerKind,
    OwnerPattern,
    Policy,
    RpcProgram,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from check_portcheck.policy.rules import Item

HERE = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("192.0.2.7",))
ALIAS = Interface("192.0.2.8", "eth0", 2, "eth0:1", chosen=("192.0.2.8",))
SIX = Interface("2001:db8::7", "eth0", 2, "eth0", chosen=("2001:db8::7",))
LOOPBACK = Interface("127.0.0.1", "lo", 1, "lo", chosen=("127.0.0.1",))

EPHEMERAL = Span(32768, 60999)
HOSTILE = "x\"y'|z=1\\n\n\x1b[2J\udcff\u202e"
"""A name that would end lines, quotes and performance data, were it printed as it is."""

RPC = {"portmapper": 100000, "nfs": 100003, "mountd": 100005}
NAMES = names("ssh 22/tcp\nhttp-alt 8080/tcp\n", "")
"""Two names of ports, and those of RPC programs that are always known."""


def port(text: str) -> Port:
    """``22/tcp``."""
    number, protocol = text.split("/")
    return Port(Protocol(protocol), int(number))


def item(text: str) -> Item:
    """``22/tcp``, ``1-9/udp``, ``*/tcp``, ``ephemeral/udp``, ``nfs/tcp``."""
    name, _, of = text.partition("/")
    protocol = Protocol(of)
    if name == "ephemeral":
        return EphemeralPorts(protocol)
    if name in RPC:
        return RpcProgram(protocol, RPC[name], name)
    lowest, _, highest = name.replace("*", "0-65535").partition("-")
    return PortRange(protocol, Span(int(lowest), int(highest or lowest)))


def pattern(text: str) -> InterfacePattern:
    """``*``, a network, or a name."""
    if "/" in text:
        return InterfacePattern(text, ipaddress.ip_network(text))
    return ANY_INTERFACE if text == "*" else InterfacePattern(text)


def owner_pattern(text: str) -> OwnerPattern:
    """``sshd``, ``/usr/sbin/sshd``, ``user:NAME``, ``unit:NAME``."""
    kind, _, value = text.partition(":")
    if value:
        return OwnerPattern(OwnerKind(kind), value)
    return OwnerPattern(OwnerKind.EXECUTABLE if text[0] == "/" else OwnerKind.NAME, text)


def rule(text: str) -> Rule:
    """``required 192.0.2.7 22/tcp@sshd``; the text itself is the rule's source."""
    kind, where, rest = text.split(" ")
    named, _, owner = rest.partition("@")
    return Rule(
        Kind(kind), pattern(where), item(named), owner_pattern(owner) if owner else None, text
    )


def policy(*texts: str) -> Policy:
    """A policy of such rules."""
    return Policy(rule(text) for text in texts)


def process(name: str = "sshd", pid: int = 4711, user: str | None = "root") -> Process:
    """A process whose program file has its name."""
    path = f"/usr/sbin/{name}"
    return Process(pid, name, path, (), user, 1.0, f"{name}.service", files=(path,))


def owned(*names: str, user: str | None = "root", unseen: Unseen | None = None) -> Owner:
    """An owner with a process of each name."""
    return Owner(user, tuple(process(name, user=user) for name in names), unseen=unseen)


class Seen(NamedTuple):
    """An open service, with what a report knows of it elsewhere."""

    service: OpenService
    owners: tuple[Owner, ...] | None
    """One per socket, None when nobody asked."""
    rpc: tuple[str, ...]
    forwarded: Endpoint | None


_cookies = itertools.count(1)


def service(
    text: str,
    *interfaces: Interface,
    rpc: tuple[str, ...] = (),
    owners: tuple[Owner, ...] | None = None,
    no_socket: bool = False,
    forwarded: Endpoint | None = None,
) -> Seen:
    """An open port, found by probe when it has no socket, else in the table."""
    where = port(text)
    interfaces = interfaces or (HERE,)
    sockets = () if no_socket else tuple(_socket(where, interfaces) for _ in owners or (None,))
    evidence = Evidence.PROBE if no_socket else Evidence.TABLE
    return Seen(OpenService(where, interfaces, evidence, sockets), owners, rpc, forwarded)


def _socket(where: Port, interfaces: tuple[Interface, ...]) -> Socket:
    address = interfaces[0].address if len(interfaces) == 1 else "::"
    cookie = next(_cookies)
    return Socket(where.protocol, address, where.number, v6only=False, device=0, cookie=cookie)


class Registered(NamedTuple):
    """A program that says it is on a port."""

    interface: Interface
    port: Port
    program: int


def registration(text: str, program: str, interface: Interface = HERE) -> Registered:
    """A program that says it is on a port."""
    return Registered(interface, port(text), RPC[program])


def unanswered(text: str, interface: Interface = HERE) -> Unanswered:
    """``443/tcp`` or ``1-99/udp``."""
    of = item(text)
    assert isinstance(of, PortRange)
    return Unanswered(interface, of)


def registrations(
    registered: tuple[Registered, ...], unreachable: Mapping[Interface, str]
) -> dict[Interface, Registrations]:
    """What portmappers say, or why they could not be asked."""
    programs: defaultdict[Interface, defaultdict[Port, tuple[int, ...]]] = defaultdict(
        lambda: defaultdict(tuple)
    )
    for interface, where, program in registered:
        programs[interface][where] += (program,)
    answers = {interface: Registrations(dict(known)) for interface, known in programs.items()}
    return answers | {each: Registrations(unreachable=why) for each, why in unreachable.items()}


def report(
    *seen: Seen,
    interfaces: tuple[Interface, ...] = (HERE,),
    unanswered: tuple[Unanswered, ...] = (),
    registered: tuple[Registered, ...] = (),
    unreachable: Mapping[Interface, str] | None = None,
    failures: tuple[Failure, ...] = (),
    seconds: float = 1.5,
) -> Report:
    """What a full scan of all ports found; *unreachable* says which portmapper was not, and why."""
    of_services = tuple(
        Registered(interface, each.service.port, RPC[name])
        for each in seen
        for name in each.rpc
        for interface in each.service.interfaces
    )
    return Report(
        method=Method.FULL,
        interfaces=interfaces,
        protocols=tuple(Protocol),
        span=Span(0, 65535),
        ephemeral=EPHEMERAL,
        services=tuple(each.service for each in seen),
        unanswered=unanswered,
        failures=failures,
        registrations=registrations((*of_services, *registered), unreachable or {}),
        owners={
            row: owner
            for each in seen
            for row, owner in zip(each.service.sockets, each.owners or (), strict=False)
        },
        forwarded={
            (interface, each.service.port): each.forwarded
            for each in seen
            if each.forwarded
            for interface in each.service.interfaces
        },
        seconds=seconds,
    )


def choice_of(interfaces: tuple[Interface, ...], failures: tuple[Failure, ...] = ()) -> Chosen:
    """What is scanned where each address was chosen by its names, and what is not there."""
    names = [name for each in interfaces for name in each.chosen]
    names += [failure.name for failure in failures]
    present = {name for each in interfaces for name in (each.address, each.device, each.label)}
    return Chosen(
        interfaces,
        failures,
        counted=tuple(dict.fromkeys(names)),
        present=frozenset(present),
    )


def task(
    *rules: str,
    interfaces: tuple[Interface, ...] = (HERE,),
    settings: Settings | None = None,
    deadline: Deadline | None = None,
    memory: Memory | None = None,
    notes: tuple[str, ...] = (),
    failures: tuple[Failure, ...] = (),
    chosen: Chosen | None = None,
) -> Task:
    """What a run is about."""
    return Task(
        settings=settings or Settings(),
        policy=policy(*rules),
        names=NAMES,
        chosen=chosen or choice_of(interfaces, failures),
        ephemeral=EPHEMERAL,
        deadline=deadline or Deadline(0.0),
        notes=notes,
        memory=memory,
    )


def outcome(
    of: Report,
    *rules: str,
    settings: Settings | None = None,
    history: History | None = None,
    notes: tuple[str, ...] = (),
) -> Outcome:
    """What a run has to tell that found this."""
    verdict = judge(of, policy(*rules))
    told = history or History()
    about = task(
        *rules, interfaces=of.interfaces, settings=settings, notes=notes, failures=of.failures
    )
    return Outcome(about, of, verdict, told, notes, 0.0)


def hostile(*, settings: Settings | None = None) -> Outcome:
    """An outcome of which all that can come from outside has a hostile name."""
    of = report(
        service("80/tcp", owners=(Owner(HOSTILE, (_HOSTILE_PROCESS,)),)),
        failures=(Failure(HOSTILE, HOSTILE),),
        unreachable={HERE: HOSTILE},
    )
    place = HERE._replace(address=HOSTILE)
    ports = (Port(Protocol.TCP, 7),)
    history = History({}, (Event("moved", (place,), ports, HOSTILE, ports),))
    return outcome(of, settings=settings, history=history, notes=(HOSTILE,))


_HOSTILE_PROCESS = Process(7, HOSTILE, HOSTILE, (HOSTILE,), HOSTILE, 1.0, HOSTILE)
