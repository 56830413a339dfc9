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
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence

    from check_portcheck.model import Interface
    from check_portcheck.policy.rules import InterfacePattern, Item, OwnerPattern

_EVERY_PATTERN = ""
"""Under this key stand all skip rules."""
_SHOWN = 8
"""Scanned interfaces that one message names."""


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


def unscanned(
    rules: Iterable[Rule], interfaces: Sequence[Interface], absent_devices: Collection[str]
) -> list[str]:
    """What is wrong with the rules given the interfaces that are scanned, one line each.

    Devices of *absent_devices* were chosen too, and have no address now: rules may name them.
    """
    rules = tuple(rules)
    patterns = {rule.where.text: rule.where for rule in rules}
    matched = {text: tuple(filter(each.matches, interfaces)) for text, each in patterns.items()}
    scanned = _scanned(interfaces)
    errors: dict[tuple[str, str], str] = {}
    for rule in rules:
        text = rule.where.text
        reason = "" if matched[text] else _elsewhere(rule, absent_devices)
        if reason:  # once for all items of an entry
            errors[rule.source, text] = f"{rule.source}: {reason} ({scanned})"
    return [*errors.values(), *_skipped_here(rules, matched)]


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


def _elsewhere(rule: Rule, absent_devices: Collection[str]) -> str:
    """What is wrong with a rule for interfaces that are not scanned, empty where nothing is."""
    where = rule.where
    if where.names_one:
        absent = where.text in absent_devices or _device(where) in absent_devices
        return "" if absent else f"{where.text} is not scanned"
    if where.network is not None and rule.kind is Kind.REQUIRED:
        return f"no address of {where} is scanned"
    return ""


def _skipped_here(
    rules: Sequence[Rule], matched: Mapping[str, Sequence[Interface]]
) -> Iterator[str]:
    """Required rules that a skip rule defeats which names the same interface in another way."""
    by_pattern = _by_pattern(rules)
    by_interface = _Skips(
        (interface, skip)
        for skip in _of_kind(Kind.SKIP, rules)
        for interface in matched[skip.where.text]
    )
    for rule in _of_kind(Kind.REQUIRED, rules):
        port = _needed(rule.item)
        if _directly(by_pattern, rule.where, port):
            continue  # a contradiction, whatever addresses there are
        skip = by_interface.first(matched[rule.where.text], port)
        if skip:
            yield f"{rule.source}: {_named(rule)} is skipped by {skip.source} ({skip.where})"


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


def _device(where: InterfacePattern) -> str:
    """The device that an address with a scope or a label belongs to, else the text itself."""
    if "%" in where.text:
        return where.text.partition("%")[2]
    return where.text.partition(":")[0] if where.text.count(":") == 1 else where.text


def _scanned(interfaces: Sequence[Interface]) -> str:
    """The interfaces that are scanned and where they were chosen."""
    if not interfaces:
        return "scanned: nothing"
    shown = [_chosen(each) for each in interfaces[:_SHOWN]]
    if len(interfaces) > _SHOWN:
        shown.append(f"and {len(interfaces) - _SHOWN} more")
    return f"scanned: {'; '.join(shown)}"


def _chosen(interface: Interface) -> str:
    origins = " and ".join(interface.origins)
    return f"{interface.address}, chosen by {origins}" if origins else interface.address
