from __future__ import annotations

import socket
import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import Protocol
from check_portcheck.rpc.oncrpc import (
    LARGEST_RECORD,
    LONGEST_STRING,
    LONGEST_VERIFIER,
    MOST_ENTRIES,
    MOST_FRAGMENTS,
    Mapping,
    Question,
    RecordReader,
    Refusal,
    dump_call,
    dump_reply,
    port_call,
    port_reply,
    record,
)
from check_portcheck.rpc.xdr import MalformedReplyError

if TYPE_CHECKING:
    from collections.abc import Iterable

TCP, UDP = Protocol.TCP, Protocol.UDP
XID = 0x5EED0001
ACCEPTED = bytes.fromhex("5eed0001 00000001 00000000 00000000 00000000")
"""Up to the accept status: the xid, REPLY, MSG_ACCEPTED, an empty verifier."""
SUCCESS = ACCEPTED + bytes(4)
DENIED = bytes.fromhex("5eed0001 00000001 00000001")
TRUE, FALSE = bytes.fromhex("00000001"), bytes(4)


def ipv4(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET, text)


def ipv6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def number(value: int) -> bytes:
    return struct.pack(">I", value)


def string(text: bytes) -> bytes:
    return number(len(text)) + text + bytes(-len(text) % 4)


def encode(version: int, mappings: Iterable[Mapping]) -> bytes:
    """The reply of a server that has these mappings."""
    entries = b"".join(TRUE + encode_entry(version, each) for each in mappings)
    return SUCCESS + entries + FALSE


def encode_entry(version: int, mapping: Mapping) -> bytes:
    head = number(mapping.program) + number(mapping.version)
    if version == 2:
        return head + number(6 if mapping.protocol is TCP else 17) + number(mapping.port)
    ip6 = len(mapping.address) == 16
    host = socket.inet_ntop(socket.AF_INET6 if ip6 else socket.AF_INET, mapping.address)
    netid = f"{mapping.protocol}6" if ip6 else str(mapping.protocol)
    uaddr = f"{host}.{mapping.port >> 8}.{mapping.port & 255}"
    return head + string(netid.encode()) + string(uaddr.encode()) + string(b"superuser")


DUMPS: dict[str, tuple[int, tuple[Mapping, ...], bytes]] = {
    "version 2, nothing registered": (2, (), FALSE),
    "version 4, nothing registered": (4, (), FALSE),
    "version 2, TCP and UDP": (
        2,
        (
            Mapping(100000, 2, TCP, bytes(4), 111),
            Mapping(100003, 3, UDP, bytes(4), 2049),
            Mapping(0xFFFFFFFF, 0xFFFFFFFF, TCP, bytes(4), 65535),
        ),
        bytes.fromhex(
            "00000001 000186a0 00000002 00000006 0000006f"
            "00000001 000186a3 00000003 00000011 00000801"
            "00000001 ffffffff ffffffff 00000006 0000ffff 00000000"
        ),
    ),
    "version 3, an address of its own": (
        3,
        (Mapping(100000, 3, UDP, ipv4("192.0.2.7"), 111),),
        bytes.fromhex(
            "00000001 000186a0 00000003 00000003 75647000"  # udp
            "0000000f 3139322e302e322e372e302e31313100"  # 192.0.2.7.0.111
            "00000009 737570657275736572000000 00000000"  # superuser
        ),
    ),
    "version 4, IPv6 and IPv4": (
        4,
        (
            Mapping(100000, 4, TCP, bytes(16), 111),
            Mapping(100003, 4, UDP, ipv6("2001:db8::7"), 2049),
            Mapping(100003, 4, TCP, bytes(4), 2049),
        ),
        bytes.fromhex(
            "00000001 000186a0 00000004 00000004 74637036"  # tcp6
            "00000008 3a3a2e302e313131"  # ::.0.111
            "00000009 737570657275736572000000"
            "00000001 000186a3 00000004 00000004 75647036"  # udp6
            "0000000f 323030313a6462383a3a372e382e3100"  # 2001:db8::7.8.1
            "00000009 737570657275736572000000"
            "00000001 000186a3 00000004 00000003 74637000"  # tcp
            "0000000b 302e302e302e302e382e3100"  # 0.0.0.0.8.1
            "00000009 737570657275736572000000 00000000"
        ),
    ),
}
VERSION_4 = SUCCESS + DUMPS["version 4, IPv6 and IPv4"][2]
VERSION_2 = SUCCESS + DUMPS["version 2, TCP and UDP"][2]

