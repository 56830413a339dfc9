"""The situations of the oracle, by subject: what each does to a machine that has eth0.

Daemons are at 7000 and up, filters are about 7050 to 7053, packets to 7040 to 7043 go elsewhere.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

from namespace import IPV4, IPV6, LINK_LOCAL, NOBODY, PEER_IPV4, PEER_IPV6
from scene import ANY4, ANY6, TCP, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Situation = Callable[[Scene], object]

SITUATIONS: dict[str, Situation] = {}
"""By name."""

FREEBIND = ((socket.IPPROTO_IP, 15),)
FREEBIND_IPV6 = ((socket.IPPROTO_IPV6, 78),)
TRANSPARENT = ((socket.IPPROTO_IP, 19),)
TRANSPARENT_IPV6 = ((socket.IPPROTO_IPV6, 75),)
REUSEPORT = ((socket.SOL_SOCKET, socket.SO_REUSEPORT),)
MPTCP = 262


def situation(prepare: Situation) -> Situation:
    """Note a situation by the name of its function."""
    return note(prepare.__name__.replace("_", " "), prepare)


def note(name: str, prepare: Situation) -> Situation:
    """Note a situation by a name."""
    assert name not in SITUATIONS
    SITUATIONS[name] = prepare
    return prepare


# Sockets


@situation
def nothing_listens(at: Scene) -> None:
    del at


@situation
def one_socket_for_both_families(at: Scene) -> None:
    at.both(ANY6, 7000)


@situation
def a_socket_for_each_family(at: Scene) -> None:
    at.both(ANY4, 7000)
    at.both(ANY6, 7000, v6only=True)


@situation
def ipv6_alone(at: Scene) -> None:
    at.both(ANY6, 7000, v6only=True)


@situation
def ipv4_by_an_ipv6_socket(at: Scene) -> None:
    at.both("::ffff:0.0.0.0", 7000)
    at.both(f"::ffff:{IPV4}", 7001)


@situation
def single_addresses(at: Scene) -> None:
    for port, address in enumerate(("127.0.0.1", "::1", IPV4, IPV6), 7000):
        at.both(address, port)


@situation
def an_address_beside_the_wildcard(at: Scene) -> None:
    at.both(ANY4, 7000, options=REUSEPORT)
    at.both(IPV4, 7000, options=REUSEPORT)


@situation
def several_sockets_share_a_port(at: Scene) -> None:
    for address in (ANY4, ANY4, "::1", "::1"):
        at.both(address, 7000, options=REUSEPORT)


@situation
def one_protocol_alone(at: Scene) -> None:
    at.tcp(ANY6, 7000)
    at.udp(ANY6, 7001)


@situation
def bound_and_not_listening(at: Scene) -> None:
    at.bound(TCP, ANY4, 7000)
    at.bound(TCP, IPV6, 7001)


@situation
def connected_udp(at: Scene) -> None:
    for address, port in ((IPV4, 7000), (IPV6, 7001), (ANY4, 7002)):
        client = at.udp(address, port)
        client.connect((IPV6 if ":" in address else IPV4, 9))


@situation
def a_udp_service_with_a_socket_for_each_client(at: Scene) -> None:
    at.udp(IPV4, 7000, options=REUSEPORT)
    at.udp(IPV4, 7000, options=REUSEPORT).connect((PEER_IPV4, 9))


@situation
def a_udp_echo(at: Scene) -> None:
    at.echo(ANY4, 7000)
    at.echo("::1", 7001)


@situation
def addresses_the_machine_does_not_have(at: Scene) -> None:
    at.both("192.0.2.99", 7000, options=FREEBIND)
    at.both("198.51.100.9", 7001, options=TRANSPARENT)


@situation
def transparent_sockets(at: Scene) -> None:
    at.both(ANY4, 7000, options=TRANSPARENT)


@situation
def multipath_tcp(at: Scene) -> None:
    at.tcp(ANY4, 7000, protocol=MPTCP)


@situation
def multicast_and_broadcast(at: Scene) -> None:
    at.udp("224.0.0.251", 7000)
    at.udp("192.0.2.255", 7001)


@situation
def a_connection_without_its_listener(at: Scene) -> None:
    listener = at.tcp(IPV4, 7000)
    with at.here.entered():
        at.open.enter_context(socket.create_connection((IPV4, 7000)))
        at.open.enter_context(listener.accept()[0])
    listener.close()


@situation
def a_server_in_time_wait(at: Scene) -> None:
    listener = at.tcp(IPV4, 7000)
    with at.here.entered(), socket.create_connection((IPV4, 7000)) as client:
        accepted, _ = listener.accept()
        accepted.close()
        assert client.recv(1) == b""
    listener.close()


@situation
def the_address_of_a_listener_has_gone(at: Scene) -> None:
    at.here.shell("ip address add 203.0.113.7/24 dev eth0")
    at.both("203.0.113.7", 7000)
    at.here.shell("ip address del 203.0.113.7/24 dev eth0")


# Devices


def bound_to_each_device(at: Scene, address: str) -> None:
    """Services bound to each device, by the wildcard and by the address, alone and together."""
    wildcard, first, free = (ANY4, 7000, FREEBIND)
    if ":" in address:
        wildcard, first, free = (ANY6, 7030, FREEBIND_IPV6)
    for port, device in enumerate(("lo", "eth0", "eth1"), first):
        at.both(wildcard, port, device=device, v6only=True)
        at.both(address, port + 10, device=device, options=free)
        at.both(wildcard, first + 20, device=device, v6only=True, options=REUSEPORT)


PLACES = {
    "one address on two devices": """
        ip address add {own} dev eth0
        ip address add {own} dev eth1""",
    "one address on two devices in the other order": """
        ip address add {own} dev eth1
        ip address add {own} dev eth0""",
    "an address on a device, then on lo": """
        ip address add {own} dev eth0
        ip address add {own} dev lo""",
    "an address on lo, then on a device": """
        ip address add {own} dev lo
        ip address add {own} dev eth0""",
    "an address of a device whose peer is down": """
        ip address add {own} dev eth1
        ip link set eth2 down""",
    "an address of a device that is down": """
        ip address add {own} dev eth1
        ip link set eth1 down""",
    "an address that is local by a route on a device": """
        ip route add local {network} dev eth1""",
    "an address of a bridge without ports": """
        ip link show br0 || ip link add br0 up type bridge
        ip address add {own} dev br0""",
    "an address of a bridge, whose port has the device": """
        ip link show br0 || ip link add br0 up type bridge
        ip link set eth1 master br0
        ip address add {own} dev br0""",
}
"""What has an address, or a network of which it is."""

NETWORKS = {
    "203.0.113.7": ("203.0.113.7/32", "203.0.113.0/24"),
    "2001:db8:7::7": ("2001:db8:7::7/128 nodad", "2001:db8:7::/64"),
}
"""Addresses, each as a device gets it, with the network of which it is."""


def placed(at: Scene, place: str) -> None:
    at.here.shell("ip link add eth1 up type veth peer name eth2\nip link set eth2 up")
    for own, network in NETWORKS.values():
        at.here.shell(place.format(own=own, network=network))
    for address in NETWORKS:
        at.addresses.append(address)
        bound_to_each_device(at, address)


for _place, _script in PLACES.items():
    note(_place, partial(placed, place=_script))


@situation
def devices_of_ones_own_addresses(at: Scene) -> None:
    at.here.shell("ip link add eth1 up type veth peer name eth2")
    bound_to_each_device(at, IPV4)
    bound_to_each_device(at, IPV6)


@situation
def another_address_of_loopback(at: Scene) -> None:
    at.addresses.append("127.0.0.2")
    at.both("127.0.0.2", 7000)
    at.both(ANY4, 7001, device="lo")


@situation
def a_link_local_address(at: Scene) -> None:
    at.addresses.append(LINK_LOCAL)
    at.both(LINK_LOCAL, 7000)
    at.both(ANY6, 7001, device="eth0")
    at.both(ANY6, 7002, device="lo")
    at.both(ANY6, 7003, v6only=True)


@situation
def one_link_local_address_on_two_devices(at: Scene) -> None:
    at.here.shell(
        """
        ip link add eth1 type veth peer name eth2
        ip link set eth1 addrgenmode none up
        ip link set eth2 up
        ip address add fe80::7/64 dev eth1 nodad
        """
    )
    at.addresses += [LINK_LOCAL, "fe80::7%eth1"]
    at.both(LINK_LOCAL, 7000)
    at.both("fe80::7%eth1", 7001)
    at.both(ANY6, 7002, device="eth1")


@situation
def an_address_of_a_point_to_point_link(at: Scene) -> None:
    at.here.shell("ip address add 203.0.113.7 peer 203.0.113.8/32 dev eth0")
    at.addresses.append("203.0.113.7")
    at.both("203.0.113.7", 7000)
    at.both(ANY4, 7001, device="eth0")


# Ranges and limits


@situation
def full_queues(at: Scene) -> None:
    for port, address in enumerate(("127.0.0.1", "::1", ANY4, IPV6), 7000):
        at.fill(address, port)


@situation
def busy_ports(at: Scene) -> None:
    for port in range(7000, 7064):
        at.both(ANY6, port)


def few_clients(at: Scene, first: int, last: int) -> None:
    at.here.shell(f"sysctl -qw net.ipv4.ip_local_port_range='{first} {last}'")
    redirected(at)


@situation
def all_ports_for_clients_are_taken(at: Scene) -> None:
    few_clients(at, 40000, 40020)
    for port in range(40000, 40021):
        at.both(ANY6, port)


@situation
def all_ports_for_clients_are_in_time_wait(at: Scene) -> None:
    few_clients(at, 40000, 40020)
    listener = at.tcp("127.0.0.1", 7009)
    for port in range(40000, 40021):
        with at.here.entered(), socket.socket() as client:
            client.bind(("127.0.0.1", port))
            client.connect(("127.0.0.1", 7009))
            accepted, _ = listener.accept()
        with accepted:  # whose client has closed first
            assert accepted.recv(1) == b""


@situation
def one_port_for_clients(at: Scene) -> None:
    few_clients(at, 40000, 40000)


@situation
def services_among_the_ports_for_clients(at: Scene) -> None:
    few_clients(at, 7044, 7099)
    at.both(ANY6, 7050)


@situation
def reserved_ports(at: Scene) -> None:
    at.here.shell("sysctl -qw net.ipv4.ip_local_reserved_ports=7000-7099")
    at.both(ANY6, 7000)


@situation
def few_descriptors(at: Scene) -> None:
    at.descriptors = 24
    filtered(at, "input", "th dport 7050-7053 drop")


# Without sock_diag


@situation
def no_sock_diag(at: Scene) -> None:
    at.without_sock_diag = True
    at.both(ANY4, 7000)
    at.both(ANY6, 7001)
    at.both(ANY6, 7002, v6only=True)
    for port, address in enumerate(("127.0.0.1", "::1", IPV4, IPV6), 7003):
        at.both(address, port)
    for port, device in enumerate(("lo", "eth0"), 7007):
        at.both(ANY4, port, device=device)
        at.both(ANY6, port, device=device, v6only=True)


@situation
def no_sock_diag_and_full_queues(at: Scene) -> None:
    at.without_sock_diag = True
    full_queues(at)


@situation
def no_sock_diag_and_ports_that_lead_elsewhere(at: Scene) -> None:
    at.without_sock_diag = True
    redirected(at)


@situation
def no_sock_diag_and_a_filter(at: Scene) -> None:
    at.without_sock_diag = True
    filtered(at, "input", "th dport 7050-7053 drop")


@situation
def no_sock_diag_and_all_ports_for_clients_taken(at: Scene) -> None:
    at.without_sock_diag = True
    all_ports_for_clients_are_taken(at)


# Filters, before daemons at 7050 and 7051 and two ports where nothing is


NFT_FILTERS = {
    "drop": "th dport 7050-7053 drop",
    "reject": "th dport 7050-7053 reject",
    "reset": "tcp dport 7050-7053 reject with tcp reset",
    "host unreachable": "th dport 7050-7053 reject with icmpx host-unreachable",
    "admin prohibited": "th dport 7050-7053 reject with icmpx admin-prohibited",
    "no route": "th dport 7050-7053 reject with icmpx no-route",
    "drop of IPv4": "meta nfproto ipv4 th dport 7050-7053 drop",
    "drop on eth0": 'meta oifname "eth0" th dport 7050-7053 drop',
    "drop of what is new": "th dport 7050-7053 ct state new drop",
    "drop of answers": "th sport 7050-7053 drop",
    "drop of refusals": "icmp type destination-unreachable drop",
    "reject of one address": f"ip daddr {IPV4} th dport 7050-7053 reject",
}

OWNER_FILTERS = {
    "drop for nobody": f"meta skuid {NOBODY} th dport 7050-7053 drop",
    "reject for nobody": f"meta skuid {NOBODY} th dport 7050-7053 reject",
    "drop for root": "meta skuid 0 th dport 7050-7053 drop",
    "all of nobody's": f"meta skuid {NOBODY} drop",
}

IPTABLES_FILTERS = {
    "drop": "-A INPUT -p {protocol} --dport 7050:7053 -j DROP",
    "reject": "-A INPUT -p {protocol} --dport 7050:7053 -j REJECT",
    "drop for nobody": (
        "-A OUTPUT -p {protocol} --dport 7050:7053 -m owner --uid-owner 65534 -j DROP"
    ),
    "admin prohibited": (
        "-A INPUT -p {protocol} -m multiport --dports 7050,7053"
        " -j REJECT --reject-with icmp-admin-prohibited"
    ),
}


def daemons_behind_a_filter(at: Scene) -> None:
    at.behind = range(7050, 7054)
    at.both(ANY6, 7000)
    at.both(ANY4, 7050)
    at.both(ANY6, 7051)


def filtered(at: Scene, hook: str, rule: str) -> None:
    daemons_behind_a_filter(at)
    at.rules(f"type filter hook {hook} priority 0", rule)


def filtered_by_iptables(at: Scene, tool: str, rule: str) -> None:
    daemons_behind_a_filter(at)
    for protocol in ("tcp", "udp"):
        at.here.shell(f"{tool} {rule.format(protocol=protocol)}")


for _name, _rule in NFT_FILTERS.items():
    for _hook in ("input", "output"):
        note(f"{_name}, {_hook}", partial(filtered, hook=_hook, rule=_rule))
for _name, _rule in OWNER_FILTERS.items():
    note(_name, partial(filtered, hook="output", rule=_rule))
for _name, _rule in IPTABLES_FILTERS.items():
    for _tool in ("iptables-nft", "iptables-legacy"):
        note(
            f"{_name} by {_tool}",
            partial(filtered_by_iptables, tool=_tool, rule=_rule),
        )


# Packets to 7040 (TCP), 7041 (UDP, answered), 7042 (UDP, silent) and 7043 go elsewhere


MOVED = {"tcp dport 7040": 7001, "udp dport 7041": 7002, "udp dport 7042": 7003}
"""What is sent elsewhere, and to which port."""


def services_to_be_led_to(at: Scene) -> None:
    """The same three services here and at the peer; nobody answers at 7009."""
    for there in (False, True):
        at.tcp(ANY6, 7001, there=there)
        at.echo(ANY6, 7002, there=there)
        at.udp(ANY6, 7003, there=there)


def led(at: Scene, addresses: Sequence[str], *hosts: str | None) -> None:
    """Note to which hosts the ports of some addresses lead; None where nobody can be told."""
    moved = zip(("7040/tcp", "7041/udp", "7042/udp"), MOVED.values(), strict=True)
    at.ends = {port: {host and f"{host}:{end}" for host in hosts} for port, end in moved}
    at.sent_on = {(address, "udp", port) for address in addresses for port in (7041, 7042)}


def redirected(at: Scene) -> None:
    services_to_be_led_to(at)
    at.nat(*(f"{what} redirect to :{end}" for what, end in MOVED.items()))
    led(at, at.addresses, "127.0.0.1", "[::1]")


@situation
def ports_redirected(at: Scene) -> None:
    redirected(at)


@situation
def ports_redirected_where_nobody_listens(at: Scene) -> None:
    at.nat(*(f"{what} redirect to :7009" for what in MOVED))


@situation
def ports_of_daemons_redirected(at: Scene) -> None:
    redirected(at)
    at.both(ANY6, 7050)
    at.both(ANY4, 7051)
    at.behind = range(7050, 7052)
    at.nat("tcp dport 7050 redirect to :7001", "udp dport 7050 redirect to :7002")
    at.nat("tcp dport 7051 redirect to :7009", "udp dport 7051 redirect to :7009")


NFT_NAT = {
    "dnat": """
        tcp dport 7040 dnat ip to {tcp}
        udp dport 7041 dnat ip to {echo}
        udp dport 7042 dnat ip to {silent}""",
    "sets": """
        tcp dport {{ 7040, 9000 }} dnat ip to {tcp}
        udp dport {{ 7041, 9000 }} dnat ip to {echo}
        ip daddr . udp dport {{ 127.0.0.1 . 7042, 192.0.2.7 . 7042 }} dnat ip to {silent}""",
    "named sets": """
        tcp dport @ports dnat ip to {tcp}
        udp dport @ports dnat ip to {echo}
        udp dport 7042 dnat ip to {silent}""",
    "a map": """
        dnat ip to tcp dport map {{ 7040 : {peer} . 7001 }}
        dnat ip to udp dport map {{ 7041 : {peer} . 7002, 7042 : {peer} . 7003 }}""",
    "a named map": "meta l4proto {{ tcp, udp }} dnat ip to th dport map @ends",
    "a verdict map": "meta l4proto vmap {{ tcp : jump streams, udp : goto datagrams }}",
    "jumps": """
        tcp dport 7040 jump streams
        udp dport 7041-7042 goto datagrams""",
    "marks": """
        meta mark 1 meta l4proto tcp dnat ip to {tcp}
        meta mark 2 meta l4proto udp dnat ip to {echo}
        meta mark 3 meta l4proto udp dnat ip to {silent}""",
    "a choice by number": """
        tcp dport 7040 dnat ip to numgen random mod 2 map {{ 0 : {peer}, 1 : {peer} }} : 7001
        udp dport 7041 dnat ip to jhash udp sport mod 2 map {{ 0 : {peer}, 1 : {peer} }} : 7002
        udp dport 7042 dnat ip to {silent}""",
}
"""Rules that send the three ports to the peer."""

NAMED = """
    set ports {{ type inet_service; elements = {{ 7040, 7041 }}; }}
    map ends {{ type inet_service : ipv4_addr . inet_service; elements = {{
        7040 : {peer} . 7001, 7041 : {peer} . 7002, 7042 : {peer} . 7003 }}; }}
    chain streams {{ tcp dport 7040 dnat ip to {tcp}; }}
    chain datagrams {{
        udp dport 7041 dnat ip to {echo}
        udp dport 7042 dnat ip to {silent}
    }}
    chain marking {{
        type filter hook output priority -150
        meta nfproto ipv4 tcp dport 7040 meta mark set 1
        meta nfproto ipv4 udp dport 7041-7042 meta mark set th dport map {{ 7041 : 2, 7042 : 3 }}
    }}
