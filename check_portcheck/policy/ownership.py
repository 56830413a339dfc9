"""Whether a socket has the owner that a rule asks for, and why that cannot be told. Pure.

A user is the one that opened the socket, by the kernel's word. A unit must have every process that
holds it, process 1 apart, which opens sockets for others. A name or a program file is had where one
process has it: a daemon's children may have others, and hold its socket only at times.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from check_portcheck.model import Unseen
from check_portcheck.policy.rules import OwnerKind, OwnerPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_portcheck.model import Owner

KERNEL = "kernel"
"""How a rule names the kernel itself as an owner."""

_REMEDIES = dict.fromkeys((Unseen.NOT_ROOT, Unseen.HIDEPID), ": run it by sudo")
"""What helps where the owner could not be seen, by the reason."""

_LONGEST_NAME = 80
"""Characters of an owner's name or path in a reason, which shall leave room for the expected."""
_MOST_UNITS = 3
"""Of those that hold one socket, in a reason."""


class Held(enum.Enum):
    """Whether a socket has the owner that a rule asks for."""

    YES = enum.auto()
    NO = enum.auto()
    UNTOLD = enum.auto()
    """It cannot be told."""


def held(pattern: OwnerPattern, owner: Owner) -> Held:
    """Whether *owner* is the one."""
    match pattern.kind:
        case OwnerKind.USER:
            return _by_user(pattern.value, owner)
        case OwnerKind.UNIT:
            return _by_unit(pattern.value, owner)
        case OwnerKind.EXECUTABLE:
            return _by_executable(pattern.value, owner)
        case OwnerKind.NAME:
            return _by_name(pattern.value, owner)


def _by_user(user: str, owner: Owner) -> Held:
    if owner.user is None:
        return Held.UNTOLD
    return Held.YES if owner.user == user else Held.NO


def _by_unit(unit: str, owner: Owner) -> Held:
    others = [process for process in owner.processes if process.pid != 1]
    if any(process.unit != unit for process in others):
        return Held.NO
    if owner.unseen or owner.others:
        return Held.UNTOLD
    if _is_first_alone(owner):
        return Held.YES if owner.processes[0].unit == unit else Held.UNTOLD
    return Held.YES if others else Held.NO


def _by_executable(path: str, owner: Owner) -> Held:
    if any(path in process.files for process in owner.processes):
        return Held.YES
    unread = any(path in process.unread for process in owner.processes)
    return Held.UNTOLD if owner.unseen or unread else Held.NO


def _by_name(name: str, owner: Owner) -> Held:
    # Any process may call itself kernel.
    has = owner.kernel if name == KERNEL else any(each.name == name for each in owner.processes)
    if has:
        return Held.YES
    return Held.UNTOLD if owner.unseen else Held.NO


def _is_first_alone(owner: Owner) -> bool:
    """Whether process 1 holds the socket, as it does for a daemon that was not needed so far."""
    return [process.pid for process in owner.processes] == [1]


def why_untold(pattern: OwnerPattern, owner: Owner) -> str:
    """Why it cannot be told whether *owner* is the one, with what helps."""
    reason = owner.unseen
    if pattern.kind is OwnerKind.UNIT:
        reason = reason or owner.others
    if reason:
        return reason + _REMEDIES.get(reason, "")
    if pattern.kind is OwnerKind.EXECUTABLE:
        return "program file not readable"
    unit = owner.processes[0].unit if owner.processes else None
    return "held by process 1 alone" + (f": allow unit:{unit} too" if unit else "")


def described(owner: Owner, wanted: Sequence[OwnerPattern]) -> str:
    """Who an owner is, in the terms in which *wanted* ask for one."""
    kinds = sorted({pattern.kind for pattern in wanted})
    if kinds == [OwnerKind.USER]:  # which needs no process
        return _spelled(OwnerKind.USER, owner.user)
    if owner.kernel:
        return KERNEL
    if owner.processes:
        return ", ".join(_property(owner, kind, wanted) for kind in kinds)
    return f"user {owner.user}" if owner.user else "unknown"


def _property(owner: Owner, kind: OwnerKind, wanted: Sequence[OwnerPattern]) -> str:
    """What rules of a kind ask for, as they spell it."""
    first = owner.processes[0]
    match kind:
        case OwnerKind.USER:
            return _spelled(kind, owner.user)
        case OwnerKind.UNIT:
            return _units(owner, wanted)
        case OwnerKind.EXECUTABLE:
            path = _spelled(kind, first.executable)
            here = OwnerPattern(kind, first.executable or "") not in wanted
            return path if here else f"{path} (not the file here)"
        case OwnerKind.NAME:
            return f"process {KERNEL}" if first.name == KERNEL else _spelled(kind, first.name)


def _units(owner: Owner, wanted: Sequence[OwnerPattern]) -> str:
    """The units of the processes, first those that nobody wants."""
    processes = [each for each in owner.processes if each.pid != 1] or owner.processes
    units = dict.fromkeys(process.unit for process in processes)
    known = [pattern.value for pattern in wanted if pattern.kind is OwnerKind.UNIT]
    ordered = sorted(units, key=lambda unit: unit in known)
    return " and ".join(_spelled(OwnerKind.UNIT, unit) for unit in ordered[:_MOST_UNITS])


def _spelled(kind: OwnerKind, value: str | None) -> str:
    return str(OwnerPattern(kind, value[:_LONGEST_NAME])) if value else f"without {kind}"
