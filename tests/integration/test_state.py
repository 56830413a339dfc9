"""What is remembered between runs: the state file of real runs, read, changed and damaged."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from namespace import IPV4, NOBODY
from portmapper import portmapper
from test_living_host import CLIENTS, running
from test_rpcbind import TCP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from namespace import Check, Namespace

ONE = ("--no-official", "--interface", IPV4, "--method", "table", "--confirm", "0")


class StateFile:
    """A state file, as the tests see and change it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def option(self) -> tuple[str, Path]:
        """The option that names it."""
        return "--state", self.path

    def read(self) -> dict[str, Any]:
        """What it holds."""
        values: dict[str, Any] = json.loads(self.path.read_text())
        return values

    def change(self, **values: object) -> None:
        """Set some of its values, and let the rest and the mode be."""
        self.path.write_text(json.dumps(self.read() | values))

    def grow_older(self, seconds: float) -> None:
        """Let the result have been found earlier."""
        self.change(taken=self.read()["taken"] - seconds)


@pytest.fixture(name="tmp_path")
def tmp_path_fixture() -> Iterator[Path]:
    """A directory that is root's alone, with all above it, as a state file of root's needs."""
    with tempfile.TemporaryDirectory(dir="/var/lib") as directory:
        yield Path(directory)


@pytest.fixture(name="state")
def state_fixture(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "state")


@pytest.fixture(name="here")
def here_fixture(check: Check) -> Iterator[Namespace]:
    """The namespace of the check, with one open port."""
    with check.there.listener(IPV4, 61001):
        yield check.there


def without_age(text: str) -> tuple[str, int]:
    """A text without the age of the result, and that age."""
    ages = [int(age) for age in re.findall(r" \((\d+) s ago\)", text)]
    assert len(ages) == 1, text
    return re.sub(r" \(\d+ s ago\)", "", text), ages[0]


