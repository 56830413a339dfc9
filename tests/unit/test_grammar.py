from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config import grammar
from check_portcheck.names import Names
from check_portcheck.names import names as names_in
from check_portcheck.policy.rules import (
    ANY_INTERFACE,
    EphemeralPorts,
    Item,
    Kind,
    OwnerKind,
    OwnerPattern,
    RpcProgram,
    Rule,
)
from unit.config_samples import TCP, UDP, ports

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
        ("veth*", "veth*"),
        ("eth0:*", "eth0:*"),
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
NO_OWNER = "the owner is not of the form @NAME, @/EXECUTABLE, @user:NAME or @unit:NAME.service"
NO_PLACE = "no interface in front (* is every scanned one)"
NO_UNIT = "units that hold sockets end in .service, .scope, .socket, .mount, .swap"
NO_SINGLE = "is no single port, as a required one must be"
NO_PROGRAM = "is no port, and no RPC program of /etc/rpc (RPC_number"
NO_SKIP = "only ports can be skipped, whoever holds them"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Kind.OPTIONAL, ",", "no port"),
        (Kind.OPTIONAL, "*:22", f"'22' {NO_FORM}: write 22/tcp"),
        (Kind.OPTIONAL, "*:/tcp", f"'/tcp' {NO_FORM}"),
        (Kind.OPTIONAL, "*:22/", f"'22/' {NO_FORM}: write 22/tcp"),
        (Kind.OPTIONAL, "*:22/tcp6", f"'22/tcp6' {NO_FORM}: write 22/tcp"),
        (Kind.OPTIONAL, "*:22/sctp", f"'22/sctp' {NO_FORM}"),
        (Kind.OPTIONAL, "*:22/tcp;", f"'22/tcp;' {NO_FORM}: write 22/tcp"),
        (Kind.OPTIONAL, "*:", f"'' {NO_FORM}"),
        (Kind.OPTIONAL, "*:022/tcp", "'022' begins with 0 like an octal number: write 22/tcp"),
        (Kind.OPTIONAL, "*:65536/tcp", "'65536' is above 65535"),
        (Kind.OPTIONAL, "*:1-65536/tcp", "'65536' is above 65535"),
        (Kind.OPTIONAL, "*:25-22/tcp", "'25-22' runs backwards: write 22-25/tcp"),
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
            f"'PORTMAP/tcp' {NO_PROGRAM}/tcp names any): write portmap/tcp",
        ),
        (Kind.REQUIRED, "*:ssh/tcp", "'ssh/tcp' is no RPC program: write 22/tcp"),
        (Kind.REQUIRED, "*:ssh/udp", f"'ssh/udp' {NO_PROGRAM}/udp names any)"),
        *(
            (
                Kind.REQUIRED,
                f"*:{prefix}_100003/tcp",
                f"'{prefix}_100003/tcp' {NO_PROGRAM}/tcp names any): write RPC_100003/tcp",
            )
            for prefix in ("RCP", "rpc")
        ),
        (Kind.REQUIRED, "*:RPC_/tcp", f"'RPC_/tcp' {NO_PROGRAM}/tcp names any)"),
        (Kind.REQUIRED, "*:RPC_nfs/tcp", f"'RPC_nfs/tcp' {NO_PROGRAM}/tcp names any)"),
        (Kind.REQUIRED, "*:RPC_1_2/tcp", f"'RPC_1_2/tcp' {NO_PROGRAM}/tcp names any)"),
        (
            Kind.REQUIRED,
            "*:RPC_0100003/tcp",
            "'0100003' begins with 0 like an octal number: write RPC_100003/tcp",
        ),
        (Kind.OPTIONAL, "*:RPC_0/tcp", "'RPC_0': RPC program numbers begin at 1"),
        (Kind.OPTIONAL, "*:RPC_4294967296/tcp", "'4294967296' is above 4294967295"),
        (Kind.OPTIONAL, "*:22/tcp@", f"'@': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@user:", f"'@user:': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@user: 25/tcp", f"'@user:': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@:root", f"'@:root': {NO_OWNER}: write 22/tcp@root"),
        (Kind.OPTIONAL, "*:22/tcp@User:root", f"'@User:root': {NO_OWNER}: write 22/tcp@user:root"),
        (Kind.OPTIONAL, "*:22/tcp@group:x", f"'@group:x': {NO_OWNER}"),
        (Kind.OPTIONAL, "*:22/tcp@bin/sshd", f"'@bin/sshd': {NO_OWNER}: write 22/tcp@/bin/sshd"),
        (
            Kind.OPTIONAL,
            "*:22/tcp@unit:sshd",
            f"'@unit:sshd': {NO_UNIT}: write 22/tcp@unit:sshd.service",
        ),
        (Kind.OPTIONAL, "*:22/tcp@unit:system.slice", f"'@unit:system.slice': {NO_UNIT}"),
        (
            Kind.OPTIONAL,
            "*:22/tcp@sshd.service",
            "'@sshd.service' is a unit, no name of a process: write 22/tcp@unit:sshd.service",
        ),
        (
            Kind.OPTIONAL,
            "*:22/tcp@sshd|dropbear",
            (
                "'@sshd|dropbear': each of several owners has an item of its own: "
                "write 22/tcp@sshd,22/tcp@dropbear"
            ),
        ),
        (Kind.REQUIRED, "*:22-23/tcp", f"'22-23/tcp' {NO_SINGLE}: write 22/tcp,23/tcp"),
        (Kind.REQUIRED, "*:*/udp", f"'*/udp' {NO_SINGLE}"),
        (Kind.REQUIRED, "*:ephemeral/udp", f"'ephemeral/udp' {NO_SINGLE}"),
        (Kind.SKIP, "nfs/tcp", f"'nfs/tcp': {NO_SKIP}"),
        (Kind.SKIP, "RPC_7/tcp", f"'RPC_7/tcp': {NO_SKIP}"),
        (Kind.SKIP, "ephemeral/udp", f"'ephemeral/udp': {NO_SKIP}"),
        (Kind.SKIP, "22/tcp@sshd", f"'22/tcp@sshd': {NO_SKIP}: write 22/tcp"),
        (
            Kind.OPTIONAL,
            "127.0.0.1:22/tcp,192.0.2.1:25/tcp",
            (
                "'192.0.2.1:25/tcp' names a second interface: an entry takes one: "
                "write 127.0.0.1:22/tcp and 192.0.2.1:25/tcp"
            ),
        ),
        (
            Kind.REQUIRED,
            "22/tcp,25/tcp",
            f"{NO_PLACE}: write *:22/tcp,25/tcp",
        ),
        (Kind.IGNORE, "22/tcp@user:root", f"{NO_PLACE}: write *:22/tcp@user:root"),
        (Kind.SKIP, ":22/tcp", f"{NO_PLACE}: write *:22/tcp"),
        (Kind.SKIP, ": 25/tcp", f"{NO_PLACE}: write *:25/tcp"),
    ],
)
def test_wrong_entry_is_refused(names: Names, kind: Kind, text: str, message: str) -> None:
    assert grammar.rules(kind, text, "F:1", names)[1] == [message]


