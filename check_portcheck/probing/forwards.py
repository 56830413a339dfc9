"""Where ports are forwarded to, by what the kernel did with a probe of its own for each.

A rule that merely exists proves nothing: the connection tracking table has where the packet went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.kernel import conntrack
from check_portcheck.kernel.ctnetlink import Flow
from check_portcheck.model import Endpoint, Port, Protocol
from check_portcheck.probing import clients

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import Interface


def forwarded(
    asked: Iterable[tuple[Interface, Port]], deadline: Deadline
) -> Mapping[tuple[Interface, Port], Endpoint]:
    """Where the asked ones are forwarded to.

    Left out are those that are not, of which nothing tells (not root, not tracked, nothing could be
    sent), and those that *deadline* leaves no time for.
    """
    found: dict[tuple[Interface, Port], Endpoint] = {}
    tracking = conntrack.connect()
    if tracking is None:
        return found
    with tracking:
        for interface, port in asked:
            if deadline.passed:
                break
            try:
                endpoint = _forwarded(tracking, interface, port)
            except OSError:
                break  # no source port or no descriptor, and so for all others
            if endpoint:
                found[interface, port] = endpoint
    return found


def _forwarded(tracking: socket.socket, interface: Interface, port: Port) -> Endpoint | None:
    """Where one port is forwarded to; raises OSError where nothing can be sent.

    The socket is open until the answer is there: the end of a connection ends its entry.
    """
    with _contacting(interface, port) as connection:
        source = Endpoint(*connection.getsockname()[:2])
        flow = Flow(interface, port.protocol, source, port.number)
        return conntrack.forwarded(tracking, flow)


def _contacting(interface: Interface, port: Port) -> socket.socket:
    """A socket that has sent to the port."""
    if port.protocol is Protocol.UDP:
        return clients.asking(interface, port.number)[0]
    connection, _ = clients.tcp(interface, avoid=port.number)
    # The entry is made when the packet leaves, whether or not it is answered in time.
    connection.connect_ex(clients.target(interface, port.number))
    return connection
