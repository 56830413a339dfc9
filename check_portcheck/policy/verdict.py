"""What a policy says of a report, and which state that brings. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.model import (
    Failure,
    Interface,
    OpenService,
    PortRange,
    Severity,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from check_portcheck.policy.rules import Item, Rule

    Position = tuple[int, str, int, int, str]
    """By which what is judged is sorted."""


class FindingKind(enum.StrEnum):
    """What is wrong."""

    UNEXPECTED = "unexpected"
    MISSING = "missing"
    UNVERIFIED = "unverified"
    """It could not be determined whether something is wrong."""


class Finding(NamedTuple):
    """One service that is not as the policy wants it."""

    kind: FindingKind
    interfaces: tuple[Interface, ...]
    """Where, in the order in which they are scanned; empty where the rule's address or device is
    not here, or not scanned."""
    item: Item
    """The port or ports; an RPC program when it is on no port."""
    service: OpenService | None = None
    """The open service, None when nothing is open."""
    rule: Rule | None = None
    """The rule that is not met, if it is one."""
    reason: str = ""
    """What more there is to say: the wrong owner, why it could not be determined."""

    def on(self, interfaces: tuple[Interface, ...]) -> Finding:
        """The finding as far as it concerns some of its interfaces."""
        service = self.service.on(interfaces) if self.service else None
        return self._replace(interfaces=interfaces, service=service)


class Judged(NamedTuple):
    """An open service with what the policy says of it, the same on all its interfaces."""

    service: OpenService
    rule: Rule | None
    """The rule that allows it, None when none does."""
    finding: Finding | None = None
    """What is wrong with it, None when a rule allows it."""

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Where it is open."""
        return self.service.interfaces

    @property
    def item(self) -> Item:
        """Its port."""
        return self.finding.item if self.finding else PortRange.of(self.service.port)


class Verdict(NamedTuple):
    """What the policy says of a report; all by first interface, protocol and number."""

    judged: tuple[Judged, ...]
    """Every open service, cut where the policy says something else of some interfaces."""
    findings: tuple[Finding, ...]
    """What is unexpected, missing, unverified."""
    unused: tuple[Rule, ...]
    """Rules that no open service needed."""
    idle: tuple[Rule, ...] = ()
    """Rules that can have no effect: what they name is not here, or not scanned."""


def order(
    interfaces: Iterable[Interface],
) -> Callable[[Sequence[Interface], Item], Position]:
    """The key by which what is judged is sorted: the first interface, protocol and number.

    *interfaces* are all that are scanned.
    """
    indices = {interface: index for index, interface in enumerate(interfaces)}

    def position(where: Sequence[Interface], item: Item) -> Position:
        # What is on no interface comes first, what is bound where nothing is scanned last.
        index = indices.get(where[0], len(indices)) if where else -1
        if isinstance(item, PortRange):
            return (index, item.protocol, *item.span, "")
        return (index, item.protocol, 0, 0, str(item))

    return position


class Severities(NamedTuple):
    """How bad each kind of finding is: the one place where findings become a state."""

    unexpected: Severity = Severity.CRIT
    missing: Severity = Severity.CRIT

    def state(self, kind: FindingKind) -> State:
        """The state that a finding of this kind brings."""
        match kind:
            case FindingKind.UNEXPECTED:
                return self.unexpected.state
            case FindingKind.MISSING:
                return self.missing.state
            case FindingKind.UNVERIFIED:
                return State.UNKNOWN

    def worst(self, kinds: Iterable[FindingKind], failures: Iterable[Failure]) -> State:
        """The state that findings of these kinds and what could not be looked at bring together."""
        states = [self.state(kind) for kind in kinds]
        states += [State.UNKNOWN for _ in failures]
        return max(states, key=lambda state: state.rank, default=State.OK)

    def kinds(self) -> list[FindingKind]:
        """The kinds of findings, the worst state first."""
        return sorted(FindingKind, key=lambda kind: -self.state(kind).rank)