"""


def filled(rules: str, peer: str = PEER_IPV4) -> str:
    return rules.format(peer=peer, tcp=f"{peer}:7001", echo=f"{peer}:7002", silent=f"{peer}:7003")


def sent_to_the_peer(at: Scene, rules: str) -> None:
    services_to_be_led_to(at)
    led(at, [IPV4], PEER_IPV4)
    at.nat(filled(rules), named=filled(NAMED))


for _name, _rules in NFT_NAT.items():
    note(f"ports sent to a peer by {_name}", partial(sent_to_the_peer, rules=_rules))


IPTABLES_NAT = {
    "dnat": """
        -A OUTPUT -p tcp --dport 7040 -j DNAT --to {tcp}
        -A OUTPUT -p udp --dport 7041 -j DNAT --to {echo}
        -A OUTPUT -p udp --dport 7042 -j DNAT --to {silent}""",
    "dnat of several ports": """
        -A OUTPUT -p tcp -m multiport --dports 7040,9000 -j DNAT --to {tcp}
        -A OUTPUT -p udp -m multiport --dports 7041,9000 -j DNAT --to {echo}
        -A OUTPUT -p udp -m multiport --dports 7042,9000 -j DNAT --to {silent}""",
    "chains like those of Docker": """
        -N DOCKER
        -A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
        -A DOCKER -p tcp --dport 7040 -j DNAT --to {tcp}
        -A DOCKER -p udp --dport 7041 -j DNAT --to {echo}
        -A DOCKER -p udp --dport 7042 -j DNAT --to {silent}""",
    "chains like those of kube-proxy": """
        -N KUBE-SERVICES
        -N KUBE-NODEPORTS
        -N KUBE-SEP-1
        -N KUBE-SEP-2
        -A OUTPUT -j KUBE-SERVICES
        -A KUBE-SERVICES -d 198.51.100.1 -p tcp --dport 7044 -j DNAT --to 198.51.100.9:9
        -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
        -A KUBE-NODEPORTS -p tcp --dport 7040 -j KUBE-SEP-1
        -A KUBE-NODEPORTS -p udp --dport 7041 -j KUBE-SEP-2
        -A KUBE-NODEPORTS -p udp --dport 7042 -j DNAT --to {silent}
        -A KUBE-SEP-1 -p tcp -j DNAT --to {tcp}
        -A KUBE-SEP-2 -p udp -j DNAT --to {echo}""",
}


def sent_by_iptables(at: Scene, tool: str, rules: str) -> None:
    services_to_be_led_to(at)
    led(at, [IPV4], PEER_IPV4)
    for rule in filled(rules).strip().splitlines():
        at.here.shell(f"{tool} -t nat {rule}")


for _name, _rules in IPTABLES_NAT.items():
    for _tool in ("iptables-nft", "iptables-legacy"):
        note(
            f"ports sent to a peer by {_tool}: {_name}",
            partial(sent_by_iptables, tool=_tool, rules=_rules),
        )


@situation
def ports_of_ipv6_sent_to_a_peer(at: Scene) -> None:
    services_to_be_led_to(at)
    led(at, ["::1", IPV6], f"[{PEER_IPV6}]")
    at.nat(filled(NFT_NAT["dnat"], f"[{PEER_IPV6}]").replace("dnat ip ", "dnat ip6 "))


@situation
def ports_sent_to_a_peer_in_the_name_of_this_machine(at: Scene) -> None:
    at.here.shell("sysctl -qw net.ipv4.conf.all.route_localnet=1")
    sent_to_the_peer(at, NFT_NAT["dnat"])
    led(at, ["127.0.0.1", IPV4], PEER_IPV4)
    at.rules("type nat hook postrouting priority 100", 'oifname "eth0" masquerade')


@situation
def ports_sent_where_nobody_is(at: Scene) -> None:
    at.sent_on = {(IPV4, "udp", 7041)}
    at.ends = {"7041/udp": {"192.0.2.99:7001"}}
    at.nat("tcp dport 7040 dnat ip to 192.0.2.99:7001", "udp dport 7041 dnat ip to 192.0.2.99:7001")
    at.nat(f"meta l4proto {{ tcp, udp }} th dport 7043 dnat ip to {PEER_IPV4}:7009")


@situation
def ports_of_one_address_sent_to_a_peer(at: Scene) -> None:
    services_to_be_led_to(at)
    led(at, [IPV4], PEER_IPV4)
    rules = filled(NFT_NAT["dnat"]).strip().splitlines()
    at.nat(*(f"ip daddr {IPV4} {rule}" for rule in rules))


@situation
def ports_of_another_address_sent_to_a_peer(at: Scene) -> None:
    services_to_be_led_to(at)
    rules = filled(NFT_NAT["dnat"]).strip().splitlines()
    at.nat(*(f"ip daddr 192.0.2.8 {rule}" for rule in rules))


@situation
def ports_redirected_for_nobody(at: Scene) -> None:
    services_to_be_led_to(at)
    at.nat(*(f"meta skuid {NOBODY} {what} redirect to :{end}" for what, end in MOVED.items()))


@situation
def ports_redirected_for_root(at: Scene) -> None:
    services_to_be_led_to(at)
    at.nat(*(f"meta skuid 0 {what} redirect to :{end}" for what, end in MOVED.items()))
    led(at, at.addresses, "127.0.0.1", "[::1]")


@situation
def ports_redirected_for_others_only(at: Scene) -> None:
    services_to_be_led_to(at)
    redirects = (f"{what} redirect to :{end}" for what, end in MOVED.items())
    at.rules("type nat hook prerouting priority -100", *redirects)


@situation
def ports_that_packets_leave_by_another_source(at: Scene) -> None:
    at.both(ANY6, 7000)
    at.echo(ANY6, 7002)
    at.rules(
        "type nat hook postrouting priority 100",
        'meta nfproto ipv4 oifname "lo" masquerade random',
        f"ip6 daddr {IPV6} snat ip6 to 2001:db8::7:0-2001:db8::7:0",
    )


@situation
def ports_redirected_in_a_zone(at: Scene) -> None:
    redirected(at)
    at.rules(
        "type filter hook output priority -300",
        "th dport 7040-7043 ct zone set 5",
        "th sport 7001-7003 ct zone set 5",
    )
    led(at, [], None)


@situation
def ports_that_a_transparent_proxy_takes(at: Scene) -> None:
    for address in (ANY4, ANY6):
        transparent = TRANSPARENT if address == ANY4 else TRANSPARENT_IPV6
        at.tcp(address, 7001, v6only=True, options=transparent)
        at.udp(address, 7003, v6only=True, options=transparent)
    led(at, [], None)
    at.rules(
        "type filter hook prerouting priority -150",
        "tcp dport 7040 tproxy to :7001",
        "udp dport 7042 tproxy to :7003",
    )


@situation
def ports_sent_elsewhere_without_tracking(at: Scene) -> None:
    services_to_be_led_to(at)
    led(at, [], None)
    for chain, rules in (
        ("output", [f"{what} notrack th dport set {end}" for what, end in MOVED.items()]),
        ("prerouting", ["th dport 7001-7003 notrack", "th sport 7001-7003 notrack"]),
    ):
        at.rules(f"type filter hook {chain} priority -300", *rules, table="ip")
    back = [f"{what[:3]} sport {end} th sport set {what[-4:]}" for what, end in MOVED.items()]
    at.rules("type filter hook input priority -300", *back, table="ip")
