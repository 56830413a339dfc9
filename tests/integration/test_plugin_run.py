from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4, NOBODY, Check, finished, parents, told, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Namespace

    Pair = tuple[Namespace, Namespace]

BOTH = ("--no-official", "--interface", f"127.0.0.1,{IPV4}")
LOOPBACK = ("--no-official", "--interface", "127.0.0.1")
FEW = ("--min-port", "61000", "--confirm", "0.1")
"""Ports for which there is no name in /etc/services."""
LISTED = ("--required", "127.0.0.1:61001/tcp", "--required", "*:61002/tcp")
OWNER = {0: "OWNER", NOBODY: "user root"}
NOTE = {0: "", NOBODY: "note: processes not seen: not root\n"}
ALL_EXPECTED = "all expected (full scan of 4536 TCP and UDP ports each)"

DAEMON = """
import ctypes, socket, sys, time
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]))
listener = socket.create_server(("127.0.0.1", 61001))
print("ready", flush=True)
time.sleep(600)
"""
"""A daemon with a name of its choice."""

users = pytest.mark.parametrize("user", [0, NOBODY])


def perfdata(here: tuple[int, int, int], there: tuple[int, int, int], levels: str = ";;0") -> str:
    """Open, unexpected, missing on loopback and on eth0."""
    words = [
        f"{kind}_{label}={count}{';;' if kind == 'open' else levels};0"
        for label, counts in (("127_0_0_1", here), ("192_0_2_7", there))
        for kind, count in zip(("open", "unexpected", "missing"), counts, strict=True)
    ]
    return " ".join((*words, "time=0.000s"))


@pytest.fixture(name="serving")
def serving_fixture(check: Check) -> Iterator[Check]:
    """Three services: one on loopback alone, two on every address."""
    here = check.there
    with (
        here.listener("127.0.0.1", 61001),
        here.listener("0.0.0.0", 61002),
        here.bound(socket.SOCK_DGRAM, "0.0.0.0", 61003),
    ):
        yield check


# The verdict


@users
@pytest.mark.parametrize(
    ("method", "coverage"),
    [
        ("table", "socket table for 65536 TCP and UDP ports each"),
        ("probe", "probe of 65536 TCP and UDP ports each"),
        ("full", "full scan of 65536 TCP and UDP ports each"),
    ],
)
def test_ok_when_every_listener_is_listed(
    serving: Check, method: str, coverage: str, user: int
) -> None:
    optional = ("--optional", "*:61003/udp")
    assert serving.output(*BOTH, *LISTED, *optional, "--method", method, user=user) == (
        f"PORTCHECK OK - 3 open services on 2 interfaces, all expected ({coverage})"
        f" | {perfdata((3, 0, 0), (2, 0, 0))}\n"
        "exit 0\n"
    )


@users
def test_critical_when_there_is_one_listener_too_many(serving: Check, user: int) -> None:
    surplus = f"*:61003/udp {OWNER[user]}"
    assert serving.output(*BOTH, *LISTED, *FEW, user=user) == (
        f"PORTCHECK CRITICAL - 1 unexpected: {surplus} | {perfdata((3, 1, 0), (2, 1, 0))}\n"
        f"unexpected: {surplus}\n"
        f"{NOTE[user]}exit 2\n"
    )


def test_below_a_finding_stands_what_helps_to_decide(serving: Check, tmp_path: Path) -> None:
    done = serving(*BOTH, *LISTED, *FEW)
    _, finding, started, allow = done.stdout.splitlines()
    assert finding.startswith("unexpected: *:61003/udp ")
    assert re.fullmatch(r"  started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(, unit \S+)?", started)
    assert allow == "  allow: PortCheckOptional = *:61003/udp@user:root"
    file = tmp_path / "policy"
    file.write_text(f"[PortCheck]\n{allow.removeprefix('  allow: ')}\n")
    assert serving(*BOTH, *LISTED, *FEW, "--config", file).returncode == 0


def test_a_program_that_was_deleted_is_marked(check: Check, tmp_path: Path) -> None:
    program = tmp_path / "backdoor"
    shutil.copy("/bin/sleep", program)
    with check.there.listener(IPV4, 61001) as held:
        process = subprocess.Popen([program, "600"], stdin=held.fileno())
    try:
        until(lambda: Path(f"/proc/{process.pid}/exe").readlink() == program, "not started")
        program.unlink()
        text = check.output("--no-official", "--interface", IPV4, *FEW)
    finally:
        process.kill()
        process.wait()
    assert f"61001/tcp backdoor[{process.pid}] (deleted) user root\n" in text


