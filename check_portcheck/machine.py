"""The machine on which the check runs, as an investigation asks it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from check_portcheck.kernel import sockettable
from check_portcheck.probing import look

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import (
        Earlier,
        Endpoint,
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
        interfaces: Sequence[Interface],
        wanted: Mapping[Target, PortSet],
        deadline: Deadline,
        earlier: Earlier,
    ) -> Look:
        """What is open of the wanted ports; raises ScanError where nothing could be learnt."""
        return look.look(method, interfaces, wanted, deadline, earlier)

    def registrations(
        self,
        interface: Interface,
        deadline: Deadline,
        *,
        loopback: bool,
        programs: Collection[int],
    ) -> Registrations:
        """What the portmapper of an interface says, at least of *programs*.

        It is asked on *loopback* too if need be.
        """
        from check_portcheck.rpc import rpcbind

        return rpcbind.registrations(interface, deadline, loopback=loopback, programs=programs)

    def owners(
        self, sockets: Collection[Socket], deadline: Deadline, *, executables: Collection[str]
    ) -> Mapping[Socket, Owner]:
        """Who holds the sockets, and which of *executables*, paths of program files, they run."""
        from check_portcheck.kernel import owners

        return owners.find(sockets, deadline, sockettable.rows, executables)

    def forwarded(
        self, asked: Collection[tuple[Interface, Port]], deadline: Deadline
    ) -> Mapping[tuple[Interface, Port], Endpoint]:
        """Where what is sent to the asked ports really goes, as far as that can be told."""
        from check_portcheck.probing import forwards

        return forwards.forwarded(asked, deadline)

    def time(self) -> float:
        """The time of day, in seconds since the epoch."""
        return time.time()

    def pause(self, seconds: float) -> None:
        """Let some time go by."""
        time.sleep(seconds)
