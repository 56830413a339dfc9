"""Reports and policies in as few words as a table of cases needs."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from check_portcheck.model import (
    Evidence,
    Interface,
    Method,
    OpenService,
    Owner,
    Port,
    Process,
    Protocol,
    Registration,
    RpcService,
    ScanReport,
    Socket,
    Unanswered,
)
from check_portcheck.names import Names
from check_portcheck.policy import (
    ANY_INTERFACE,
    EphemeralPorts,
    InterfacePattern,
    Kind,
    OwnerKind,
    OwnerPattern,
    Policy,
    PortRange,
    RpcProgram,
    Rule,
)
from check_portcheck.scan import Scan

if TYPE_CHECKING:
    from pathlib import Path

    from check_portcheck.config import Settings
    from check_portcheck.model import Failure
    from check_portcheck.policy import Item

HERE = Interface("192.0.2.7", "eth0", 2, "eth0", chosen=("192.0.2.7",))
ALIAS = Interface("192.0.2.8", "eth0", 2, "eth0:1", chosen=("192.0.2.8",))
SIX = Interface("2001:db8::7", "eth0", 2, "eth0", chosen=("2001:db8::7",))
LOOPBACK = Interface("127.0.0.1", "lo", 1, "lo", chosen=("127.0.0.1",))

EPHEMERAL = (32768, 60999)
RPC = {"portmapper": 100000, "nfs": 100003, "mountd": 100005}


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
    return PortRange(protocol, int(lowest), int(highest or lowest))


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
    """``required 192.0.2.7 22/tcp@sshd``; the text itself is the rule's place."""
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
    return Process(pid, name, f"/usr/sbin/{name}", (), user, 1.0, f"{name}.service")


def owned(*names: str, user: str | None = "root", unseen: str | None = None) -> Owner:
    """An owner with a process of each name."""
    return Owner(user, tuple(process(name, user=user) for name in names), unseen=unseen)


def service(
    text: str,
    interface: Interface = HERE,
    *,
    rpc: tuple[str, ...] = (),
    owners: tuple[Owner, ...] | None = None,
    no_socket: bool = False,
    forwarded: bool = False,
) -> OpenService:
    """An open port, found by probe when it has no socket, else in the table."""
    where = port(text)
    row = Socket(where.protocol, interface.address, where.number, v6only=False, device=0)
    return OpenService(
        interface,
        where,
        Evidence.PROBE if no_socket else Evidence.TABLE,
        () if no_socket else (row,) * len(owners or (None,)),
        no_socket,
        forwarded,
        tuple(RpcService(RPC[name], name) for name in rpc),
        owners,
    )


def registration(text: str, program: str, interface: Interface = HERE) -> Registration:
    """A program that says it is on a port."""
    return Registration(interface, port(text), RpcService(RPC[program], program))


def unanswered(text: str, interface: Interface = HERE) -> Unanswered:
    """``443/tcp`` or ``1-99/udp``."""
    of = item(text)
    assert isinstance(of, PortRange)
    return Unanswered(interface, of.protocol, of.lowest, of.highest)


def report(
    *services: OpenService,
    interfaces: tuple[Interface, ...] = (HERE,),
    unanswered: tuple[Unanswered, ...] = (),
    registrations: tuple[Registration, ...] = (),
    failures: tuple[Failure, ...] = (),
    seconds: float = 1.5,
) -> ScanReport:
    """What a full scan of all ports found."""
    return ScanReport(
        Method.FULL,
        interfaces,
        tuple(Protocol),
        0,
        65535,
        EPHEMERAL,
        services,
        unanswered,
        registrations,
        failures,
        seconds=seconds,
    )


def names(directory: Path) -> Names:
    """The names ``ssh`` and ``http-alt`` of ports."""
    file = directory / "services"
    file.write_text("ssh 22/tcp\nhttp-alt 8080/tcp\n")
    (directory / "rpc").write_text("")
    return Names(services=file, rpc=directory / "rpc")


def task(
    settings: Settings,
    of: Policy,
    known: Names,
    interfaces: tuple[Interface, ...] = (HERE,),
) -> Scan:
    """A scan that is not run."""
    return Scan(
        settings=settings, interfaces=interfaces, policy=of, names=known, began=0.0, end=0.0
    )
