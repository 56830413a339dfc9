from __future__ import annotations

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


@pytest.fixture(name="director")
def director_fixture(program: Program) -> Iterator[Machine]:
    """Icinga Director with an empty database."""
    with machine("monitor.example.org", program) as here:
        here.shell(DATABASE)
        here.serve(*SERVER)
        wait(lambda: here.run("mariadb-admin", "ping").returncode == 0, "no database")
        for name, text in FILES.items():
            here.write(f"/etc/icingaweb2/{name}", text)
        here.shell("mariadb --execute 'create database director character set utf8'")
        here.shell("icingacli director migration run")
        yield here


def test_the_basket_makes_the_shipped_command(director: Machine) -> None:
    director.install("icinga/director_basket.json", "/run/basket.json")
    director.shell("icingacli director basket restore < /run/basket.json")
    director.shell("icingacli director config render")
    rendered = director.shell(
        "mariadb --raw --skip-column-names director "
        "--execute 'select content from director_generated_file'"
    )
    by_hand = "/etc/icinga2/conf.d/portcheck.conf"
    director.install("icinga/check_command.conf", by_hand)
    shipped = command_in_icinga(director)
    director.write(by_hand, rendered)
    assert "--severity-unexpected" in shipped
    assert command_in_icinga(director) == shipped


def command_in_icinga(there: Machine) -> str:
    """Icinga's own description of the check command, without where it comes from."""
    there.shell("icinga2 daemon -C")
    listed = there.shell("icinga2 object list --type CheckCommand --name portcheck")
    origin = (
        r"^Object .*\n|^ *% .*\n|^  \* (?:package|templates) .*\n"
        r"|^  \* source_location\n(?: {4}.*\n)+"
    )
    return re.sub(origin, "", listed, flags=re.MULTILINE)