@pytest.mark.parametrize(
    ("text", "token"),
    [(":", ""), (":@sshd", "@sshd"), ("@sshd", "@sshd"), ("@user:root", "@user:root")],
)
def test_entry_without_interface_and_port_is_told_the_forms_of_both(
    names: Names, text: str, token: str
) -> None:
    found, errors = grammar.rules(Kind.OPTIONAL, text, "F:1", names)
    assert found == []
    assert errors == [
        NO_PLACE,
        f"'{token}' {NO_FORM}",
    ]


def test_only_one_colon_may_stand_alone(names: Names) -> None:
    found, errors = grammar.rules(Kind.OPTIONAL, "192.0.2.7 : : 22/tcp", "F:1", names)
    assert found == []
    assert errors == [f"'192.0.2.7:' {NEITHER}: write 192.0.2.7:22/tcp"]


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
    owner = "@unit:x.service"
    assert grammar.rules(Kind.OPTIONAL, f"*:22/tcp{owner} :25/tcp", "F:1", names)[1] == [
        f"':25/tcp' names a second interface: an entry takes one: write *:22/tcp{owner},25/tcp"
    ]


NEITHER = "is no address and no device"


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


# Whatever the text is

JUNK = st.text(st.sampled_from("12.:/*[]%@-_ ,\ttcpudpethRPCx\u00e9\0\udcff"))
WORD = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1)
TEXT = st.text(st.sampled_from("az09.:/|@-_%\u00e9\0\udcff"), min_size=1)


