from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config import grammar
from check_portcheck.config.values import TokenError
from check_portcheck.names import Names
from check_portcheck.names import names as names_in
from check_portcheck.policy.rules import (
    ANY_INTERFACE,
    EphemeralPorts,
    InterfacePattern,
    Item,
    Kind,
    OwnerKind,
    OwnerPattern,
    RpcProgram,
    Rule,
)
from unit.config_samples import TCP, UDP, ports

if TYPE_CHECKING:
    from collections.abc import Callable

SSH = ports("22/tcp")
SMTP = ports("25/tcp")


@pytest.fixture(scope="module")
def names() -> Names:
    return names_in(
        services="ssh 22/tcp\nsunrpc 111/tcp portmapper\n", rpc="portmapper 100000 portmap sunrpc\n"
    )


def read(kind: Kind, text: str, names: Names) -> list[tuple[str, Item, OwnerPattern | None]]:
    found, errors = grammar.rules(kind, text, "F:7", names)
    assert errors == []
    assert all(rule.kind is kind and rule.source == "F:7" for rule in found)
    return [(rule.where.text, rule.item, rule.owner) for rule in found]


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.7:22/tcp,25/tcp",
        "192.0.2.7:22/tcp 25/tcp",
        "192.0.2.7:22/tcp\t25/tcp",
        "192.0.2.7:22/tcp , ,\t ,25/tcp",
        ", 192.0.2.7:22/tcp,25/tcp ,",
        "192.0.2.7: 22/tcp,25/tcp",
        "192.0.2.7 :22/tcp,25/tcp",
        "192.0.2.7 : 22/tcp,25/tcp",
        "192.0.2.7:,22/tcp,25/tcp",
        "192.0.2.7:22/TCP,25/Tcp",
        "::ffff:192.0.2.7:22/tcp,25/tcp",
        "[::ffff:c000:207]:22/tcp,25/tcp",
    ],
)
def test_items_are_separated_by_any_run_of_commas_blanks_and_tabs(names: Names, text: str) -> None:
    expected = [("192.0.2.7", SSH, None), ("192.0.2.7", SMTP, None)]
    assert read(Kind.REQUIRED, text, names) == expected


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("*", "*"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8:0::0001", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[FE80:0::1%eth0.100]", "fe80::1%eth0.100"),
        ("febf::1%eth0", "febf::1%eth0"),
        ("fe8::1", "fe8::1"),
        ("fec0::1", "fec0::1"),
        ("fe7f::1", "fe7f::1"),
        ("2080::1", "2080::1"),
        ("254.128.0.1", "254.128.0.1"),
        ("eth0", "eth0"),
        ("eth0:1", "eth0:1"),
        ("[eth0:1]", "eth0:1"),
        ("eth0.100", "eth0.100"),
        ("eth0.100.7", "eth0.100.7"),
        ("eth0.100:web", "eth0.100:web"),
        ("br-4f2a_x", "br-4f2a_x"),
        ("abcdefghijklmno", "abcdefghijklmno"),
    ],
)
@pytest.mark.parametrize("colon", [":", " : "])
def test_interface_is_all_before_the_last_colon(
    names: Names, text: str, where: str, colon: str
) -> None:
    expected = [(where, SSH, None), (where, SMTP, None)]
    assert read(Kind.OPTIONAL, f"{text}{colon}22/tcp 25/tcp", names) == expected


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("192.0.2.7/32", "192.0.2.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("[2001:db8::]/32", "2001:db8::/32"),
        ("fe80::/10", "fe80::/10"),
        ("::/0", "::/0"),
    ],
)
def test_interface_may_be_a_network(text: str, network: str) -> None:
    assert grammar.interface(text) == InterfacePattern(network, ip_network(network))


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("0/tcp", ports("0/tcp")),
        ("65535/udp", ports("65535/udp")),
        ("6000-6063/tcp", ports("6000-6063/tcp")),
        ("22-22/tcp", SSH),
        ("*/udp", ports("0-65535/udp")),
        ("ephemeral/udp", EphemeralPorts(UDP)),
        ("Ephemeral/tcp", EphemeralPorts(TCP)),
        ("portmapper/tcp", RpcProgram(TCP, 100000, "portmapper")),
        ("sunrpc/udp", RpcProgram(UDP, 100000, "sunrpc")),
        ("nfs/tcp", RpcProgram(TCP, 100003, "nfs")),
        ("RPC_100075/udp", RpcProgram(UDP, 100075, "RPC_100075")),
        ("RPC_4294967295/tcp", RpcProgram(TCP, 2**32 - 1, "RPC_4294967295")),
    ],
)
def test_item_is_a_port_a_range_or_a_program(names: Names, text: str, item: Item) -> None:
    found = read(Kind.OPTIONAL, f"*:{text}", names)
    assert found == [("*", item, None)]
    assert str(found[0][1]) == str(item)


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("sshd", OwnerPattern(OwnerKind.NAME, "sshd")),
        ("kernel", OwnerPattern(OwnerKind.NAME, "kernel")),
        ("/usr/sbin/sshd", OwnerPattern(OwnerKind.EXECUTABLE, "/usr/sbin/sshd")),
        ("/opt/a:b/sshd", OwnerPattern(OwnerKind.EXECUTABLE, "/opt/a:b/sshd")),
        ("user:postgres", OwnerPattern(OwnerKind.USER, "postgres")),
        ("unit:nginx.service", OwnerPattern(OwnerKind.UNIT, "nginx.service")),
        (
            "unit:postgresql@15-main.service",
            OwnerPattern(OwnerKind.UNIT, "postgresql@15-main.service"),
        ),
        ("unit:container:3f2a", OwnerPattern(OwnerKind.UNIT, "container:3f2a")),
    ],
)
def test_owner_follows_the_item_and_may_hold_colons(
    names: Names, text: str, owner: OwnerPattern
) -> None:
    expected = [("[::1]", SSH, owner), ("[::1]", SMTP, None)]
    found = read(Kind.REQUIRED, f"::1:22/tcp@{text},25/tcp", names)
    assert [(f"[{where}]", item, holder) for where, item, holder in found] == expected


