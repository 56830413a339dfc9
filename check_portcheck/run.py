"""One run, from settings to text and exit code, with what is remembered between runs."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from check_portcheck import config, conflicts, formats, interfaces, plugin
from check_portcheck.config import Format
from check_portcheck.model import State
from check_portcheck.policy import Policy
from check_portcheck.scan import Scan

if TYPE_CHECKING:
    import nagiosplugin

    from check_portcheck.config import Settings
    from check_portcheck.history import Memory
    from check_portcheck.names import Names
    from check_portcheck.plugin import Portcheck


def run(settings: Settings, names: Names, end: float) -> tuple[str, int]:
    """Text and exit code, at the latest at *end* as of time.monotonic().

    Raises InterfaceError, or ConfigError where a rule names what is not scanned.
    """
    if not settings.active and not settings.check_config:
        return formats.inactive(settings.format), State.OK
    memory, trouble = _recall(settings)
    if memory and (age := _age(memory, settings)) is not None:
        text = formats.aged(memory.output, settings.format, memory.taken, age, settings.interval)
        return text, memory.code
    chosen = interfaces.resolve(settings.interfaces, settings.devices, official=settings.official)
    if unscanned := conflicts.unscanned(settings.rules, chosen.interfaces, chosen.absent_devices):
        raise config.ConfigError(unscanned)
    if settings.check_config:
        return config.effective(settings), State.OK
    start = memory.resume if memory else None
    policy, now = Policy(settings.rules), time.monotonic()
    task = Scan(settings, chosen.interfaces, policy, names, now, end, start)
    resource = plugin.Portcheck(task, chosen, memory and _comparable(memory, settings), trouble)
    check = plugin.check(resource)
    if settings.print_policy and resource.scanned:
        from check_portcheck import snapshot

        return snapshot.policy(resource)
    text, code = _formatted(check, resource)
    if settings.state and resource.scanned and not _remember(settings, resource, text, code):
        text, code = _formatted(check, resource)
    return text, code


def _formatted(check: nagiosplugin.Check, resource: Portcheck) -> tuple[str, int]:
    match resource.task.settings.format:
        case Format.NAGIOS:
            return formats.nagios(check)
        case Format.CHECKMK:
            return formats.checkmk(check, resource)
        case Format.JSON:
            return formats.as_json(check, resource)


def _recall(settings: Settings) -> tuple[Memory | None, tuple[str, ...]]:
    """What the last run left, and a note when that cannot be used."""
    if settings.state is None:
        return None, ()
    from check_portcheck import statefile

    try:
        return statefile.read(settings.state), ()
    except statefile.StateFileError as unusable:
        return None, (f"state file {settings.state} {unusable}",)


def _age(memory: Memory, settings: Settings) -> float | None:
    """Seconds since the remembered result, None where it may not be used again."""
    age = time.time() - memory.taken
    asked = settings.print_policy or settings.check_config
    if asked or memory.settings != _fingerprint(settings):
        return None
    return age if 0 <= age < settings.interval else None


def _comparable(memory: Memory, settings: Settings) -> Memory:
    """The memory without services that other settings found: what these leave out did not close."""
    same = memory.settings == _fingerprint(settings)
    return memory if same else dataclasses.replace(memory, open={})


def _remember(settings: Settings, resource: Portcheck, text: str, code: int) -> bool:
    """Write the state file; False, with a note in *resource*, where that fails."""
    from check_portcheck import history, statefile

    memory = history.Memory(
        taken=resource.taken,
        settings=_fingerprint(settings),
        output=text,
        code=code,
        since=resource.history.since,
        open=history.services(resource.report),
        resume=resource.report.coverage.resume,
    )
    try:
        statefile.write(str(settings.state), memory)
    except statefile.StateFileError as failed:
        resource.note(f"state file {settings.state} {failed}")
        return False
    return True


def _fingerprint(settings: Settings) -> str:
    """What must be the same for a result to be used again."""
    import hashlib

    return hashlib.sha256(repr(settings).encode(errors="replace")).hexdigest()
