"""Rules with an owner, and owners in the report, hostile ones included: real processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, NOBODY, Check, namespace
from test_owners import NAMED, SLEEP, running

from check_portcheck.model import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Namespace, Program

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
PORT = 61010
"""Has no name in /etc/services, and the kernel gives it to no client."""
ONE = ("--no-official", "--interface", IPV4, "--method", "table", "--confirm", "0")
NOT_ROOT = "owner not determined (not root: run it by sudo)"
NOT_SEEN = "note: processes not seen: not root"

SERVE = """
import socket, sys, time
kept = socket.create_server(("", 61010))
print("ready", flush=True)
time.sleep(600)
"""


def result(state: State, text: str, *notes: str) -> str:
    """The whole output of a run with one open port: a clean one, or with one finding."""
    counts = f"{state is State.CRITICAL:d};;0;0"
    perfdata = (
        f"open_192_0_2_7=1;;;0 unexpected_192_0_2_7={counts} missing_192_0_2_7=0;;0;0 time=0.000s"
    )
    kind = {State.CRITICAL: "unexpected", State.UNKNOWN: "unverified"}.get(state)
    first = f"PORTCHECK {state.name} - {f'1 {kind}: ' if kind else ''}{text} | {perfdata}"
    lines = [f"{kind}: {text}", *notes] if kind else notes
    return "\n".join((first, *lines, f"exit {state:d}\n"))


CLEAN = result(
    State.OK,
    "1 open service on 1 interface, all expected (socket table for 65536 TCP and UDP ports each)",
)


def sleeper(directory: Path, name: str) -> str:
    """A program with a name, which does nothing but hold what it is given."""
    program = directory / name
    if not program.exists():
        shutil.copy(SLEEP, program)
    return str(program)


@contextlib.contextmanager
def holding(
    there: Namespace,
    *commands: list[str],
    kind: socket.SocketKind = TCP,
    address: str = "0.0.0.0",
    port: int = PORT,
    executable: str | None = None,
    user: str | None = None,
) -> Iterator[tuple[int, list[int]]]:
    """The number of a port, and of the processes, one for each command, that hold its socket."""
    with contextlib.ExitStack() as stack:
        with there.entered(), socket.socket(socket.AF_INET, kind) as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((address, port))
            if kind == TCP:
                held.listen()
            processes = [
                stack.enter_context(running(each, held, executable=executable, user=user))
                for each in commands
            ]
        for process, command in zip(processes, commands, strict=True):
            if NAMED in command:
                assert process.stdout
                assert process.stdout.readline() == b"ready\n"
        yield port, [process.pid for process in processes]


@pytest.fixture(name="here")
def here_fixture(check: Check) -> Namespace:
    return check.there


@pytest.fixture(name="directory", scope="module")
def directory_fixture() -> Iterator[Path]:
    """A directory with a short path that every user can enter."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


# The same policy for root and for nobody


@pytest.mark.parametrize(
    ("form", "by_root", "by_nobody"),
    [
        ("sshd", None, NOT_ROOT),
        ("nc", "owner sshd", NOT_ROOT),
        ("{directory}/sshd", None, NOT_ROOT),
        ("/usr/sbin/sshd", "owner {directory}/sshd", NOT_ROOT),
        ("user:root", None, None),
        ("user:postgres", "owner user:root", "owner user:root"),
        ("unit:ssh.service", "owner without unit", NOT_ROOT),
        ("kernel", "owner sshd", NOT_ROOT),
    ],
)
def test_each_form_of_owner_gives_root_and_nobody_their_honest_answers(
    check: Check, directory: Path, form: str, by_root: str | None, by_nobody: str | None
) -> None:
    wanted = form.format(directory=directory)
    with holding(check.there, [sleeper(directory, "sshd"), "600"]) as (port, [pid]):
        options = (*ONE, "--required", f"*:{port}/tcp@{wanted}")
        seen, unprivileged = check.output(*options), check.output(*options, user=NOBODY)
    expected_by_root = expected_by_nobody = CLEAN
    if by_root:
        expected_by_root = result(
            State.CRITICAL,
            f"{IPV4}:{port}/tcp sshd[{pid}] user root: "
            f"{by_root.format(directory=directory)}, expected {wanted}",
        )
    if by_nobody:
        untold = by_nobody == NOT_ROOT
        required = ", required by --required" if untold else ""
        expected_by_nobody = result(
            State.UNKNOWN if untold else State.CRITICAL,
            f"{IPV4}:{port}/tcp user root: {by_nobody}, expected {wanted}{required}",
            NOT_SEEN,
        )
    assert seen == expected_by_root
    assert unprivileged == expected_by_nobody


