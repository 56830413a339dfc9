"""Limits, signals, descriptors, variables, clocks and mounts as no caller should set them.

What stops an empty program of the interpreter too is counted apart.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trial
from trial import Attack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ISOLATED = ("-I",)
_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
_CAPTURED, _FULL, _GONE, _SOCKET = "captured", "full", "gone", "socket"
"""Where standard output goes."""


class Surrounding(NamedTuple):
    """What a run finds; the shell script gets its command as arguments."""

    name: str
    script: str = 'exec "$@"'
    environment: Mapping[str, str] = {}
    python: tuple[str, ...] = _ISOLATED
    """Options of the interpreter."""
    options: tuple[str, ...] = ()
    stdout: str = _CAPTURED
    mute: bool = False
    """Whether nobody can read what it tells, so that the exit code alone counts."""
    jumping: str = ""
    """What libfaketime's clocks do after a while."""


def attacks(script: Path, scratch: Path) -> list[Attack]:
    """A run in each of the surroundings."""
    made = itertools.chain(
        _limits(), _signals(), _descriptors(scratch), _variables(), _clocks(scratch), _mounts()
    )
    return [Attack(each.name, partial(_attempt, each, script, scratch)) for each in made]


def _limits() -> Iterator[Surrounding]:
    for mebibytes in range(8, 120, 2):
        yield _limited(f"--as={mebibytes << 20}")
        yield _limited(f"--data={mebibytes << 18}")
    for descriptors in range(24):
        yield _limited(f"--nofile={descriptors}")
    for processes in range(8):
        yield _limited(f"--nproc={processes}", f"exec {_NOBODY} ")
    for other in ("core", "memlock", "sigpending", "fsize", "msgqueue", "locks", "nice", "rtprio"):
        yield _limited(f"--{other}=0")
    for kibibytes in (64, 128, 256, 512, 1024):
        yield _limited(f"--stack={kibibytes << 10}")
    # SIGXCPU comes at the soft limit, SIGKILL at the hard one (setrlimit(2)).
    for cpu in ("1", "1:2"):
        yield _limited(f"--cpu={cpu}")._replace(options=("--min-port", "0", "--method", "probe"))


def _limited(limit: str, start: str = "exec ") -> Surrounding:
    return Surrounding(limit, f'{start}prlimit {limit} "$@"')


def _signals() -> Iterator[Surrounding]:
    for what in ("ignore", "block", "default"):
        for which in ("", "=CHLD", "=TERM", "=PIPE", "=ALRM", "=POLL"):
            option = f"--{what}-signal{which}"
            yield Surrounding(option, f'exec env {option} "$@"')


def _descriptors(scratch: Path) -> Iterator[Surrounding]:
    standard = {"0": "<&-", "1": ">&-", "2": "2>&-"}
    for number in (1, 2, 3):
        for closed in itertools.combinations(standard, number):
            redirected = " ".join(standard[each] for each in closed)
            yield Surrounding(redirected, f'exec "$@" {redirected}', mute="1" in closed)
    many = " ".join(f"{number}</dev/null" for number in range(3, 10))
    yield Surrounding("3 to 9 open", f'exec "$@" {many}')
    for target in ("/dev/full", "/", "/proc/self/mem"):
        yield Surrounding(f">{target}", f'exec 3>&1; exec "$@" 1<{target}', mute=True)
    yield Surrounding("a full device", 'exec "$@" >/dev/full', mute=True)
    file = scratch / "output"
    yield Surrounding("a file that may not grow", f'exec prlimit --fsize=0 "$@" >{file}', mute=True)
    for stdout in (_FULL, _GONE):
        yield Surrounding(f"standard output {stdout}", stdout=stdout, mute=True)
        options = ("--version",)
        yield Surrounding(f"version {stdout}", stdout=stdout, mute=True, options=options)
    yield Surrounding("standard output a socket", stdout=_SOCKET)


def _variables() -> Iterator[Surrounding]:
    wrong = "/nowhere"
    variables = {
        "PYTHONHOME": [wrong, "/usr", ""],
        "PYTHONPATH": [wrong, "/proc/self/mem", "/dev/null", "\xff"],
        "PYTHONIOENCODING": ["nosuch", "ascii", "utf-16", "ascii:strict"],
        "PYTHONWARNINGS": ["error", "nosuch", "always"],
        "PYTHONSTARTUP": [wrong],
        "PYTHONMALLOC": ["nosuch", "malloc", "debug", "malloc_debug"],
        "PYTHONHASHSEED": ["nosuch", "0"],
        "PYTHONUTF8": ["0", "1", "7"],
        "PYTHONCOERCECLOCALE": ["warn", "0"],
        "PYTHONINSPECT": ["1"],
        "PYTHONVERBOSE": ["1"],
        "PYTHONDEBUG": ["1"],
        "PYTHONOPTIMIZE": ["1", "2", "nosuch"],
        "PYTHONDEVMODE": ["1"],
        "PYTHONFAULTHANDLER": ["1"],
        "PYTHONTRACEMALLOC": ["1", "nosuch"],
        "PYTHONPROFILEIMPORTTIME": ["1"],
        "PYTHONASYNCIODEBUG": ["1"],
        "PYTHONBREAKPOINT": ["nosuch"],
        "PYTHONDONTWRITEBYTECODE": ["1"],
        "PYTHONPYCACHEPREFIX": [wrong, "/proc"],
        "PYTHONPLATLIBDIR": ["nosuch"],
        "PYTHONINTMAXSTRDIGITS": ["640", "nosuch"],
        "PYTHONEXECUTABLE": [wrong],
        "PYTHONUSERBASE": [wrong],
        "PYTHONNOUSERSITE": ["1"],
        "PYTHONSAFEPATH": ["1"],
        "PYTHONUNBUFFERED": ["1"],
        "PYTHONWARNDEFAULTENCODING": ["1"],
        "LC_ALL": ["nosuch", "C", "POSIX", "tr_TR.UTF-8", "\xff"],
        "LANG": ["nosuch"],
        "LANGUAGE": ["de"],
        "TZ": ["nosuch", ":/proc/self/mem"],
        "HOME": [wrong, ""],
        "TMPDIR": [wrong],
        "PATH": ["", wrong],
        "LD_LIBRARY_PATH": [wrong],
        "LD_BIND_NOW": ["1"],
        "MALLOC_PERTURB_": ["1"],
        "MALLOC_ARENA_MAX": ["1"],
        "MALLOC_TOP_PAD_": ["1073741824"],
        "COLUMNS": ["1", "nosuch"],
        "NO_COLOR": ["1"],
        "LARGE": ["x" * 100_000],
    }
    for python in (_ISOLATED, ()):
        for name, values in variables.items():
            for value in values:
                title = f"{' '.join(python)} {name}={value[:40]!r}".strip()
                yield Surrounding(title, environment={name: value}, python=python)


