"""The daemons of a busy host: a table, with what each needs to run without systemd."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from busy_machine import Daemon
from namespace import IPV4, PEER_IPV4

if TYPE_CHECKING:
    from busy_machine import Machine

BRIDGE = "172.18.0.1"
"""The address of the containers' bridge."""

DAEMONS = (
    Daemon(
        "sshd",
        "openssh-server",
        "/usr/sbin/sshd -D",
        "22/tcp",
        "mkdir -p /run/sshd; ssh-keygen -q -A",
    ),
    Daemon("nginx", "nginx-light", "nginx -g 'daemon off;'", "80/tcp"),
    Daemon(
        "postfix",
        "postfix",
        "postfix start-fg",
        "25/tcp",
        "postconf -e inet_interfaces=all myhostname=busy maillog_file=/dev/stdout",
        end="postfix stop",
    ),
    Daemon(
        "unbound",
        "unbound",
        "unbound -d -c /run/unbound.conf",
        f"127.0.0.1:53/udp {IPV4}:53/tcp",
        f"""
        cat >/run/unbound.conf <<'.'
        server:
            interface: 127.0.0.1
            interface: ::1
            interface: {IPV4}
            chroot: ""
            directory: "/run"
            pidfile: ""
            username: "unbound"
            use-syslog: no
        forward-zone:
            name: "."
            forward-addr: {PEER_IPV4}
        .
        """,
    ),
    Daemon(
        "dnsmasq",
        "dnsmasq-base",
        f"dnsmasq -k --conf-file=/dev/null --no-resolv --no-hosts --server={PEER_IPV4}"
        " --interface=br0 --except-interface=lo --bind-interfaces"
        " --dhcp-range=172.18.100.1,172.18.100.9 --dhcp-leasefile=/run/dnsmasq.leases",
        f"{BRIDGE}:53/udp 67/udp",
    ),
    Daemon(
        "chronyd",
        "chrony",
        "chronyd -d -x -u _chrony -f /run/chrony.conf",
        "123/udp 323/udp",
        f"""
        install -d -o _chrony -g _chrony -m 750 /run/chrony
        printf 'server {PEER_IPV4} minpoll 0 maxpoll 2\\nallow\\n' >/run/chrony.conf
        """,
    ),
    Daemon(
        "avahi",
        "avahi-daemon",
        "avahi-daemon --no-rlimits -f /run/avahi.conf",
        "5353/udp",
        "printf '[server]\\nenable-dbus=no\\n' >/run/avahi.conf",
    ),
    Daemon(
        "rpcbind",
        "rpcbind",
        "rpcbind -f -w",
        "111/tcp 111/udp",
        "install -d -o _rpc -g root -m 755 /run/rpcbind",
        carries="portmapper status statd mountd",
    ),
    Daemon("statd", "nfs-common", "rpc.statd -F --no-notify", "status"),
    Daemon("mountd", "nfs-kernel-server", "rpc.mountd -F", "mountd"),
    Daemon(
        "postgres",
        "postgresql",
        "setpriv --reuid=postgres --regid=postgres --init-groups"
        " /usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/busy",
        "5432/tcp",
        """
        install -d -o postgres -g postgres /run/postgresql
        su postgres -c '/usr/lib/postgresql/15/bin/initdb -D /var/lib/postgresql/busy' >/dev/null
        echo "listen_addresses = '*'" >>/var/lib/postgresql/busy/postgresql.conf
        """,
    ),
    Daemon(
        "redis",
        "redis-server",
        "setpriv --reuid=redis --regid=redis --init-groups redis-server --dir /tmp --save ''"
        " --bind 0.0.0.0 :: --protected-mode no",
        "6379/tcp",
    ),
    Daemon(
        "memcached",
        "memcached",
        "memcached -u memcache -l 127.0.0.1,::1 -U 11211",
        "11211/tcp 11211/udp",
    ),
    Daemon(
        "snmpd",
        "snmpd",
        "snmpd -f -Lo -u Debian-snmp -g Debian-snmp -C udp:161 udp6:161",
        "161/udp",
    ),
    Daemon(
        "squid",
        "squid",
        "squid --foreground -YC -f /run/squid.conf",
        "3128/tcp",
        """
        install -d -o proxy /run/squid
        printf 'include /etc/squid/squid.conf\\nshutdown_lifetime 1 second\\n' >/run/squid.conf
        """,
    ),
    Daemon("nmbd", "samba", "nmbd -F --no-process-group", "137/udp 138/udp"),
    Daemon("smbd", "samba", "smbd -F --no-process-group", "445/tcp 139/tcp"),
    Daemon(
        "mosquitto",
        "mosquitto",
        "mosquitto -c /run/mosquitto.conf",
        "1883/tcp",
        "printf 'listener 1883\\nallow_anonymous true\\n' >/run/mosquitto.conf",
    ),
)

PACKAGES = (
    *dict.fromkeys(daemon.package for daemon in DAEMONS),
    *("iproute2", "nftables", "python3-nagiosplugin", "python3-psutil"),
)


def prepare(host: Machine) -> None:
    """Set the daemons up, and start them."""
    for daemon in DAEMONS:
        host.shell(textwrap.dedent(daemon.prepare))
        host.serve(daemon)