def is_scanned(address: IPv4Address | IPv6Address) -> bool:
    """Whether an interface can have it, and a policy names it without a device."""
    packed = address.packed.removeprefix(bytes(10) + b"\xff\xff")
    return any(packed) and (address.version == 4 or not address.is_link_local)


def network(address: IPv4Address | IPv6Address, length: int) -> str:
    return str(ip_network((address, length), strict=False))


V6 = st.ip_addresses(v=6).filter(is_scanned)
PLACES = st.one_of(
    st.ip_addresses(v=4).filter(is_scanned).map(str),
    V6.map("{}".format) | V6.map("[{}]".format),
    st.integers(0, 2**64 - 1).map(lambda low: f"{IPv6Address((0xFE80 << 112) + low)}%eth0"),
    st.builds(network, st.ip_addresses(v=4), st.integers(0, 32)),
    # Not those of mapped addresses, which are IPv4's.
    st.builds(network, V6.filter(lambda each: int(each) >> 48 > 0), st.integers(0, 128)),
    st.from_regex(r"(eth|br-|veth)[0-9]{1,3}([.][0-9]{1,3})?(:[a-z]{1,2})?", fullmatch=True),
    st.sampled_from(["*", "veth*", "eth0:*", "br-*.7"]),
)
PROTOCOLS = st.sampled_from(["tcp", "udp"])
SERVICES = st.one_of(
    st.integers(0, 65535).map(str),
    st.builds("{}-{}".format, st.integers(0, 30000), st.integers(30001, 65535)),
    st.integers(1, 2**32 - 1).map("RPC_{}".format),
    st.sampled_from(["ephemeral", "portmapper", "sunrpc", "nfs"]),
)
OWNERS = st.one_of(
    WORD.filter(lambda name: name not in ("user", "unit")).map("@{}".format),
    TEXT.map("@/{}".format),
    TEXT.map("@user:{}".format),
    TEXT.map("@unit:{}.service".format),
    st.just(""),
)
ITEMS = st.lists(st.builds("{}/{}{}".format, SERVICES, PROTOCOLS, OWNERS), min_size=1, max_size=6)


@given(st.sampled_from([Kind.OPTIONAL, Kind.IGNORE]), PLACES, ITEMS)
def test_a_right_entry_is_printed_and_read_again(
    names: Names, kind: Kind, where: str, items: list[str]
) -> None:
    found, errors = grammar.rules(kind, f"{where}:{','.join(items)}", "F:1", names)
    printed = [str(rule) for rule in found]
    assert (errors, [each.removeprefix(f"{found[0].where}:") for each in printed]) == ([], items)
    again = [grammar.rules(kind, each, "F:1", names) for each in printed]
    assert again == [([rule], []) for rule in found]


def edited(entry: str, place: int, junk: str, removed: int) -> str:
    return entry[:place] + junk + entry[place + removed :]


NEARLY = st.builds(
    edited,
    st.builds("{}:{}".format, PLACES, ITEMS.map(",".join)),
    st.integers(0, 60),
    JUNK,
    st.integers(0, 3),
)


@given(st.sampled_from(Kind), JUNK | NEARLY)
def test_any_text_gives_rules_or_errors(names: Names, kind: Kind, text: str) -> None:
    found, errors = grammar.rules(kind, text, "F:1", names)
    assert found or errors
    for rule in found:
        assert grammar.rules(kind, str(rule), "F:1", names) == ([rule], [])
