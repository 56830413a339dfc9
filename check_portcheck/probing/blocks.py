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

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from check_portcheck.deadline import Deadline
    from check_portcheck.model import Interface
    from check_portcheck.probing.portset import PortSet

_BLOCK = 8192
"""Ports that one process probes before it looks at the clock, about 60 ms."""

_TRACKED_CHUNK = 256
"""UDP ports that are probed between two looks at the connection tracking table."""

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
    """TCP ports that took a connection."""
    undecided: tuple[int, ...] = ()
    """Ports that did not answer, or at which the kernel's lookup found a socket."""
    left: tuple[int, ...] = ()
    """Ports of which nothing was learnt, since there is no lookup to be had."""
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
    def unknown(self) -> Sequence[int]:
        """The ports of which nothing was learnt."""
        return self.left if self.begun else self.block.ports.numbers()


class Limits(NamedTuple):
    """How long and how far to go."""

    probe: Deadline
    """From then on the kernel's lookup takes the place of probes."""
    look: Deadline
    """From then on nothing more is begun."""
    tracked: int | None
    """Entries that the connection tracking table may hold, None where nothing is tracked."""
    workers: int


def cut(interface: Interface, protocol: Protocol, ports: PortSet) -> Iterator[Block]:
    """The ports, in ascending order, cut into blocks."""
    for part in ports.cut(_BLOCK):
        yield Block(interface, protocol, part)


def examine(blocks: Sequence[Block], probe: Deadline, look: Deadline) -> list[Result]:
    """Probe the blocks in their order, with as many processes as there are cores.

    From *probe* on the kernel's lookup takes the place of probes, from *look* on nothing more is
    begun. One result per block. Raises SweepError.
    """
    workers = min(len(os.sched_getaffinity(0)), len(blocks))
    limits = Limits(probe, look, _tracking_limit(workers), workers)
    if workers <= 1:
        return [_examine(block, limits) for block in blocks]
    found = _fork_workers(blocks, limits)
    return [found.get(n, Result(block, begun=False)) for n, block in enumerate(blocks)]


def _examine(block: Block, limits: Limits) -> Result:
    """Look at one block in the way that the time left allows."""
    if limits.look.passed:
        return Result(block, begun=False)
    ports = block.ports.numbers()
    try:
        if limits.probe.passed:
            return _result(block, probes.Answers(), ports)
        if block.protocol is Protocol.TCP:
            return _result(block, probes.sweep_tcp(block.interface, ports))
        return _examine_udp(block, ports, limits)
    except OSError:
        # No source port or no descriptor to be had: the lookup needs neither.
        return _result(block, probes.Answers(), ports)


def _examine_udp(block: Block, ports: Sequence[int], limits: Limits) -> Result:
    """Probe in chunks, as far as connection tracking has room for an entry per port."""
    # A datagram to port 0 cannot be sent (EINVAL in udp_sendmsg), nor can a socket have it.
    ports = ports[1:] if ports and ports[0] == 0 else ports
    answers = probes.Answers()
    done = 0
    while done < len(ports) and (chunk := _tracked_chunk(limits)):
        part = probes.sweep_udp(block.interface, ports[done : done + chunk])
        answers.undecided += part.undecided
        answers.unasked += part.unasked
        done += chunk
    return _result(block, answers, untracked=ports[done:])


def _result(
    block: Block,
    answers: probes.Answers,
    late: Sequence[int] = (),
    untracked: Sequence[int] = (),
) -> Result:
    """The answers, with the kernel's lookup in place of those that were not asked for.

    *late*: ports for whose probe no time was left; *untracked*: those that would have taken too
    much room in the connection tracking table.
    """
    silent = (*answers.unasked, *late, *untracked)
    opened, undecided = tuple(answers.open), tuple(answers.undecided)
    if not silent:
        return Result(block, opened, undecided)
    try:
        held = sockettable.lookup(block.interface, block.protocol, silent)
    except OSError:
        return Result(block, opened, undecided, left=silent)
    return Result(block, opened, (*undecided, *held), (), len(late), len(untracked))


def _tracking_limit(workers: int) -> int | None:
    """How full the connection tracking table may be for a worker to go on.

    A full table drops the traffic of the whole machine, and each UDP probe leaves an entry where
    loopback is tracked. The scan takes a quarter of what is free now, less the chunks that the
    workers may be at and one for what is asked again.
    """
    entries = conntrack.entries()
    if entries is None:
        return None
    free = max(0, entries.limit - entries.used)
    return entries.used + free // 4 - workers * _TRACKED_CHUNK


def _tracked_chunk(limits: Limits) -> int:
    """How many UDP ports may be probed now, given what all workers have left in the table."""
    if limits.tracked is None:
        return _BLOCK
    entries = conntrack.entries()
    if entries is None:
        return 0
    return max(0, min(_TRACKED_CHUNK, limits.tracked - entries.used))


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
                lists = (result.open, result.undecided, result.left)
                counts = (result.looked_up, result.untracked, result.begun)
                out.write(marshal.dumps((number, *lists, *counts)))
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
                number, *values = marshal.load(reader)  # noqa: S302 - own worker's pipe
            except (EOFError, ValueError):
                break  # the cut where a late worker was ended
            yield number, Result(blocks[number], *values)