def test_skip_without_an_interface_means_every_one(names: Names) -> None:
    found, errors = grammar.rules(Kind.SKIP, "22/tcp 6000-6063/tcp,*/udp", "F:1", names)
    assert errors == []
    items = (SSH, ports("6000-6063/tcp"), ports("0-65535/udp"))
    assert found == [Rule(Kind.SKIP, ANY_INTERFACE, item, None, "F:1") for item in items]


def test_skip_with_an_interface_holds_only_there(names: Names) -> None:
    assert read(Kind.SKIP, "eth0:22/tcp", names) == [("eth0", SSH, None)]


NO_FORM = "is not of the form PORT/tcp or PORT/udp"
NO_OWNER = "the owner is not of the form @NAME, @/EXECUTABLE, @user:NAME or @unit:NAME"
NO_SINGLE = "is no single port, as a required one must be"
NO_PROGRAM = "is no port, and no RPC program of /etc/rpc (RPC_number"
NO_SKIP = "only ports can be skipped, whoever holds them"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Kind.OPTIONAL, ",", "no port"),
        (Kind.OPTIONAL, "*:22", f"'22' {NO_FORM}"),
        (Kind.OPTIONAL, "*:/tcp", f"'/tcp' {NO_FORM}"),
        (Kind.OPTIONAL, "*:22/", f"'22/' {NO_FORM}"),
        (Kind.OPTIONAL, "*:22/tcp6", f"'22/tcp6' {NO_FORM}"),
        (Kind.OPTIONAL, "*:22/sctp", f"'22/sctp' {NO_FORM}"),
        (Kind.OPTIONAL, "*:22/tcp;", f"'22/tcp;' {NO_FORM}"),
        (Kind.OPTIONAL, "*:", f"'' {NO_FORM}"),
        (Kind.OPTIONAL, "*:022/tcp", "'022' begins with 0 like an octal number: write 22"),
        (Kind.OPTIONAL, "*:65536/tcp", "'65536' is above 65535"),
        (Kind.OPTIONAL, "*:1-65536/tcp", "'65536' is above 65535"),
        (Kind.OPTIONAL, "*:25-22/tcp", "'25-22' runs backwards: write 22-25"),
        (
            Kind.OPTIONAL,
            "*:-1/tcp",
            "'-1/tcp' is no port, and no RPC program of /etc/rpc (RPC_number/tcp names any)",
        ),
        (
            Kind.OPTIONAL,
            "*:0x16/udp",
            "'0x16/udp' is no port, and no RPC program of /etc/rpc (RPC_number/udp names any)",
        ),
        (
            Kind.OPTIONAL,
            "*:1-2-3/tcp",
            "'1-2-3/tcp' is no port, and no RPC program of /etc/rpc (RPC_number/tcp names any)",
        ),
        (
            Kind.REQUIRED,
            "*:PORTMAP/tcp",
            "'PORTMAP/tcp' is no port, and no RPC program of /etc/rpc (RPC_number/tcp names any)",
        ),
        (Kind.REQUIRED, "*:ssh/tcp", "'ssh/tcp' is no RPC program: write 22/tcp"),
        (Kind.REQUIRED, "*:ssh/udp", f"'ssh/udp' {NO_PROGRAM}/udp names any)"),
        (Kind.REQUIRED, "*:RCP_100003/tcp", f"'RCP_100003/tcp' {NO_PROGRAM}/tcp names any)"),
        (Kind.REQUIRED, "*:rpc_100003/tcp", f"'rpc_100003/tcp' {NO_PROGRAM}/tcp names any)"),
        (Kind.REQUIRED, "*:RPC_/tcp", f"'RPC_/tcp' {NO_PROGRAM}/tcp names any)"),
        (Kind.REQUIRED, "*:RPC_nfs/tcp", f"'RPC_nfs/tcp' {NO_PROGRAM}/tcp names any)"),
        (Kind.REQUIRED, "*:RPC_1_2/tcp", f"'RPC_1_2/tcp' {NO_PROGRAM}/tcp names any)"),
        (
            Kind.REQUIRED,
            "*:RPC_0100003/tcp",
            "'0100003' begins with 0 like an octal number: write 100003",
        ),
        (Kind.OPTIONAL, "*:RPC_0/tcp", "'RPC_0': RPC program numbers begin at 1"),
        (Kind.OPTIONAL, "*:RPC_4294967296/tcp", "'4294967296' is above 4294967295"),
        (Kind.OPTIONAL, "*:22/tcp@", f"'22/tcp@': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@user:", f"'22/tcp@user:': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@user: 25/tcp", f"'22/tcp@user:': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@:root", f"'22/tcp@:root': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@User:root", f"'22/tcp@User:root': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@group:x", f"'22/tcp@group:x': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@bin/sshd", f"'22/tcp@bin/sshd': {NO_OWNER}"),
        (Kind.REQUIRED, "*:22-23/tcp", f"'22-23/tcp' {NO_SINGLE}"),
        (Kind.REQUIRED, "*:*/udp", f"'*/udp' {NO_SINGLE}"),
        (Kind.REQUIRED, "*:ephemeral/udp", f"'ephemeral/udp' {NO_SINGLE}"),
        (Kind.SKIP, "nfs/tcp", f"'nfs/tcp': {NO_SKIP}"),
        (Kind.SKIP, "RPC_7/tcp", f"'RPC_7/tcp': {NO_SKIP}"),
        (Kind.SKIP, "ephemeral/udp", f"'ephemeral/udp': {NO_SKIP}"),
        (Kind.SKIP, "22/tcp@sshd", f"'22/tcp@sshd': {NO_SKIP}"),
        (
            Kind.OPTIONAL,
            "127.0.0.1:22/tcp,192.0.2.1:25/tcp",
            "'192.0.2.1:25/tcp' names a second interface: an entry takes one",
        ),
        (
            Kind.REQUIRED,
            "22/tcp,25/tcp",
            "no interface ('*:22/tcp' would mean every scanned one)",
        ),
        (
            Kind.IGNORE,
            "22/tcp@user:root",
            "no interface ('*:22/tcp@user:root' would mean every scanned one)",
        ),
        (Kind.SKIP, ":22/tcp", "no interface ('*:22/tcp' would mean every scanned one)"),
        (Kind.SKIP, ": 25/tcp", "no interface ('*:25/tcp' would mean every scanned one)"),
    ],
)
def test_wrong_entry_is_refused(names: Names, kind: Kind, text: str, message: str) -> None:
    assert grammar.rules(kind, text, "F:1", names)[1] == [message]


