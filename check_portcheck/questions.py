"""What an investigation asks of the machine that it looks at. Pure.

The real machine answers by asking kernel, portmappers and ports; a test writes its answers out.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING

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


class Machine(typing.Protocol):
    """A machine that can be looked at."""

    def look(
        self,
        method: Method,
        interfaces: Sequence[Interface],
        wanted: Mapping[Target, PortSet],
        deadline: Deadline,
        earlier: Earlier,
    ) -> Look:
        """What is open of the wanted ports; raises ScanError where nothing could be learnt.

        *interfaces* are all that are scanned: sockets that none of them reaches are told apart.
        """

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

    def owners(
        self, sockets: Collection[Socket], deadline: Deadline, *, executables: Collection[str]
    ) -> Mapping[Socket, Owner]:
        """Who holds the sockets, and which of *executables*, paths of program files, they run."""

    def forwarded(
        self, asked: Collection[tuple[Interface, Port]], deadline: Deadline
    ) -> Mapping[tuple[Interface, Port], Endpoint]:
        """Where what is sent to the asked ports really goes, as far as that can be told."""

    def time(self) -> float:
        """The time of day, in seconds since the epoch."""

    def pause(self, seconds: float) -> None:
        """Let some time go by."""
