from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.kernel import netlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROW, DONE, ERROR = 20, 3, 2
INTERRUPTED = 0x10


def message(kind: int, payload: bytes = b"", *, flags: int = 0, sequence: int = 1) -> bytes:
    length = 16 + len(payload)
    header = struct.pack("=IHHII", length, kind, flags, sequence, 0)
    return header + payload + bytes(-length % 4)


def code(number: int) -> bytes:
    return struct.pack("=i", number)


@pytest.fixture(name="ends")
def ends_fixture() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection, and the end at which a kernel would be."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        one.settimeout(10)
        yield one, other


Ends = tuple[socket.socket, socket.socket]


# Framing


def test_messages_of_a_datagram() -> None:
    datagram = message(ROW, b"abc", flags=2, sequence=7) + message(DONE, code(0))
    assert list(netlink.messages(datagram)) == [(ROW, 2, 7, b"abc"), (DONE, 0, 1, code(0))]
    assert list(netlink.messages(b"")) == []


@pytest.mark.parametrize("length", [0, 15, 21, 2**32 - 1])
def test_a_message_that_is_longer_than_its_datagram_is_refused(length: int) -> None:
    datagram = struct.pack("=IHHII", length, ROW, 0, 1, 0) + b"four"
    with pytest.raises(OSError, match="out of bounds"):
        list(netlink.messages(datagram))


def test_a_message_may_end_with_its_datagram() -> None:
    # The last one need not be padded, and less than a header after it is no message.
    assert list(netlink.messages(message(ROW, b"abcde")[:21])) == [(ROW, 0, 1, b"abcde")]
    assert list(netlink.messages(message(ROW) + bytes(15))) == [(ROW, 0, 1, b"")]
    with pytest.raises(OSError, match="out of bounds") as caught:
        list(netlink.messages(message(ROW, b"abcde")[:20]))
    assert caught.value.errno == errno.EBADMSG
    with pytest.raises(OSError, match="out of bounds"):
        list(netlink.messages(message(ROW) + bytes(16)))


@given(st.binary(max_size=100))
def test_any_datagram_is_split_or_refused(datagram: bytes) -> None:
    error = errno.EBADMSG
    size = 0
    try:
        size = sum(16 + len(payload) for *_, payload in netlink.messages(datagram))
    except OSError as refused:
        error = refused.errno or 0
    assert (error, size <= len(datagram)) == (errno.EBADMSG, True)


def test_attributes() -> None:
    data = netlink.attribute(1, b"abc") + netlink.attribute(7, b"") + netlink.attribute(9, b"wxyz")
    assert len(data) == 8 + 4 + 8
    assert netlink.attributes(data) == {1: b"abc", 7: b"", 9: b"wxyz"}


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=20)))
def test_attributes_survive_the_round_trip(found: dict[int, bytes]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in found.items())
    assert netlink.attributes(data) == found
    flagged = b"".join(netlink.attribute(0xC000 | kind, value) for kind, value in found.items())
    assert netlink.attributes(flagged) == found


@pytest.mark.parametrize("length", [0, 3, 9, 65535])
def test_an_attribute_that_is_out_of_bounds_is_refused(length: int) -> None:
    with pytest.raises(OSError, match="out of bounds"):
        netlink.attributes(struct.pack("=HH", length, 1) + b"four")


def test_an_attribute_may_end_with_the_data() -> None:
    data = netlink.attribute(1, b"abc") + netlink.attribute(7, b"x")
    assert netlink.attributes(data[:-3]) == {1: b"abc", 7: b"x"}
    assert netlink.attributes(data[:11]) == {1: b"abc"}
    with pytest.raises(OSError, match="out of bounds") as caught:
        netlink.attributes(data[:-4])
    assert caught.value.errno == errno.EBADMSG


def test_an_attribute_is_padded_with_zeros() -> None:
    assert netlink.attribute(7, b"abcde") == struct.pack("=HH", 9, 7) + b"abcde\0\0\0"


@given(st.binary(max_size=100))
def test_any_attributes_are_split_or_refused(data: bytes) -> None:
    error = errno.EBADMSG
    try:
        netlink.attributes(data)
    except OSError as refused:
        error = refused.errno or 0
    assert error == errno.EBADMSG


# Questions


