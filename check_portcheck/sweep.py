"""Probe many ports of many interfaces on all cores, within a time limit and gently."""

from __future__ import annotations

import io
import marshal
import os
import select
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from check_portcheck import probes, sockettable
from check_portcheck.model import Interface, Protocol, ScanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_BLOCK = 8192
"""Ports that one process probes before it looks at the clock, about 60 ms."""

_TRACKED_CHUNK = 1024
"""UDP ports that are probed between two looks at the connection tracking table."""

_GRACE = 0.5
"""Seconds that a worker may be late before it is ended."""

_TRACKING = "/proc/sys/net/netfilter"


class SweepError(ScanError):
    """A worker process failed."""


@dataclass(frozen=True)
class Block:
    """Some ports of one interface and protocol."""

    interface: Interface
    protocol: Protocol
    ports: Sequence[int]


@dataclass(frozen=True)
class Result:
    """What was learnt of the ports of one block; those named in no list are closed."""

    block: Block
    open: tuple[int, ...]
    """TCP ports that took a connection."""
    undecided: tuple[int, ...]
    """Ports that did not answer, or at which the kernel's lookup found a socket."""
    left: tuple[int, ...]
    """Ports of which nothing was learnt: no time, or no lookup to be had."""
    looked_up: int
    """Ports decided by the kernel's lookup in place of a probe, for want of time."""
    untracked: int
    """The same, so that connection tracking keeps room."""

    @property
    def unprobed(self) -> bool:
        """Whether any of the ports still waits for a probe."""
        return bool(self.left or self.looked_up or self.untracked)


@dataclass(frozen=True)
class Limits:
    """How long and how far to go; times as of time.monotonic()."""

    probe_until: float
    """From then on the kernel's lookup takes the place of probes."""
    look_until: float
    """From then on nothing more is begun."""
    tracked: int | None
    """Entries that the connection tracking table may hold, None where nothing is tracked."""
    workers: int


def blocks_of(interface: Interface, protocol: Protocol, ports: Iterable[int]) -> Iterator[Block]:
    """The ports, in ascending order, cut into blocks."""
    whole: Sequence[int] = ports if isinstance(ports, range) else tuple(ports)
    for start in range(0, len(whole), _BLOCK):
        yield Block(interface, protocol, whole[start : start + _BLOCK])


def run(blocks: Sequence[Block], probe_until: float, look_until: float) -> list[Result]:
    """Probe the blocks in their order, with as many processes as there are cores.

    One result per block. Raises SweepError.
    """
    workers = min(len(os.sched_getaffinity(0)), len(blocks))
    limits = Limits(probe_until, look_until, _tracking_limit(), workers)
    if workers <= 1:
        return [_examine(block, limits) for block in blocks]
    found = _fork_workers(blocks, limits)
    return [
        found[number] if number in found else Result(block, (), (), tuple(block.ports), 0, 0)
        for number, block in enumerate(blocks)
    ]


def _examine(block: Block, limits: Limits) -> Result:
    """Look at one block in the way that the time left allows."""
    now = time.monotonic()
    if now >= limits.look_until:
        return Result(block, (), (), tuple(block.ports), 0, 0)
    if now >= limits.probe_until:
        return _look_up(block, probes.Answers(unasked=list(block.ports)), untracked=0)
    try:
        if block.protocol is Protocol.TCP:
            return _look_up(block, probes.sweep_tcp(block.interface, block.ports), untracked=0)
        return _examine_udp(block, limits)
    except OSError:
        # No source port or no descriptor to be had: the lookup needs neither.
        return _look_up(block, probes.Answers(unasked=list(block.ports)), untracked=0)


def _examine_udp(block: Block, limits: Limits) -> Result:
    """Probe in chunks, as far as connection tracking has room for an entry per port."""
    # A datagram to port 0 cannot be sent (EINVAL in udp_sendmsg), nor can a socket have it.
    ports = block.ports[1:] if block.ports and block.ports[0] == 0 else block.ports
    answers = probes.Answers()
    done = 0
    while done < len(ports) and not answers.unasked:
        chunk = _tracked_chunk(limits)
        if chunk == 0:
            break
        part = probes.sweep_udp(block.interface, ports[done : done + chunk])
        answers.undecided += part.undecided
        answers.unasked += part.unasked
        done += chunk
    untracked = max(0, len(ports) - done)
    answers.unasked += ports[done:]
    return _look_up(block, answers, untracked)


