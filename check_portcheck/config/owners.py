"""The words for owners of services, and those that nothing can be meant by. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from check_portcheck.config.values import TokenError, quoted
from check_portcheck.kernel.cgroups import UNIT_SUFFIXES
from check_portcheck.policy.rules import OwnerKind, OwnerPattern

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from check_portcheck.policy.rules import Rule

_NAME = r"[^:/|\"'`]+"
_KIND = r"(?s)(user|unit):(.+)"
_WORDED = r"(?i)([a-z]+)[:=/](.+)"
_PREFIXES = {
    **dict.fromkeys(("user", "username", "uid", "owner"), "user:"),
    **dict.fromkeys(("unit", "service", "systemd"), "unit:"),
    **dict.fromkeys(("name", "process", "proc", "program", "cmd", "comm", "exe", "path"), ""),
}
"""What is written for the kinds of owners, and what it is here."""
_NO_HOLDERS = (".slice", ".target", ".timer", ".path", ".device", ".automount")
"""Units without processes of their own (systemd.unit(5))."""
_FIRST = "init.scope"
"""The unit of process 1 where that is systemd (systemd.special(7))."""
_COMM = 15
"""Bytes of a process's name that the kernel keeps (TASK_COMM_LEN of linux/sched.h, with a NUL)."""
_PID = r"[0-9]+/(.+)|(.+)\[[0-9]+\]"
"""``4711/sshd`` of netstat, ``sshd[4711]`` of logs."""


def owner(text: str) -> OwnerPattern:
    """``sshd``, ``/usr/sbin/sshd``, ``user:postgres`` or ``unit:nginx.service``."""
    if text.startswith("/"):
        return OwnerPattern(OwnerKind.EXECUTABLE, text)
    if match := re.fullmatch(_KIND, text):
        return _user_or_unit(OwnerKind(match[1]), match[2])
    if "|" in text:
        raise TokenError(f"{quoted(f'@{text}')}: each of several owners has an item of its own")
    if text.endswith(UNIT_SUFFIXES):
        raise TokenError(f"{quoted(f'@{text}')} is a unit, no name of a process")
    if not re.fullmatch(_NAME, text) or re.fullmatch(_PID, text):
        known = "@NAME, @/EXECUTABLE, @user:NAME or @unit:NAME.service"
        raise TokenError(f"{quoted(f'@{text}')}: the owner is not of the form {known}")
    return OwnerPattern(OwnerKind.NAME, text)


def _user_or_unit(kind: OwnerKind, value: str) -> OwnerPattern:
    """The owner of a kind with a prefix, of which a unit has the kernel's name or a container's."""
    is_unit = value.endswith(UNIT_SUFFIXES) or value.startswith("container:")
    if kind is OwnerKind.UNIT and not is_unit:
        known = ", ".join(UNIT_SUFFIXES)
        raise TokenError(f"{quoted(f'@unit:{value}')}: units that hold sockets end in {known}")
    return OwnerPattern(kind, value)


def named(rules: Iterable[Rule]) -> set[str]:
    """What rules call users, or processes that could be users."""
    owners = {rule.owner for rule in rules if rule.owner}
    return {each.value for each in owners if each.kind in (OwnerKind.USER, OwnerKind.NAME)}


def doubtful(
    rules: Iterable[Rule], users: Mapping[str, str | None], processes: Collection[str]
) -> list[str]:
    """Rules whose owner does not seem to be on this machine, each a line with the reason.

    *users* has for each of named() what that user is called, None for what is no user; *processes*
    are the names of those that run, cut by the kernel.
    """
    reasons = ((rule, _doubt(rule, users, processes)) for rule in rules)
    return [f"{rule}, {rule.source}: {reason}" for rule, reason in reasons if reason]


def _doubt(rule: Rule, users: Mapping[str, str | None], processes: Collection[str]) -> str:
    """Why the owner of a rule does not seem to be meant so, empty where it may well be."""
    if rule.owner is None:
        return ""
    kind, value = rule.owner
    if kind is OwnerKind.UNIT:
        return _doubt_of_unit(rule, value)
    if value not in users:
        return ""
    user = users[value]
    right = rule._replace(owner=OwnerPattern(OwnerKind.USER, user or value))
    if kind is OwnerKind.USER and user != value:
        return f"its name is {user}: write {right}" if user else f"no user is called {value}"
    if kind is OwnerKind.NAME and user == value and value[:_COMM] not in processes:
        return f"no process is called {value} now; for the user of that name write {right}"
    return ""


def _doubt_of_unit(rule: Rule, unit: str) -> str:
    """Why a unit can own nothing: a socket unit leaves its sockets to process 1 and the service."""
    if not unit.endswith(".socket"):
        return ""
    units = (unit.removesuffix(".socket") + ".service", _FIRST)
    lines = [rule._replace(owner=OwnerPattern(OwnerKind.UNIT, each)) for each in units]
    return f"no process is in a socket unit: write {' and '.join(map(str, lines))}"


def meant(text: str) -> Iterator[str]:
    """What a wrong owner may mean, best first; several are separated by a bar."""
    yield text
    plain = text.strip("\"'`():;,")
    if plain in _PREFIXES or plain.endswith(_NO_HOLDERS):
        return
    plain = _prefixed(plain)
    yield plain
    unit = plain.removeprefix("unit:")
    yield f"unit:{unit}"
    if unit != plain:
        yield f"unit:{unit}.service"
    elif "/" in plain:
        yield f"/{plain}"


def _prefixed(text: str) -> str:
    """An owner without its pid, and with our word for the kind that it begins with."""
    if match := re.fullmatch(_PID, text):
        return match[1] or match[2]
    match = re.fullmatch(_WORDED, text)
    prefix = _PREFIXES.get(match[1].lower()) if match else None
    return text if match is None or prefix is None else prefix + match[2]
