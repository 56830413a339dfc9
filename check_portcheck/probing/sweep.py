"""Contact ports and decide which of them are open: by answer, by lookup, by a fresh table."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.kernel import sockettable
from check_portcheck.model import (
    Coverage,
    Evidence,
    Look,
    OpenService,
    Port,
    PortRange,
    Protocol,
    Unanswered,
)
from check_portcheck.probing import blocks, turns
from check_portcheck.probing.portset import joined, spans
from check_portcheck.probing.suspects import asked_again, decide, gathered

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from check_portcheck.deadline import Deadline
    from check_portcheck.kernel import conntrack
    from check_portcheck.model import Interface, Socket, Span, Target
    from check_portcheck.probing.portset import PortSet
    from check_portcheck.probing.suspects import Suspects

_PROBE_SHARE, _LOOKUP_SHARE = 0.75, 0.9
"""Parts of the time after which probes give way to lookups, and lookups end."""

_UNTOLD = "silent, and the socket table does not tell whether a socket is there"


def sweep(
    wanted: Mapping[Target, PortSet], deadline: Deadline, room: conntrack.Room, start: int | None
) -> Look:
    """What contacting the ports shows, until *deadline*, from the turn *start* on.

    UDP probes leave their entries in *room*. Raises SocketTableError or SweepError.
    """
    front, rest = turns.parted(dict.fromkeys(interface for interface, _ in wanted))
    begin = _any_turn() if start is None else start
    first, last = _blocks(wanted, front, room), _blocks(wanted, rest, room)
    placed = list(turns.order(first, last, begin))
    if not any(block.ports for _, block in placed):
        return Look(())
    results = blocks.examine(
        [block for _, block in placed],
        deadline.part(_PROBE_SHARE),
        deadline.part(_LOOKUP_SHARE),
        room,
    )
    suspects = gathered(results)
    filtered = decide(suspects, deadline, room)
    left = [turn for (turn, _), result in zip(placed, results, strict=True) if result.unprobed]
    coverage = _coverage(results, filtered)._replace(
        resume=left[0] if left else begin, runs=_runs(results, frozenset(front))
    )
    anything = any(each.open for each in suspects.values())
    table = sockettable.read() if anything else sockettable.Table(())
    return Look(
        tuple(_services(suspects, table.rows, deadline)),
        tuple(_unanswered(results, suspects)),
        coverage,
        notes=table.degraded,
    )


def _any_turn() -> int:
    """Where to begin: runs that cannot probe all of it shall probe another part each time."""
    return int.from_bytes(os.urandom(4), "big")


def _blocks(
    wanted: Mapping[Target, PortSet], interfaces: Sequence[Interface], room: conntrack.Room
) -> list[blocks.Block]:
    """What is wanted of some interfaces, in their order."""
    targets = product(interfaces, Protocol)
    return [
        block
        for interface, protocol in targets
        if (interface, protocol) in wanted
        for block in blocks.cut(interface, protocol, wanted[interface, protocol], room)
    ]


def _runs(results: Sequence[blocks.Result], front: Collection[Interface]) -> int:
    """How many runs like this one it takes to probe all; 0 where that cannot be told.

    Each protocol, of what comes first and of what can wait, has its own share of a run.
    """
    total: Counter[tuple[bool, Protocol]] = Counter()
    unprobed: Counter[tuple[bool, Protocol]] = Counter()
    for result in results:
        share = result.block.interface in front, result.block.protocol
        total[share] += len(result.block.ports)
        unprobed[share] += result.unprobed
    probed = total - unprobed  # without shares of which nothing was
    if not all(probed[share] for share in +total):
        return 0
    return max((-(-total[share] // probed[share]) for share in probed), default=0)


def _coverage(results: Sequence[blocks.Result], filtered: int) -> Coverage:
    """How far the blocks got."""
    total = sum(len(result.block.ports) for result in results)
    return Coverage(
        ports=total,
        probed=total - sum(result.unprobed for result in results),
        looked_up=sum(result.looked_up for result in results),
        filtered=filtered,
        untracked=sum(result.untracked for result in results),
    )


def _unanswered(
    results: Iterable[blocks.Result], suspects: Mapping[Target, Suspects]
) -> Iterator[Unanswered]:
    """The ports of which nothing was learnt, by the reason."""
    left: defaultdict[tuple[Target, str], list[Span]] = defaultdict(list)
    for result in results:
        target = result.block.interface, result.block.protocol
        left[target, result.failure] += result.unknown
    for target, each in suspects.items():
        if each.failure:
            left[target, each.failure] += spans(sorted(each.unasked))
        left[target, _UNTOLD] += spans(sorted(each.untold))
    for ((interface, protocol), reason), found in left.items():
        for span in joined(found):
            yield Unanswered(interface, PortRange(protocol, span), reason)


class _Shown(NamedTuple):
    """What shows that a port is open; where the same shows it, it is the same service."""

    port: Port
    evidence: Evidence
    sockets: tuple[Socket, ...]


def _services(
    suspects: Mapping[Target, Suspects], table: Sequence[Socket], deadline: Deadline
) -> Iterator[OpenService]:
    """What is open for certain.

    Compared with a *table* read after the lookups, since a daemon may have started after an earlier
    one; what that table does not list must be open once more, asked alone.
    """
    found = {target: each for target, each in suspects.items() if each.open}
    rows = _rows(found, table)
    where: defaultdict[_Shown, list[Interface]] = defaultdict(list)
    for (interface, protocol), each in found.items():
        for number in sorted(each.open):
            port = Port(protocol, number)
            evidence = Evidence.PROBE if number in each.answered else Evidence.LOOKUP
            sockets = rows.get((interface, port), ())
            if sockets or _still_open(interface, port, evidence, deadline):
                where[_Shown(port, evidence, sockets)].append(interface)
    for shown, interfaces in where.items():
        yield OpenService(shown.port, tuple(interfaces), shown.evidence, shown.sockets)


def _rows(
    suspects: Mapping[Target, Suspects], table: Sequence[Socket]
) -> dict[tuple[Interface, Port], tuple[Socket, ...]]:
    """The sockets that the table lists for ports that are open, by interface."""
    interfaces = list(dict.fromkeys(interface for interface, _ in suspects))
    ports = {
        Port(protocol, number) for (_, protocol), each in suspects.items() for number in each.open
    }
    return {
        (interface, service.port): service.sockets
        for service in sockettable.open_services(table, interfaces, perhaps=True)
        if service.port in ports
        for interface in service.interfaces
    }


def _still_open(interface: Interface, port: Port, evidence: Evidence, deadline: Deadline) -> bool:
    """Whether a port without a row in the table is open once more, asked alone.

    It is, too, where nothing can be sent any more: not asked is not closed. Nor is TCP that has
    answered and is silent now: the connections of this scan may fill the queue of a server.
    """
    if evidence is Evidence.PROBE:
        again = asked_again(interface, port.protocol, [port.number], deadline)
        silent = port.protocol is Protocol.TCP and again.undecided
        return bool(again.open or silent or again.failure)
    try:
        return bool(sockettable.lookup(interface, port.protocol, [port.number]))
    except OSError:
        return False  # the table has just told so
