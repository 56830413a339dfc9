"""One run of the check under attack, and whether it kept its promise."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_START = Path(__file__).parent.parent / "packaging" / "check_portcheck"
_PACKAGES = "/usr/share/check-portcheck"
"""Where the start script of the Debian package looks for the modules."""

LIMIT = 6
"""Seconds that a run may take: it needs a tenth of them."""
_GRACE = 10
"""Seconds that a busy machine may add to that."""
UNEXPECTED = 65501
"""The port of the one listener, which no rule allows."""
OPTIONS = (
    *("--no-official", "--interface", "127.0.0.1", "--min-port", "65500"),
    *("--confirm", "0.05", "--timeout", str(LIMIT)),
)
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

BEFORE, MISSED, KILLED, WRONG = "before the program", "met nothing", "killed", "WRONG"
"""How a run can end beside its state: the attack came while the interpreter started, or met
nothing, SIGKILL ended it, the promise was broken."""

_STATES = {"CRITICAL": 2, "UNKNOWN": 3, "WARNING": 1, "OK": 0}
_RIGHT = ("CRITICAL", "UNKNOWN")
"""What a run may say of a port that no rule allows."""
_LINE = re.compile(r"PORTCHECK (CRITICAL|UNKNOWN|WARNING|OK) - \S.*\n")


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    """Exit code; below 0 the signal that ended it."""
    output: str
    errors: str
    seconds: float
    left: Mapping[int, str]
    """Processes that it left behind, and their commands."""


class Attack(NamedTuple):
    """Something that is done to a run."""

    name: str
    make: Callable[[], str]
    """Runs the check, and gives its state, BEFORE or MISSED, or what was wrong."""


def script(directory: Path, packages: Path) -> Path:
    """The start script of the Debian package, for modules in another place."""
    made = directory / "start"
    made.write_text(_START.read_text().replace(_PACKAGES, str(packages)))
    made.chmod(0o755)
    return made


def started(
    command: Iterable[str | Path],
    environment: Mapping[str, str] | None = None,
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.PIPE,
    kept: Iterable[int] = (),
) -> subprocess.Popen[bytes]:
    """A program in a session of its own, by which its processes are known."""
    return subprocess.Popen(
        [*command],
        env={**ENVIRONMENT, **(environment or {})},
        cwd="/",
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        pass_fds=[*kept],
        start_new_session=True,
    )


def ended(process: subprocess.Popen[bytes], began: float) -> Ended:
    """Its end, with what it leaves; killed where it does not come."""
    try:
        output, errors = process.communicate(timeout=LIMIT + 2 * _GRACE)
    except subprocess.TimeoutExpired:
        end_session(process.pid)
        output, errors = process.communicate()
    seconds = time.monotonic() - began
    return Ended(
        process.returncode,
        (output or b"").decode(errors="replace"),
        errors.decode(errors="replace"),
        seconds,
        left(process.pid),
    )


def left(session: int) -> dict[int, str]:
    """The processes of a session that do not end by themselves; they are killed."""
    end = time.monotonic() + _GRACE
    while (found := members(session)) and time.monotonic() < end:
        time.sleep(0.01)
    end_session(session)
    return found


def members(session: int) -> dict[int, str]:
    """The processes of a session that have not ended (proc(5)), and their commands."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name, _, rest = stat.read_text(errors="replace").rpartition(")")
            state, _, _, of = rest.split()[:4]
            if int(of) == session and state != "Z":
                found[int(stat.parent.name)] = name.partition("(")[2]
    return found


def end_session(session: int) -> None:
    """End all processes of a session."""
    for each in members(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def state(run: Ended) -> str:
    """The state that a run told as it is promised, else what is wrong with it."""
    lines = re.findall(r"^PORTCHECK.*", run.output, re.MULTILINE)
    found = _LINE.match(run.output)
    wrong = [
        (f"told {run.output!r}", not found or len(lines) != 1),
        (f"exit code {run.code}", run.code != _STATES[found[1] if found else "UNKNOWN"]),
        (f"told as {lines}", found and found[1] not in _RIGHT),
        (f"standard error {run.errors!r}", run.errors),
        (f"left {run.left}", run.left),
        (f"took {run.seconds:.1f} s", run.seconds > LIMIT + _GRACE),
    ]
    said = "; ".join(what for what, holds in wrong if holds)
    return found[1] if found and not said else f"{WRONG}: {said}"


def early(run: Ended) -> str:
    """The same for a run attacked before the program, which the interpreter may end in any way."""
    told = state(run)
    return BEFORE if told.startswith(WRONG) and "PORTCHECK OK" not in run.output else told


def unheard(run: Ended) -> str:
    """The same for a run that was killed, and so need not tell anything."""
    wrong = f"standard error {run.errors!r}, left {run.left}"
    return KILLED if not run.errors and not run.left else f"{WRONG}: {wrong}"


def unread(run: Ended) -> str:
    """The same where nobody can read what a run tells: then its state is unknown."""
    return state(run._replace(output=run.output or "PORTCHECK UNKNOWN - unread\n"))


def report(kind: str, attacks: Iterable[Attack], log: Path | None) -> int:
    """Make the attacks, print how many ended how and each that is wrong; gives how many are."""
    ends: collections.Counter[str] = collections.Counter()
    for attack in attacks:
        end = attack.make()
        if log:
            with log.open("a") as lines:
                lines.write(f"{kind}: {attack.name}: {end}\n")
        ends[end.partition(":")[0]] += 1
        if end.startswith(WRONG):
            print(f"{kind}: {attack.name}: {end}", flush=True)
    total = sum(ends.values())
    how = ", ".join(f"{number} {end}" for end, number in sorted(ends.items()))
    print(f"{kind}: {total} runs: {how}", flush=True)
    return ends[WRONG]
