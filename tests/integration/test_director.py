from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from daemons import wait
from machine import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program

pytestmark = pytest.mark.daemons

DATABASE = """
mount -t tmpfs tmpfs /var/lib/mysql
chown mysql /var/lib/mysql
install -d -o mysql /run/mysqld
mariadb-install-db --user=mysql --skip-test-db --auth-root-authentication-method=socket
"""
SERVER = ("mariadbd", "--user=mysql", "--skip-networking")
FILES = {
    "resources.ini": """
[director]
type = "db"
db = "mysql"
host = "localhost"
dbname = "director"
username = "root"
charset = "utf8"
""",
    "config.ini": """
[global]
module_path = "/usr/share/icingaweb2/modules"
config_backend = "none"
[logging]
log = "none"
""",
    "modules/director/config.ini": """
[db]
resource = "director"
""",
}
"""Icinga Web's configuration in /etc/icingaweb2."""
ZONE = """
object Endpoint NodeName { }
object Zone "master" { endpoints = [ NodeName ] }
"""
"""What the node wizard makes of a master."""
CONFIGURATION = "/etc/icinga2/zones.d/master/portcheck.conf"
COMMANDS = ("portcheck", "portcheck-sudo")
AGENT = {"imports": [], "address": "192.0.2.10", "has_agent": True, "check_command": "portcheck"}
"""A host with an agent; the Director of the test knows no other command."""
LEFT_OUT = {
    "portcheck_interface": ["all", "!10.0.0.0/8"],
    "portcheck_device": ["!docker0", "!veth*"],
}
PORTS = {"host": "web1", "imports": ["portcheck"], "vars": LEFT_OUT}
"""A service of the shipped template that leaves out what comes and goes."""


@pytest.fixture(name="director", scope="module")
def director_fixture(program: Program) -> Iterator[Machine]:
    """Icinga Director with the shipped basket."""
    with machine("monitor.example.org", program) as here:
        here.shell(DATABASE)
        here.serve(*SERVER)
        wait(lambda: here.run("mariadb-admin", "ping").returncode == 0, "no database")
        for name, text in FILES.items():
            here.write(f"/etc/icingaweb2/{name}", text)
        here.shell("mariadb --execute 'create database director character set utf8'")
        here.shell("icingacli director migration run")
        here.install("icinga/director_basket.json", "/run/basket.json")
        here.shell("icingacli director basket restore < /run/basket.json")
        here.write("/etc/icinga2/zones.conf", ZONE)
        yield here


def test_the_basket_makes_the_shipped_commands(director: Machine) -> None:
    director.install("icinga/check_command.conf", CONFIGURATION)
    shipped = [in_icinga(director, "CheckCommand", name) for name in COMMANDS]
    director.write(CONFIGURATION, rendered(director))
    assert "--severity-unexpected" in shipped[0]
    assert [in_icinga(director, "CheckCommand", name) for name in COMMANDS] == shipped


def test_the_template_takes_what_is_left_out(director: Machine) -> None:
    create = "icingacli director"
    director.shell(f"{create} host create web1 --json '{json.dumps(AGENT)}'")
    director.shell(f"{create} service create ports --json '{json.dumps(PORTS)}'")
    director.write(CONFIGURATION, rendered(director))
    service = in_icinga(director, "Service", "ports")
    assert 'check_command = "portcheck"' in service
    assert 'command_endpoint = "web1"' in service
    chosen = {"portcheck_config": ["/etc/portcheck/policy.conf"], **LEFT_OUT}
    for variable, values in chosen.items():
        assert f"{variable} = [ {', '.join(map(json.dumps, values))} ]" in service


def rendered(director: Machine) -> str:
    """The configuration that the Director would deploy."""
    director.shell("icingacli director config render")
    return director.shell(
        "mariadb --raw --skip-column-names director "
        "--execute 'select content from director_generated_file'"
    )


def in_icinga(there: Machine, kind: str, name: str) -> str:
    """Icinga's own description of an object, without where it comes from."""
    there.shell("icinga2 daemon -C")
    listed = there.shell(f"icinga2 object list --type {kind} --name {name}")
    origin = (
        r"^Object .*\n|^ *% .*\n|^  \* (?:package|templates) .*\n"
        r"|^  \* source_location\n(?: {4}.*\n)+"
    )
    return re.sub(origin, "", listed, flags=re.MULTILINE)