@pytest.mark.parametrize(
    ("text", "token"),
    [(":", ""), (":@sshd", "@sshd"), ("@sshd", "@sshd"), ("@user:root", "@user:root")],
)
def test_entry_without_interface_and_port_is_shown_an_example(
    names: Names, text: str, token: str
) -> None:
    found, errors = grammar.rules(Kind.OPTIONAL, text, "F:1", names)
    assert found == []
    assert errors == [
        "no interface ('*:22/tcp' would mean every scanned one)",
        f"'{token}' {NO_FORM}",
    ]


def test_only_one_colon_may_stand_alone(names: Names) -> None:
    found, errors = grammar.rules(Kind.OPTIONAL, "192.0.2.7 : : 22/tcp", "F:1", names)
    assert found == []
    assert errors == [f"'192.0.2.7:' {NEITHER}", f"'' {NO_FORM}"]


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.7:22/tcp@sshd",
        "192.0.2.7: 22/tcp@sshd",
        "192.0.2.7 :22/tcp@sshd",
        "192.0.2.7 : 22/tcp@sshd",
    ],
)
def test_blanks_round_the_colon_do_no_harm_before_an_owner(names: Names, text: str) -> None:
    sshd = OwnerPattern(OwnerKind.NAME, "sshd")
    assert read(Kind.REQUIRED, text, names) == [("192.0.2.7", SSH, sshd)]
    expected = [("192.0.2.7", SSH, sshd), ("192.0.2.7", SMTP, sshd)]
    assert read(Kind.REQUIRED, f"{text} 25/tcp@sshd", names) == expected