@users
def test_critical_when_one_is_missing(serving: Check, user: int) -> None:
    required = ("--required", f"{IPV4}:61001/tcp", "--optional", "*:61003/udp")
    lacking = f"{IPV4}:61001/tcp, required by --required"
    assert serving.output(*BOTH, *LISTED, *required, *FEW, user=user) == (
        f"PORTCHECK CRITICAL - 1 missing: {lacking} | {perfdata((3, 0, 0), (2, 0, 1))}\n"
        f"missing: {lacking}\n"
        "exit 2\n"
    )


@users
def test_ok_when_the_surplus_is_skipped(serving: Check, user: int) -> None:
    assert serving.output(*BOTH, *LISTED, "--skip", "61003/udp", *FEW, user=user) == (
        f"PORTCHECK OK - 2 open services on 2 interfaces, {ALL_EXPECTED}"
        f" | {perfdata((2, 0, 0), (1, 0, 0))}\n"
        "exit 0\n"
    )


@users
def test_ok_when_the_surplus_is_ignored(serving: Check, user: int) -> None:
    assert serving.output(*BOTH, *LISTED, "--ignore", "*:61003/udp", *FEW, user=user) == (
        f"PORTCHECK OK - 3 open services on 2 interfaces, {ALL_EXPECTED}"
        f" | {perfdata((3, 0, 0), (2, 0, 0))}\n"
        "exit 0\n"
    )


def test_verbose_names_the_rule_of_each_port_and_what_was_left_out(serving: Check) -> None:
    options = (*LISTED, "--ignore", "*:61003/udp", "--skip", "61004/tcp", "--optional", "*:80/tcp")
    assert serving.output(*BOTH, *options, *FEW, "-vv") == (
        f"PORTCHECK OK - 3 open services on 2 interfaces, {ALL_EXPECTED}"
        f" | {perfdata((3, 0, 0), (2, 0, 0))}\n"
        "unused: *:80/tcp, --optional\n"
        "skipped: *:61004/tcp, --skip\n"
        "open: 127.0.0.1:61001/tcp OWNER, required by --required\n"
        "open: *:61002/tcp OWNER, required by --required\n"
        "open: *:61003/udp OWNER, ignored by --ignore\n"
        "exit 0\n"
    )


def test_the_rules_of_a_file_are_named_by_its_lines(serving: Check, tmp_path: Path) -> None:
    file = tmp_path / "policy"
    file.write_text(
        "[PortCheck]\n"
        "PortCheckOfficial = no\n"
        f"PortCheckInterface = 127.0.0.1, {IPV4}\n"
        "PortCheckRequired = 127.0.0.1:61009/tcp\n"
        "PortCheckOptional = *:61001/tcp,61002/tcp,61003/udp\n"
    )
    lacking = f"127.0.0.1:61009/tcp, required by {file}:4"
    assert serving.output("--config", file, *FEW) == (
        f"PORTCHECK CRITICAL - 1 missing: {lacking} | {perfdata((3, 0, 1), (2, 0, 0))}\n"
        f"missing: {lacking}\n"
        "exit 2\n"
    )


SECTION = f"""[PortCheck]
PortCheckOfficial = no
PortCheckInterface = 127.0.0.1
PortCheckInterface = {IPV4}
SeverityPortCheck = warn
PortCheckOptional = *:61001/tcp
"""
STOCK = """[Misc]
Daemon = no
[EventSeverity]
SeverityReadOnly=crit
"""
"""What a stock samhainrc has, in small, before its ``[EOF]``."""


def test_a_samhainrc_with_a_section_works_as_it_is(serving: Check, tmp_path: Path) -> None:
    file = tmp_path / "samhainrc"
    file.write_text(f"{STOCK}{SECTION}[EOF]\n-----BEGIN PGP SIGNATURE-----\n")
    text = serving.output("--config", file, *FEW)
    assert text.startswith("PORTCHECK WARNING - 2 unexpected: ")
    assert "*:61001" not in text


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (f"{STOCK}[EOF]\n", 1, "no [PortCheck] section"),
        (
            f"{STOCK}[EOF]\n{SECTION}",
            6,
            "[PortCheck] stands after [EOF] on line 5: move it above",
        ),
    ],
)
def test_a_samhainrc_of_which_samhain_reads_no_section_is_refused(
    alone: Check, tmp_path: Path, text: str, line: int, reason: str
) -> None:
    file = tmp_path / "samhainrc"
    file.write_text(text)
    assert (
        alone.output("--config", file) == f"PORTCHECK UNKNOWN - {file}:{line}: {reason}\nexit 3\n"
    )