def test_a_dump_is_all_rows_up_to_the_end(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(ROW, b"one") + message(ROW, b"two"))
    kernel.send(message(ROW, b"three") + message(DONE, code(0)))
    assert netlink.dump(connection, ROW, b"body") == [b"one", b"two", b"three"]
    assert kernel.recv(100) == struct.pack("=IHHII", 20, ROW, 0x301, 1, 0) + b"body"


def test_rows_of_an_earlier_dump_are_left_out(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(ROW, b"old", sequence=0) + message(DONE, code(0), sequence=0))
    kernel.send(message(ROW, b"new") + message(DONE, code(0)))
    assert netlink.dump(connection, ROW, b"") == [b"new"]


@pytest.mark.parametrize("where", ["row", "end"])
def test_an_interrupted_dump_is_taken_again(ends: Ends, where: str) -> None:
    connection, kernel = ends
    row, end = (INTERRUPTED, 0) if where == "row" else (0, INTERRUPTED)
    kernel.send(message(ROW, b"half", flags=row) + message(DONE, code(0), flags=end))
    again = message(ROW, b"whole", sequence=2) + message(DONE, code(0), sequence=2)
    kernel.send(again)
    assert netlink.dump(connection, ROW, b"body") == [b"whole"]
    for sequence in (1, 2):
        assert kernel.recv(100) == struct.pack("=IHHII", 20, ROW, 0x301, sequence, 0) + b"body"


def test_a_dump_interrupted_in_one_datagram_is_so_as_a_whole(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(ROW, b"half", flags=INTERRUPTED))
    kernel.send(message(ROW, b"rest") + message(DONE, code(0)))
    kernel.send(message(ROW, b"whole", sequence=2) + message(DONE, code(0), sequence=2))
    assert netlink.dump(connection, ROW, b"") == [b"whole"]


def test_other_flags_do_not_mean_that_a_dump_was_interrupted(ends: Ends) -> None:
    connection, kernel = ends
    flags = 0xFFFF & ~INTERRUPTED
    kernel.send(message(ROW, b"row", flags=flags) + message(DONE, code(0), flags=flags))
    assert netlink.dump(connection, ROW, b"") == [b"row"]


def test_the_interruption_of_an_earlier_dump_does_not_count(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(ROW, b"old", flags=INTERRUPTED, sequence=0))
    kernel.send(message(ERROR, code(-errno.EPERM), sequence=0))
    kernel.send(message(ROW, b"new") + message(DONE, code(0)))
    assert netlink.dump(connection, ROW, b"") == [b"new"]


def test_a_table_that_never_rests_is_an_error(ends: Ends) -> None:
    connection, kernel = ends
    for sequence in range(1, 11):
        kernel.send(message(DONE, code(0), flags=INTERRUPTED, sequence=sequence))
    with pytest.raises(OSError, match="changed during every dump") as caught:
        netlink.dump(connection, ROW, b"")
    assert caught.value.errno == errno.EAGAIN
    asked = [struct.unpack("=IHHII", kernel.recv(100))[3] for _ in range(10)]
    assert asked == list(range(1, 11))
    with pytest.raises(BlockingIOError):
        kernel.recv(100, socket.MSG_DONTWAIT)


def test_the_last_attempt_may_succeed(ends: Ends) -> None:
    connection, kernel = ends
    for sequence in range(1, 10):
        kernel.send(message(DONE, code(0), flags=INTERRUPTED, sequence=sequence))
    kernel.send(message(ROW, b"row", sequence=10) + message(DONE, code(0), sequence=10))
    assert netlink.dump(connection, ROW, b"") == [b"row"]


@pytest.mark.parametrize(
    "answer",
    [
        message(ERROR, code(-errno.ENOENT) + bytes(16)),
        message(ROW, b"row") + message(DONE, code(-errno.ENOENT)),
    ],
)
def test_an_error_of_the_kernel_is_raised(ends: Ends, answer: bytes) -> None:
    connection, kernel = ends
    kernel.send(answer)
    with pytest.raises(OSError, match="ENOENT") as caught:
        netlink.dump(connection, ROW, b"")
    assert caught.value.errno == errno.ENOENT


def test_an_error_that_has_no_name_has_its_number(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(ERROR, code(-9999)))
    with pytest.raises(OSError, match="netlink error") as caught:
        netlink.dump(connection, ROW, b"")
    assert caught.value.errno == 9999