def without_since(text: str) -> str:
    return re.sub(r", since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "", text)


def names_the_new_port(text: str) -> bool:
    """Whether a run saw what was opened after the one before."""
    return re.search(rf"unexpected: {IPV4}:(61001-)?61002/tcp", text) is not None


# A result that is used again


def test_a_young_result_is_used_again_with_its_age(
    check: Check, here: Namespace, state: StateFile
) -> None:
    first = check.output(*ONE, *state.option)
    state.grow_older(120)
    before = state.path.read_bytes()
    with here.listener(IPV4, 61002):
        again = check.output(*ONE, *state.option)
    headline, bar, rest = first.partition(" | ")
    text, age = without_age(again)
    assert text == first
    assert again == f"{headline} ({age} s ago){bar}{rest}"
    assert 120 <= age < 180
    assert state.path.read_bytes() == before


def test_a_young_clean_result_is_used_again(
    check: Check, here: Namespace, state: StateFile
) -> None:
    options = (*ONE, *state.option, "--required", "*:61001/tcp")
    first = check.output(*options)
    with here.listener(IPV4, 61002):
        assert without_age(check.output(*options))[0] == first
    assert first.endswith("exit 0\n")


def test_checkmk_is_told_when_a_result_was_found(
    check: Check, here: Namespace, state: StateFile
) -> None:
    options = (*ONE, *state.option, "--interface", "127.0.0.1", "--format", "checkmk")
    first = check.output(*options, "--interval", "600")
    state.grow_older(120)
    taken = f"{state.read()['taken']:.0f}"
    with here.listener(IPV4, 61002):
        again = check.output(*options, "--interval", "600")
    lines = first.splitlines()[:-1]
    assert len(lines) == 2
    assert again == "".join(f"cached({taken},600) {line}\n" for line in lines) + "exit 0\n"


def test_json_has_the_age(check: Check, here: Namespace, state: StateFile) -> None:
    first = check.report(*ONE, *state.option)
    state.grow_older(120)
    with here.listener(IPV4, 61002):
        again = check.report(*ONE, *state.option)
    assert 120 <= again.pop("age") < 180
    assert again == first


@pytest.mark.parametrize(
    "options",
    [
        ("-v",),
        ("--format", "json"),
        ("--required", "*:61001/tcp"),
        ("--interface", "127.0.0.1"),
        ("--severity", "warn"),
        ("--max-port", "65534"),
        ("--interval", "301"),
        ("--print-policy",),
    ],
)
def test_a_result_of_other_options_is_not_used(
    check: Check, here: Namespace, state: StateFile, options: tuple[str, ...]
) -> None:
    check.output(*ONE, *state.option)
    with here.listener(IPV4, 61002):
        text = check.output(*ONE, *state.option, *options)
    assert "s ago" not in text
    assert "61002" in text


def test_a_policy_file_that_changed_makes_a_new_result(
    check: Check, here: Namespace, state: StateFile, tmp_path: Path
) -> None:
    file = tmp_path / "policy"
    options = (*ONE, *state.option, "--config", file)
    file.write_text("[PortCheck]\nPortCheckRequired = *:61001/tcp\n")
    check.output(*options)
    file.write_text("[PortCheck]\nPortCheckOptional = *:61001/tcp\n")
    with here.listener(IPV4, 61002):
        assert names_the_new_port(check.output(*options))


@pytest.mark.parametrize("seconds", [300, 86400, -3600])
def test_a_result_as_old_as_the_interval_or_of_the_future_is_not_used(
    check: Check, here: Namespace, state: StateFile, seconds: int
) -> None:
    check.output(*ONE, *state.option)
    state.grow_older(seconds)
    with here.listener(IPV4, 61002):
        text = check.output(*ONE, *state.option)
    assert names_the_new_port(text)
    assert "s ago" not in text


def test_help_and_errors_are_not_remembered(check: Check, state: StateFile) -> None:
    check.output("--version", *state.option)
    check.output(*ONE, *state.option, "--required", "nonsense")
    check.output(*ONE, *state.option, "--max-port", "99999")
    check.output(*ONE, *state.option, "--check-config")
    check.output(*ONE, *state.option, "--print-policy")
    assert not state.path.exists()


# A file that is not to be trusted


Values = dict[str, Any]


def changed(**values: object) -> Callable[[Values], bytes]:
    """What makes a file with some other values."""
    return lambda others: json.dumps(others | values).encode()


DAMAGED: dict[str, bytes | Callable[[Values], bytes]] = {
    "empty": b"",
    "cut short": lambda values: json.dumps(values).encode()[:-10],
    "no text": b'{"version": ' + bytes(range(256)),
    "deep": b'{"version": ' + b"[" * 100_000,
    "huge number": b'{"version": ' + b"9" * 10_000 + b"}",
    "another version": changed(version=1),
    "no output": changed(output=None),
    "no exit code": changed(code=4),
    "no time": changed(taken="yesterday"),
    "a time beyond all numbers": lambda values: (
        json.dumps(values | {"taken": 0}).replace('"taken": 0', '"taken": 1e400').encode()
    ),
    "a time too long for a number": changed(taken=10**400),
    "strange times": changed(since={IPV4: {"x": 1e300}}),
    "times before time": changed(since={IPV4: {"x": -1}}),
    "no numbers": changed(since={IPV4: {"x": float("nan")}}),
    "strange findings": changed(since={IPV4: 1.0}),
    "strange services": changed(open={IPV4: []}),
    "strange ports": changed(open={IPV4: {"x": []}}),
    "strange programs": changed(open={IPV4: {"1/tcp": [1]}}),
    "no place to go on": changed(resume=0.5),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_reported_and_replaced(
    check: Check, here: Namespace, state: StateFile, damage: bytes | Callable[[Values], bytes]
) -> None:
    first = check.output(*ONE, *state.option)
    state.path.write_bytes(damage if isinstance(damage, bytes) else damage(state.read()))
    with here.listener(IPV4, 61002):
        text = check.output(*ONE, *state.option)
        again = check.output(*ONE, *state.option)
    assert names_the_new_port(text)
    assert f"\nnote: state file {state.path} is damaged\n" in text
    assert without_age(again)[0] == text
    assert first.endswith("exit 2\n")
    assert text.endswith("exit 2\n")


def make_fifo(state: StateFile) -> None:
    os.mkfifo(state.path, 0o600)


NEVER_OURS: dict[str, tuple[Callable[[StateFile], object], str]] = {
    "another file": (
        lambda state: state.path.write_text("root:x:0:0:root:/root:/bin/bash\n"),
        "is no state file of this check and is left alone",
    ),
    "other JSON": (
        lambda state: state.path.write_text("{}"),
        "is no state file of this check and is left alone",
    ),
    "a FIFO": (make_fifo, "is no regular file and is left alone"),
}


@pytest.mark.parametrize(("make", "reason"), NEVER_OURS.values(), ids=NEVER_OURS)
def test_what_never_was_a_state_file_is_left_alone(
    check: Check,
    here: Namespace,
    state: StateFile,
    make: Callable[[StateFile], object],
    reason: str,
) -> None:
    make(state)
    before = state.path.lstat()
    unchanged = (before.st_ino, before.st_size, before.st_mtime_ns, before.st_mode)
    for _ in range(2):
        text = check.output(*ONE, *state.option)
        assert f"\nnote: state file {state.path} {reason}\n" in text
        assert text.endswith("exit 2\n")
    after = state.path.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns, after.st_mode) == unchanged
    assert here


DISTRUSTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "the group's file": (
        lambda path: path.chmod(0o620),
        "the state file {0} may be written by group or others: chmod go-w {0}",
    ),
    "everyone's file": (
        lambda path: path.chmod(0o602),
        "the state file {0} may be written by group or others: chmod go-w {0}",
    ),
    "another's file": (
        lambda path: os.chown(path, NOBODY, NOBODY),
        f"the state file {{0}} belongs to user {NOBODY}: chown root {{0}}",
    ),
    "the group's directory": (
        lambda path: path.parent.chmod(0o770),
        (
            "the directory {1} of the state file may be written by group or others: "
            "use one of root's, such as /var/lib/portcheck"
        ),
    ),
    "a sticky directory": (
        lambda path: path.parent.chmod(0o1777),
        (
            "the directory {1} of the state file may be written by group or others: "
            "use one of root's, such as /var/lib/portcheck"
        ),
    ),
    "another's directory": (
        lambda path: os.chown(path.parent, NOBODY, 0),
        (
            f"the directory {{1}} of the state file belongs to user {NOBODY}: "
            "use one of root's, such as /var/lib/portcheck"
        ),
    ),
}


