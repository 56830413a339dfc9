"""What is remembered between runs: one JSON file, written whole, trusted only when it is ours."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING

from check_portcheck.kernel import trust
from check_portcheck.memory.history import Memory

if TYPE_CHECKING:
    from typing import TypeGuard

_VERSION = 2
_BEGINNING = b'{"version": '
"""How each file of ours begins, whatever its version."""
_LARGEST = 16 * 1024 * 1024
"""Bytes: 60,000 findings and open ports take 4 MiB, where they are on IPv6 addresses 6."""
_LATEST = 2**40
"""Seconds since the epoch that a calendar can still take."""
_PORT = r"\d{1,5}/(tcp|udp)"


class StateFileError(Exception):
    """The state file cannot be used; the text says why, without its path."""

    def __init__(self, reason: str, *, ours: bool = True) -> None:
        super().__init__(reason)
        self.ours = ours
        """Whether it may be replaced; else it is somebody's and is left alone."""


def read(path: str) -> Memory | None:
    """What the last run left, None where there is no file yet.

    Raises StateFileError where it is damaged, not ours, or where another user could have written
    it, and TrustError where as root nothing at that path can be trusted.
    """
    import json

    try:
        content = _content(path)
    except FileNotFoundError:
        return None
    except OSError as refused:
        reason = f"cannot be read: {refused.strerror}"
        raise StateFileError(reason, ours=False) from refused
    if content and not content.startswith(_BEGINNING):
        raise StateFileError("is no state file of this check and is left alone", ours=False)
    try:
        return _memory(json.loads(content))
    except (ValueError, RecursionError) as damaged:
        raise StateFileError("is damaged") from damaged


def write(path: str, memory: Memory) -> None:
    """Replace the file in one step; raises StateFileError, and TrustError as read() does."""
    import json

    content = json.dumps({"version": _VERSION, **memory._asdict()}, default=dict).encode()
    try:
        directory, name = trust.open_directory_of_state(path)
        try:
            _replace(directory, name, content)
        finally:
            os.close(directory)
    except OSError as refused:
        raise StateFileError(f"cannot be written: {refused.strerror}") from refused


def _content(path: str) -> bytes:
    """The bytes of the file; raises OSError, StateFileError and TrustError."""
    directory, name = trust.open_directory_of_state(path)
    try:
        # O_NONBLOCK: a FIFO in its place must not hold the check up.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StateFileError("is no regular file and is left alone", ours=False)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise StateFileError("belongs to, or may be written by, another user")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_LARGEST)
    finally:
        os.close(descriptor)


def _replace(directory: int, name: str, content: bytes) -> None:
    """Write a file beside the one of that name, and give it the name."""
    temporary = f".{name}.{os.urandom(8).hex()}"
    # O_EXCL follows no symbolic link, and never opens what somebody else put there.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        # Whatever failed, be it memory; it is not there any more when nothing did.
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)


def _memory(values: object) -> Memory:
    """The values of the file, each of its type; raises ValueError."""
    match values:
        case {
            "version": 2,
            "taken": taken,
            "settings": str() as settings,
            "output": str() as output,
            "code": int() as code,
            "since": dict() as since,
            "open": dict() as opened,
            "resume": int() as resume,
        } if _is_code(code) and _is_time(taken) and _is_since(since) and _is_opened(opened):
            resume = min(abs(resume), _LATEST)
            return Memory(float(taken), settings, output, code, since, opened, resume)
    raise ValueError("not what this version writes")


def _is_code(code: int) -> bool:
    # True is equal to 1, and is an int.
    return type(code) is int and 0 <= code <= 3


def _is_since(since: dict[str, object]) -> bool:
    return all(isinstance(times, dict) and _is_times(times) for times in since.values())


def _is_times(times: dict[str, object]) -> bool:
    return all(map(_is_time, times.values()))


def _is_time(when: object) -> TypeGuard[float]:
    return isinstance(when, int | float) and 0 <= when < _LATEST


def _is_opened(opened: dict[str, object]) -> bool:
    return all(isinstance(ports, dict) and _is_programs(ports) for ports in opened.values())


def _is_programs(ports: dict[str, object]) -> bool:
    return all(
        re.fullmatch(_PORT, port)
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        for port, names in ports.items()
    )
