"""Whatever foreign text is told, in each form, state and locale: others can read the output."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import foreign
import jsonschema
import local_checks
import pytest
from namespace import Check, namespace
from portmapper import portmapper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namespace import Namespace, Program, Report

pytestmark = pytest.mark.daemons

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/json-schema.json").read_text())
KINDS = ("open", "unexpected", "missing")

PROCESSES = (b"' | x=1;\n\x1b[2J", b'\xe9"\\n|a=1\xff', "größe\u202e".encode())
"""Names that processes give themselves."""
DEVICES = ("x|y=1;'(id)", "x|y=1;$(id)", "\udce9\\n\udcff\x1b[2J")
"""Names of devices, of which two give the same label."""
FILES = {
    "/etc/services": b"a|b=1;'\"\\n\x1b[2J\xe9 61000/tcp\nplain 61001/tcp\n",
    "/etc/rpc": b"r|pc=1;'\"\\n\x07\xff 400000\n",
}
POLICY = "po|l=1;\n'\"\\n\udce9\x1b[2J.conf"
WRONG = b"[PortCheck]\nPort\xe9|Check = 1\nPortCheckOptional = *:22/tcp@a|\x1b[2J 'x' \"y\"\n"

ALL = ("--no-official", "--interface", "all", "--method", "table", "--confirm", "0")
ALLOWED = ("--optional", "*:*/tcp,*/udp")
STATES = {
    0: (*ALLOWED, "-vv"),
    1: ("--severity", "warn", "-v"),
    2: ("--required", "*:RPC_400001/tcp,1/tcp"),
    3: (*ALLOWED, "--required", "192.0.2.250:22/tcp"),
}
"""Options that bring each state."""

LOCALES = {
    "C": {"LC_ALL": "C"},
    "POSIX": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "Latin-1": {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"},
}

_DAEMON = """
import ctypes, socket, sys, time
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]))
at = ("::", int(sys.argv[2]))
listener = socket.create_server(at, family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
time.sleep(86400)
"""


class Hostile(NamedTuple):
    """A machine whose users choose names that try to break the output."""

    check: Check
    policy: Path
    """A policy of which every line is wrong."""
    locales: Path
    """A directory with the locale that Debian does not have ready."""

    def output(self, locale: str, *options: str | Path) -> str:
        """What the check prints in a locale: nothing on standard error."""
        program = self.check.program
        environment = {**program.environment, **LOCALES[locale]}
        if locale == "Latin-1":
            environment["LOCPATH"] = str(self.locales)
        done = self.check.there.run(*program.command(*ALL, *options), env=environment)
        assert done.stderr == ""
        return done.stdout

    def report(self, locale: str, *options: str | Path) -> Report:
        """The object of the form for programs, which is as the schema says."""
        answer: Report = json.loads(self.output(locale, "--format", "json", *options))
        jsonschema.Draft202012Validator(SCHEMA).validate(answer)
        return answer


@pytest.fixture(name="hostile", scope="module")
def hostile_fixture(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hostile]:
    made = tmp_path_factory.mktemp("foreign")
    locale = made / LOCALES["Latin-1"]["LC_ALL"]
    subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", locale], check=True)
    policy = made / POLICY
    policy.write_bytes(WRONG)
    with namespace() as here, contextlib.ExitStack() as stack:
        for number, device in enumerate(DEVICES):
            address = f"192.0.2.{number + 1}/32"
            for command in (
                ("link", "add", device, "type", "bridge"),
                ("link", "set", device, "addrgenmode", "none", "up"),
                ("address", "add", address, "dev", device),
            ):
                assert here.run("ip", *command).stderr == ""
        # Before the files, since it looks up its own port.
        stack.enter_context(portmapper(here)).register_port(400000, 1, 6, 61001)
        for number, (path, content) in enumerate(FILES.items()):
            (made / f"file{number}").write_bytes(content)
            here.shell(f"mount --bind {made}/file{number} {path}")
        for port, name in enumerate(PROCESSES, 61000):
            stack.enter_context(daemon(here, name, port))
        yield Hostile(Check(here, program), policy, made)


@contextlib.contextmanager
def daemon(there: Namespace, name: bytes, port: int) -> Iterator[None]:
    """A process with a name and an argument of its choice."""
    with there.start(sys.executable, "-c", _DAEMON, name.hex(), str(port), "|\n\x1b") as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def test_the_locale_is_there(hostile: Hostile) -> None:
    environment = {**LOCALES["Latin-1"], "LOCPATH": str(hostile.locales)}
    command = (sys.executable, "-c", "import sys; print(sys.getfilesystemencoding())")
    assert hostile.check.there.run(*command, env=environment).stdout == "iso8859-1\n"


# Every state in one locale, and every locale in one state.
CASES = [*((state, "Latin-1") for state in STATES), *((2, locale) for locale in LOCALES)]
every_case = pytest.mark.parametrize(("state", "locale"), dict.fromkeys(CASES))


@every_case
def test_every_reader_understands_the_same(hostile: Hostile, state: int, locale: str) -> None:
    report = hostile.report(locale, *STATES[state])
    assert report["exit_code"] == state
    counts = [[of[kind] for kind in KINDS] for of in report["counts"].values()]
    first, *lines, end = hostile.output(locale, *STATES[state]).split("\n")
    text, bar, perfdata = first.partition(" | ")
    assert (bar, end, "|" in "".join((text, perfdata, *lines))) == (" | ", "", False)
    assert all(line.isprintable() for line in (first, *lines))
    *metrics, time = foreign.metrics(perfdata)
    assert [each.value for each in metrics] == [value for of in counts for value in of]
    assert [each.label.partition("_")[0] for each in metrics] == [*KINDS] * len(counts)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", each.label) for each in metrics)
    assert (len({each.label for each in metrics}), time.unit) == (len(metrics), "s")
    services = local_checks.services(hostile.output(locale, "--format", "checkmk", *STATES[state]))
    assert [[metric.value for metric in of.metrics.values()] for of in services.values()] == counts
    assert max(each.state for each in services.values()) == state


@pytest.mark.parametrize("locale", LOCALES)
def test_what_is_wrong_in_a_file_can_be_read(hostile: Hostile, locale: str) -> None:
    wrong = ("--config", hostile.policy)
    lines = hostile.output(locale, *wrong).splitlines()
    assert lines[0].startswith("PORTCHECK UNKNOWN - ")
    assert all(line.isprintable() and "|" not in line for line in lines)
    assert hostile.report(locale, *wrong)["exit_code"] == 3
    [service] = local_checks.services(
        hostile.output(locale, *wrong, "--format", "checkmk")
    ).values()
    assert (service.state, service.metrics) == (3, {})
