from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from daemons import STATES, Icinga, policy, seen_by_icinga
from machine import NAGIOS, PLUGIN, POLICY, Result, machine, stand_alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program

pytestmark = [pytest.mark.daemons, pytest.mark.once]

HOSTS = 400
RECORDS = "/run/fleet"
ADDRESS = "192.0.2.10"

# The endpoint is Icinga itself, so the shipped rule makes the services and no agents are needed.
FLEET = f"""
for (number in range({HOSTS})) {{
    object Host "host" + number use (number) {{
        check_command = "dummy"
        zone = ZoneName
        vars.agent_endpoint = NodeName
        vars.portcheck_config = [ "{RECORDS}/host" + number ]
    }}
}}
"""

REPLAY = """#!/bin/sh
read -r code < "$2.code"
cat "$2.output"
exit "$code"
"""


@pytest.fixture(name="server")
def server_fixture(program: Program) -> Iterator[Machine]:
    """A host for Icinga, with the plugin."""
    with machine("master.example.org", program) as here:
        stand_alone(here, ADDRESS)
        here.listen(22, 8080)
        yield here


def recorded(there: Machine) -> list[str]:
    """What the plugin prints for each state."""
    outputs = []
    for state, line in STATES.items():
        there.write(POLICY, policy(line))
        done = there.run(PLUGIN, "--config", POLICY, "-v", user=NAGIOS)
        assert done.returncode == state
        outputs.append(done.stdout)
    return outputs


def test_one_icinga_takes_the_results_of_a_fleet(server: Machine) -> None:
    outputs = recorded(server)
    expected = {}
    for number in range(HOSTS):
        state = number % len(outputs)
        output = outputs[state].replace(ADDRESS, f"2001:db8::{number:x}")
        server.write(f"{RECORDS}/host{number}.output", output)
        server.write(f"{RECORDS}/host{number}.code", f"{state}\n")
        expected[f"host{number}!portcheck"] = Result.of(output, state)
    server.write(PLUGIN, REPLAY, mode=0o755)
    server.install("icinga/check_command.conf", "/etc/icinga2/conf.d/portcheck_command.conf")
    server.install("icinga/services.conf", "/etc/icinga2/conf.d/portcheck_services.conf")
    server.write("/etc/icinga2/conf.d/fleet.conf", FLEET)
    icinga = Icinga(server)
    icinga.start()
    results = icinga.check_all('service.name == "portcheck" && match("host*", host.name)')
    assert {name: seen_by_icinga(result) for name, result in results.items()} == expected
