from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.config.interfaces import chosen_address, chosen_device, interface
from check_portcheck.config.values import TokenError
from check_portcheck.policy.rules import ANY_INTERFACE, InterfacePattern

if TYPE_CHECKING:
    from collections.abc import Callable


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
    assert interface(text) == InterfacePattern(network, ip_network(network))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("veth*", "veth*"),
        ("*th0", "*th0"),
        ("v**h*", "v*h*"),
        ("eth0:*", "eth0:*"),
        ("eth0.*", "eth0.*"),
        ("*.100", "*.100"),
        ("abcdefghijklmno*", "abcdefghijklmno*"),
    ],
)
def test_interface_may_be_a_pattern_of_devices(text: str, pattern: str) -> None:
    found = interface(text)
    assert found == InterfacePattern(pattern)
    assert found.is_pattern


LINK_LOCAL = "is link-local and needs its device, as in %eth0"
SCOPED = "has a device, which only link-local addresses take"
NEITHER = "is no address and no device"
NO_NETWORK = "is no network, ADDRESS/LENGTH"
NO_MARK = "only what is scanned can be left out, by such a mark"
WRITE_ALL = "write --interface all (in a file: PortCheckInterface = all)"
NO_BLANK = "leaves out what follows it without a blank: !NAME"


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
        ("all", f"'all' {NEITHER}"),
        ("", f"'' {NEITHER}"),
        ("0.0.0.0", "'0.0.0.0' is the wildcard, the address of no interface"),
        ("[::]", "'[::]' is the wildcard, the address of no interface"),
        ("::ffff:0.0.0.0", "'::ffff:0.0.0.0' is the wildcard, the address of no interface"),
        ("fe80::1", f"'fe80::1' {LINK_LOCAL}"),
        ("[fe80::1%]", f"'[fe80::1%]' {LINK_LOCAL}"),
        ("2001:db8::1%eth0", f"'2001:db8::1%eth0' {SCOPED}"),
        ("192.0.2.7%eth0", f"'192.0.2.7%eth0' {SCOPED}"),
        ("10.1.0.0/8", "'10.1.0.0/8' has host bits set: the network is 10.0.0.0/8"),
        ("2001:db8::1/32", "'2001:db8::1/32' has host bits set: the network is 2001:db8::/32"),
        ("10.0.0.0/33", "'10.0.0.0/33': '33' is above 32"),
        ("2001:db8::/129", "'2001:db8::/129': '129' is above 128"),
        ("10.0.0.0/08", "'10.0.0.0/08': '08' begins with 0 like an octal number"),
        ("10.0.0.0/255.0.0.0", f"'10.0.0.0/255.0.0.0' {NO_NETWORK}"),
        ("10.0.0.0/", f"'10.0.0.0/' {NO_NETWORK}"),
        ("eth0/8", f"'eth0/8' {NO_NETWORK}"),
        ("::ffff:10.0.0.0/104", f"'::ffff:10.0.0.0/104' {NO_NETWORK}"),
        ("a\0b.c", rf"'a\x00b.c' {NEITHER}"),
        ("**", f"'**' {NEITHER}"),
        ("eth?", f"'eth?' {NEITHER}"),
        ("eth[0-9]", f"'eth[0-9]' {NEITHER}"),
        ("eth0@if7", f"'eth0@if7' {NEITHER}"),
        ("!docker0", f"'!docker0': {NO_MARK}"),
        ("!veth*", f"'!veth*': {NO_MARK}"),
        ("eth+", f"'eth+' {NEITHER}"),
        ("*:web", f"'*:web' {NEITHER}"),
        ("*:6000", f"'*:6000' {NEITHER}"),
        ("eth0%1", f"'eth0%1' {NEITHER}"),
        *((f"{mark}eth0", f"{f'{mark}eth0'!r} {NEITHER}") for mark in "\"'`|;"),
        ("192.0.2.*", f"'192.0.2.*' {NEITHER}"),
        ("10.*", f"'10.*' {NEITHER}"),
        ("*.example", f"'*.example' {NEITHER}"),
        ("abcdefghijklmnop*", f"'abcdefghijklmnop*' {NEITHER}"),
        ("e*:0:1", f"'e*:0:1' {NEITHER}"),
        ("8080", f"'8080' {NEITHER}"),
        ("8080:1", f"'8080:1' {NEITHER}"),
        *((word, f"'{word}' {NEITHER}") for word in ("any", "localhost", "tcp", "udp6")),
    ],
)
def test_wrong_interface_is_refused(text: str, message: str) -> None:
    with pytest.raises(TokenError) as caught:
        interface(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("read_token", "text", "name"),
    [
        (chosen_address, "all", "all"),
        (chosen_address, "ALL", "all"),
        (chosen_address, "[::1]", "::1"),
        (chosen_address, "::ffff:192.0.2.7", "192.0.2.7"),
        (chosen_address, "fe80::1%eth0", "fe80::1%eth0"),
        (chosen_device, "eth0", "eth0"),
        (chosen_device, "eth0:1", "eth0:1"),
        (chosen_device, "wg.home", "wg.home"),
        (chosen_address, "!::ffff:192.0.2.7", "!192.0.2.7"),
        (chosen_address, "!fe80:0::1%eth0", "!fe80::1%eth0"),
        (chosen_address, "192.0.2.0/24", "192.0.2.0/24"),
        (chosen_address, "2001:DB8:0::/32", "2001:db8::/32"),
        (chosen_address, "![2001:DB8::]/32", "!2001:db8::/32"),
        (chosen_device, "eth*", "eth*"),
        (chosen_device, "**th**", "*th*"),
        (chosen_device, "eth0.*", "eth0.*"),
        (chosen_device, "!docker0", "!docker0"),
        (chosen_device, "!veth*", "!veth*"),
        (chosen_device, 7 * "\u00e9", 7 * "\u00e9"),
        (chosen_device, "eth0\udcff", "eth0\udcff"),
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
            chosen_address,
            "eth0",
            "'eth0' is no IP address: write --device eth0 (in a file: PortCheckDevice = eth0)",
        ),
        (chosen_address, "host.example", "'host.example' is no IP address"),
        (
            chosen_address,
            "192.0.2.7/24",
            "'192.0.2.7/24' has host bits set: the network is 192.0.2.0/24",
        ),
        (chosen_address, "eth0/24", "'eth0/24' is no network, ADDRESS/LENGTH"),
        (chosen_address, "!all", "'all' is no IP address"),
        (chosen_address, "!!::1", "'!::1' is no IP address"),
        (chosen_address, "!", f"'!' {NO_BLANK}"),
        (chosen_device, "!", f"'!' {NO_BLANK}"),
        (chosen_device, "!!docker0", "'!!docker0' is no device"),
        (chosen_device, "*", f"'*' is no device: {WRITE_ALL}"),
        (chosen_device, "!*", "'!*' is no device"),
        (chosen_device, "!all", "'!all' is no device"),
        (chosen_device, "eth?", "'eth?' is no device"),
        (
            chosen_address,
            "!veth*",
            (
                "'!veth*' is no IP address: "
                "write --device !veth* (in a file: PortCheckDevice = !veth*)"
            ),
        ),
        (
            chosen_device,
            "!192.0.2.0/24",
            (
                "'!192.0.2.0/24' is no device: "
                "write --interface !192.0.2.0/24 (in a file: PortCheckInterface = !192.0.2.0/24)"
            ),
        ),
        (chosen_address, "*", "'*' is for lists: write all"),
        (chosen_address, "", "'' is no IP address"),
        (chosen_address, "fe80::1", f"'fe80::1' {LINK_LOCAL}"),
        (
            chosen_device,
            "192.0.2.7",
            (
                "'192.0.2.7' is no device: "
                "write --interface 192.0.2.7 (in a file: PortCheckInterface = 192.0.2.7)"
            ),
        ),
        (
            chosen_device,
            "[fe80::1%eth0]",
            (
                "'[fe80::1%eth0]' is no device: "
                "write --interface fe80::1%eth0 (in a file: PortCheckInterface = fe80::1%eth0)"
            ),
        ),
        (chosen_device, "192.0.2.7/24", "'192.0.2.7/24' is no device"),
        (chosen_device, "0.0.0.0", "'0.0.0.0' is no device"),
        (chosen_device, "any", f"'any' is no device: {WRITE_ALL}"),
        (chosen_device, "all", f"'all' is no device: {WRITE_ALL}"),
        (chosen_device, "default", "'default' is no device"),
        (chosen_device, ".", "'.' is no device"),
        (chosen_device, "..", "'..' is no device"),
        (chosen_device, "", "'' is no device"),
        (chosen_device, 8 * "\u00e9", repr(8 * "\u00e9") + " is no device"),
        (chosen_device, "abcdefghijklmnop", "'abcdefghijklmnop' is no device"),
    ],
)
def test_what_cannot_be_scanned_is_refused(
    read_token: Callable[[str], str], text: str, message: str
) -> None:
    with pytest.raises(TokenError) as caught:
        read_token(text)
    assert str(caught.value) == message


@given(st.text(st.sampled_from("eth0.*:!/[]%129f@?-")))
@pytest.mark.parametrize("read_token", [chosen_address, chosen_device])
def test_what_is_chosen_is_read_back_as_it_is_spelled(
    read_token: Callable[[str], str], text: str
) -> None:
    try:
        name = read_token(text)
    except TokenError:
        return
    assert read_token(name) == name


@given(st.text(st.sampled_from("eth0.*:!/[]%129f@?-")))
def test_an_interface_is_read_back_as_it_is_spelled(text: str) -> None:
    try:
        found = interface(text)
    except TokenError:
        return
    assert interface(str(found)) == found
    assert found.names_one or found.is_pattern or found.network or found == ANY_INTERFACE
