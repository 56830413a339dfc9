"""The real daemons on machines with the files of Debian's packages, and what they see."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from machine import NAGIOS, Result
from namespace import PATIENCE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from machine import Machine

STATES = {
    0: "PortCheckRequired = *:8080/tcp",
    1: "SeverityPortCheck = warn",
    2: "PortCheckRequired = *:25/tcp",
    3: "PortCheckRequired = *:8080/tcp@python3",
}
"""For each state the line of the policy that brings it, where 22/tcp and 8080/tcp are open.

Nothing allows 8080/tcp in the second and third; in the fourth only root could see who has it.
"""

CheckResult = dict[str, Any]
"""Icinga's object of that name."""

_TEST_FEATURE = """
object ApiUser "test" {
    password = "test"
    permissions = [ "*" ]
}

object IcingaApplication "app" {
    enable_host_checks = false
    enable_service_checks = false
    enable_notifications = false
}
"""
"""Access, no checks but those that a test asks for, and no mail."""

_API = """
object ApiListener "api" {
    accept_config = true
    accept_commands = true
}
"""
_NAGIOS = "/etc/nagios4/nagios.cfg"
_NAGIOS_SETTINGS = {
    "check_result_reaper_frequency": 1,
    "status_update_interval": 1,
    "enable_notifications": 0,
    "execute_host_checks": 0,
    "execute_service_checks": 0,
}
"""The same of Nagios, which then writes down at once what it has learnt."""

_CERTIFICATES = "/var/lib/icinga2/certs"
_ISSUE = """
cd /run/icinga2
icinga2 pki new-cert --cn {name} --key {name}.key --csr {name}.csr
icinga2 pki sign-csr --csr {name}.csr --cert {name}.crt
"""


def policy(*lines: str) -> str:
    """A policy that requires sshd's port and allows those of the monitoring itself."""
    common = "[PortCheck]", "PortCheckMaxPort = 9999", "PortCheckRequired = *:22/tcp"
    allowed = "PortCheckOptional = *:5665/tcp,5666/tcp"
    return "\n".join((*common, allowed, *lines, ""))