@pytest.mark.parametrize(("change", "reason"), DISTRUSTED.values(), ids=DISTRUSTED)
def test_what_another_user_could_change_is_refused_to_root(
    check: Check, here: Namespace, state: StateFile, change: Callable[[Path], object], reason: str
) -> None:
    check.output(*ONE, *state.option)
    before = state.path.read_bytes()
    change(state.path)
    expected = reason.format(state.path, state.path.parent)
    assert check.output(*ONE, *state.option) == f"PORTCHECK UNKNOWN - {expected}\nexit 3\n"
    assert state.path.read_bytes() == before
    assert here


@pytest.mark.parametrize("link", ["state", "directory"])
def test_links_in_the_path_are_refused_to_root(check: Check, tmp_path: Path, link: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/state").write_text("as it was")
    target = {"state": "victim/state", "directory": "victim"}[link]
    (tmp_path / link).symlink_to(target)
    path = tmp_path / {"state": "state", "directory": "directory/state"}[link]
    assert check.output(*ONE, "--state", path) == (
        f"PORTCHECK UNKNOWN - {tmp_path}/{link}, on the way to the state file, is a symbolic link: "
        "give the path that it leads to\nexit 3\n"
    )
    assert (tmp_path / "victim/state").read_text() == "as it was"
    assert [each.name for each in (tmp_path / "victim").iterdir()] == ["state"]


# How it is written


def test_the_file_is_readable_for_its_owner_only_and_nothing_else_is_left(
    check: Check, here: Namespace, state: StateFile, tmp_path: Path
) -> None:
    inodes = set()
    for _ in range(2):
        check.output(*ONE, *state.option)
        state.grow_older(1000)
        inodes.add(state.path.stat().st_ino)
        assert state.path.stat().st_mode == stat.S_IFREG | 0o600
    assert len(inodes) == 2  # replaced as a whole, not written over
    assert list(tmp_path.iterdir()) == [state.path]
    assert here


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.exists, "cannot be written: No such file or directory"),
        (Path.touch, "cannot be read: Not a directory"),
        (
            lambda directory: (directory / "state").mkdir(parents=True),
            "is no regular file and is left alone",
        ),
    ],
    ids=["no directory", "a file for a directory", "a directory for a file"],
)
def test_a_file_that_cannot_be_written_is_a_note_and_the_check_goes_on(
    check: Check,
    here: Namespace,
    tmp_path: Path,
    make: Callable[[Path], object],
    reason: str,
) -> None:
    make(tmp_path / "directory")
    file = tmp_path / "directory/state"
    plain = check.output(*ONE)
    for _ in range(2):
        text = without_since(check.output(*ONE, "--state", file))
        *lines, code = text.splitlines(keepends=True)
        notes = [line for line in lines if line.startswith("note: ")]
        assert "".join(line for line in lines if line not in notes) + code == plain
        assert notes[-1] == f"note: state file {file} {reason}\n"
    assert not list(tmp_path.glob("**/.state*"))
    assert here