@pytest.mark.parametrize(("option", "said"), [("--optional", "optional"), ("--ignore", "ignored")])
def test_an_owner_that_cannot_be_seen_is_unverified_in_every_list(
    check: Check, here: Namespace, option: str, said: str
) -> None:
    with holding(here, [SLEEP, "600"]) as (port, _):
        options = (*ONE, option, f"*:{port}/tcp@sleep")
        seen, unprivileged = check.output(*options), check.output(*options, user=NOBODY)
    assert seen == CLEAN
    assert unprivileged == result(
        State.UNKNOWN,
        f"{IPV4}:{port}/tcp user root: {NOT_ROOT}, expected sleep, {said} by {option}",
        NOT_SEEN,
    )


@pytest.mark.parametrize("user", [0, NOBODY])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [("user:nobody", None), ("user:postgres", "user:nobody"), ("sshd", "{name}")],
)
def test_who_owns_the_process_sees_as_much_as_root(
    check: Check, here: Namespace, user: int, wanted: str, found: str | None
) -> None:
    python = check.program.interpreters[NOBODY]
    with here.start(python, "-c", SERVE, user=NOBODY) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            name = Path(f"/proc/{process.pid}/comm").read_text().strip()
            text = check.output(*ONE, "--required", f"*:{PORT}/tcp@{wanted}", user=user)
        finally:
            process.kill()
    if found is None:
        assert text == CLEAN
        return
    owner = f"{name}[{process.pid}] user nobody: owner {found.format(name=name)}"
    assert text == result(State.CRITICAL, f"{IPV4}:{PORT}/tcp {owner}, expected {wanted}")


def test_where_processes_are_hidden_that_is_the_reason(check: Check, here: Namespace) -> None:
    here.shell("mount -t proc -o hidepid=2 proc /proc")
    with holding(here, [SLEEP, "600"]) as (port, _):
        text = check.output(*ONE, "--required", f"*:{port}/tcp@sleep", user=NOBODY)
    reason = "owner not determined (hidepid: run it by sudo), expected sleep"
    assert text == result(
        State.UNKNOWN,
        f"{IPV4}:{port}/tcp user root: {reason}, required by --required",
        "note: processes not seen: hidepid",
    )


def test_a_rule_without_owner_needs_nobody_to_see_it(check: Check, here: Namespace) -> None:
    with holding(here, [SLEEP, "600"]) as (port, _):
        rules = ("--required", f"*:{port}/tcp@sshd", "--required", f"{IPV4}:{port}/tcp")
        assert check.output(*ONE, *rules, user=NOBODY) == CLEAN


def test_what_was_found_beside_an_owner_that_cannot_be_seen_stays_critical(
    check: Check, here: Namespace
) -> None:
    with holding(here, [SLEEP, "600"]) as (port, _):
        rules = ("--required", f"*:{port}/tcp@sleep,61001/tcp")
        first, *lines = check.output(*ONE, *rules, user=NOBODY).splitlines()
    assert first.startswith("PORTCHECK CRITICAL - 1 missing, 1 unverified: ")
    owner = f"user root: {NOT_ROOT}, expected sleep, required by --required"
    assert lines == [
        f"missing: {IPV4}:61001/tcp, required by --required",
        f"unverified: {IPV4}:{port}/tcp {owner}",
        NOT_SEEN,
        "exit 2",
    ]