LOWEST_AND_HIGHEST = number(2) + number(4)
REFUSALS = {
    ACCEPTED + number(1): Refusal.PROG_UNAVAIL,
    ACCEPTED + number(2) + LOWEST_AND_HIGHEST: Refusal.PROG_MISMATCH,
    ACCEPTED + number(3): Refusal.PROC_UNAVAIL,
    ACCEPTED + number(4): Refusal.GARBAGE_ARGS,
    ACCEPTED + number(5): Refusal.SYSTEM_ERR,
    DENIED + number(0) + LOWEST_AND_HIGHEST: Refusal.RPC_MISMATCH,
    DENIED + number(1) + number(5): Refusal.AUTH_ERROR,
}


@pytest.mark.parametrize(("version", "mappings", "results"), DUMPS.values(), ids=DUMPS.keys())
def test_a_dump_is_decoded_and_encoded(
    version: int, mappings: tuple[Mapping, ...], results: bytes
) -> None:
    assert dump_reply(version, XID, SUCCESS + results) == mappings
    assert encode(version, mappings) == SUCCESS + results


def test_a_call_names_program_version_and_procedure() -> None:
    assert dump_call(4, XID) == bytes.fromhex(
        "5eed0001 00000000 00000002 000186a0 00000004 0000000400000000 00000000 00000000 00000000"
    )


@pytest.mark.parametrize(("message", "refusal"), REFUSALS.items(), ids=list(REFUSALS.values()))
def test_a_refusal_is_an_answer_of_its_own(message: bytes, refusal: Refusal) -> None:
    assert dump_reply(4, XID, message) is refusal
    with pytest.raises(MalformedReplyError):
        dump_reply(4, XID, message + b"\0")


def test_a_verifier_is_passed_over() -> None:
    verifier = number(6) + string(b"v" * LONGEST_VERIFIER)
    assert dump_reply(2, XID, DENIED[:8] + FALSE + verifier + FALSE + FALSE) == ()
    verifier = number(6) + string(b"v" * (LONGEST_VERIFIER + 1))
    with pytest.raises(MalformedReplyError, match="more than 400 bytes in one value"):
        dump_reply(2, XID, DENIED[:8] + FALSE + verifier + FALSE + FALSE)


@pytest.mark.parametrize(
    ("netid", "uaddr"),
    [
        (b"local", b"/run/rpcbind.sock"),
        (b"ticlts", b"host.rpc"),
        (b"sctp", b"0.0.0.0.8.1"),
        (b"TCP", b"0.0.0.0.8.1"),
        (b"", b""),
        (b"tcp", b""),
        (b"tcp", b"0.0.0.0"),
        (b"tcp", b"0.0.0.0.8"),
        (b"tcp", b"0.0.0.0.256.1"),
        (b"tcp", b"0.0.0.0.8.256"),
        (b"tcp", b"0.0.0.0.08.1"),
        (b"tcp", b"0.0.0.0.-8.1"),
        (b"tcp", b"0.0.0.0.0.0"),
        (b"tcp", b"0.0.0.0.0.8.1"),
        (b"tcp", b"0.0.0.0\0.8.1"),
        (b"tcp", b"0.0.0.0.\xd9\xa8.1"),
        (b"tcp", b"localhost.8.1"),
        (b"tcp", b"1" * LONGEST_STRING),
        (b"tcp", b"::.8.1"),
        (b"tcp6", b"0.0.0.0.8.1"),
        (b"tcp6", b"fe80::1%eth0.8.1"),
    ],
)
def test_an_entry_without_a_usable_port_does_not_hide_the_others(
    netid: bytes, uaddr: bytes
) -> None:
    unusable = number(100003) + number(3) + string(netid) + string(uaddr) + string(b"unknown")
    usable = Mapping(100005, 3, TCP, bytes(4), 635)
    entries = TRUE + unusable + TRUE + encode_entry(4, usable)
    assert dump_reply(4, XID, SUCCESS + entries + FALSE) == (usable,)


@pytest.mark.parametrize(("protocol", "port"), [(132, 2049), (6, 0), (6, 65536), (17, 0xFFFFFFFF)])
def test_a_version_2_entry_without_a_usable_port_does_not_hide_the_others(
    protocol: int, port: int
) -> None:
    unusable = struct.pack(">IIII", 100003, 3, protocol, port)
    usable = Mapping(100005, 3, TCP, bytes(4), 635)
    entries = TRUE + unusable + TRUE + encode_entry(2, usable)
    assert dump_reply(2, XID, SUCCESS + entries + FALSE) == (usable,)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "cut short"),
        (number(XID + 1) + VERSION_4[4:], "reply to another call"),
        (dump_call(4, XID), "no reply"),
        (number(XID) + number(2) + VERSION_4[8:], "no reply"),
        (number(XID) + number(1) + number(2), "reply status 2"),
        (ACCEPTED + number(6), "accept status 6"),
        (DENIED + number(2), "reject status 2"),
        (SUCCESS + number(2), "boolean 2"),
        (VERSION_4 + b"\0", "bytes after the end of the reply"),
        (VERSION_4[:-4] + TRUE, "cut short"),
        (VERSION_4.replace(b"tcp\0", b"tcp\1"), "padding other than zeros"),
        (SUCCESS + TRUE + bytes(8) + number(0xFFFFFFFF), "more than 9000 bytes in one value"),
        (SUCCESS + TRUE + bytes(8) + number(9000), "cut short"),
    ],
)
def test_a_malformed_reply_is_refused_with_the_reason(message: bytes, reason: str) -> None:
    with pytest.raises(MalformedReplyError, match=f"^{reason}$"):
        dump_reply(4, XID, message)


