"""Asks the portmapper which RPC programs are registered, bounded in time and size."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from check_portcheck.model import Interface, Port, Registration, RpcService
from check_portcheck.oncrpc import (
    PORT,
    VERSIONS,
    MalformedReplyError,
    Mapping,
    RecordReader,
    Refusal,
    dump_call,
    dump_reply,
    record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from check_portcheck.names import Names

    _Address = tuple[str, int] | tuple[str, int, int, int]
    """As connect() takes it: IPv4, or IPv6 with flow label and scope."""
    _Exchange = Callable[[_Address, bytes, "_TimeLimit"], bytes]
    """Sends a call to an address and gives the reply."""

SECONDS = 2.0
"""For all that is asked on behalf of one interface; a portmapper on this machine needs 1 ms."""

_CONNECT_SECONDS = 0.5
"""A connection within the machine stands at once, unless packets are dropped or the queue of
connections is full; then UDP shall have time left."""

_READ_SIZE = 1 << 16
"""More than any datagram holds."""


class RpcbindError(Exception):
    """The registrations could not be learnt; the text, one line, says why."""


class _UnavailableError(RpcbindError):
    """No portmapper is to be had this way; there may be another."""


@dataclass(frozen=True)
class _TimeLimit:
    seconds: float
    """For all calls together."""
    ends: float
    """By time.monotonic()."""

    def left(self) -> float:
        """The seconds left; raises TimeoutError when there are none."""
        seconds = self.ends - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


def registrations(
    interface: Interface, names: Names, deadline: float, *, loopback: bool = True
) -> tuple[Registration, ...]:
    """The RPC programs registered for *interface*, each once per port, in the order of ports.

    Asked is the portmapper at port 111 of its address and, where there is none, on *loopback*. An
    IPv6 interface has no registrations with a portmapper that speaks version 2 only.
    *deadline* is by time.monotonic(). Raises RpcbindError when no portmapper gives a whole answer.
    """
    now = time.monotonic()
    ends = min(now + SECONDS, deadline)
    limit = _TimeLimit(max(0.0, ends - now), ends)
    here = (interface.packed, bytes(len(interface.packed)))
    found = {
        (Port(mapping.protocol, mapping.port), mapping.program)
        for mapping in _mappings(interface, limit, loopback=loopback)
        if mapping.address in here
    }
    return tuple(
        Registration(interface, port, RpcService(program, names.rpc(program)))
        for port, program in sorted(found, key=lambda e: (e[0].protocol, e[0].number, e[1]))
    )


def _mappings(interface: Interface, limit: _TimeLimit, *, loopback: bool) -> tuple[Mapping, ...]:
    """All mappings, from the first portmapper that can be asked."""
    failures: list[_UnavailableError] = []
    for address in islice(_addresses(interface), None if loopback else 1):
        for exchange in (_over_tcp, _over_udp):
            try:
                return _ask(exchange, address, limit)
            except _UnavailableError as error:
                failures.append(error)
    raise failures[0]


def _addresses(interface: Interface) -> Iterable[_Address]:
    """Where to ask: on the interface itself, then on loopback, its own family first."""
    ipv4: _Address = ("127.0.0.1", PORT)
    ipv6: _Address = ("::1", PORT, 0, 0)
    if interface.family == socket.AF_INET:
        return dict.fromkeys([(interface.address, PORT), ipv4, ipv6])
    own = (interface.address.partition("%")[0], PORT, 0, interface.scope)
    return dict.fromkeys([own, ipv6, ipv4])


def _ask(exchange: _Exchange, address: _Address, limit: _TimeLimit) -> tuple[Mapping, ...]:
    """All mappings, from the portmapper at *address*; raises RpcbindError."""
    portmapper = f"portmapper on {address[0]}"
    try:
        answer = _newest_dump(exchange, address, limit)
    except TimeoutError:
        reason = f"{portmapper} did not answer within {limit.seconds:.2g} s"
        raise RpcbindError(reason) from None
    except MalformedReplyError as error:
        raise RpcbindError(f"{portmapper} sent garbage: {error}") from None
    except ConnectionRefusedError:
        raise _UnavailableError(f"{portmapper} refused the connection") from None
    except ConnectionError:
        raise RpcbindError(f"{portmapper} closed the connection before it had answered") from None
    except OSError as error:
        raise _UnavailableError(f"{portmapper} is out of reach: {error.strerror}") from None
    if isinstance(answer, Refusal):
        # Its list of permitted clients (hosts_access(5)) may hold loopback only.
        raise _UnavailableError(f"{portmapper} refused to answer: {answer}")
    return answer


def _newest_dump(
    exchange: _Exchange, address: _Address, limit: _TimeLimit
) -> tuple[Mapping, ...] | Refusal:
    """The mappings by the newest version that is not refused, else the last refusal."""
    for version in VERSIONS:
        xid = int.from_bytes(os.urandom(4))
        answer = dump_reply(version, xid, exchange(address, dump_call(version, xid), limit))
        if not isinstance(answer, Refusal):
            break
    return answer


def _over_tcp(address: _Address, call: bytes, limit: _TimeLimit) -> bytes:
    """The reply to *call* over a connection of its own."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as connection:
        connection.settimeout(min(_CONNECT_SECONDS, limit.left()))
        try:
            connection.connect(address)
        except TimeoutError:
            reason = f"portmapper on {address[0]} accepts no connection"
            raise _UnavailableError(reason) from None
        connection.sendall(record(call))
        reader = RecordReader()
        reply = None
        while reply is None:
            connection.settimeout(limit.left())
            data = connection.recv(_READ_SIZE)
            if not data:
                raise ConnectionResetError
            reply = reader.feed(data)
        return reply


def _over_udp(address: _Address, call: bytes, limit: _TimeLimit) -> bytes:
    """The reply to *call* as a datagram; once connected, only *address* can send one."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as connection:
        connection.connect(address)
        connection.send(call)
        connection.settimeout(limit.left())
        return connection.recv(_READ_SIZE)


def _family(address: _Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