# Who owns a port


def test_another_program_that_shares_the_port_breaks_the_rule(
    check: Check, here: Namespace, directory: Path
) -> None:
    sshd, nc = sleeper(directory, "sshd"), sleeper(directory, "nc")
    with holding(here, [sshd, "600"]) as (port, [one]):
        options = (*ONE, "--required", f"*:{port}/tcp@sshd")
        before = check.output(*options)
        with holding(here, [nc, "600"], port=port) as (_, [other]):
            text = check.output(*options)
    assert before == CLEAN
    owners = [f"sshd[{one}] user root", f"nc[{other}] user root"]
    assert text in [
        result(
            State.CRITICAL,
            f"{IPV4}:{port}/tcp {','.join(order)}: owner nc and sshd, expected sshd",
        )
        .replace(",nc[", ", nc[")
        .replace(",sshd[", ", sshd[")
        for order in (owners, owners[::-1])
    ]


def test_a_twin_of_the_same_program_keeps_the_rule(
    check: Check, here: Namespace, directory: Path
) -> None:
    sshd = sleeper(directory, "sshd")
    with holding(here, [sshd, "600"]) as (port, _), holding(here, [sshd, "600"], port=port):
        assert check.output(*ONE, "--required", f"*:{port}/tcp@{sshd}") == CLEAN


@pytest.mark.parametrize("wanted", ["sshd", "nc"])
def test_any_holder_of_an_inherited_socket_keeps_the_rule(
    check: Check, here: Namespace, directory: Path, wanted: str
) -> None:
    holders = ([sleeper(directory, name), "600"] for name in ("sshd", "nc"))
    with holding(here, *holders) as (port, _):
        assert check.output(*ONE, "--required", f"*:{port}/tcp@{wanted}") == CLEAN


def test_a_deleted_executable_keeps_the_rule(
    check: Check, here: Namespace, directory: Path
) -> None:
    sshd = sleeper(directory, "deleted")
    with holding(here, [sshd, "600"]) as (port, _):
        Path(sshd).unlink()
        assert check.output(*ONE, "--required", f"*:{port}/tcp@{sshd}") == CLEAN


def test_a_unit_is_that_of_the_control_group(check: Check, here: Namespace, tmp_path: Path) -> None:
    unit = f"check_portcheck-{os.getpid()}-rules.service"
    here.shell(f"mount -t cgroup2 cgroup2 {tmp_path}; mkdir {tmp_path}/{unit}")
    try:
        with holding(here, [SLEEP, "600"]) as (port, [pid]):
            here.shell(f"echo {pid} >{tmp_path}/{unit}/cgroup.procs")
            required = f"*:{port}/tcp@unit:"
            right = check.output(*ONE, "--required", required + unit)
            wrong = check.output(*ONE, "--required", required + "nginx.service")
    finally:
        here.shell(f"rmdir {tmp_path}/{unit}")
    assert right == CLEAN
    reason = f"owner unit:{unit}, expected unit:nginx.service"
    assert wrong == result(State.CRITICAL, f"{IPV4}:{port}/tcp sleep[{pid}] user root: {reason}")


def test_an_owner_that_is_not_here_is_named_by_the_check_of_the_settings(
    check: Check, here: Namespace
) -> None:
    with holding(here, [SLEEP, "600"]):
        text = check.output(
            *(*ONE, "--check-config", "--optional"),
            "*:1/tcp@user:nosuch,2/tcp@sleep,3/tcp@user:0,4/tcp@www-data",
        )
    user = "no process is called www-data now; for the user of that name write"
    doubtful = [line for line in text.splitlines() if line.startswith("# doubtful")]
    assert doubtful == [
        "# doubtful: *:1/tcp@user:nosuch, --optional: no user is called nosuch",
        "# doubtful: *:3/tcp@user:0, --optional: its name is root: write *:3/tcp@user:root",
        f"# doubtful: *:4/tcp@www-data, --optional: {user} *:4/tcp@user:www-data",
    ]
    assert text.endswith("\nexit 0\n")


