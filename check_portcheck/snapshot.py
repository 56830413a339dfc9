"""The present state as a policy, to start one from."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING

from check_portcheck import config
from check_portcheck.model import State
from check_portcheck.policy import Kind
from check_portcheck.wording import owner_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from check_portcheck.model import Interface, OpenService
    from check_portcheck.plugin import Portcheck

Entry = tuple[str, str]
"""List and item: ``Required`` and ``22/tcp``."""


def policy(resource: Portcheck) -> tuple[str, int]:
    """A file that, given as --config, calls what is open now expected; and the exit code.

    What may be on another port next time (the kernel's range for clients) is optional, an RPC
    service goes by its name, and what the present policy ignores or skips stays so.
    """
    report, settings = resource.report, resource.task.settings
    kept = tuple(rule for rule in settings.rules if rule.kind in (Kind.IGNORE, Kind.SKIP))
    text = config.effective(dataclasses.replace(settings, rules=kept, print_policy=False))
    where: defaultdict[Entry, list[Interface]] = defaultdict(list)
    owners: defaultdict[Entry, dict[str, None]] = defaultdict(dict)
    for judged in resource.verdict.judged:
        if judged.rule and judged.rule.kind is Kind.IGNORE:
            continue
        for entry in _entries(judged.service, report.ephemeral):
            where[entry].append(judged.service.interface)
            found = judged.service.owners or ()
            owners[entry].update((owner_text(owner).strip(), None) for owner in found)
    lines: list[str] = []
    for (kind, item), interfaces in where.items():
        lines += [f"# {', '.join(holders)}" for holders in [list(owners[kind, item])] if holders]
        for pattern in _patterns(interfaces, report.interfaces):
            lines.append(f"PortCheck{kind} = {pattern}:{item}")
    return text + "".join(f"{line}\n" for line in lines), State.OK


def _entries(service: OpenService, ephemeral: tuple[int, int]) -> Iterable[Entry]:
    if service.rpc:
        return [("Required", f"{rpc}/{service.port.protocol}") for rpc in service.rpc]
    changing = ephemeral[0] <= service.port.number <= ephemeral[1]
    return [("Optional" if changing else "Required", str(service.port))]


def _patterns(interfaces: Collection[Interface], scanned: Collection[Interface]) -> list[str]:
    """``*`` for all that are scanned, a device for all of its addresses, else addresses."""
    left = set(interfaces)
    if left == set(scanned):
        return ["*"]
    patterns: list[str] = []
    devices = dict.fromkeys(name for each in scanned for name in each.chosen if name == each.device)
    for device in devices:
        addresses = {each for each in scanned if each.device == device}
        if addresses <= left:
            patterns.append(device)
            left -= addresses
    return patterns + [str(each) for each in scanned if each in left]
