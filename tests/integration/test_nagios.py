from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from daemons import STATES, Nagios, Nrpe, policy, wait
from machine import POLICY, join, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program

pytestmark = pytest.mark.daemons

OBJECTS = """
define host {
    use                   generic-host
    host_name             web1
    address               192.0.2.20
    max_check_attempts    1
    contact_groups        admins
}

define service {
    use          portcheck-nrpe
    host_name    web1
}
"""


@pytest.fixture(name="hosts", scope="module")
def hosts_fixture(program: Program) -> Iterator[dict[str, Machine]]:
    """The Nagios server and a host with NRPE, by their names for Nagios."""
    with (
        machine("monitor.example.org", program) as server,
        machine("web1.example.org", program) as web1,
    ):
        join(server, web1, ("192.0.2.10", "192.0.2.20"))
        for each in (server, web1):
            each.listen(22, 8080)
        Nrpe(web1, "192.0.2.10").start()
        yield {"localhost": server, "web1": web1}


@pytest.fixture(name="nagios", scope="module")
def nagios_fixture(hosts: dict[str, Machine]) -> Nagios:
    """Nagios on the server."""
    nagios = Nagios(hosts["localhost"], OBJECTS)
    nagios.start()
    return nagios


def test_the_shipped_objects_are_valid_as_they_are(nagios: Nagios) -> None:
    output = nagios.validate()
    assert "Total Warnings: 0\nTotal Errors:   0" in output, output


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ["localhost", "web1"])
def test_nagios_understands_what_the_plugin_printed(
    nagios: Nagios, hosts: dict[str, Machine], name: str, state: int
) -> None:
    host = hosts[name]
    host.write(POLICY, policy(STATES[state]))
    before = host.runs()
    nagios.check(name)
    wait(
        lambda: any(run not in before and run.result == nagios.seen(name) for run in host.runs()),
        f"Nagios does not see what {name} found",
    )
    seen = nagios.seen(name)
    run = host.run_behind(seen)
    assert seen.state == state
    assert (run.arguments, run.user) == (("--config", POLICY), "nagios")
