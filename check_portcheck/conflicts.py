"""Contradictions: rules that cannot hold together, or that no scan could ever meet.

Pure. Policies may have 100,000 rules, so nothing here compares every rule with every other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING

from check_portcheck.model import Interface, Port, Protocol
from check_portcheck.policy import ANY_INTERFACE, Kind, PortRange, RpcProgram, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence

    from check_portcheck.policy import InterfacePattern, Item, OwnerPattern

_PORTMAPPER = 100000
_PORTMAPPER_PORT = 111  # the one RPC program with a port of its own (RFC 1833, 3)
_EVERY_PATTERN = ""
_SHOWN = 8
"""Scanned interfaces that one message names."""


def contradictions(
    rules: Iterable[Rule], lowest: int, highest: int, *, udp: bool, places: Mapping[str, str]
) -> list[str]:
    """What is wrong with the rules whatever addresses the machine has, one line each.

    *places* says where ``lowest``, ``highest`` and ``udp`` were set. Of two rules for one item a
    line begins with the later one's place; of a required rule and what defeats it, with the rule's.
    """
    rules = tuple(rules)
    errors = list(_repeated(rules))
    skipped = _SkippedByPattern(rules)
    for rule in rules:
        if rule.kind is not Kind.REQUIRED:
            continue
        port = _needed(rule)
        if rule.item.protocol is Protocol.UDP and not udp:
            reason = f"cannot be seen: UDP is off by {places['udp']}"
        elif port and port.number < lowest:
            reason = f"is below the lowest port, {lowest} by {places['lowest']}"
        elif port and port.number > highest:
            reason = f"is above the highest port, {highest} by {places['highest']}"
        elif port and (skip := skipped.directly(rule, port)):
            reason = f"is skipped by {skip.place}"
        else:
            continue
        errors.append(f"{rule.place}: {_named(rule)} {reason}")
    return errors


def unscanned(
    rules: Iterable[Rule], interfaces: Sequence[Interface], absent_devices: Collection[str]
) -> list[str]:
    """What is wrong with the rules given the interfaces that are scanned, one line each.

    Devices of *absent_devices* were chosen too, and have no address now: rules may name them.
    """
    rules = tuple(rules)
    matched: dict[str, list[Interface]] = {}
    errors: dict[tuple[str, str], str] = {}
    for rule in rules:
        where = rule.where
        if where.text not in matched:
            matched[where.text] = list(filter(where.matches, interfaces))
        if matched[where.text] or (rule.place, where.text) in errors:
            continue
        absent = where.text in absent_devices or _device(where) in absent_devices
        if where.names_one and not absent:
            text = f"{rule.place}: {where.text} is not scanned ({_scanned(interfaces)})"
            errors[rule.place, where.text] = text
        elif where.network is not None and rule.kind is Kind.REQUIRED:
            text = f"{rule.place}: no address of {where} is scanned ({_scanned(interfaces)})"
            errors[rule.place, where.text] = text
    return [*errors.values(), *_skipped_here(rules, matched)]


def _repeated(rules: Iterable[Rule]) -> Iterator[str]:
    """The same item for the same interface: in two lists, or twice in one for the same owner."""
    first: dict[tuple[bool, str, Item], Rule] = {}
    same: dict[tuple[bool, str, Item, OwnerPattern | None], Rule] = {}
    for rule in rules:
        key = (rule.kind is Kind.SKIP, rule.where.text, rule.item)
        earlier = first.setdefault(key, rule)
        if earlier is rule:
            continue
        named = f"{rule.place}: {_named(rule)} is listed already"
        if earlier.kind is not rule.kind:
            yield f"{named}, as {earlier.kind}, by {earlier.place}"
            continue
        same.setdefault((*key, earlier.owner), earlier)
        earlier = same.setdefault((*key, rule.owner), rule)
        if earlier is not rule:
            yield f"{named} by {earlier.place}"


def _skipped_here(rules: Iterable[Rule], matched: Mapping[str, list[Interface]]) -> Iterator[str]:
    """Required rules that a skip rule defeats which names the same interface in another way."""
    by_pattern = _SkippedByPattern(rules)
    by_interface = _Skipped(
        (interface, rule)
        for rule in rules
        if rule.kind is Kind.SKIP
        for interface in matched[rule.where.text]
    )
    for rule in rules:
        port = _needed(rule)
        if rule.kind is not Kind.REQUIRED or port is None or by_pattern.directly(rule, port):
            continue
        skips = (by_interface.find(interface, port) for interface in matched[rule.where.text])
        skip = next(filter(None, skips), None)
        if skip:
            yield f"{rule.place}: {_named(rule)} is skipped by {skip.place} ({skip.where})"


class _Skipped:
    """Skip rules by some key, in a form in which the one that covers a port is found at once."""

    def __init__(self, keyed: Iterable[tuple[Hashable, Rule]]) -> None:
        ranges: defaultdict[tuple[Hashable, Protocol], list[Rule]] = defaultdict(list)
        for key, rule in keyed:
            ranges[key, rule.item.protocol].append(rule)
        self._reaching = {key: _reaching(found) for key, found in ranges.items()}

    def find(self, key: Hashable, port: Port) -> Rule | None:
        """A rule under *key* that covers the port."""
        if (key, port.protocol) not in self._reaching:
            return None
        lowest, reaching = self._reaching[key, port.protocol]
        index = bisect_right(lowest, port.number) - 1
        if index < 0 or reaching[index][0] < port.number:
            return None
        return reaching[index][1]


class _SkippedByPattern(_Skipped):
    """Skip rules by the interface that they name."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        skips = [rule for rule in rules if rule.kind is Kind.SKIP]
        super().__init__((key, rule) for rule in skips for key in (rule.where.text, _EVERY_PATTERN))

    def directly(self, required: Rule, port: Port) -> Rule | None:
        """A rule that covers the port and names the same interface, or one of them names any."""
        text = required.where.text
        if text == ANY_INTERFACE.text:
            return self.find(_EVERY_PATTERN, port)
        return self.find(text, port) or self.find(ANY_INTERFACE.text, port)


def _reaching(skips: Iterable[Rule]) -> tuple[list[int], list[tuple[int, Rule]]]:
    """Where each range begins, in order, and how far those up to there reach, with the rule."""
    ranges = [(rule.item, rule) for rule in skips if isinstance(rule.item, PortRange)]
    ranges.sort(key=lambda entry: entry[0].lowest)
    furthest: list[tuple[int, Rule]] = []
    for item, rule in ranges:
        further = not furthest or item.highest > furthest[-1][0]
        furthest.append((item.highest, rule) if further else furthest[-1])
    return [item.lowest for item, _ in ranges], furthest


def _needed(required: Rule) -> Port | None:
    """The port without which a required rule cannot be met, None where it may be on any."""
    item = required.item
    if isinstance(item, PortRange):
        return item.single
    fixed = isinstance(item, RpcProgram) and item.program == _PORTMAPPER
    return Port(item.protocol, _PORTMAPPER_PORT) if fixed else None


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
    shown = [
        f"{each.address}, chosen by {' and '.join(each.origins)}" if each.origins else each.address
        for each in interfaces[:_SHOWN]
    ]
    if len(interfaces) > _SHOWN:
        shown.append(f"and {len(interfaces) - _SHOWN} more")
    return f"scanned: {'; '.join(shown) or 'nothing'}"
