"""Lines of /proc/net as a kernel writes them, and as a sandbox that imitates it may."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given

from check_portcheck.kernel import procnet
from check_portcheck.model import Protocol, Socket

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

V4, V6 = socket.AF_INET, socket.AF_INET6
LINE = "0: 0100007F:0016 00000000:0000 0A 0:0 0:0 0 33 0 1674 1 0"


def line(packed: bytes, port: int, uid: int, inode: int) -> str:
    """As tcp4_seq_show() and tcp6_seq_show() of the kernel write a listener."""
    words = (packed[start : start + 4] for start in range(0, len(packed), 4))
    address = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    end = f"{address}:{port:04X} {'0' * len(address)}:0000 0A 00000000:00000000"
    return f"  12: {end} 00:00000000 00000000 {uid:5d} {0:8d} {inode} 1 0000000000000000 100 0\n"


@given(
    st.ip_addresses(),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_a_line_is_read_as_it_is_written(
    address: IPv4Address | IPv6Address, port: int, uid: int, inode: int
) -> None:
    family = V4 if address.version == 4 else V6
    lines = [line(address.packed, port, uid, inode)]
    text = socket.inet_ntop(family, address.packed)
    v6only = False if family == V4 else None
    expected = Socket(Protocol.TCP, text, port, v6only, None, uid, inode)
    assert list(procnet.rows(Protocol.TCP, family, lines)) == [expected]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LINE, ""),
        (" 33 0 1674 1 0", ""),
        (" 1674 1 0", ""),
        ("0100007F", "0100007"),
        ("0100007F", "-100007F"),
        ("0100007F", "0x00007F"),
        ("0100007F", "0100007F01"),
        ("0100007F", ""),
        (":0016", ""),
        (":0016", ":"),
        (":0016", ":0016:0016"),
        (":0016", ":10016"),
        (":0016", ":-016"),
        (":0016", ":010016"),
        ("33", "x"),
        ("1674", "9" * 5000),
    ],
)
def test_a_line_of_another_kind_is_refused(old: str, new: str) -> None:
    (found,) = procnet.rows(Protocol.TCP, V4, [LINE])
    assert found == Socket(Protocol.TCP, "127.0.0.1", 22, False, None, 33, 1674)  # noqa: FBT003
    with pytest.raises(ValueError, match=r"\w"):
        list(procnet.rows(Protocol.TCP, V4, [LINE.replace(old, new)]))


WORDS = st.sampled_from(LINE.split()) | st.text(
    st.sampled_from("0123456789ABCDEF:x-_ "), max_size=9
)


@given(st.sampled_from([V4, V6]), st.lists(WORDS, max_size=12).map(" ".join) | st.text())
def test_any_line_is_a_socket_none_or_refused(family: socket.AddressFamily, text: str) -> None:
    try:
        found = list(procnet.rows(Protocol.TCP, family, [text]))
    except ValueError:
        found = []
    for each in found:
        assert socket.inet_pton(family, each.address)
        assert 0 <= each.port <= 65535
