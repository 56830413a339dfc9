"""Which UDP ports belong to daemons that the policy allows, as clients of others. Pure.

A resolver asks from a port of its own for each question, and while its upstream is dead it keeps
them open for longer than a check can wait. What tells them from a server's port is the company that
they are in: others of the same user come or go meanwhile, and the process that holds them also
holds a port that the policy allows.

The kernel gives such ports from its range; some resolvers choose theirs from a wider one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import Protocol
from check_portcheck.policy.rules import Kind, OwnerKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.model import OpenService, Port, Report, Socket
    from check_portcheck.policy.verdict import Judged


_UNRESERVED = 1024
"""The first port that needs no privilege to be bound."""


def is_client(report: Report, service: OpenService) -> bool:
    """Whether a port is one that the kernel gives to clients over UDP, and has a socket."""
    protocol, number = service.port
    return protocol is Protocol.UDP and number in report.ephemeral and not service.no_socket


def client_ports(report: Report) -> range:
    """The ports looked at that a daemon may have as a client: all that are not reserved.

    unbound takes any of them (outgoing-port-permit in unbound.conf(5)), and connects its sockets
    since 1.13 only (udp-connect).
    """
    first = min(_UNRESERVED, report.ephemeral.first)
    return range(max(first, report.span.first), report.span.last + 1)


def may_be_client(report: Report, service: OpenService) -> bool:
    """Whether a daemon may have a port as a client over UDP; none of root's chooses its own."""
    protocol, number = service.port
    if protocol is not Protocol.UDP or service.no_socket:
        return False
    chosen = number in client_ports(report) and all(each.uid for each in service.sockets)
    return chosen or is_client(report, service)


def is_registered(report: Report, service: OpenService) -> bool:
    """Whether the portmapper names a program on a port, which is a server's then."""
    return any(programs for _, programs in report.by_programs(service))


def shows_a_daemon(judged: Judged) -> bool:
    """Whether an open port proves that the processes which hold it are a daemon that is allowed.

    Anybody may open what is ignored, and but for reserved ports what a rule allows without owner or
    by a name or a program file, which prove nothing.
    """
    rule = judged.rule
    if rule is None or rule.kind is Kind.IGNORE:
        return False
    proven = rule.owner is not None and rule.owner.kind in (OwnerKind.USER, OwnerKind.UNIT)
    return proven or judged.service.port.number < _UNRESERVED


def ports_of(services: Iterable[OpenService]) -> set[Port]:
    """The ports of some services."""
    return {service.port for service in services}


def of_users(services: Iterable[OpenService], others: Iterable[OpenService]) -> list[OpenService]:
    """Those of *services* that a user of *others* may have, too: opened as that user, or as root.

    Daemons open their own port as root before they become that user.
    """
    users = users_of(others) | {0}
    return [service for service in services if users_of([service]) & users]


def held_by_daemons(
    report: Report, allowed: Iterable[OpenService], waiting: Iterable[OpenService]
) -> list[OpenService]:
    """Those of *waiting*, ports for clients, that a daemon with an *allowed* port has open.

    Where processes cannot be seen the user decides, root apart: it has too many daemons. Ports that
    the kernel does not give to clients are a daemon's only where its processes are seen.
    """
    sockets = [s for each in allowed if not is_client(report, each) for s in each.sockets]
    processes = {pid for socket in sockets for pid in _processes(report, socket)}
    users = {socket.uid for socket in sockets} - {None, 0}

    def is_daemons(socket: Socket) -> bool:
        holders = _processes(report, socket)
        return holders <= processes if holders else socket.uid in users

    def is_held(service: OpenService) -> bool:
        seen = all(_processes(report, each) for each in service.sockets)
        return (seen or is_client(report, service)) and all(map(is_daemons, service.sockets))

    return list(filter(is_held, waiting))


def restless_users(before: Iterable[OpenService], now: Iterable[OpenService]) -> set[int]:
    """The users of whom a port for clients was open before, or is now, and not both."""
    was = {service.port: service for service in before}
    is_now = {service.port: service for service in now}
    changed = was.keys() ^ is_now.keys()
    return users_of([(was.get(port) or is_now[port]) for port in changed])


def users_of(services: Iterable[OpenService]) -> set[int]:
    """The users who opened the sockets of some services."""
    uids = {socket.uid for service in services for socket in service.sockets}
    return {uid for uid in uids if uid is not None}


def _processes(report: Report, socket: Socket) -> frozenset[int]:
    """The processes that hold a socket, as far as they are known."""
    owner = report.owners.get(socket)
    return frozenset(process.pid for process in owner.processes) if owner else frozenset()