def test_a_directory_of_another_user_is_a_note_and_the_check_goes_on(check: Check) -> None:
    file = Path("/check_portcheck-state")
    text = check.output(*ONE, "--state", file, user=NOBODY)
    assert f"\nnote: state file {file} cannot be written: Permission denied\nexit 0\n" in text
    assert not file.exists()


# Since when, and what happened


def test_a_finding_has_the_time_when_it_was_first_seen(
    check: Check, here: Namespace, state: StateFile
) -> None:
    earliest = int(time.time())
    options = (*ONE, *state.option, "--required", "*:61003/tcp")
    first = check.output(*options)
    since = state.read()["since"][IPV4]
    assert since.keys() == {"unexpected 61001/tcp", "missing 61003/tcp"}
    assert all(earliest <= when <= time.time() for when in since.values())
    state.change(since={IPV4: dict.fromkeys(since, 1_000_000_000)}, taken=1_000_000_000)
    with here.listener(IPV4, 61002):
        second = check.output(*options)
    now = state.read()["since"][IPV4]
    assert now.pop("unexpected 61002/tcp") > 1_000_000_000
    assert now == dict.fromkeys(since, 1_000_000_000)
    long_ago = here.shell("date --date @1000000000 '+%Y-%m-%d %H:%M:%S'").strip()
    lines = second.splitlines()
    known = f"unexpected: {IPV4}:61001-61002/tcp OWNER, since {long_ago}, the newest "
    assert any(line.startswith(known) for line in lines)
    assert f"missing: {IPV4}:61003/tcp, required by --required, since {long_ago}" in lines
    assert without_since(lines[0]) == lines[0]
    assert first.count(", since ") == 2


def test_a_finding_that_comes_back_is_a_new_one(
    check: Check, here: Namespace, state: StateFile
) -> None:
    key = "unexpected 61002/tcp"
    with here.listener(IPV4, 61002):
        check.output(*ONE, *state.option)
    state.change(since={IPV4: {key: 1_000_000_000}}, taken=0)
    check.output(*ONE, *state.option)
    assert key not in state.read()["since"][IPV4]
    state.grow_older(1000)
    with here.listener(IPV4, 61002):
        check.output(*ONE, *state.option)
    assert state.read()["since"][IPV4][key] > 1_000_000_000


def test_json_has_the_time_of_each_finding(check: Check, here: Namespace, state: StateFile) -> None:
    (finding,) = check.report(*ONE, *state.option)["findings"]
    assert finding["since"] == state.read()["since"][IPV4]["unexpected 61001/tcp"]
    unknown = {"since": None, "since_reason": "no state file"}
    assert check.report(*ONE)["findings"] == [finding | unknown]
    assert here


def test_what_closed_is_said_once(check: Check, here: Namespace, state: StateFile) -> None:
    options = (*ONE, *state.option, "--ignore", "*:*/tcp")
    with here.listener(IPV4, 61002), here.bound(socket.SOCK_DGRAM, IPV4, 61003):
        before = check.output(*options, "--optional", "*:61003/udp")
    state.grow_older(1000)
    closed = check.output(*options, "--optional", "*:61003/udp")
    state.grow_older(1000)
    after = check.output(*options, "--optional", "*:61003/udp")
    assert before.splitlines()[1:] == after.splitlines()[1:] == ["exit 0"]
    assert closed.splitlines()[1:] == [
        f"closed: {IPV4}:61002/tcp,61003/udp",
        "exit 0",
    ]


@pytest.mark.parametrize("allowed", [(), ("--optional", "*:*/udp")])
def test_clients_over_udp_come_and_go_untold(
    check: Check, here: Namespace, state: StateFile, allowed: tuple[str, ...]
) -> None:
    options = ("--no-official", "--interface", IPV4, "--method", "table", "--optional", "*:*/tcp")
    with running(here, CLIENTS, 0.1, 0.02):
        first = check.output(*options, *allowed, *state.option)
        state.grow_older(1000)
        second = check.output(*options, *allowed, *state.option)
    if allowed:  # Seen they were, in the only look that there was.
        assert " open_192_0_2_7=1;" not in first
    assert [text.splitlines()[1:] for text in (first, second)] == [["exit 0"]] * 2


