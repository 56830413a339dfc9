from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from daemons import STATES, policy
from local_checks import Service, services
from machine import PLUGIN, POLICY, PYTHON, SHIPPED, Result, machine, stand_alone
from namespace import PATH

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program

pytestmark = pytest.mark.daemons

LOCAL = "/usr/lib/nagios/plugins/check_mk_local"
"""Stands for the agent's directory of local checks, which no package of Debian makes."""
AGENT = {"LC_ALL": "C.utf8", "PATH": f"/usr/local/bin:{PATH}"}


@pytest.fixture(name="host", scope="module")
def host_fixture(program: Program) -> Iterator[Machine]:
    """A host with the local check, and no Checkmk."""
    with machine("web1.example.org", program) as here:
        stand_alone(here, "192.0.2.10", "2001:db8::10")
        here.listen(22, 8080)
        for place in ("", "300/"):
            here.install("checkmk/check_portcheck", f"{LOCAL}/{place}check_portcheck", mode=0o755)
        yield here


def collected(host: Machine, script: str = "check_portcheck") -> subprocess.CompletedProcess[str]:
    """What the agent gets from a local check, which it runs as root with little environment."""
    return host.run("sh", "-c", f"cd {LOCAL} && exec ./{script}", env=AGENT)


def cached(host: Machine, interval: int, now: int) -> str:
    """The same of a check in an interval's directory: forgotten unless it ends with 0."""
    done = collected(host, f"{interval}/check_portcheck")
    lines = done.stdout.splitlines(keepends=True) if done.returncode == 0 else []
    prefix = f"cached({now},{interval}) "
    return "".join(line if line.startswith("cached(") else prefix + line for line in lines)


UNANSWERED = "PortCheckOptional = *:8080/tcp\nPortCheckRequired = *:nfs/tcp"
"""For root, who knows every owner: there is no portmapper that knows where nfs is."""
POLICIES = STATES | {3: UNANSWERED}
FINDINGS = {0: (0, 0), 1: (1, 0), 2: (1, 1), 3: (0, 0)}
"""For each state how many services are unexpected and missing at each address."""


def judged(service: Service) -> int:
    """The state by the levels of all metrics, as Checkmk would compute it for state P."""
    return max(metric.state for metric in service.metrics.values())


@pytest.mark.parametrize("state", POLICIES)
def test_checkmk_gets_a_service_for_each_interface(host: Machine, state: int) -> None:
    host.write(POLICY, policy(POLICIES[state]))
    done = collected(host)
    assert (done.returncode, done.stderr) == (0, "")
    found = services(done.stdout)
    assert set(found) == {"Portcheck 192.0.2.10", "Portcheck 2001:db8::10"}
    for service in found.values():
        assert service.state == state
        counts = {name: metric.value for name, metric in service.metrics.items()}
        unexpected, missing = FINDINGS[state]
        assert counts == {"open": 2, "unexpected": unexpected, "missing": missing}
        assert judged(service) == (0 if state == 3 else state)
        assert sum(line.startswith("unexpected: ") for line in service.details) == unexpected
        assert sum(line.startswith("missing: ") for line in service.details) == missing
        assert service.cached is None


def test_root_sees_the_processes(host: Machine) -> None:
    host.write(POLICY, policy())
    [service, _] = services(collected(host).stdout).values()
    assert re.search(r"8080/tcp .*python3\[\d+\] user root", service.summary)


@pytest.mark.parametrize("state", POLICIES)
def test_an_interval_directory_keeps_every_state(host: Machine, state: int) -> None:
    host.write(POLICY, policy(POLICIES[state]))
    found = services(cached(host, 300, 1_700_000_000))
    assert {service.state for service in found.values()} == {state}
    assert {service.cached for service in found.values()} == {(1_700_000_000, 300)}