def test_an_error_without_a_number_is_an_error(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(ERROR, b"\0\0\0"))
    with pytest.raises(OSError, match="error without a number") as caught:
        netlink.ask(connection, ROW, b"")
    assert caught.value.errno == errno.EBADMSG


@pytest.mark.parametrize("end", [b"", b"\xff\xff\xff", code(0), code(1), code(0) + b"\xff" * 4])
def test_an_end_without_an_error_is_an_end(ends: Ends, end: bytes) -> None:
    connection, kernel = ends
    kernel.send(message(ROW, b"row") + message(DONE, end))
    assert netlink.dump(connection, ROW, b"") == [b"row"]


def test_a_large_datagram_is_read_whole(ends: Ends) -> None:
    connection, kernel = ends
    rows = [bytes([number]) * 1000 for number in range(100)]
    kernel.send(b"".join(message(ROW, row) for row in rows) + message(DONE, code(0)))
    assert netlink.dump(connection, ROW, b"") == rows


def test_one_question_has_one_answer(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(24, b"route"))
    assert netlink.ask(connection, 26, b"body") == b"route"
    assert kernel.recv(100) == struct.pack("=IHHII", 20, 26, 0x1, 1, 0) + b"body"


def test_a_question_may_be_refused(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(ERROR, code(-errno.ENETUNREACH)))
    with pytest.raises(OSError, match="ENETUNREACH") as caught:
        netlink.ask(connection, 26, b"")
    assert caught.value.errno == errno.ENETUNREACH


def test_an_empty_answer_is_an_error(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(b"\0" * 8)
    with pytest.raises(OSError, match="empty answer") as caught:
        netlink.ask(connection, 26, b"")
    assert caught.value.errno == errno.EBADMSG


def test_only_the_first_message_is_the_answer(ends: Ends) -> None:
    connection, kernel = ends
    kernel.send(message(24, b"route") + message(24, b"other"))
    assert netlink.ask(connection, 26, b"") == b"route"


# The kernel


NETLINK_ROUTE, NETLINK_USERSOCK = 0, 2
"""linux/netlink.h; on the second one unprivileged processes too may send to each other."""
NOTHING = 1
"""NLMSG_NOOP: the kernel passes such a message over."""
LINKS = 18
"""RTM_GETLINK of linux/rtnetlink.h."""


def test_only_the_kernel_can_answer() -> None:
    with (
        netlink.connect(NETLINK_USERSOCK) as connection,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK) as stranger,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK) as other,
    ):
        port, _ = connection.getsockname()
        assert port, "without one there is no way to it"
        with pytest.raises(ConnectionRefusedError):
            stranger.sendto(message(DONE), (port, 0))
        with pytest.raises(BlockingIOError):
            connection.recv(100, socket.MSG_DONTWAIT)
        # So is it only because of the connection.
        other.bind((0, 0))
        stranger.sendto(message(DONE), other.getsockname())
        assert other.recv(100) == message(DONE)


def test_a_silent_kernel_is_given_up_after_two_seconds() -> None:
    with netlink.connect(NETLINK_ROUTE) as connection:
        patience = connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    assert patience == struct.pack("ll", 2, 0)


@pytest.mark.parametrize("question", [netlink.ask, netlink.dump])
def test_a_silent_kernel_is_an_error(
    monkeypatch: pytest.MonkeyPatch, question: Callable[[socket.socket, int, bytes], object]
) -> None:
    monkeypatch.setattr(netlink, "_PATIENCE", struct.pack("ll", 0, 10_000))
    with (
        netlink.connect(NETLINK_ROUTE) as connection,
        pytest.raises(BlockingIOError) as caught,
    ):
        question(connection, NOTHING, b"")
    assert caught.value.errno == errno.EAGAIN


def test_the_kernel_answers() -> None:
    with netlink.connect(NETLINK_ROUTE) as connection:
        assert not connection.get_inheritable()
        links = netlink.dump(connection, LINKS, bytes(16))
        assert any(b"lo\0" in netlink.attributes(link[16:]).values() for link in links)
        with pytest.raises(OSError, match="ENOTSUP") as caught:
            netlink.ask(connection, 0x7FFF, bytes(16))
    assert caught.value.errno == errno.EOPNOTSUPP


def test_a_protocol_that_the_kernel_lacks_is_an_error() -> None:
    with pytest.raises(OSError, match="not supported") as caught:
        netlink.connect(31)
    assert caught.value.errno == errno.EPROTONOSUPPORT