def _look_up(block: Block, answers: probes.Answers, untracked: int) -> Result:
    """Decide by the kernel's lookup what was not asked."""
    left: list[int] = []
    looked_up = 0
    if answers.unasked:
        try:
            answers.undecided += sockettable.lookup(
                block.interface, block.protocol, answers.unasked
            )
            looked_up = len(answers.unasked) - untracked
        except OSError:
            left = answers.unasked
    return Result(
        block, tuple(answers.open), tuple(answers.undecided), tuple(left), looked_up, untracked
    )


def _tracking_limit() -> int | None:
    """How full the connection tracking table may get: a quarter of what is free now.

    A full table drops the traffic of the whole machine; each UDP probe leaves an entry where
    loopback is tracked.
    """
    count, most = _tracking("count"), _tracking("max")
    if count is None or most is None:
        return None
    return count + max(0, most - count) // 4


def _tracked_chunk(limits: Limits) -> int:
    """How many UDP ports may be probed now, given what all workers have left in the table."""
    if limits.tracked is None:
        return _BLOCK
    count = _tracking("count")
    if count is None:
        return 0
    return min(_TRACKED_CHUNK, max(0, limits.tracked - count) // max(1, limits.workers))


def _tracking(figure: str) -> int | None:
    """A figure of the connection tracking table, None where its module is not loaded."""
    try:
        with open(f"{_TRACKING}/nf_conntrack_{figure}", encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _fork_workers(blocks: Sequence[Block], limits: Limits) -> dict[int, Result]:
    """Results by number of block; each worker takes the next number when it is free."""
    counter = os.eventfd(1)
    outputs: dict[int, tuple[int, bytearray]] = {}
    for _ in range(limits.workers):
        output, inlet = os.pipe()
        worker = os.fork()
        if worker == 0:
            _work(blocks, limits, counter, inlet)
        os.close(inlet)
        outputs[output] = (worker, bytearray())
    late = _collect(outputs, limits.look_until + _GRACE)
    os.close(counter)
    for output, (worker, _) in outputs.items():
        os.close(output)
        if output in late:
            os.kill(worker, signal.SIGKILL)
        _, status = os.waitpid(worker, 0)
        if status and output not in late:
            raise SweepError(f"a worker ended with status {os.waitstatus_to_exitcode(status)}")
    return dict(_results(blocks, (bytes(written) for _, written in outputs.values())))


def _work(blocks: Sequence[Block], limits: Limits, counter: int, inlet: int) -> None:
    """The life of a worker process; does not return."""
    status = 1
    try:
        with os.fdopen(inlet, "wb", buffering=0) as out:
            while (number := _next_number(counter)) < len(blocks):
                result = _examine(blocks[number], limits)
                lists = (result.open, result.undecided, result.left)
                out.write(marshal.dumps((number, *lists, result.looked_up, result.untracked)))
        status = 0
    finally:
        os._exit(status)


def _next_number(counter: int) -> int:
    """Take a number; reading empties the counter, which holds others back (eventfd(2))."""
    following = os.eventfd_read(counter)
    os.eventfd_write(counter, following + 1)
    return following - 1


def _collect(outputs: Mapping[int, tuple[int, bytearray]], until: float) -> set[int]:
    """Read what the workers write until they are done; gives the outputs of those that are late."""
    poll = select.poll()
    for output in outputs:
        poll.register(output, select.POLLIN)
    running = set(outputs)
    while running and (left := until - time.monotonic()) > 0:
        for output, _ in poll.poll(left * 1000):
            if part := os.read(output, 1 << 16):
                outputs[output][1].extend(part)
            else:
                poll.unregister(output)
                running.remove(output)
    return running


def _results(blocks: Sequence[Block], written: Iterable[bytes]) -> Iterator[tuple[int, Result]]:
    for stream in written:
        reader = io.BytesIO(stream)
        while reader.tell() < len(stream):
            try:
                number, *values = marshal.load(reader)  # noqa: S302 - own worker's pipe
            except (EOFError, ValueError):
                break  # the cut where a late worker was ended
            yield number, Result(blocks[number], *values)