@pytest.mark.parametrize(
    "options",
    [
        ("--interface", IPV4, "--skip", "61001/tcp"),
        ("--interface", IPV4, "--min-port", "61002"),
        ("--interface", "127.0.0.1"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_is_not_looked_at_any_more_did_not_close(
    check: Check, state: StateFile, options: tuple[str, ...]
) -> None:
    assert "61001/tcp" in check.output(*ONE, *state.option)
    text = check.output("--no-official", "--method", "table", *state.option, *options)
    assert text.splitlines()[1:] == ["exit 0"]


@pytest.mark.daemons
def test_a_program_on_another_port_has_moved(
    check: Check, here: Namespace, state: StateFile
) -> None:
    options = (*ONE, *state.option, "--required", "*:nfs/tcp", "--optional", "*:*/tcp,*/udp")
    with portmapper(here) as rpcbind:
        with here.listener("0.0.0.0", 61003):
            rpcbind.register_port(100003, 3, TCP, 61003)
            first = check.output(*options)
        state.grow_older(1000)
        with here.listener("0.0.0.0", 61004):
            # As it is after a crash: the old registration is still there.
            rpcbind.register_port(100003, 4, TCP, 61004)
            second = check.output(*options)
            state.grow_older(1000)
            third = check.output(*options)
    assert first.splitlines()[1:] == third.splitlines()[1:] == ["exit 0"]
    assert second.splitlines()[1:] == [
        f"moved: {IPV4}:61004/tcp (nfs), was 61003/tcp",
        "exit 0",
    ]


# What one run has no time for


FIRST_ADDRESS, ADDRESSES = 20, 200
"""So many that two cores cannot probe all of them in the time that MANY gives."""
FORWARDED = 120
"""The address on which a rule forwards a port, so that only a probe can find it."""
FORWARD = f"""
table ip nat {{
    chain output {{
        type nat hook output priority -100
        ip daddr 198.51.100.{FORWARDED} tcp dport 61000 redirect to :61002
    }}
}}
"""
MANY = ("--no-official", "--no-udp", "--device", "eth7", "--confirm", "0", "--timeout", "8")
BLOCKS = 8
"""Into so many the ports of one address and protocol are cut."""


@pytest.fixture(name="many")
def many_fixture(alone: Check) -> Iterator[Check]:
    """The check on a machine with many addresses, one of which has a port without a socket."""
    there = alone.there
    addresses = range(FIRST_ADDRESS, FIRST_ADDRESS + ADDRESSES)
    commands = [f"ip address add 198.51.100.{number}/32 dev eth7" for number in addresses]
    there.shell("\n".join(("ip link add eth7 up type veth peer name eth8", *commands)))
    there.rules(FORWARD)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:2])
    try:
        with there.listener("127.0.0.1", 61002):
            yield alone
    finally:
        os.sched_setaffinity(0, cores)


def test_sweeps_go_on_where_the_last_one_stopped(many: Check, state: StateFile) -> None:
    many.output(*MANY, *state.option)
    # Turns: a veth device's addresses are all that there is to reach, so they come first, and of
    # every four turns the fourth belongs to what can wait.
    place = (FORWARDED - FIRST_ADDRESS) * BLOCKS + 61000 // (65536 // BLOCKS)
    start = place + place // 3
    state.change(resume=start, taken=0)
    first = many.output(*MANY, *state.option)
    unexpected = f"unexpected: 198.51.100.{FORWARDED}:61000/tcp forwarded to 127.0.0.1:61002"
    assert unexpected in first
    partial = r"socket table of all, \d+ % probed, the whole in \d+ runs"
    assert re.search(rf"\nnote: {partial}\n", first)
    points = [start]
    for _ in range(2):
        points.append(state.read()["resume"])
        state.grow_older(1000)
        # What was found is looked at again, whatever else a run has time for.
        later = many.output(*MANY, *state.option)
        assert unexpected in later
        assert re.search(rf"\nnote: {partial}\n", later)
    many.there.shell("nft flush ruleset")
    state.grow_older(1000)
    closed = many.output(*MANY, *state.option)
    assert re.match(rf"PORTCHECK OK - .*\({partial}\)", closed)
    assert closed.splitlines()[1:] == [f"closed: 198.51.100.{FORWARDED}:61000/tcp", "exit 0"]
    total = ADDRESSES * BLOCKS * 4 // 3
    assert 0 < (points[1] - points[0]) % total < total // 2
    assert 0 < (points[2] - points[1]) % total < total // 2


@pytest.mark.parametrize("point", [10**30, -(10**30)])
@pytest.mark.usefixtures("here")
def test_a_strange_place_to_go_on_does_no_harm(check: Check, state: StateFile, point: int) -> None:
    options = (*ONE[:3], "--min-port", "50000", "--confirm", "0", *state.option)
    first = check.output(*options)
    state.change(resume=point, taken=0)
    assert without_since(check.output(*options)) == without_since(first)