@pytest.mark.parametrize(
    ("written", "advised"),
    [
        ("61001,61002", "*:61001/tcp,61002/tcp"),
        ("0.0.0.0:61001/tcp", "*:61001/tcp or 0.0.0.0/0:61001/tcp"),
        (f"127.0.0.1,{IPV4}:61001/tcp", f"127.0.0.1:61001/tcp and {IPV4}:61001/tcp"),
        ("*:61001/tcp@nginx.service", "61001/tcp@unit:nginx.service"),
    ],
)
def test_what_an_error_advises_is_judged_by(serving: Check, written: str, advised: str) -> None:
    options = (*BOTH, *FEW, "--method", "table", "--optional")
    refused = serving.output(*options, written)
    assert refused.endswith(f": write {advised}\nexit 3\n")
    for entry in re.split(" or | and ", advised):
        whole = entry if ":61" in entry else f"*:{entry}"
        assert serving.output(*options, whole).startswith("PORTCHECK CRITICAL - ")


@pytest.mark.parametrize(
    ("severity", "state", "levels"),
    [
        *((each, "OK", ";;") for each in ("debug", "info", "notice")),
        *((each, "WARNING", ";0;") for each in ("warn", "mark", "Warning")),
        *((each, "CRITICAL", ";;0") for each in ("err", "crit", "ALERT")),
    ],
)
def test_the_severity_gives_state_and_thresholds(
    serving: Check, severity: str, state: str, levels: str
) -> None:
    surplus = "*:61003/udp OWNER"
    lacking = "127.0.0.1:61009/tcp, required by --required"
    options = (*LISTED, "--required", "127.0.0.1:61009/tcp", "--severity", severity)
    assert serving.output(*BOTH, *options, *FEW) == (
        f"PORTCHECK {state} - 1 unexpected, 1 missing: {surplus}, {lacking}"
        f" | {perfdata((3, 1, 1), (2, 1, 0), levels)}\n"
        f"unexpected: {surplus}\n"
        f"missing: {lacking}\n"
        f"exit {('OK', 'WARNING', 'CRITICAL').index(state)}\n"
    )


def test_the_worse_finding_comes_first(serving: Check) -> None:
    options = (*LISTED, "--required", "127.0.0.1:61009/tcp", "--severity-unexpected", "warn")
    first, *lines = serving.output(*BOTH, *options, *FEW).splitlines()
    lacking = "127.0.0.1:61009/tcp, required by --required"
    assert first.startswith(f"PORTCHECK CRITICAL - 1 missing, 1 unexpected: {lacking}, ")
    assert [line.partition(":")[0] for line in lines] == ["missing", "unexpected", "exit 2"]


@pytest.mark.parametrize(
    ("severity", "state", "code"),
    [("crit", "CRITICAL", 2), ("warn", "UNKNOWN", 3), ("info", "UNKNOWN", 3)],
)
def test_what_was_found_and_what_could_not_be_seen_are_both_told(
    serving: Check, severity: str, state: str, code: int
) -> None:
    options = ("--device", "eth7", "--ignore", "*:61001/tcp,61002/tcp", "--severity", severity)
    surplus = "127.0.0.1:61003/udp OWNER"
    absent = "device eth7 (--device) does not exist or has no address"
    first, *lines = serving.output(*LOOPBACK, *options, *FEW).splitlines()
    assert first.startswith(f"PORTCHECK {state} - ")
    assert surplus in first
    assert absent in first
    assert sorted(lines) == [f"exit {code}", f"not looked at: {absent}", f"unexpected: {surplus}"]


