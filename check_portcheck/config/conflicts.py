"""Contradictions: rules that cannot hold together, or that no scan could ever meet.

Pure. Policies may have 100,000 rules, so nothing here compares every rule with every other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.model import (
    PORTMAPPER_PORT,
    PORTMAPPER_PROGRAM,
    Port,
    PortRange,
    Protocol,
    Span,
)
from check_portcheck.policy.rules import ANY_INTERFACE, Kind, RpcProgram, Rule

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from check_portcheck.policy.rules import InterfacePattern, Item, OwnerPattern

_EVERY_PATTERN = ""
"""Under this key stand all skip rules."""


class Reach(NamedTuple):
    """What a scan sees, and the sources of what limits it."""

    span: Span
    """The ports that are scanned."""
    udp: bool
    """Whether UDP is scanned too."""
    first_source: str = ""
    last_source: str = ""
    udp_source: str = ""

    def lacks(self, item: Item, port: Port | None) -> str:
        """Why a required item, which may need a certain port, is never seen; empty where it is."""
        if item.protocol is Protocol.UDP and not self.udp:
            return f"cannot be seen: UDP is off by {self.udp_source}"
        if port is None or port.number in self.span:
            return ""
        if port.number < self.span.first:
            return f"is below the lowest port, {self.span.first} by {self.first_source}"
        return f"is above the highest port, {self.span.last} by {self.last_source}"


def contradictions(rules: Iterable[Rule], reach: Reach) -> list[str]:
    """What is wrong with the rules whatever addresses the machine has, one line each.

    Of two rules for one item a line begins with the later one's source; of a required rule and
    what defeats it, with the rule's.
    """
    rules = tuple(rules)
    errors = list(_repeated(rules))
    skipped = _by_pattern(rules)
    for rule in _of_kind(Kind.REQUIRED, rules):
        port = _needed(rule.item)
        reason = reach.lacks(rule.item, port)
        skip = None if reason else _directly(skipped, rule.where, port)
        if skip:
            reason = f"is skipped by {skip.source}"
        if reason:
            errors.append(f"{rule.source}: {_named(rule)} {reason}")
    return errors


def _repeated(rules: Iterable[Rule]) -> Iterator[str]:
    """The same item for the same interface: in two lists, or twice in one for the same owner."""
    listed: dict[tuple[bool, str, Item], Rule] = {}
    owned: dict[tuple[bool, str, Item, OwnerPattern | None], Rule] = {}
    for rule in rules:
        key = (rule.kind is Kind.SKIP, rule.where.text, rule.item)
        first = listed.setdefault(key, rule)
        if first is rule:
            continue
        named = f"{rule.source}: {_named(rule)} is listed already"
        if first.kind is not rule.kind:
            yield f"{named}, as {first.kind}, by {first.source}"
            continue
        owned.setdefault((*key, first.owner), first)
        same = owned.setdefault((*key, rule.owner), rule)
        if same is not rule:
            yield f"{named} by {same.source}"


_Skip = tuple[Span, Rule]
"""A skip rule with the ports that it names."""


class _Skips:
    """Skip rules by some key, in a form in which the one that covers a port is found at once."""

    __slots__ = ("_reaching",)

    def __init__(self, keyed: Iterable[tuple[Hashable, Rule]]) -> None:
        spans: defaultdict[tuple[Hashable, Protocol], list[_Skip]] = defaultdict(list)
        for key, rule in keyed:
            if isinstance(rule.item, PortRange):
                spans[key, rule.item.protocol].append((rule.item.span, rule))
        self._reaching = {key: _reaching(found) for key, found in spans.items()}

    def first(self, keys: Iterable[Hashable], port: Port | None) -> Rule | None:
        """A rule under the first of *keys* that has one that covers the port."""
        if port is None or not self._reaching:
            return None
        return next(filter(None, (self._find(key, port) for key in keys)), None)

    def _find(self, key: Hashable, port: Port) -> Rule | None:
        """A rule under *key* that covers the port."""
        starts, reaching = self._reaching.get((key, port.protocol), ([], []))
        begun = bisect_right(starts, port.number)
        if not begun:
            return None
        span, rule = reaching[begun - 1]
        return rule if port.number <= span.last else None


def _reaching(skips: list[_Skip]) -> tuple[list[int], list[_Skip]]:
    """Where each span begins, in order, and which of those up to there reaches furthest."""
    skips = sorted(skips, key=lambda skip: skip[0].first)
    return [span.first for span, _ in skips], list(accumulate(skips, _further))


def _further(skip: _Skip, other: _Skip) -> _Skip:
    return other if other[0].last > skip[0].last else skip


def _by_pattern(rules: Iterable[Rule]) -> _Skips:
    """Skip rules by the interfaces that they name."""
    skips = _of_kind(Kind.SKIP, rules)
    return _Skips((key, skip) for skip in skips for key in (skip.where.text, _EVERY_PATTERN))


def _directly(by_pattern: _Skips, where: InterfacePattern, port: Port | None) -> Rule | None:
    """A skip rule for a port required there: both name the same interface, or one names any."""
    anywhere = where == ANY_INTERFACE
    keys = (_EVERY_PATTERN,) if anywhere else (where.text, ANY_INTERFACE.text)
    return by_pattern.first(keys, port)


def _of_kind(kind: Kind, rules: Iterable[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.kind is kind]


def _needed(item: Item) -> Port | None:
    """The port without which a required item cannot be open, None where it may be on any."""
    if isinstance(item, PortRange):
        return item.single
    if isinstance(item, RpcProgram) and item.program == PORTMAPPER_PROGRAM:
        return Port(item.protocol, PORTMAPPER_PORT)
    return None


def _named(rule: Rule) -> str:
    owner = f"@{rule.owner}" if rule.owner else ""
    return f"{rule.kind} {rule.item}{owner} on {rule.where}"
