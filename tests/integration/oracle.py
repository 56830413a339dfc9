"""How far the check must agree with what real connects and datagrams show, by method and user."""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import pkgutil
import platform
import resource
import socket
import struct
from typing import TYPE_CHECKING

from namespace import NOBODY, PATIENCE
from truth import PORTS, as_user, held, places, truth

import check_portcheck
from check_portcheck import run
from check_portcheck.config.settings import Format, Settings
from check_portcheck.deadline import Deadline
from check_portcheck.guard import Parent
from check_portcheck.model import Choice, Method, Span
from check_portcheck.names import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Report
    from scene import Place, Scene
    from truth import Truth

METHODS = "table", "probe", "full"
USERS = {"root": 0, "nobody": NOBODY}

_SOCK_DIAG = 4
_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}[platform.machine()]

# Now, since nobody may be unable to read the checkout.
for module in pkgutil.walk_packages(check_portcheck.__path__, "check_portcheck."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
importlib.import_module("psutil")


# The check


def _deny_sock_diag() -> None:
    """From now on NETLINK_SOCK_DIAG is refused, as in a sandbox (seccomp(2))."""
    load, equal, give = 0x20, 0x15, 0x06
    steps = (
        *((load, 0, 0, 0), (equal, 0, 5, _SOCKET_CALL)),
        *((load, 0, 0, 16), (equal, 0, 3, socket.AF_NETLINK)),
        *((load, 0, 0, 32), (equal, 0, 1, _SOCK_DIAG)),
        *((give, 0, 0, 0x50000 | errno.EPERM), (give, 0, 0, 0x7FFF0000)),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, program) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


_NOBODY_LISTENS = Parent(lambda _: None, lambda *_: None, lambda _: None)


def report(scene: Scene, method: str, user: int) -> Report:
    """What the check says there, run by a user."""
    settings = Settings(
        span=Span(PORTS[0], PORTS[-1]),
        interfaces=tuple(Choice(each, "--interface") for each in scene.addresses),
        official=False,
        method=Method(method),
        confirm=0.0,
        format=Format.JSON,
    )

    def look() -> Report:
        resource.setrlimit(resource.RLIMIT_NOFILE, (scene.descriptors, scene.descriptors))
        if scene.without_sock_diag:
            _deny_sock_diag()
        deadline = Deadline.after(PATIENCE)
        text, _ = run.answer(settings, names("", ""), deadline, _NOBODY_LISTENS)
        said: Report = json.loads(text)
        return said

    return as_user(scene, user, look)


# The comparison


def disagreements(scene: Scene) -> dict[str, list[str]]:
    """Where the check says something else than the truth: by method and user, a line a port."""
    taken = held(scene)
    found: dict[str, list[str]] = {}
    for name, user in USERS.items():
        known = truth(scene, user)
        expected = _expected(scene, known, taken, user)
        for method in METHODS:
            said = report(scene, method, user)
            wrong = [
                *_wrong(said, expected[method], taken, _may_be_unanswered(scene, known, method)),
                *_wrong_ends(scene, said, user),
            ]
            if wrong:
                found[f"{method} as {name}"] = wrong
    return found


def _expected(scene: Scene, known: Truth, taken: set[Place], user: int) -> dict[str, set[Place]]:
    """What each method must find open, judged for what it can see.

    A port that is silent is open if it has a socket. One that refuses although it has one is,
    behind a filter, open for those methods that do not contact what the table lists.
    """
    contacted = known.answered | (known.silent & taken)
    if user == 0:
        contacted |= known.silent & scene.sent_on
    listed = {each for each in taken if each[2] in scene.behind}
    return {
        "table": (contacted & taken) | listed,
        "probe": contacted,
        "full": contacted | listed,
    }


def _wrong(
    said: Report, expected: set[Place], taken: set[Place], doubtful: set[Place]
) -> Iterator[str]:
    shown = {
        (interface, each["protocol"], each["port"]): each["no_socket"]
        for each in said["services"]
        if not each["bound"]
        for interface in each["interfaces"]
    }
    unknown = set(_unanswered(said))
    yield from (f"{each} is not open" for each in sorted(shown.keys() - expected))
    yield from (f"{each} is open" for each in sorted(expected - shown.keys() - unknown))
    yield from (
        f"{each} {'has a' if lacks else 'has no'} socket"
        for each, lacks in sorted(shown.items())
        if each in expected and lacks == (each in taken)
    )
    yield from (f"{each} is unanswered" for each in sorted(unknown - doubtful))
    if unknown and not said["notes"]:
        yield "nothing says why ports are unanswered"


def _may_be_unanswered(scene: Scene, known: Truth, method: str) -> set[Place]:
    """Without sock_diag: what a method did not ask, or what did not answer."""
    if not scene.without_sock_diag:
        return set()
    return set(places(scene)) if method == "table" else known.silent


def _unanswered(said: Report) -> Iterator[Place]:
    for each in said["findings"]:
        if each["kind"] == "unverified":
            span, _, protocol = each["item"].partition("/")
            first, _, last = span.partition("-")
            for port in range(int(first), int(last or first) + 1):
                yield from ((interface, protocol, port) for interface in each["interfaces"])


def _wrong_ends(scene: Scene, said: Report, user: int) -> Iterator[str]:
    """Where ports without a socket lead, which root alone can be told."""
    told: dict[str, set[str | None]] = {}
    for each in said["services"]:
        if each["no_socket"]:
            ends = (each["forwarded_to"] or {"": None}).values()
            told.setdefault(f"{each['port']}/{each['protocol']}", set()).update(ends)
    for port in told.keys() & scene.ends.keys():
        wanted = {None} if user else scene.ends[port]
        if told[port] != wanted:
            yield f"{port} leads to {wanted}, not {told[port]}"