def test_a_remembered_result_tells_its_own_age(host: Machine) -> None:
    host.write(POLICY, policy(STATES[2], "PortCheckState = /run/portcheck.json"))
    first = services(collected(host).stdout)
    again = services(cached(host, 300, 1_700_000_000))
    assert set(again) == set(first)
    for name, service in again.items():
        assert service.cached
        assert service.cached[0] > 1_700_000_000
        assert (service.state, service.metrics) == (2, first[name].metrics)


@pytest.mark.parametrize(
    "lines",
    [
        ("[PortCheck]", "PortCheckRequired = 22", "'quoted\" = nonsense | x=1"),
        ("[PortCheck]", "PortCheckMaxPort = 99999"),
        ("[PortCheck]", "PortCheckOptional = '\"\\n|*:8080/tcp"),
    ],
)
def test_a_total_failure_is_one_unknown_service(host: Machine, lines: tuple[str, ...]) -> None:
    host.write(POLICY, "\n".join(lines))
    done = collected(host)
    assert (done.returncode, done.stderr) == (0, "")
    [(name, service)] = services(done.stdout).items()
    assert (name, service.state, service.metrics) == ("Portcheck", 3, {})


def test_a_run_out_of_time_is_one_unknown_service(host: Machine) -> None:
    shipped = (SHIPPED / "checkmk/check_portcheck").read_text()
    hasty = shipped.replace("--format checkmk", "--format checkmk --timeout 0.01")
    host.write(f"{LOCAL}/hasty", hasty, mode=0o755)
    host.write(POLICY, policy())
    done = collected(host, "hasty")
    assert done.returncode == 0
    [(name, service)] = services(done.stdout).items()
    assert (name, service.state) == ("Portcheck", 3)


@pytest.fixture(name="bare", params=["dash", "bash"])
def bare_fixture(request: pytest.FixtureRequest, program: Program) -> Iterator[Bare]:
    """A host with nothing but Checkmk's agent, and the local check read by a shell."""
    with machine("web1.example.org", program) as here:
        here.shell(f"rm {PLUGIN} {PYTHON}; mount -t tmpfs -o mode=755 tmpfs /usr/local/bin")
        here.install("checkmk/check_portcheck", f"{LOCAL}/check_portcheck", mode=0o755)
        yield Bare(here, request.param)


@dataclass(frozen=True, slots=True)
class Bare:
    """A host on which the plugin is not where one looks for it first."""

    host: Machine
    shell: str

    def collected(self) -> str:
        """What the agent gets, which forgets what does not end with 0."""
        done = self.host.run(self.shell, f"{LOCAL}/check_portcheck", env=AGENT)
        assert (done.returncode, done.stderr) == (0, "")
        services(done.stdout)
        return done.stdout


GAMES = "/opt/check_portcheck/games"
TELLING = """#!/usr/bin/python3 {options}
import sys
print('0 "Portcheck" -', __file__, "isolated" if sys.flags.isolated else "not isolated")
"""
"""Stands for the plugin: tells which one it is."""


def test_a_plugin_that_is_not_here_is_said(bare: Bare) -> None:
    assert bare.collected() == (
        '3 "Portcheck" - cannot run check_portcheck: '
        "not in the directories for plugins, /opt and PATH\n"
    )


def test_the_plugin_is_found_where_systems_and_people_put_it(bare: Bare) -> None:
    bare.host.shell("cp -a /usr/lib64 /mnt/lib64; mount --bind /mnt/lib64 /usr/lib64")
    places = (
        "/usr/local/bin/check_portcheck",
        "/opt/check_portcheck/bin/check_portcheck",
        "/usr/lib64/nagios/plugins/check_portcheck",
        PLUGIN,
    )
    # Each comes before those that are there already.
    for place in places:
        bare.host.write(place, TELLING.format(options=""), mode=0o755)
        assert bare.collected() == f'0 "Portcheck" - {place} isolated\n'