def _clocks(scratch: Path) -> Iterator[Surrounding]:
    file = scratch / "faketime"
    [library] = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    for monotonic in ("0", "1"):
        preload = {
            "LD_PRELOAD": str(library),
            "DONT_FAKE_MONOTONIC": monotonic,
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_TIMESTAMP_FILE": str(file),
        }
        which = "wall clock" if monotonic == "1" else "all clocks"
        for jump in ("+1d", "+10y", "-1d", "-10y", "+20", "-20", "+3", "-3", "+0 x100", "+0 x0.1"):
            for start in ("+0", jump):
                name = f"{which} {'jump' if start == '+0' else 'begin'} {jump}"
                yield Surrounding(name, environment=preload, jumping=f"{start}\n{jump}")


def _mounts() -> Iterator[Surrounding]:
    for place in ("/dev", "/proc", "/sys", "/tmp", "/run", "/var", "/etc"):
        hidden = f"mount -t tmpfs -o mode=755 tmpfs {place}"
        if place == "/tmp":
            hidden = f"mount -t tmpfs tmpfs /mnt; mount --rbind -o ro {place} {place}"
        yield _mounted(f"{place} empty", hidden)
        read_only = f"mount --bind {place} {place}; mount -o remount,bind,ro {place}"
        yield _mounted(f"{place} read-only", read_only)
        yield _mounted(f"{place} empty, nobody", hidden, f"{_NOBODY} ")
    yield _mounted("/ read-only", "mount --bind / /; mount -o remount,bind,ro /")
    yield _mounted("/proc of others hidden", "mount -t proc -o hidepid=2 proc /proc", f"{_NOBODY} ")
    yield _mounted("directory gone", "mkdir -p /tmp/gone.$$; cd /tmp/gone.$$; rmdir /tmp/gone.$$")
    yield Surrounding("umask", 'umask 777; exec "$@"')
    yield Surrounding("unknown user", f'exec {_NOBODY.replace("65534", "54321")} "$@"')
    yield Surrounding("no capabilities", 'exec setpriv --inh-caps=-all --bounding-set=-all "$@"')


def _mounted(name: str, script: str, start: str = "") -> Surrounding:
    inner = f'{script}; exec {start}\\"\\$@\\"'
    return Surrounding(name, f'exec unshare --mount sh -e -c "{inner}" sh "$@"')


def _attempt(each: Surrounding, script: Path, scratch: Path) -> str:
    """What comes of a run in the surroundings, as trial.state() or BEFORE."""
    nothing = scratch / "nothing"
    nothing.write_text("")
    options = (*trial.OPTIONS, *each.options)
    run = _run(each, (sys.executable, *each.python, str(script), *options), scratch)
    end = trial.unread(run) if each.mute else trial.state(run)
    if end.startswith(trial.WRONG):
        empty = _run(each, (sys.executable, *each.python, str(nothing)), scratch)
        if empty.code or empty.errors:
            return trial.early(run)
    return end


def _run(each: Surrounding, command: tuple[str, ...], scratch: Path) -> trial.Ended:
    began = time.monotonic()
    reader, stdout = _stdout(each.stdout)
    first, _, later = each.jumping.partition("\n")
    (scratch / "faketime").write_text(first)
    process = trial.started(
        ("/bin/sh", "-c", each.script, "sh", *command), each.environment, stdout=stdout
    )
    if later:
        time.sleep(0.15)
        (scratch / "faketime").write_text(later)
    try:
        ended = trial.ended(process, began)
        told = os.read(reader, 1 << 16).decode() if each.stdout == _SOCKET else ended.output
        return ended._replace(output=told)
    finally:
        for end in (reader, stdout):
            if end >= 0:
                os.close(end)


def _stdout(kind: str) -> tuple[int, int]:
    """What reads standard output, and itself; subprocess.PIPE for one that is captured."""
    if kind == _CAPTURED:
        return -1, subprocess.PIPE
    if kind == _SOCKET:
        reader, stdout = (each.detach() for each in socket.socketpair())
        return reader, stdout
    reader, stdout = os.pipe()
    if kind == _GONE:
        os.close(reader)
        return -1, stdout
    os.set_blocking(stdout, False)
    try:
        while os.write(stdout, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(stdout, True)
    return reader, stdout