def test_perfdata_has_the_same_labels_in_the_same_order_in_every_state(serving: Check) -> None:
    options = {
        "OK": ("--optional", "*:*/tcp,*/udp"),
        "WARNING": ("--severity", "warn"),
        "CRITICAL": ("--required", "*:61009/tcp"),
        "UNKNOWN": ("--device", "eth7", "--severity", "info"),
    }
    labels: dict[str, list[str]] = {}
    for state, given in options.items():
        first = serving.output("--device", "eth0", *BOTH, *given, *FEW).splitlines()[0]
        assert first.split()[1] == state
        words = first.partition(" | ")[2].split()
        labels[state] = [word.partition("=")[0] for word in words if "eth7" not in word]
    assert len(labels["OK"]) == len(set(labels["OK"])) == 10
    assert all(each == labels["OK"] for each in labels.values())


# Every end


def shell(check: Check, script: str, *options: str | Path) -> str:
    """What a script tells that runs the check as ``"$@"``."""
    command = check.program.command(*options)
    return told(check.there.run("sh", "-c", script, "sh", *command, env=check.program.environment))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--bogus"], "unrecognized arguments: --bogus (see check_portcheck --help)"),
        (["surplus"], "unrecognized arguments: surplus (see check_portcheck --help)"),
        (
            ["--timeout"],
            "argument -t/--timeout: expected one argument (see check_portcheck --help)",
        ),
        (["--config", "/nonexistent"], "/nonexistent: cannot be read: No such file or directory"),
        (["--config", "/etc"], "/etc: cannot be read: Is a directory"),
    ],
)
def test_misuse_is_unknown_in_one_line(alone: Check, options: list[str], reason: str) -> None:
    assert alone.output(*options) == f"PORTCHECK UNKNOWN - {reason}\nexit 3\n"


def test_a_file_that_may_not_be_read_is_unknown(alone: Check) -> None:
    assert alone.output("--config", "/etc/shadow", user=NOBODY) == (
        "PORTCHECK UNKNOWN - /etc/shadow: cannot be read: Permission denied\nexit 3\n"
    )


@pytest.mark.parametrize("option", ["--help", "--version", "-h", "-V"])
def test_help_and_version_are_no_result(alone: Check, option: str) -> None:
    text = alone.output(option)
    assert text.startswith(("usage: check_portcheck ", "check_portcheck "))
    assert text.endswith("\nexit 3\n")


@pytest.fixture(name="hanging")
def hanging_fixture(tmp_path: Path) -> tuple[str, Path]:
    """The option that makes the check wait for ever: a configuration that nobody writes."""
    os.mkfifo(tmp_path / "fifo")
    return "--config", tmp_path / "fifo"


def test_a_file_that_hangs_ends_in_time(alone: Check, hanging: tuple[str, Path]) -> None:
    text = f"PORTCHECK UNKNOWN - timeout after 1 s while reading {hanging[1]}\nexit 3\n"
    assert alone.output(*hanging, "-t", "1") == text


@pytest.mark.parametrize(
    ("option", "in_file", "seconds"), [("5", 60, "5"), ("", 5, "5"), ("5", 0.1, "5")]
)
def test_a_name_lookup_that_hangs_ends_in_time(
    alone: Check, tmp_path: Path, option: str, in_file: float, seconds: str
) -> None:
    (tmp_path / "policy").write_text(f"[PortCheck]\nPortCheckTimeout = {in_file}\n")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    alone.there.shell(
        f"""
        hostname probed
        mount --bind {tmp_path}/resolv.conf /etc/resolv.conf
        mount --bind {tmp_path}/hosts /etc/hosts
        """
    )
    with alone.there.bound(socket.SOCK_DGRAM, "127.0.0.1", 53) as silent:
        text = f"PORTCHECK UNKNOWN - timeout after {seconds} s\nexit 3\n"
        assert alone.output("-t", option, "--config", tmp_path / "policy") == text
        silent.settimeout(0)
        assert silent.recv(9)  # it has come to the lookup by then


ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.mark.parametrize("numbers", [*((number,) for number in ENDING), ENDING])
def test_signals_however_often_end_it_with_a_line(
    alone: Check, hanging: tuple[str, Path], numbers: tuple[signal.Signals, ...]
) -> None:
    process = alone.start(*hanging)
    until(lambda: all(catches(process.pid, number) for number in ENDING), "no handlers")
    assert process.poll() is None
    while process.poll() is None:
        for number in numbers:
            process.send_signal(number)
    assert told(finished(process)) in {
        f"PORTCHECK UNKNOWN - ended by {number.name}{reading}\nexit 3\n"
        for number in numbers
        for reading in ("", f" while reading {hanging[1]}")
    }


def catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> number - 1 & 1)


def test_a_signal_ends_the_workers_too(alone: Check) -> None:
    alone.there.rules(
        "table inet f {\nchain c { type filter hook input priority 0; meta l4proto tcp drop; }\n}\n"
    )
    process = alone.start(*LOOPBACK)
    until(lambda: len(running_for(process.pid)) > 1, "no workers")
    started = running_for(process.pid)
    process.terminate()
    told = "PORTCHECK UNKNOWN - ended by SIGTERM while looking at the ports\n"
    assert finished(process).stdout == told
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "workers are left")


def running_for(guard: int) -> set[int]:
    """The processes that the check started, its workers included."""
    found = parents()
    children = {pid for pid, parent in found.items() if parent == guard}
    return children | {pid for pid, parent in found.items() if parent in children}


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_result_that_nobody_can_read_is_no_result(alone: Check, redirection: str) -> None:
    assert shell(alone, f'"$@" {redirection}', *LOOPBACK, *FEW) == "exit 3\n"


def test_a_reader_that_goes_away_leaves_no_trace(alone: Check) -> None:
    script = 'exec 3>&1; ("$@"; echo exit $? >&3) | true'
    assert shell(alone, script, *LOOPBACK, *FEW) == "exit 3\nexit 0\n"


@pytest.mark.parametrize("redirection", ["<&-", "2>&-", "<&- 2>&-", "2>/dev/full"])
def test_other_streams_do_not_matter(alone: Check, redirection: str) -> None:
    assert shell(alone, f'"$@" {redirection}', *LOOPBACK, *FEW) == (
        f"PORTCHECK OK - 0 open services on 1 interface, {ALL_EXPECTED}"
        " | open_127_0_0_1=0;;;0 unexpected_127_0_0_1=0;;0;0 missing_127_0_0_1=0;;0;0"
        " time=0.000s\n"
        "exit 0\n"
    )


@pytest.mark.parametrize(
    "environment",
    [
        "env -i",
        "env -u LANG -u LC_ALL",
        "env LC_ALL=C",
        "env LC_ALL=POSIX PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
        "env LC_ALL=de_DE.ISO-8859-1",
        "env LC_ALL=xx_XX.none",
    ],
)
def test_foreign_text_is_harmless_in_every_environment(alone: Check, environment: str) -> None:
    packages = shlex.quote(str(alone.program.packages))
    script = f'{environment} PYTHONPATH={packages} "$@"'
    name = b"\xe9|x=1;\n\x1b[2J\x00"
    with alone.there.start(sys.executable, "-c", DAEMON, name.hex()) as daemon:
        try:
            assert daemon.stdout
            assert daemon.stdout.readline() == "ready\n"
            text = shell(alone, script, *LOOPBACK, *FEW)
        finally:
            daemon.kill()
    shown = f"127.0.0.1:61001/tcp ??x=1;??[2J[{daemon.pid}] user root"
    assert text == (
        f"PORTCHECK CRITICAL - 1 unexpected: {shown}"
        " | open_127_0_0_1=1;;;0 unexpected_127_0_0_1=1;;0;0 missing_127_0_0_1=0;;0;0"
        " time=0.000s\n"
        f"unexpected: {shown}\n"
        "exit 2\n"
    )


def test_a_missing_library_is_unknown(alone: Check, tmp_path: Path) -> None:
    (tmp_path / "check_portcheck").symlink_to(alone.program.packages / "check_portcheck")
    python, *rest = alone.program.command(*LOOPBACK)
    done = alone.there.run(python, "-S", *rest, env={"PYTHONPATH": str(tmp_path)})
    assert told(done) == (
        "PORTCHECK UNKNOWN - ModuleNotFoundError: No module named 'nagiosplugin'\nexit 3\n"
    )


def test_a_crash_is_unknown_in_one_harmless_line(alone: Check, tmp_path: Path) -> None:
    broken = "raise RuntimeError('one\\ntwo | three\\033')"
    (tmp_path / "nagiosplugin.py").write_text(broken)
    environment = {"PYTHONPATH": f"{tmp_path}:{alone.program.packages}"}
    done = alone.there.run(*alone.program.command(*LOOPBACK), env=environment)
    assert told(done) == "PORTCHECK UNKNOWN - two ? three?\nexit 3\n"
