"""Rules that can have no effect now: what they name is not here, or not scanned. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.policy.rules import Kind

if TYPE_CHECKING:
    from collections.abc import Collection

    from check_portcheck.model import Interface
    from check_portcheck.policy.rules import InterfacePattern, Rule


def idle(rules: Collection[Rule], interfaces: Collection[Interface]) -> tuple[Rule, ...]:
    """Those of *rules* that name an address or a device that is none of *interfaces*.

    Left out are required ones, which are findings where they cannot be met.
    """
    matching: dict[InterfacePattern, bool] = {}
    for where in {rule.where for rule in rules}:
        matching[where] = not where.names_one or any(map(where.matches, interfaces))
    return tuple(r for r in rules if r.kind is not Kind.REQUIRED and not matching[r.where])