def test_the_kernel_is_an_owner_that_no_process_can_feign(check: Check, here: Namespace) -> None:
    # Not every machine lets root examine its process 1.
    here.shell("mount -t tmpfs tmpfs /proc/1; mkdir /proc/1/fd /proc/1/task")
    here.shell("ip link add vxlan0 up type vxlan id 1 dstport 4789")
    feigned = [sys.executable, "-c", NAMED, b"kernel".hex()]
    with holding(here, feigned) as (port, [pid]):
        text = check.output(*ONE, "--required", f"*:4789/udp@kernel,{port}/tcp@kernel", "-v")
    reason = "owner process kernel, expected kernel"
    assert text.splitlines()[1:] == [
        f"unexpected: {IPV4}:{port}/tcp kernel[{pid}] user root: {reason}",
        f"open: {IPV4}:4789/udp kernel, required by --required",
        "exit 2",
    ]


# T8 of the checklist: path, process and user of what is unexpected


def test_t8_path_process_and_user_are_named(check: Check, here: Namespace, directory: Path) -> None:
    program = sleeper(directory, "backdoor")
    with holding(here, [program, "600"], user="nobody") as (port, [pid]):
        text = check.output(*ONE)
        report = check.report(*ONE)
    assert text == result(State.CRITICAL, f"{IPV4}:{port}/tcp backdoor[{pid}] user nobody")
    (owner,) = report["services"][0]["owners"]
    (process,) = owner["processes"]
    assert (owner["user"], owner["kernel"], owner["processes_reason"]) == ("root", False, None)
    assert process.pop("started") > 0
    assert process == {
        "pid": pid,
        "name": "backdoor",
        "executable": program,
        "command": [program, "600"],
        "user": "nobody",
        "unit": process["unit"],
        "deleted": False,
    }


def test_t8_every_holder_is_counted_and_the_first_is_named(check: Check, here: Namespace) -> None:
    with holding(here, *[[SLEEP, "600"]] * 3) as (port, pids):
        text = check.output(*ONE)
        report = check.report(*ONE)
    assert text == result(
        State.CRITICAL, f"{IPV4}:{port}/tcp sleep[{min(pids)}] and 2 more user root"
    )
    (owner,) = report["services"][0]["owners"]
    assert [process["pid"] for process in owner["processes"]] == sorted(pids)


def test_t8_each_address_of_a_udp_port_has_its_own_owner(check: Check, here: Namespace) -> None:
    with (
        holding(here, [SLEEP, "600"], kind=UDP, address=IPV4) as (port, [one]),
        holding(here, [SLEEP, "600"], kind=UDP, address="127.0.0.1", port=port) as (_, [two]),
    ):
        options = ("--interface", "127.0.0.1", "--ignore", "*:*/tcp", "--severity", "info")
        text = check.output(*ONE, *options)
    assert [line for line in text.splitlines() if line.startswith("unexpected: ")] == [
        f"unexpected: {IPV4}:{port}/udp sleep[{one}] user root",
        f"unexpected: 127.0.0.1:{port}/udp sleep[{two}] user root",
    ]


@pytest.mark.parametrize("interpreter", [["/bin/sh"], [sys.executable, "-u"]])
def test_t8_interpreted_scripts_show_the_script(
    check: Check, here: Namespace, directory: Path, interpreter: list[str]
) -> None:
    script = directory / "app"
    script.write_text("read line\n" if interpreter == ["/bin/sh"] else "input()\n")
    with holding(here, [*interpreter, str(script), "--option"]) as (port, [pid]):
        text = check.output(*ONE)
    name = Path(interpreter[0]).name
    assert text == result(State.CRITICAL, f"{IPV4}:{port}/tcp {name}[{pid}] {script} user root")


