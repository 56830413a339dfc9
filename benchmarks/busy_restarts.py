"""Daemons and containers of a busy host that are made anew, and when they were down."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING

from busy_checks import Absence
from busy_daemons import DAEMONS
from busy_network import CONTAINERS, PUBLISHED

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from busy_machine import Daemon, Machine
    from busy_network import Containers

_PAUSE = 6.0
"""Seconds between two restarts, at most."""

_DOWN = 3.0
"""Seconds that a daemon stays down, at most."""


class Restarts:
    """What is restarted, at moments of chance."""

    def __init__(self, host: Machine, containers: Containers, chance: random.Random) -> None:
        self._host = host
        self._containers = containers
        self._chance = chance
        self._enough = threading.Event()
        self.absences: list[Absence] = []

    def everything(self) -> None:
        """Restart all there is."""
        for daemon in DAEMONS:
            self._daemon(daemon)
        for number in range(1, CONTAINERS + 1):
            self._container(number)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Meanwhile one after the other is restarted."""
        failures: list[BaseException] = []
        thread = threading.Thread(target=self._go_on, args=[failures])
        thread.start()
        try:
            yield
        finally:
            self._enough.set()
            thread.join()
        if failures:
            raise failures[0]

    def _go_on(self, failures: list[BaseException]) -> None:
        try:
            while not self._enough.wait(self._chance.uniform(0, _PAUSE)):
                self._any()
        except BaseException as failed:  # noqa: BLE001 a thread has no caller to raise it to
            failures.append(failed)

    def _any(self) -> None:
        number = self._chance.randrange(len(DAEMONS) + CONTAINERS)
        if number < len(DAEMONS):
            self._daemon(DAEMONS[number], pause=self._chance.uniform(0, _DOWN))
        else:
            self._container(number - len(DAEMONS) + 1)

    def _daemon(self, daemon: Daemon, pause: float = 0) -> None:
        with self._noted(daemon.name, daemon.items):
            self._host.stop(daemon)
            time.sleep(pause)
            self._host.serve(daemon)

    def _container(self, number: int) -> None:
        published = frozenset((PUBLISHED,)) if number == 1 else frozenset()
        with self._noted(f"container {number}", published):
            self._containers.run(number)

    @contextlib.contextmanager
    def _noted(self, name: str, items: frozenset[str]) -> Iterator[None]:
        """Note that something is down until the block ends, and until then that it still is."""
        since = time.monotonic()
        index = len(self.absences)
        self.absences.append(Absence(name, items, since, math.inf))
        yield
        self.absences[index] = Absence(name, items, since, time.monotonic())
