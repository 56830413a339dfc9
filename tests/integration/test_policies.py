"""Each policy of a role is quiet on a fresh host of that role, and on no other."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import pytest
from daemons import wait
from machine import NAGIOS, PLUGIN, POLICY, SHIPPED, machine, stand_alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from namespace import Program

pytestmark = [pytest.mark.daemons, pytest.mark.once]

SSH = "service ssh start\n"
OWN_MAIL = """
for directory in lib spool; do
    cp -a /var/$directory/exim4 /mnt/$directory
    mount --bind /mnt/$directory /var/$directory/exim4
done
install -d -o Debian-exim /var/log/exim4 /run/exim4
service exim4 start
"""
"""Debian's default: mail is taken from the host itself only."""
MAIL = f"""
sed -i "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='internet'/" \
    /etc/exim4/update-exim4.conf.conf
sed -i "s/^dc_local_interfaces=.*/dc_local_interfaces=''/" /etc/exim4/update-exim4.conf.conf
{OWN_MAIL}
sed -i '/^ssl/d' /etc/dovecot/conf.d/10-ssl.conf
echo 'ssl = no' >/etc/dovecot/local.conf
service dovecot start
"""
WEB = "mkdir -p /var/log/nginx; service nginx start"
DATABASE = """
mount -t tmpfs tmpfs /var/lib/mysql
chown mysql /var/lib/mysql
install -d -o mysql /run/mysqld
mariadb-install-db --user=mysql --skip-test-db --auth-root-authentication-method=socket
service mariadb start
"""
NFS = """
mkdir /run/sendsigs.omit.d
service rpcbind start
service nfs-common start
rpc.mountd
"""
DOCKER = """
ip link add docker0 type bridge
ip address add 172.17.0.1/16 dev docker0
ip link set docker0 up
ip link add veth1a2b3c4 type veth peer name inside
ip link set veth1a2b3c4 master docker0 up
ip link set inside up
"""
AGENTS = """
icinga2 api setup
service icinga2 start
service nagios-nrpe-server start
"""


class Fresh(NamedTuple):
    """A fresh host of a role."""

    roles: tuple[str, ...]
    """The policies that are added to the base."""
    start: str
    """What starts its daemons."""
    opened: str
    """The ports that are open then."""
    imitated: tuple[int, ...] = ()
    """TCP ports on which root listens in place of a daemon that is not to be had here."""
    added: str = ""
    """What the administrator adds to the policy, as it proposes."""


HOSTS = {
    "base without sshd": Fresh((), "", ""),
    "base": Fresh((), SSH + OWN_MAIL, "22/tcp 25/tcp"),
    "web": Fresh(("web",), SSH + WEB, "22/tcp 80/tcp"),
    "mail": Fresh(("mail",), MAIL, "25/tcp 143/tcp"),
    "unbound": Fresh(("dns",), "service unbound start", "53/tcp 53/udp"),
    "bind9": Fresh(("dns",), "service named start", "53/tcp 53/udp 953/tcp"),
    "dnsmasq": Fresh(("dns",), "dnsmasq", "53/tcp 53/udp"),
    "database": Fresh(("database",), DATABASE, "3306/tcp"),
    "nfs": Fresh(("nfs",), NFS, "111/tcp 111/udp 2049/tcp", (2049,)),
    "docker": Fresh(("docker",), DOCKER, "8080/tcp", (8080,), "PortCheckOptional = *:8080/tcp"),
    "monitored": Fresh(("monitored",), AGENTS, "5665/tcp 5666/tcp 6556/tcp", (6556,)),
}


@contextlib.contextmanager
def fresh(program: Program, host: Fresh) -> Iterator[Machine]:
    """A host with its daemons, and the policy made of its roles' as their guide says."""
    with machine("fresh.example.org", program) as here:
        stand_alone(here, "192.0.2.10", "2001:db8::10")
        here.shell("ip address add fe80::10/64 dev eth0 nodad")
        here.shell(f"exec >/run/started 2>&1\n{host.start}")
        if host.imitated:
            here.listen(*host.imitated)
        texts = [(SHIPPED / f"policies/{role}.conf").read_text() for role in ("base", *host.roles)]
        here.write(POLICY, "\n".join((*texts, host.added, "")))
        ports = {each.partition("/")[0] for each in host.opened.split()}
        wait(lambda: ports <= listening(here), f"not all open of {host.opened}")
        yield here


def listening(here: Machine) -> set[str]:
    """The numbers of the ports that are open."""
    rows = here.shell("ss --tcp --udp --listening --numeric --no-header").splitlines()
    return {row.split()[4].rpartition(":")[2] for row in rows}


@pytest.mark.parametrize("role", HOSTS)
def test_a_policy_is_quiet_on_a_fresh_host_and_not_blind(role: str, program: Program) -> None:
    host = HOSTS[role]
    with fresh(program, host) as here:
        command = (PLUGIN, "--config", POLICY, "--method", "table")
        for user in (0, NAGIOS):
            found = here.run(*command, "-v", user=user)
            assert (found.returncode, found.stderr) == (0, ""), found.stdout
            assert all(each in found.stdout for each in host.opened.split()), found.stdout
        here.listen(4444)
        assert "- 1 unexpected: *:4444/tcp " in here.run(*command, user=NAGIOS).stdout
        here.install("policies/base.conf", POLICY)
        only = "- 1 unexpected: " in here.run(*command, user=NAGIOS).stdout
        assert only == (not host.roles)


def test_every_policy_has_a_host() -> None:
    shipped = {path.stem for path in (SHIPPED / "policies").glob("*.conf")}
    assert shipped == {"base"}.union(*(host.roles for host in HOSTS.values()))