def test_t8_what_cannot_be_seen_is_said(check: Check, here: Namespace) -> None:
    with holding(here, [SLEEP, "600"]) as (port, _):
        text = check.output(*ONE, user=NOBODY)
        report = check.report(*ONE, user=NOBODY)
    assert text == result(State.CRITICAL, f"{IPV4}:{port}/tcp user root", NOT_SEEN)
    assert report["services"][0]["owners"] == [
        {"user": "root", "kernel": False, "processes": None, "processes_reason": "not root"}
    ]


# Hostile names


NAMES = {
    b"two\nlines": "two?lines",
    b"cr\r\ttab": "cr??tab",
    b"' | x=1": "' ? x=1",
    b'"quoted"': '"quoted"',
    b"back\\nslash": "back\\nslash",
    b"\x1b[31mred\x1b[0m": "?[31mred?[0m",
    b"\xff\xc3(\xe2\x28": "??(?(",
    b"\xc2\x9b2J\xe2\x80\xae!": "?2J?!",
    b"cut\x00here": "cut",
    b"CRITICAL|a=1": "CRITICAL?a=1",
    b"1) Z 1 (x": "1) Z 1 (x",
    "größe".encode(): "größe",
}
"""Names that processes give themselves, of 15 bytes at most, and what is shown of them."""

FILES = {
    b"a\nPORTCHECK OK": "a?PORTCHECK OK",
    b"' | x=1": "' ? x=1",
    b'"\\n\\\x1b]0;\x07|': '"\\n\\?]0;??',
    b"\xff\xfe\xed\xa0\x80": "?????",
}
"""Names of scripts and programs, and what is shown of them."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """Processes in a namespace that try to break the output."""

    check: Check
    owners: tuple[str, ...]
    """How each shall read, with its port, in the order of ports."""


@pytest.fixture(name="hostile", scope="module")
def hostile_fixture(program: Program, directory: Path) -> Iterator[Hostile]:
    named = sleeper(directory, "n" * 20)
    long = f"{directory}{'/.' * 2000}/{write_script(directory, b's')}"
    commands = [
        *(([sys.executable, "-c", NAMED, name.hex()], shown, "") for name, shown in NAMES.items()),
        ([named, "600"], "n" * 20, ""),
        (["n" * 4096, "600"], "n" * 37 + "...", ""),
        (["/bin/sh", long], "sh", f" {long[:117]}..."),
    ]
    for name, shown in FILES.items():
        script = write_script(directory, name)
        commands.append((["/bin/sh", f"{directory}/{script}"], "sh", f" {directory}/{shown}"))
        commands.append(([sleeper(directory, f"{script}!"), "600"], f"{shown}!", ""))
    with namespace() as there, contextlib.ExitStack() as stack:
        owners = []
        for number, (command, shown, script) in enumerate(commands, PORT):
            executable = named if command[0].startswith("nn") else None
            held = holding(there, command, port=number, executable=executable)
            port, [pid] = stack.enter_context(held)
            owners.append(f"127.0.0.1:{port}/tcp {shown}[{pid}]{script} user root")
        yield Hostile(Check(there, program), tuple(owners))


def write_script(directory: Path, name: bytes) -> str:
    """The name of a script that waits."""
    script = directory / os.fsdecode(name)
    script.write_text("read line\n")
    return script.name


LOOPBACK = ("--no-official", "--interface", "127.0.0.1", "--method", "table", "--confirm", "0")
CHECKMK = str.maketrans({'"': None, "'": None, "\\": "/"})
"""What a local check's text cannot have."""

OPTIONS = {
    "unexpected": (),
    "wrong name": ("--optional", "*:*/tcp@sshd"),
    "wrong program": ("--optional", "*:*/tcp@/usr/sbin/sshd"),
    "expected": ("--optional", "*:*/tcp", "-vvv"),
}
"""Every way in which a process is named in the text."""