def wait(holds: Callable[[], bool], what: str) -> None:
    """Wait as until() does for something that costs to ask."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.2)


class Icinga:
    """Icinga 2 with its API."""

    def __init__(self, machine: Machine, authority: Icinga | None = None) -> None:
        """Set it up with a certificate of its own or of another's authority."""
        self.machine = machine
        machine.write("/etc/icinga2/features-enabled/test.conf", _TEST_FEATURE)
        machine.shell("rm /etc/icinga2/conf.d/app.conf")
        if authority is None:
            machine.shell("icinga2 api setup")
            return
        authority.machine.shell(_ISSUE.format(name=machine.name))
        for suffix in ("key", "crt"):
            issued = authority.machine.path(f"/run/icinga2/{machine.name}.{suffix}").read_text()
            machine.write(f"{_CERTIFICATES}/{machine.name}.{suffix}", issued)
        ca = authority.machine.path(f"{_CERTIFICATES}/ca.crt").read_text()
        machine.write(f"{_CERTIFICATES}/ca.crt", ca)
        machine.write("/etc/icinga2/features-available/api.conf", _API)
        machine.shell(
            f"""
            chown -R nagios: {_CERTIFICATES}
            icinga2 feature enable api
            sed -i '/^include_recursive "conf.d"/d' /etc/icinga2/icinga2.conf
            """
        )

    def validate(self) -> str:
        """What ``icinga2 daemon -C`` prints; raises AssertionError unless it accepts."""
        return self.machine.shell("icinga2 daemon -C")

    def start(self) -> None:
        """Start the daemon; the API answers at the end."""
        self.validate()
        self.machine.serve("icinga2", "daemon")
        wait(self._answers, "Icinga's API does not answer")

    def _answers(self) -> bool:
        return self._curl("status/IcingaApplication").returncode == 0

    def _curl(self, path: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(
            *("curl", "--silent", "--show-error", "--insecure", "--user", "test:test"),
            # A daemon that has got a new configuration breaks off what it is being asked.
            *("--retry", "5", "--retry-all-errors", "--header", "Accept: application/json"),
            *options,
            f"https://localhost:5665/v1/{path}",
        )

    def ask(
        self, path: str, question: Mapping[str, Any], method: str = "POST"
    ) -> list[dict[str, Any]]:
        """The results that the API gives for a question."""
        override = f"X-HTTP-Method-Override: {method}"
        done = self._curl(path, "--header", override, "--data", json.dumps(question))
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert "results" in answer, answer
        results: list[dict[str, Any]] = answer["results"]
        return results

    def results(self, condition: str) -> dict[str, CheckResult]:
        """The last results of the services for which a condition holds, by ``HOST!SERVICE``.

        Empty before the first check.
        """
        asked = {"filter": condition, "attrs": ["last_check_result"]}
        found = self.ask("objects/services", asked, "GET")
        return {each["name"]: each["attrs"]["last_check_result"] or {} for each in found}

    def check_all(self, condition: str) -> dict[str, CheckResult]:
        """The results of the services for which a condition holds, which are checked now."""
        asked = time.time()
        forced = {"type": "Service", "filter": condition, "force": True}
        for answer in self.ask("actions/reschedule-check", forced):
            assert answer["code"] == 200, answer
        results: dict[str, CheckResult] = {}

        def checked() -> bool:
            results.update(self.results(condition))
            return all(each and each["execution_start"] >= asked for each in results.values())

        wait(checked, f"no results where {condition}")
        return results

    def last(self, service: str) -> CheckResult:
        """The last result of one service, ``HOST!SERVICE``."""
        return self.results(f'service.__name == "{service}"')[service]

    def check(self, service: str) -> CheckResult:
        """The result of one service, ``HOST!SERVICE``, which is checked now."""
        return self.check_all(f'service.__name == "{service}"')[service]


def seen_by_icinga(check_result: CheckResult) -> Result:
    """What Icinga has understood of the plugin's output."""
    assert check_result["state"] == check_result["exit_status"]
    first, *long = check_result["output"].split("\n")
    perfdata = tuple(check_result["performance_data"])
    return Result(int(check_result["state"]), first.strip(), tuple(long), perfdata)


class Nrpe:
    """The NRPE daemon with Debian's configuration and the shipped command."""

    def __init__(self, machine: Machine, *allowed: str) -> None:
        """Set it up; *allowed* are addresses that may ask besides loopback."""
        self.machine = machine
        machine.install("nrpe/check_portcheck.cfg", "/etc/nagios/nrpe.d/check_portcheck.cfg")
        hosts = ",".join(("127.0.0.1", "::1", *allowed))
        machine.write("/etc/nagios/nrpe_local.cfg", f"allowed_hosts={hosts}\n")

    def start(self) -> None:
        """Start the daemon; it answers at the end."""
        self.machine.serve("nrpe", "-c", "/etc/nagios/nrpe.cfg", "-f")
        wait(lambda: self.ask().returncode == 0, "NRPE does not answer")

    def ask(self, *options: str) -> subprocess.CompletedProcess[str]:
        """What check_nrpe makes of the daemon's answer; without options that is its version."""
        return self.machine.run(
            *("/usr/lib/nagios/plugins/check_nrpe", "-H", "127.0.0.1", "-t", f"{PATIENCE}:UNKNOWN"),
            *options,
            user=NAGIOS,
        )


class Nagios:
    """Nagios Core with Debian's configuration and the shipped objects."""

    def __init__(self, machine: Machine, objects: str) -> None:
        """Set it up with more objects."""
        self.machine = machine
        machine.install("nrpe/nagios.cfg", "/etc/nagios4/conf.d/check_portcheck.cfg")
        machine.write("/etc/nagios4/conf.d/test.cfg", objects)

    def validate(self) -> str:
        """What ``nagios4 -v`` prints; raises AssertionError unless it accepts."""
        return self.machine.shell(f"nagios4 -v {_NAGIOS}")

    def start(self) -> None:
        """Start the daemon, which then checks what it is asked to and nothing else."""
        for name, value in _NAGIOS_SETTINGS.items():
            self.machine.shell(f"sed -i 's/^{name}=.*/{name}={value}/' {_NAGIOS}")
        self.machine.serve("nagios4", _NAGIOS)
        wait(self.machine.path("/var/lib/nagios4/status.dat").exists, "Nagios has no status")

    def check(self, host: str) -> None:
        """Have the host's service checked now."""
        now = int(time.time())
        command = f"[{now}] SCHEDULE_FORCED_SVC_CHECK;{host};Portcheck;{now}"
        self.machine.write("/var/lib/nagios4/rw/nagios.cmd", command + "\n", mode=0o660)

    def seen(self, host: str) -> Result:
        """The last result of the host's service."""
        status = self.machine.path("/var/lib/nagios4/status.dat").read_text()
        for block in re.findall(r"^servicestatus {\n(.*?)^\t}", status, re.MULTILINE | re.DOTALL):
            found = dict(line.strip().split("=", 1) for line in block.splitlines())
            if (found["host_name"], found["service_description"]) == (host, "Portcheck"):
                return Result(
                    int(found["current_state"]),
                    found["plugin_output"].strip(),
                    tuple(filter(None, found["long_plugin_output"].split("\\n"))),
                    tuple(found["performance_data"].split()),
                )
        raise AssertionError(f"no service of {host} in {status}")
