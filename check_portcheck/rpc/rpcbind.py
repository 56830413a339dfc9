"""Asks the portmapper which RPC programs are registered, bounded in time and size."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from itertools import islice, product
from typing import TYPE_CHECKING

from check_portcheck.model import Port, Protocol, Registrations
from check_portcheck.rpc.oncrpc import (
    PORT,
    VERSIONS,
    Question,
    RecordReader,
    Refusal,
    dump_call,
    dump_reply,
    port_call,
    port_reply,
    record,
)
from check_portcheck.rpc.xdr import MalformedReplyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import Interface
    from check_portcheck.rpc.oncrpc import Mapping

    _Address = tuple[str, int] | tuple[str, int, int, int]
    """As connect() takes it: IPv4, or IPv6 with flow label and scope."""
    _Exchange = Callable[[_Address, bytes, Deadline], bytes]
    """Sends a call to an address and gives the reply."""

SECONDS = 2.0
"""For all that is asked on behalf of one interface; a portmapper on this machine needs 1 ms."""

_LIST_SHARE = 0.5
"""Part of that time for the list of all programs, where some can be asked for one by one."""

_ASKED_VERSIONS = range(1, 5)
"""Versions of a program that are asked for one by one; nfs, mountd and portmapper have these."""

_CONNECT_SECONDS = 0.5
"""A connection within the machine stands at once, unless packets are dropped or the queue of
connections is full; then UDP shall have time left."""

_READ_SIZE = 1 << 16
"""More than any datagram holds."""


class _UnreachableError(Exception):
    """The registrations could not be learnt; the text, one line, says why."""


class _UnavailableError(_UnreachableError):
    """No portmapper is to be had this way; there may be another."""


def registrations(
    interface: Interface,
    deadline: Deadline,
    *,
    loopback: bool = True,
    programs: Collection[int] = (),
) -> Registrations:
    """The RPC programs registered for *interface*, by port: protocol, number, program ascending.

    Asked is the portmapper at port 111 of its address and, where there is none, on *loopback*. An
    IPv6 interface has no registrations with a portmapper that speaks version 2 only. Where no
    portmapper gives a whole list, which any local user can make too long, it is asked for each of
    *programs*, and only these are told. Where that cannot be had by *deadline*, or within SECONDS,
    the reason is told instead.
    """
    limit = deadline.within(SECONDS)
    addresses = list(islice(_addresses(interface), None if loopback else 1))
    try:
        share = _LIST_SHARE if programs else 1.0
        mappings = _first_answer(addresses, limit.part(share), limit.left())
    except _UnavailableError as absent:
        return Registrations(unreachable=str(absent))
    except _UnreachableError as unreachable:
        one_by_one = _asked_for(programs, interface, addresses, limit) if programs else None
        if one_by_one is None:
            return Registrations(unreachable=str(unreachable))
        return Registrations(one_by_one)
    return Registrations(_programs(mappings, interface))


def _asked_for(
    programs: Collection[int],
    interface: Interface,
    addresses: Iterable[_Address],
    deadline: Deadline,
) -> dict[Port, tuple[int, ...]] | None:
    """The ports of some programs, each asked for; None where one question gets no answer.

    Asked are only addresses of the interface's family, for which the answers hold.
    """
    for address in addresses:
        if _family(address) != interface.family:
            continue
        try:
            found = {
                (Port(protocol, port), program)
                for program, protocol in product(programs, Protocol)
                for port in _ports(address, program, protocol, deadline)
            }
        except (OSError, MalformedReplyError, _UnreachableError):
            continue
        return _by_port(found)
    return None


def _ports(address: _Address, program: int, protocol: Protocol, deadline: Deadline) -> set[int]:
    """The ports of a program; raises OSError, MalformedReplyError and _UnreachableError."""
    # Over IPv4 version 2 takes the protocol as an argument; rpcbind answers for its own transport.
    version = 4 if _family(address) == socket.AF_INET6 else 2
    over_udp = version == 4 and protocol is Protocol.UDP
    exchange = _over_udp if over_udp else _over_tcp
    ports: set[int] = set()
    for number in _ASKED_VERSIONS:
        xid = int.from_bytes(os.urandom(4))
        call = port_call(version, xid, Question(program, number, protocol))
        answer = port_reply(version, xid, exchange(address, call, deadline))
        if isinstance(answer, Refusal):
            raise _UnavailableError(str(answer))
        ports.add(answer)
    return ports - {0}


def _programs(mappings: Iterable[Mapping], interface: Interface) -> dict[Port, tuple[int, ...]]:
    """The programs that are registered for an interface, each once per port."""
    here = (interface.packed, bytes(len(interface.packed)))
    return _by_port(
        (Port(mapping.protocol, mapping.port), mapping.program)
        for mapping in mappings
        if mapping.address in here
    )


def _by_port(found: Iterable[tuple[Port, int]]) -> dict[Port, tuple[int, ...]]:
    """Programs by port, both ascending."""
    programs: defaultdict[Port, list[int]] = defaultdict(list)
    for port, program in sorted(set(found)):
        programs[port].append(program)
    return {port: tuple(numbers) for port, numbers in programs.items()}


def _first_answer(
    addresses: Iterable[_Address], deadline: Deadline, seconds: float
) -> tuple[Mapping, ...]:
    """All mappings, from the first portmapper that can be asked; raises _UnreachableError.

    *seconds* is how long the portmapper will have been asked for anything when that is told.
    """
    failures: list[_UnavailableError] = []
    for address, exchange in product(addresses, (_over_tcp, _over_udp)):
        try:
            return _ask(exchange, address, deadline)
        except _UnavailableError as error:
            failures.append(error)
        except TimeoutError:
            reason = f"portmapper on {address[0]} did not answer within {seconds:.2g} s"
            raise _UnreachableError(reason) from None
    raise failures[0]


def _addresses(interface: Interface) -> Iterable[_Address]:
    """Where to ask: on the interface itself, then on loopback, its own family first."""
    ipv4: _Address = ("127.0.0.1", PORT)
    ipv6: _Address = ("::1", PORT, 0, 0)
    if interface.family == socket.AF_INET:
        return dict.fromkeys([(interface.address, PORT), ipv4, ipv6])
    own = (interface.address.partition("%")[0], PORT, 0, interface.scope)
    return dict.fromkeys([own, ipv6, ipv4])


def _ask(exchange: _Exchange, address: _Address, deadline: Deadline) -> tuple[Mapping, ...]:
    """All mappings, from the portmapper at *address*.

    Raises _UnreachableError, or TimeoutError at the deadline.
    """
    portmapper = f"portmapper on {address[0]}"
    try:
        answer = _newest_dump(exchange, address, deadline)
    except TimeoutError:
        raise
    except MalformedReplyError as error:
        raise _UnreachableError(f"{portmapper} sent garbage: {error}") from None
    except ConnectionRefusedError:
        raise _UnavailableError(f"{portmapper} refused the connection") from None
    except ConnectionError:
        raise _UnreachableError(
            f"{portmapper} closed the connection before it had answered"
        ) from None
    except OSError as error:
        raise _UnavailableError(f"{portmapper} is out of reach: {error.strerror}") from None
    if isinstance(answer, Refusal):
        # Its list of permitted clients (hosts_access(5)) may hold loopback only.
        raise _UnavailableError(f"{portmapper} refused to answer: {answer}")
    return answer


def _newest_dump(
    exchange: _Exchange, address: _Address, deadline: Deadline
) -> tuple[Mapping, ...] | Refusal:
    """The mappings by the newest version that is not refused, else the last refusal."""
    for version in VERSIONS:
        xid = int.from_bytes(os.urandom(4))
        answer = dump_reply(version, xid, exchange(address, dump_call(version, xid), deadline))
        if not isinstance(answer, Refusal):
            break
    return answer


def _over_tcp(address: _Address, call: bytes, deadline: Deadline) -> bytes:
    """The reply to *call* over a connection of its own."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as connection:
        connection.settimeout(min(_CONNECT_SECONDS, _left(deadline)))
        try:
            connection.connect(address)
        except TimeoutError:
            reason = f"portmapper on {address[0]} accepts no connection"
            raise _UnavailableError(reason) from None
        connection.sendall(record(call))
        reader = RecordReader()
        reply = None
        while reply is None:
            connection.settimeout(_left(deadline))
            data = connection.recv(_READ_SIZE)
            if not data:
                raise ConnectionResetError
            reply = reader.feed(data)
        return reply


def _over_udp(address: _Address, call: bytes, deadline: Deadline) -> bytes:
    """The reply to *call* as a datagram; once connected, only *address* can send one."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as connection:
        connection.connect(address)
        connection.send(call)
        connection.settimeout(_left(deadline))
        return connection.recv(_READ_SIZE)


def _left(deadline: Deadline) -> float:
    """Seconds to wait for; raises TimeoutError where there are none, since 0 is no time limit."""
    seconds = deadline.left()
    if seconds == 0:
        raise TimeoutError
    return seconds


def _family(address: _Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
