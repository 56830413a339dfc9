"""Blocks of ports, shared among processes and probed within a time limit and gently."""

from __future__ import annotations

import io
import marshal
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck import pipes
from check_portcheck.kernel import conntrack, sockettable
from check_portcheck.model import Protocol, ScanError
from check_portcheck.probing import probes
from check_portcheck.probing.answers import Answers
from check_portcheck.probing.portset import spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import Interface, Span
    from check_portcheck.probing.portset import PortSet

_BLOCK = 8192
"""Ports that one process probes before it looks at the clock, about 60 ms."""

_TRACKED_BLOCK = 1024
"""The same where UDP leaves entries in the connection tracking table: what there is room for in one
run is then whole blocks, and the next run begins with another."""

_TRACKED_CHUNK = 256
"""UDP ports that are probed between two looks at the connection tracking table."""

_MOST_WORKERS = 4
"""Processes that probe at most, however many cores there are: a scan is to be gentle."""

_GRACE = 0.5
"""Seconds that a worker may be late before it is ended."""


class SweepError(ScanError):
    """A worker process failed."""


class Block(NamedTuple):
    """Some ports of one interface and protocol."""

    interface: Interface
    protocol: Protocol
    ports: PortSet


class Result(NamedTuple):
    """What was learnt of the ports of one block; those named in no list are closed."""

    block: Block
    open: tuple[int, ...] = ()
    """Ports that took a connection, or answered a datagram."""
    undecided: tuple[int, ...] = ()
    """Ports that did not answer, or at which the kernel's lookup found a socket."""
    left: tuple[int, ...] = ()
    """Ports of which nothing was learnt: nothing could be sent, or no lookup is to be had."""
    failure: str = ""
    """Why nothing could be sent to them, empty where it could."""
    looked_up: int = 0
    """Ports decided by the kernel's lookup in place of a probe, for want of time."""
    untracked: int = 0
    """The same, so that connection tracking keeps room."""
    begun: bool = True
    """False where no time was left: then nothing was learnt of any of its ports."""

    @property
    def unprobed(self) -> int:
        """How many of the ports still wait for a probe."""
        unknown = len(self.left) if self.begun else len(self.block.ports)
        return unknown + self.looked_up + self.untracked

    @property
    def unknown(self) -> Iterable[Span]:
        """The ports of which nothing was learnt."""
        return spans(self.left) if self.begun else self.block.ports.spans()


class Limits(NamedTuple):
    """How long and how far to go."""

    probe: Deadline
    """From then on the kernel's lookup takes the place of probes."""
    look: Deadline
    """From then on nothing more is begun."""
    room: conntrack.Room
    """Where UDP probes leave their entries."""
    workers: int


def cut(
    interface: Interface, protocol: Protocol, ports: PortSet, room: conntrack.Room
) -> Iterator[Block]:
    """The ports, in ascending order, cut into blocks."""
    tracked = protocol is Protocol.UDP and room.limit is not None
    for part in ports.cut(_TRACKED_BLOCK if tracked else _BLOCK):
        yield Block(interface, protocol, part)


def examine(
    blocks: Sequence[Block], probe: Deadline, look: Deadline, room: conntrack.Room
) -> list[Result]:
    """Probe the blocks in their order, with a process for each core, four at most.

    From *probe* on the kernel's lookup takes the place of probes, from *look* on nothing more is
    begun. One result per block. Raises SweepError.
    """
    workers = min(len(os.sched_getaffinity(0)), len(blocks), _MOST_WORKERS)
    limits = Limits(probe, look, room, workers)
    if workers <= 1:
        return [_examine(block, limits) for block in blocks]
    found = _fork_workers(blocks, limits)
    return [found.get(n, Result(block, begun=False)) for n, block in enumerate(blocks)]


def _examine(block: Block, limits: Limits) -> Result:
    """Look at one block in the way that the time left allows."""
    if limits.look.passed:
        return Result(block, begun=False)
    ports = block.ports.numbers()
    if limits.probe.passed:
        return _result(block, Answers(), ports)
    if block.protocol is Protocol.TCP:
        return _result(block, probes.sweep_tcp(block.interface, ports))
    return _examine_udp(block, ports, limits)