def test_an_interpreter_with_options_is_isolated_too(bare: Bare) -> None:
    bare.host.write(PLUGIN, TELLING.format(options="-E"), mode=0o755)
    assert bare.collected() == f'0 "Portcheck" - {PLUGIN} isolated\n'


@pytest.mark.parametrize(
    ("change", "changeable"),
    [
        (f"chmod g+w {PLUGIN}", PLUGIN),
        (f"chown games {PLUGIN}", PLUGIN),
        ("chmod o+w /usr/lib/nagios/plugins", "/usr/lib/nagios/plugins"),
        (
            f"mkdir {GAMES}; mv {PLUGIN} {GAMES}; ln -s {GAMES}/* {PLUGIN}; chown 5 {GAMES}",
            GAMES,
        ),
    ],
    ids=["file", "owner", "directory", "link"],
)
def test_what_others_could_change_is_not_run(bare: Bare, change: str, changeable: str) -> None:
    bare.host.write(PLUGIN, TELLING.format(options=""), mode=0o755)
    bare.host.shell(change)
    assert bare.collected() == (
        f'3 "Portcheck" - cannot run check_portcheck: others than root can change {changeable}\n'
    )


def test_a_plugin_that_does_not_start_is_said(bare: Bare) -> None:
    bare.host.write(PLUGIN, "#!/nowhere/bin/python3\n", mode=0o755)
    told = bare.collected()
    assert told.startswith(f'3 "Portcheck" - cannot run check_portcheck: {PLUGIN} ended with 127: ')
    assert "/nowhere/bin/python3: " in told


@pytest.mark.parametrize("state", POLICIES)
def test_mrpe_gets_a_nagios_plugin(host: Machine, state: int) -> None:
    host.write(POLICY, policy(POLICIES[state]))
    [line] = re.findall("^[^#\n].*", (SHIPPED / "checkmk/mrpe.cfg").read_text(), re.MULTILINE)
    configured = re.fullmatch(r"(\S+) \(interval=(\d+)\) (/.*)", line)
    assert configured
    done = host.run("sh", "-c", configured[3], env=AGENT)
    result = Result.of(done.stdout, done.returncode)
    assert result.state == state
    # The server splits at every blank and knows no quotes.
    for each in result.perfdata:
        assert re.fullmatch(r"[a-z][a-z0-9_]*=[0-9.]+s?(;[0-9]*){0,4}", each)


@pytest.mark.parametrize(
    "output",
    [
        "",
        '0 "Portcheck" - fine',
        '0 "Portcheck" - fine\n\n',
        '0 "Portcheck" - two\nlines\n',
        '0 "Portcheck" - bell\a\n',
        '0 "Portcheck"  - two blanks\n',
        '0 "it\'s" - quoted\n',
        "0 Port check - unquoted\n",
        '4 "Portcheck" - no such state\n',
        '2 "Portcheck" -\n',
        '2 "Portcheck" - \n',
        '0 "Portcheck" fine\n',
        '0 "Portcheck" open=1,missing=2 comma\n',
        '0 "Portcheck" open=1|open=2 twice\n',
        '0 "Portcheck" open=1|192.0.2.10=2 name\n',
        '0 "Portcheck" time=1s unit\n',
        '0 "Portcheck" - one\n0 "Portcheck" - two\n',
    ],
)
def test_the_reader_is_strict(output: str) -> None:
    with pytest.raises(ValueError, match=r"no whole lines|control|not |two "):
        services(output)


def test_the_reader_knows_the_whole_grammar() -> None:
    [service] = services(
        "cached(17,300) P Ports a=5;7;8;1;9|b=-2;1:3;-5:9.5 text\\nmore\n"
    ).values()
    assert (service.state, service.cached) == (0, (17, 300))
    assert (service.summary, service.details) == ("text", ("more",))
    assert service.metrics["b"].crit == 9.5
    [alarm] = services("P Ports a=8;7;8 text\n").values()
    assert alarm.state == 2