@pytest.mark.parametrize(("version", "message"), [(2, VERSION_2), (4, VERSION_4)])
def test_a_reply_cut_anywhere_is_refused(version: int, message: bytes) -> None:
    for end in range(len(message)):
        with pytest.raises(MalformedReplyError, match="cut short"):
            dump_reply(version, XID, message[:end])


@pytest.mark.parametrize("version", [2, 3])
def test_a_reply_to_one_version_is_no_reply_to_another(version: int) -> None:
    message = VERSION_4 if version == 2 else VERSION_2
    with pytest.raises(MalformedReplyError):
        dump_reply(version, XID, message)


@given(st.sampled_from([2, 3, 4]), st.binary(max_size=400))
def test_arbitrary_results_give_mappings_or_the_error_of_the_decoder(
    version: int, results: bytes
) -> None:
    try:
        answer = dump_reply(version, XID, SUCCESS + results)
    except MalformedReplyError:
        return
    assert isinstance(answer, tuple)
    assert len(answer) <= len(results) // 20


@given(
    st.sampled_from([(2, VERSION_2), (4, VERSION_4)]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=8)), max_size=5),
)
def test_a_mutated_reply_gives_an_answer_or_the_error_of_the_decoder(
    original: tuple[int, bytes], edits: list[tuple[int, int, bytes]]
) -> None:
    version, message = original
    for place, removed, inserted in edits:
        message = message[:place] + inserted + message[place + removed :]
    try:
        answer = dump_reply(version, XID, message)
    except MalformedReplyError:
        return
    assert isinstance(answer, tuple | Refusal)


