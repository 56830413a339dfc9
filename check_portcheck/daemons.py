"""Which UDP ports for clients belong to daemons that the policy allows. Pure.

A resolver asks from a port of its own for each question, and while its upstream is dead it keeps
them open for longer than a check can wait. What tells them from a server's port is the company that
they are in: others of the same user come or go meanwhile, and the process that holds them also
holds a port that the policy allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.model import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.model import OpenService, Report, Socket


def is_client(report: Report, service: OpenService) -> bool:
    """Whether a port is one that the kernel gives to clients over UDP, and has a socket."""
    protocol, number = service.port
    return protocol is Protocol.UDP and number in report.ephemeral and not service.no_socket


def of_users(services: Iterable[OpenService], others: Iterable[OpenService]) -> list[OpenService]:
    """Those of *services* whose sockets a user opened that has some of *others*, too."""
    users = users_of(others)
    return [service for service in services if users_of([service]) & users]


def held_by_daemons(
    report: Report, allowed: Iterable[OpenService], waiting: Iterable[OpenService]
) -> list[OpenService]:
    """Those of *waiting*, ports for clients, that a daemon with an *allowed* port has open.

    Where processes cannot be seen the user decides, root apart: it has too many daemons.
    """
    sockets = [s for each in allowed if not is_client(report, each) for s in each.sockets]
    processes = {pid for socket in sockets for pid in _processes(report, socket)}
    users = {socket.uid for socket in sockets} - {None, 0}

    def is_daemons(socket: Socket) -> bool:
        holders = _processes(report, socket)
        return holders <= processes if holders else socket.uid in users

    return [service for service in waiting if all(map(is_daemons, service.sockets))]


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
