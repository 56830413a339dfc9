"""Ports that did not simply refuse: which of them are open, by answer, by lookup, by patience."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

from check_portcheck.kernel import sockettable
from check_portcheck.model import Port, Protocol
from check_portcheck.probing import forwards, patience

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from check_portcheck.deadline import Deadline
    from check_portcheck.kernel import conntrack
    from check_portcheck.model import Interface, Socket, Target
    from check_portcheck.probing.answers import Answers
    from check_portcheck.probing.blocks import Result

_PATIENCE = 0.25
"""Seconds for a silent port to answer after all: a redirect to a slow or distant socket."""

_PATIENT_PORTS = 4096
"""So many silent ports get that patience; more of them are a filter's doing."""


class Suspects:
    """Ports of one interface and protocol that did not simply refuse."""

    __slots__ = ("answered", "failure", "held", "unasked", "undecided", "untold")

    def __init__(self) -> None:
        self.answered: set[int] = set()
        self.undecided: list[int] = []
        self.held: set[int] = set()
        """Undecided ones at which the lookup finds a socket."""
        self.untold: set[int] = set()
        """Undecided ones of which a degraded table does not tell whether a socket is there."""
        self.unasked: list[int] = []
        """Undecided ones that could not be asked again."""
        self.failure = ""
        """Why they could not."""

    @property
    def open(self) -> set[int]:
        """Those that seem to be open."""
        return self.answered | self.held


def gathered(results: Iterable[Result]) -> dict[Target, Suspects]:
    """The suspects among the results of some blocks."""
    suspects: defaultdict[Target, Suspects] = defaultdict(Suspects)
    for result in results:
        if result.open or result.undecided:
            each = suspects[result.block.interface, result.block.protocol]
            each.answered.update(result.open)
            each.undecided += result.undecided
    return dict(suspects)


def decide(suspects: Mapping[Target, Suspects], deadline: Deadline, room: conntrack.Room) -> int:
    """Look up the silent ports; those without a socket may answer late, else they are filtered.

    Gives how many are filtered. The scan's own sockets are closed by now.
    """
    _look_up(suspects)
    filtered = 0
    patient = _PATIENT_PORTS
    for (interface, protocol), each in suspects.items():
        silent = [port for port in each.undecided if port not in each.held]
        asked = [] if deadline.passed else silent[: _affordable(protocol, patient, room)]
        still = silent[len(asked) :]
        if asked:
            patient -= len(asked)
            late = asked_again(interface, protocol, asked, deadline)
            each.answered.update(late.open)
            each.unasked, each.failure = late.unasked, late.failure
            still += late.undecided
        each.untold.intersection_update(still)
        filtered += len(still) - len(each.untold)
    return filtered


def _look_up(suspects: Mapping[Target, Suspects]) -> None:
    """Note which of the silent ports have a socket, by the kernel's lookup or else by its table.

    What a degraded table lists there perhaps is open over UDP, since a datagram that nothing keeps
    from its socket is silent; over TCP it accepts, but where its queue is full or a filter drops.
    """
    rows = cache(sockettable.rows)
    for (interface, protocol), each in suspects.items():
        if not each.undecided:
            continue
        try:
            each.held = set(sockettable.lookup(interface, protocol, each.undecided))
        except OSError:
            each.held, perhaps = _listed(rows(), interface, protocol, each.undecided)
            if protocol is Protocol.UDP:
                each.held = perhaps
            each.untold = perhaps - each.held


def _listed(
    rows: Sequence[Socket], interface: Interface, protocol: Protocol, ports: Iterable[int]
) -> tuple[set[int], set[int]]:
    """Those of *ports* at which a socket of the table answers for certain, and perhaps."""
    some = set(ports)
    rows = [row for row in rows if row.protocol is protocol and row.port in some]
    certain, perhaps = (
        {each.port.number for each in sockettable.open_services(rows, [interface], perhaps=unsure)}
        for unsure in (False, True)
    )
    return certain, perhaps


def _affordable(protocol: Protocol, ports: int, room: conntrack.Room) -> int:
    """How many of so many ports may be asked again: of UDP, each leaves up to two entries."""
    return ports if protocol is Protocol.TCP else room.of(ports * 2) // 2


def asked_again(
    interface: Interface, protocol: Protocol, ports: Sequence[int], deadline: Deadline
) -> Answers:
    """What silent ports answer when they get time.

    Over UDP silence is all that most services have to say: open is also what is forwarded.
    """
    answers = patience.ask(interface, protocol, ports, _PATIENCE)
    if protocol is Protocol.UDP:
        asked = [(interface, Port(protocol, number)) for number in answers.undecided]
        sent_on = {port.number for _, port in forwards.forwarded(asked, deadline)}
        answers.open += sent_on
        answers.undecided = [port for port in answers.undecided if port not in sent_on]
    return answers