def test_what_follows_an_owner_with_a_colon_is_an_item(names: Names) -> None:
    root = OwnerPattern(OwnerKind.USER, "root")
    expected = [("*", SSH, root), ("*", SMTP, None)]
    assert read(Kind.REQUIRED, "*:22/tcp@user:root 25/tcp", names) == expected
    assert grammar.rules(Kind.OPTIONAL, "*:22/tcp@unit:x :25/tcp", "F:1", names)[1] == [
        "':25/tcp' names a second interface: an entry takes one"
    ]


LINK_LOCAL = "is link-local and needs its device"
SCOPED = "has a device, which only link-local addresses take"
NEITHER = "is no address and no device"
NO_NETWORK = "is no network: ADDRESS/LENGTH"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host.example", f"'host.example' {NEITHER}"),
        ("192.0.2.300", f"'192.0.2.300' {NEITHER}"),
        ("192.0.2", f"'192.0.2' {NEITHER}"),
        ("127.1", f"'127.1' {NEITHER}"),
        ("192.0.2.07", f"'192.0.2.07' {NEITHER}"),
        ("l92.0.2.7", f"'l92.0.2.7' {NEITHER}"),
        ("192.0.2.7:80", f"'192.0.2.7:80' {NEITHER}"),
        ("2001:db8:1", f"'2001:db8:1' {NEITHER}"),
        ("[192.0.2.7]", f"'[192.0.2.7]' {NEITHER}"),
        ("[::1", f"'[::1' {NEITHER}"),
        ("::1]", f"'::1]' {NEITHER}"),
        ("a::1]", f"'a::1]' {NEITHER}"),
        ("[eth0]", f"'[eth0]' {NEITHER}"),
        ("abcdefghijklmnop", f"'abcdefghijklmnop' {NEITHER}"),
        ("..", f"'..' {NEITHER}"),
        ("default", f"'default' {NEITHER}"),
        ("all", f"'all' {NEITHER}: every scanned one is *"),
        ("", f"'' {NEITHER}"),
        ("0.0.0.0", "'0.0.0.0' is the wildcard, the address of no interface"),
        ("[::]", "'[::]' is the wildcard, the address of no interface"),
        ("::ffff:0.0.0.0", "'::ffff:0.0.0.0' is the wildcard, the address of no interface"),
        ("fe80::1", f"'fe80::1' {LINK_LOCAL}: fe80::1%eth0"),
        ("[fe80::1%]", f"'[fe80::1%]' {LINK_LOCAL}: fe80::1%eth0"),
        ("2001:db8::1%eth0", f"'2001:db8::1%eth0' {SCOPED}"),
        ("192.0.2.7%eth0", f"'192.0.2.7%eth0' {SCOPED}"),
        ("10.1.0.0/8", "'10.1.0.0/8' has host bits set: the network is 10.0.0.0/8"),
        ("2001:db8::1/32", "'2001:db8::1/32' has host bits set: the network is 2001:db8::/32"),
        ("10.0.0.0/33", "'33' is above 32"),
        ("2001:db8::/129", "'129' is above 128"),
        ("10.0.0.0/08", "'08' begins with 0 like an octal number: write 8"),
        ("10.0.0.0/255.0.0.0", f"'10.0.0.0/255.0.0.0' {NO_NETWORK}"),
        ("10.0.0.0/", f"'10.0.0.0/' {NO_NETWORK}"),
        ("eth0/8", f"'eth0/8' {NO_NETWORK}"),
        ("::ffff:10.0.0.0/104", f"'::ffff:10.0.0.0/104' {NO_NETWORK}"),
        ("a\0b.c", rf"'a\x00b.c' {NEITHER}"),
        ("eth*", f"'eth*' {NEITHER}"),
    ],
)
def test_wrong_interface_is_refused(text: str, message: str) -> None:
    with pytest.raises(TokenError) as caught:
        grammar.interface(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("read_token", "text", "name"),
    [
        (grammar.address_or_all, "all", "all"),
        (grammar.address_or_all, "ALL", "all"),
        (grammar.address_or_all, "[::1]", "::1"),
        (grammar.address_or_all, "::ffff:192.0.2.7", "192.0.2.7"),
        (grammar.address_or_all, "fe80::1%eth0", "fe80::1%eth0"),
        (grammar.device, "eth0", "eth0"),
        (grammar.device, "eth0:1", "eth0:1"),
        (grammar.device, "wg.home", "wg.home"),
        (grammar.device, 7 * "\u00e9", 7 * "\u00e9"),
        (grammar.device, "eth0\udcff", "eth0\udcff"),
    ],
)
def test_what_is_scanned_is_named_by_address_or_device(
    read_token: Callable[[str], str], text: str, name: str
) -> None:
    assert read_token(text) == name


