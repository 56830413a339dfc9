"""The machine on which the check runs, as an investigation asks it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from check_portcheck.kernel import sockettable
from check_portcheck.probing import look

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import (
        Interface,
        Look,
        Method,
        Owner,
        Port,
        Registrations,
        Socket,
        Target,
    )
    from check_portcheck.probing.portset import PortSet


class ThisMachine:
    """Asks the kernel, the portmapper and the ports themselves.

    What only some runs ask is imported by them.
    """

    def look(
        self,
        method: Method,
        wanted: Mapping[Target, PortSet],
        deadline: Deadline,
        start: int | None,
    ) -> Look:
        """What is open of the wanted ports; raises ScanError where nothing could be learnt."""
        return look.look(method, wanted, deadline, start)

    def registrations(
        self, interface: Interface, deadline: Deadline, *, loopback: bool
    ) -> Registrations:
        """What the portmapper of an interface says, asked on loopback too if need be."""
        from check_portcheck.rpc import rpcbind

        return rpcbind.registrations(interface, deadline, loopback=loopback)

    def owners(self, sockets: Collection[Socket], deadline: Deadline) -> Mapping[Socket, Owner]:
        """Who holds the sockets."""
        from check_portcheck.kernel import owners

        return owners.find(sockets, deadline, sockettable.read)

    def forwarded(self, ports: Collection[Port], deadline: Deadline) -> Collection[Port]:
        """Those of the ports that the packet filter sends elsewhere."""
        from check_portcheck.kernel import forwards

        return forwards.forwarded(ports, deadline)

    def time(self) -> float:
        """The time of day, in seconds since the epoch."""
        return time.time()

    def pause(self, seconds: float) -> None:
        """Let some time go by."""
        time.sleep(seconds)
