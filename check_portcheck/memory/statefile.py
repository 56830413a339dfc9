"""What is remembered between runs: one JSON file, written whole, trusted only when it is ours."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from check_portcheck.memory.history import Memory

_VERSION = 2
_LARGEST = 4 * 1024 * 1024
_LATEST = 2**40
"""Seconds since the epoch that a calendar can still take."""
_PORT = re.compile(r"\d{1,5}/(tcp|udp)")


class StateFileError(Exception):
    """The state file cannot be used; the text says why, without its path."""


def read(path: str) -> Memory | None:
    """What the last run left, None where there is no file yet.

    Raises StateFileError where it is damaged, or where another user could have written it.
    """
    import json

    try:
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StateFileError("is no regular file")
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise StateFileError("belongs to, or may be written by, another user")
            content = file.read(_LARGEST)
    except FileNotFoundError:
        return None
    except OSError as refused:
        raise StateFileError(f"cannot be read: {refused.strerror}") from refused
    try:
        return _memory(json.loads(content))
    except (ValueError, RecursionError) as damaged:
        raise StateFileError("is damaged") from damaged


def write(path: str, memory: Memory) -> None:
    """Replace the file in one step; raises StateFileError."""
    import json

    content = json.dumps({"version": _VERSION, **memory._asdict()}, default=dict).encode()
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    try:
        # O_EXCL follows no symbolic link, and never opens what somebody else put there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
        temporary.replace(target)
    except OSError as refused:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StateFileError(f"cannot be written: {refused.strerror}") from refused


def _open(path: str, flags: int) -> int:
    # O_NONBLOCK: a FIFO in its place must not hold the check up.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _memory(values: object) -> Memory:
    """The values of the file, each of its type; raises ValueError."""
    match values:
        case {
            "version": 2,
            "taken": int() | float() as taken,
            "settings": str() as settings,
            "output": str() as output,
            "code": 0 | 1 | 2 | 3 as code,
            "since": dict() as since,
            "open": dict() as opened,
            "resume": int() as resume,
        } if _is_since(since) and _is_opened(opened):
            return Memory(float(taken), settings, output, code, since, opened, abs(resume))
    raise ValueError("not what this version writes")


def _is_since(since: dict[str, object]) -> bool:
    return all(isinstance(times, dict) and _is_times(times) for times in since.values())


def _is_times(times: dict[str, object]) -> bool:
    return all(isinstance(when, int | float) and 0 <= when < _LATEST for when in times.values())


def _is_opened(opened: dict[str, object]) -> bool:
    return all(isinstance(ports, dict) and _is_programs(ports) for ports in opened.values())


def _is_programs(ports: dict[str, object]) -> bool:
    return all(
        _PORT.fullmatch(port)
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        for port, names in ports.items()
    )