@pytest.mark.parametrize(
    ("read_token", "text", "message"),
    [
        (
            grammar.address_or_all,
            "eth0",
            "'eth0' is no IP address (devices: PortCheckDevice, --device)",
        ),
        (grammar.address_or_all, "host.example", "'host.example' is no IP address"),
        (grammar.address_or_all, "192.0.2.7/24", "'192.0.2.7/24' is no IP address"),
        (grammar.address_or_all, "*", "'*' is for lists: every address is all"),
        (grammar.address_or_all, "", "'' is no IP address"),
        (grammar.address_or_all, "fe80::1", f"'fe80::1' {LINK_LOCAL}: fe80::1%eth0"),
        (
            grammar.device,
            "192.0.2.7",
            "'192.0.2.7' is no device (addresses: PortCheckInterface, --interface)",
        ),
        (
            grammar.device,
            "[fe80::1%eth0]",
            "'[fe80::1%eth0]' is no device (addresses: PortCheckInterface, --interface)",
        ),
        (grammar.device, "all", "'all' is no device"),
        (grammar.device, "default", "'default' is no device"),
        (grammar.device, ".", "'.' is no device"),
        (grammar.device, "..", "'..' is no device"),
        (grammar.device, "", "'' is no device"),
        (grammar.device, 8 * "\u00e9", repr(8 * "\u00e9") + " is no device"),
        (grammar.device, "abcdefghijklmnop", "'abcdefghijklmnop' is no device"),
    ],
)
def test_what_cannot_be_scanned_is_refused(
    read_token: Callable[[str], str], text: str, message: str
) -> None:
    with pytest.raises(TokenError) as caught:
        read_token(text)
    assert str(caught.value) == message


def test_every_bad_item_is_reported_and_every_good_one_kept(names: Names) -> None:
    found, errors = grammar.rules(Kind.OPTIONAL, "*:x 22/tcp,y/tcp@ 70000/tcp 25/tcp", "F:1", names)
    assert [rule.item for rule in found] == [SSH, SMTP]
    assert [error.split("'")[1] for error in errors] == ["x", "y/tcp", "70000"]


def test_items_of_an_entry_with_a_bad_interface_are_checked_too(names: Names) -> None:
    found, errors = grammar.rules(Kind.OPTIONAL, "host.example:22/tcp,x", "F:1", names)
    assert found == []
    assert errors == [f"'host.example' {NEITHER}", f"'x' {NO_FORM}"]


def test_long_entries_are_read_to_the_end(names: Names) -> None:
    text = ",".join(f"{number}/tcp" for number in range(1, 5001))
    found = read(Kind.REQUIRED, f"192.0.2.7:{text}", names)
    assert [item for _, item, _ in found] == [ports(f"{port}/tcp") for port in range(1, 5001)]


@given(
    st.sampled_from(Kind), st.text(st.sampled_from("12.:/*[]%@-_ ,\ttcpudpethRPCx\u00e9\0\udcff"))
)
def test_any_text_gives_rules_or_errors(names: Names, kind: Kind, text: str) -> None:
    found, errors = grammar.rules(kind, text, "F:1", names)
    assert found or errors
    for rule in found:
        assert grammar.rules(kind, str(rule), "F:1", names) == ([rule], [])