def _examine_udp(block: Block, ports: Sequence[int], limits: Limits) -> Result:
    """Probe in chunks, as far as connection tracking has room for an entry per port."""
    # A datagram to port 0 cannot be sent (EINVAL in udp_sendmsg), nor can a socket have it.
    ports = ports[1:] if ports and ports[0] == 0 else ports
    answers = Answers()
    done = 0
    while done < len(ports) and (chunk := _tracked_chunk(limits)):
        answers.add(probes.sweep_udp(block.interface, ports[done : done + chunk]))
        done += chunk
    return _result(block, answers, untracked=ports[done:])


def _result(
    block: Block, answers: Answers, late: Sequence[int] = (), untracked: Sequence[int] = ()
) -> Result:
    """The answers, with the kernel's lookup in place of those that were not asked for.

    *late*: ports for whose probe no time was left; *untracked*: those that would have taken too
    much room in the connection tracking table. Where nothing could be sent, a lookup that finds no
    socket proves nothing: it would not see what is forwarded.
    """
    silent = (*answers.unasked, *late, *untracked)
    opened, undecided = tuple(answers.open), tuple(answers.undecided)
    held = _lookup(block, silent)
    if held is None:
        return Result(block, opened, undecided, silent, answers.failure)
    left: set[int] = set()
    if answers.failure:
        left = set(answers.unasked).difference(held)
    undecided = (*undecided, *held)
    counts = len(late), len(untracked)
    return Result(block, opened, undecided, tuple(sorted(left)), answers.failure, *counts)


def _lookup(block: Block, ports: Sequence[int]) -> list[int] | None:
    """Those of the ports that have a socket, None where the kernel does not tell."""
    if not ports:
        return []
    try:
        return sockettable.lookup(block.interface, block.protocol, ports)
    except OSError:
        return None


def _tracked_chunk(limits: Limits) -> int:
    """How many UDP ports may be probed now, given what all workers have left in the table.

    Kept back are the chunks that the workers may be at and one for what is asked again.
    """
    if limits.room.limit is None:
        return _BLOCK
    return limits.room.of(_TRACKED_CHUNK, kept=(limits.workers + 1) * _TRACKED_CHUNK)


def _fork_workers(blocks: Sequence[Block], limits: Limits) -> dict[int, Result]:
    """Results by number of block; each worker takes the next number when it is free."""
    counter = os.eventfd(1)
    workers: dict[int, int] = {}
    written: dict[int, bytearray] = {}
    for _ in range(limits.workers):
        output, inlet = os.pipe()
        worker = os.fork()
        if worker == 0:
            _work(blocks, limits, counter, inlet)
        os.close(inlet)
        workers[output] = worker
        written[output] = bytearray()
    late = pipes.collect(written, limits.look.later(_GRACE))
    os.close(counter)
    for output, worker in workers.items():
        os.close(output)
        _reap(worker, late=output in late)
    return dict(_results(blocks, map(bytes, written.values())))


def _reap(worker: int, *, late: bool) -> None:
    """See a worker off, which is ended where it is late; raises SweepError where it failed."""
    if late:
        os.kill(worker, signal.SIGKILL)
    _, status = os.waitpid(worker, 0)
    if status and not late:
        raise SweepError(f"a worker ended with status {os.waitstatus_to_exitcode(status)}")


def _work(blocks: Sequence[Block], limits: Limits, counter: int, inlet: int) -> None:
    """The life of a worker process; does not return."""
    status = 1
    try:
        with os.fdopen(inlet, "wb", buffering=0) as out:
            while (number := _next_number(counter)) < len(blocks):
                result = _examine(blocks[number], limits)
                # The block is known by its number.
                out.write(marshal.dumps((number, *result[1:])))
        status = 0
    finally:
        os._exit(status)


def _next_number(counter: int) -> int:
    """Take a number; reading empties the counter, which holds others back (eventfd(2))."""
    following = os.eventfd_read(counter)
    os.eventfd_write(counter, following + 1)
    return following - 1


def _results(blocks: Sequence[Block], written: Iterable[bytes]) -> Iterator[tuple[int, Result]]:
    for stream in written:
        reader = io.BytesIO(stream)
        while reader.tell() < len(stream):
            try:
                number, *learnt = marshal.load(reader)  # noqa: S302 - own worker's pipe
            except (EOFError, ValueError):
                break  # the cut where a late worker was ended
            yield number, Result(blocks[number], *learnt)
