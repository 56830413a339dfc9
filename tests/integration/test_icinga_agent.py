from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from daemons import STATES, Icinga, policy, seen_by_icinga, wait
from machine import POLICY, SHIPPED, join, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program

pytestmark = [pytest.mark.daemons, pytest.mark.once]

COMMON = "/etc/portcheck/common.conf"
OWN_PORTS = {"master": 8081, "satellite": 8082, "agent": 8083}
"""A port that only this node has open, and that its policy requires."""


@dataclass(frozen=True, slots=True)
class Monitoring:
    """A master, a satellite in a second network, and an agent that only the satellite reaches."""

    master: Icinga
    satellite: Icinga
    agent: Icinga

    def of(self, name: str) -> Icinga:
        """One of the three."""
        return {"master": self.master, "satellite": self.satellite, "agent": self.agent}[name]


@pytest.fixture(name="monitoring", scope="module")
def monitoring_fixture(program: Program) -> Iterator[Monitoring]:
    """Three hosts with the shipped layout; only the master gets the command and the services."""
    with contextlib.ExitStack() as machines:
        master, satellite, agent = (
            machines.enter_context(machine(f"{name}.example.org", program)) for name in OWN_PORTS
        )
        join(master, satellite, ("192.0.2.10", "192.0.2.20"))
        join(satellite, agent, ("198.51.100.20", "198.51.100.30"))
        authority = Icinga(master)
        monitoring = Monitoring(authority, Icinga(satellite, authority), Icinga(agent, authority))
        # Whoever starts later connects at once, the others look for it every ten seconds.
        for name in ("agent", "satellite", "master"):
            node = monitoring.of(name)
            install_layout(node.machine, name)
            node.machine.listen(22, 8080, OWN_PORTS[name])
            node.machine.write(COMMON, policy())
            if name == "master":
                templates = "/etc/icinga2/zones.d/global-templates"
                node.machine.write(f"{templates}/fleet.conf", services_of_a_fleet())
            node.start()
        wait(lambda: connected(monitoring), "the nodes do not meet")
        yield monitoring


def install_layout(there: Machine, name: str) -> None:
    """Copy the node's part of the layout to /etc/icinga2, links followed, without conf.d."""
    there.shell("""sed -i '/^include_recursive "conf.d"/d' /etc/icinga2/icinga2.conf""")
    layout = SHIPPED / "icinga/distributed" / name
    for file in layout.rglob("*.conf"):
        there.write(f"/etc/icinga2/{file.relative_to(layout)}", file.read_text())


def services_of_a_fleet() -> str:
    """The two services that FLEET.md proposes."""
    [found] = re.findall(
        r"^```\n(apply .*?)^```$",
        (SHIPPED / "icinga/FLEET.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return str(found)


def connected(monitoring: Monitoring) -> bool:
    """Whether the configuration has arrived and the satellite holds both connections."""
    for node in (monitoring.satellite, monitoring.agent):
        commands = node.ask("objects/checkcommands", {"attrs": ["name"]}, "GET")
        if "portcheck" not in [each["name"] for each in commands]:
            return False
    wanted = {"filter": "endpoint.connected"}
    return len(monitoring.satellite.ask("objects/endpoints", wanted, "GET")) == 2


@pytest.mark.parametrize(
    ("name", "state"), [("master", 0), ("satellite", 0), *(("agent", state) for state in STATES)]
)
def test_the_master_learns_what_each_node_found_at_itself(
    monitoring: Monitoring, name: str, state: int
) -> None:
    node = monitoring.of(name)
    required = f"PortCheckRequired = *:{OWN_PORTS[name]}/tcp"
    if name == "agent":
        node.machine.write(POLICY, "\n".join(("[PortCheck]", required, STATES[state])))
    else:
        node.machine.write(POLICY, policy(required, STATES[state]))
    service = f"{name}.example.org!portcheck"
    # Not the master for all: a node passes over such requests in its first minute.
    scheduler = monitoring.master if name == "master" else monitoring.satellite
    result = scheduler.check(service)
    wait(lambda: bool(monitoring.master.last(service) == result), f"the master misses {service}")
    assert result["check_source"] == node.machine.name
    seen = seen_by_icinga(result)
    assert seen.state == state
    run = node.machine.run_behind(seen)
    files = (COMMON, POLICY) if name == "agent" else (POLICY,)
    assert run.arguments == tuple(word for file in files for word in ("--config", file))
    assert run.user == "nagios"


def test_a_fleet_can_look_at_the_table_often_and_at_everything_rarely(
    monitoring: Monitoring,
) -> None:
    required = f"PortCheckRequired = *:{OWN_PORTS['agent']}/tcp"
    monitoring.agent.machine.write(POLICY, "\n".join(("[PortCheck]", required, STATES[0])))
    texts = {}
    for name in ("portcheck-table", "portcheck-full"):
        seen = seen_by_icinga(monitoring.satellite.check(f"agent.example.org!{name}"))
        assert seen.state == 0
        texts[name] = seen.first
    assert "(socket table for 10000 TCP and UDP ports" in texts["portcheck-table"]
    assert "(full scan of 10000 TCP and UDP ports" in texts["portcheck-full"]