every_way = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def printable(text: str) -> bool:
    """Whether it is text and nothing else: no control, format, private or surrogate characters."""
    return not any(unicodedata.category(char).startswith("C") for char in text)


def test_hostile_names_are_cleaned_in_the_lines_for_nagios(hostile: Hostile) -> None:
    text = hostile.check.output(*LOOPBACK)
    number = len(hostile.owners)
    first, *lines = text.split("\n")
    assert first.startswith(f"PORTCHECK CRITICAL - {number} unexpected: {hostile.owners[0]}")
    assert lines == [*(f"unexpected: {owner}" for owner in hostile.owners), "exit 2", ""]


@every_way
def test_hostile_names_cannot_break_the_output_for_nagios(
    hostile: Hostile, options: tuple[str, ...]
) -> None:
    done = hostile.check(*LOOPBACK, *options)
    *lines, end = done.stdout.split("\n")
    number = len(hostile.owners)
    assert (done.stderr, end) == ("", "")
    assert all(printable(line) for line in lines)
    head, bar, perfdata = lines[0].partition(" | ")
    assert (head.count("|"), bar, len(head) <= 200) == (0, " | ", True)
    assert re.fullmatch(
        rf"open_127_0_0_1={number};;;0 unexpected_127_0_0_1=\d+;;0;0 "
        r"missing_127_0_0_1=0;;0;0 time=\d\.\d{3}s",
        perfdata,
    )
    assert not any("|" in line for line in lines[1:])
    kinds = [line.partition(": ")[0] for line in lines[1:] if not line.startswith("  ")]
    assert sum(kind in ("unexpected", "open") for kind in kinds) == number
    assert set(kinds) <= {"unexpected", "open", "coverage", "scan"}
    assert len(done.stdout.encode()) <= 8192


@every_way
def test_hostile_names_cannot_break_the_output_for_checkmk(
    hostile: Hostile, options: tuple[str, ...]
) -> None:
    done = hostile.check(*LOOPBACK, *options, "--format", "checkmk")
    line, end = done.stdout.split("\n")
    assert (done.stderr, done.returncode, end) == ("", 0, "")
    assert printable(line)
    number = len(hostile.owners)
    parsed = re.fullmatch(
        rf'[02] "Portcheck 127\.0\.0\.1" open={number}\|unexpected=\d+;1;1\|missing=0;1;1 (.*)',
        line,
    )
    assert parsed
    assert not set(parsed[1]).intersection("|\"'")
    details = parsed[1].split(r"\n")[1:]
    assert "\\" not in parsed[1].replace(r"\n", "")
    shown = [owner.translate(CHECKMK) for owner in hostile.owners]
    named = [each for each in details if each.startswith(("unexpected: ", "open: "))]
    more = re.fullmatch(r"\.\.\. and (\d+) more", details[-1])
    assert len(named) + int(more[1] if more else 0) == number
    assert all(owner in each for owner, each in zip(shown, named, strict=False))


def strings(value: object) -> Iterator[str]:
    """Every string in parsed JSON, keys included."""
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from strings(each)
        case dict():
            for key, each in value.items():
                yield key
                yield from strings(each)


@every_way
def test_hostile_names_cannot_break_the_output_as_json(
    hostile: Hostile, options: tuple[str, ...]
) -> None:
    done = hostile.check(*LOOPBACK, *options, "--format", "json")
    assert done.stderr == ""
    assert done.stdout.isascii()
    assert printable(done.stdout.replace("\n", ""))
    report = json.loads(done.stdout)
    assert all(printable(text) and "|" not in text for text in strings(report))
    names = [each["owners"][0]["processes"][0]["name"] for each in report["services"]]
    assert len(names) == len(hostile.owners)
    assert set(NAMES.values()) | {"sh", "n" * 20, "n" * 255} < set(names)