@given(
    st.lists(
        st.builds(
            Mapping,
            program=st.integers(0, 0xFFFFFFFF),
            version=st.integers(0, 0xFFFFFFFF),
            protocol=st.sampled_from(Protocol),
            address=st.sampled_from([4, 16]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
            port=st.integers(1, 65535),
        )
    )
)
def test_any_mappings_come_back_as_they_were_encoded(mappings: list[Mapping]) -> None:
    assert dump_reply(4, XID, encode(4, mappings)) == tuple(mappings)


@pytest.mark.parametrize(
    ("version", "entry"),
    [(2, TRUE + bytes(16)), (3, TRUE + bytes(20)), (4, TRUE + bytes(8) + string(b"n") * 3)],
    ids=["version 2", "empty strings", "short strings"],
)
def test_an_endless_list_is_refused_without_being_stored(version: int, entry: bytes) -> None:
    message = SUCCESS + entry * (LARGEST_RECORD // len(entry))
    tracemalloc.start()
    try:
        with pytest.raises(MalformedReplyError, match=f"more than {MOST_ENTRIES} entries"):
            dump_reply(version, XID, message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < LARGEST_RECORD


def test_a_list_may_be_as_long_as_the_limit() -> None:
    mapping = Mapping(100003, 3, TCP, bytes(4), 2049)
    assert dump_reply(2, XID, encode(2, [mapping] * MOST_ENTRIES)) == (mapping,) * MOST_ENTRIES
    with pytest.raises(MalformedReplyError, match=f"more than {MOST_ENTRIES} entries"):
        dump_reply(2, XID, encode(2, [mapping] * (MOST_ENTRIES + 1)))


def test_the_bounds_of_what_a_local_user_can_make_us_read() -> None:
    assert (LARGEST_RECORD, MOST_FRAGMENTS, MOST_ENTRIES) == (1024 * 1024, 1024, 10_000)
    # libtirpc's RPC_MAXDATASIZE; RFC 5531, 8.2.
    assert (LONGEST_STRING, LONGEST_VERIFIER) == (9000, 400)


def read(stream: bytes, *cuts: int) -> list[bytes | None]:
    """What a RecordReader gives for each piece of the stream."""
    reader = RecordReader()
    ends = [*sorted(cuts), len(stream)]
    return [reader.feed(stream[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def fragments(message: bytes, *cuts: int) -> bytes:
    """The message as a record with a fragment for each part."""
    ends = [*sorted(cuts), len(message)]
    parts = [message[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    inner = b"".join(number(len(part)) + part for part in parts[:-1])
    return inner + record(parts[-1])


def test_a_record_is_one_last_fragment() -> None:
    assert record(b"abcd") == b"\x80\0\0\4abcd"
    assert read(record(b"abcd")) == [b"abcd"]


def test_a_record_is_complete_with_its_last_byte_wherever_the_stream_is_cut() -> None:
    stream = fragments(VERSION_4, 1, 1, 30)
    for cut in range(len(stream)):
        assert read(stream, cut) == [None, VERSION_4]
    assert read(stream, *range(1, len(stream))) == [None] * (len(stream) - 1) + [VERSION_4]


@given(
    st.lists(st.integers(0, len(VERSION_4)), max_size=20),
    st.lists(st.integers(0, len(VERSION_4)), max_size=20),
)
def test_a_message_comes_back_however_it_is_cut(parts: list[int], pieces: list[int]) -> None:
    *before, last = read(fragments(VERSION_4, *parts), *pieces)
    assert last == VERSION_4
    assert set(before) <= {None}


def test_an_incomplete_record_gives_nothing() -> None:
    stream = fragments(VERSION_4, 50)
    for end in range(len(stream)):
        assert read(stream[:end]) == [None]


def test_bytes_after_the_record_are_refused() -> None:
    with pytest.raises(MalformedReplyError, match="more than one reply"):
        read(record(VERSION_4) + b"\0")


def test_a_record_may_be_as_large_as_the_limit() -> None:
    message = bytes(LARGEST_RECORD)
    assert read(fragments(message, 7)) == [message]
    with pytest.raises(MalformedReplyError, match=f"more than {LARGEST_RECORD} bytes"):
        read(fragments(message + b"\0", 7))


@pytest.mark.parametrize("header", [0x00100001, 0x7FFFFFFF, 0x80100001, 0xFFFFFFFF])
def test_a_huge_fragment_is_refused_at_its_header(header: int) -> None:
    with pytest.raises(MalformedReplyError, match=f"more than {LARGEST_RECORD} bytes"):
        read(number(header))


def test_endless_fragments_are_refused() -> None:
    assert read(bytes(4 * MOST_FRAGMENTS - 4) + record(b"")) == [b""]
    with pytest.raises(MalformedReplyError, match=f"more than {MOST_FRAGMENTS} fragments"):
        read(bytes(4 * MOST_FRAGMENTS) + record(b""))


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_arbitrary_streams_give_a_record_or_the_error_of_the_decoder(
    stream: bytes, cuts: list[int]
) -> None:
    reader = RecordReader()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
        try:
            message = reader.feed(stream[start:end])
        except MalformedReplyError:
            return
        if message is not None:
            assert len(message) <= len(stream) - 4
            return


# One port


def test_the_question_for_a_port_names_program_version_and_transport() -> None:
    head = "00000000 00000002 000186a0 {:08x} 00000003 00000000 00000000 00000000 00000000"
    words = "000186a3 00000003"
    xid = f"{XID:08x}"
    two = port_call(2, XID, Question(100003, 3, Protocol.UDP))
    assert two == bytes.fromhex(f"{xid} {head.format(2)} {words} 00000011 00000000")
    four = port_call(4, XID, Question(100003, 3, Protocol.TCP))
    netid = "00000003 74637000"
    assert four == bytes.fromhex(f"{xid} {head.format(4)} {words} {netid} 00000000 00000000")


@pytest.mark.parametrize(
    ("version", "results", "port"),
    [
        (2, struct.pack(">I", 2049), 2049),
        (2, struct.pack(">I", 0), 0),
        (4, string(b"127.0.0.1.8.1"), 2049),
        (4, string(b"::1.8.1"), 2049),
        (4, string(b""), 0),
        (4, string(b"8.1"), 0),
        (4, string(b"x.8.256"), 0),
    ],
)
def test_the_answer_is_a_port(version: int, results: bytes, port: int) -> None:
    assert port_reply(version, XID, SUCCESS + results) == port


def test_what_is_no_port_is_malformed() -> None:
    with pytest.raises(MalformedReplyError, match="port 65536"):
        port_reply(2, XID, SUCCESS + struct.pack(">I", 65536))
    with pytest.raises(MalformedReplyError, match="bytes after the end"):
        port_reply(2, XID, SUCCESS + struct.pack(">II", 1, 1))
    with pytest.raises(MalformedReplyError, match="reply to another call"):
        port_reply(2, XID + 1, SUCCESS + struct.pack(">I", 1))
    assert port_reply(2, XID, DENIED + TRUE + TRUE) is Refusal.AUTH_ERROR


@given(st.sampled_from([2, 4]), st.binary(max_size=64))
def test_any_bytes_are_a_port_a_refusal_or_malformed(version: int, results: bytes) -> None:
    try:
        answer = port_reply(version, XID, SUCCESS + results)
    except MalformedReplyError:
        answer = 0
    assert 0 <= answer <= 65535 if isinstance(answer, int) else answer
