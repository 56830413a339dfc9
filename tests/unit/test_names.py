from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given

from check_portcheck.kernel import namefiles
from check_portcheck.model import Port, Protocol
from check_portcheck.names import Names
from check_portcheck.names import names as names_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TCP, UDP = Protocol.TCP, Protocol.UDP

SERVICES = """\
# network services
tcpmux          1/tcp                           # TCP port service multiplexer
ssh             22/tcp
domain          53/tcp
domain          53/udp
http\t\t80/tcp\t\twww web # WorldWideWeb
http-alt        8080/tcp webcache
another-alt     8080/tcp
http            8008/tcp
sctp-only       9/sctp
too-high        65536/tcp
much-too-high   99999999999999999999/tcp
arabic          \u0662\u0662/udp
negative        -1/tcp
nothing
no-number       tcp
#commented      23/tcp
"""

RPC = """\
portmapper      100000  portmap sunrpc rpcbind
rstatd          100001  rstat rup
nfs             300003  nfsprog         # moved
3270_mapper     100013
rstat_svc       100001
too_high        4294967296
highest         4294967295
word            number
"""


@pytest.fixture
def names() -> Names:
    return names_in(SERVICES, RPC)


@pytest.mark.parametrize(
    ("port", "name"),
    [
        pytest.param(Port(TCP, 1), "tcpmux", id="comment-at-the-end"),
        pytest.param(Port(TCP, 80), "http", id="primary-name-and-not-an-alias"),
        pytest.param(Port(UDP, 53), "domain", id="udp"),
        pytest.param(Port(UDP, 22), None, id="other-protocol"),
        pytest.param(Port(TCP, 8080), "http-alt", id="first-line-wins"),
        pytest.param(Port(TCP, 9), None, id="sctp"),
        pytest.param(Port(TCP, 23), None, id="commented-out"),
        pytest.param(Port(UDP, 22), None, id="digits-of-another-script"),
        pytest.param(Port(TCP, 65535), None, id="unnamed"),
    ],
)
def test_port_has_the_name_of_its_first_line(names: Names, port: Port, name: str | None) -> None:
    assert names.services.get(port) == name


@pytest.mark.parametrize(
    ("name", "protocol", "number"),
    [
        pytest.param("ssh", TCP, 22, id="name"),
        pytest.param("web", TCP, 80, id="alias"),
        pytest.param("http", TCP, 80, id="first-line-wins"),
        pytest.param("ssh", UDP, None, id="other-protocol"),
        pytest.param("SSH", TCP, None, id="case"),
        pytest.param("too-high", TCP, None, id="above-65535"),
        pytest.param("much-too-high", TCP, None, id="more-digits-than-any-number-has"),
        pytest.param("negative", TCP, None, id="negative"),
        pytest.param("#", TCP, None, id="comment"),
    ],
)
def test_service_is_found_by_name_and_alias(
    names: Names, name: str, protocol: Protocol, number: int | None
) -> None:
    assert names.ports.get((name, protocol)) == number


@pytest.mark.parametrize(
    ("name", "program"),
    [
        pytest.param("rstatd", 100001, id="name"),
        pytest.param("rup", 100001, id="alias"),
        pytest.param("rstat_svc", 100001, id="name-of-a-second-line"),
        pytest.param("nfs", 300003, id="file-before-what-is-built-in"),
        pytest.param("mountd", 100005, id="built-in"),
        pytest.param("highest", 2**32 - 1, id="highest"),
        pytest.param("too_high", None, id="above-32-bits"),
        pytest.param("word", None, id="no-number"),
        pytest.param("ssh", None, id="service"),
    ],
)
def test_program_is_found_by_name_and_alias(names: Names, name: str, program: int | None) -> None:
    assert names.programs.get(name) == program


@pytest.mark.parametrize(
    ("program", "name"),
    [
        pytest.param(100000, "portmapper", id="file"),
        pytest.param(100001, "rstatd", id="first-line-wins"),
        pytest.param(300003, "nfs", id="file-before-what-is-built-in"),
        pytest.param(100021, "nlockmgr", id="built-in"),
        pytest.param(400000, "RPC_400000", id="unnamed"),
    ],
)
def test_program_has_the_name_of_its_first_line(names: Names, program: int, name: str) -> None:
    assert names.rpc(program) == name


def test_an_unnamed_program_has_no_name_of_its_own(names: Names) -> None:
    assert 400000 not in names.rpc_names


def test_without_files_only_the_well_known_programs_have_names(tmp_path: Path) -> None:
    names = namefiles.read(tmp_path / "services", tmp_path / "rpc")
    assert (names.services, names.ports) == ({}, {})
    known = ("portmapper", "portmap", "sunrpc", "rpcbind", "nfs", "mountd", "nlockmgr", "status")
    numbers = [100000, 100000, 100000, 100000, 100003, 100005, 100021, 100024]
    assert names.programs == dict(zip(known, numbers, strict=True))
    assert names.rpc(100000) == "portmapper"


@pytest.mark.parametrize("digits", ["x", "", "22.0", "1e1", "\u0662", "00000000022", "9" * 5000])
def test_what_has_no_number_has_no_name(digits: str) -> None:
    """int() takes more than a port number is, and refuses what has thousands of digits."""
    names = names_in(f"name {digits}/tcp alias\nssh 22/tcp", f"name {digits} alias\nrpc 0000000022")
    assert (names.services, names.ports) == ({Port(TCP, 22): "ssh"}, {("ssh", TCP): 22})
    assert names.programs["rpc"] == 22
    assert {"name", "alias"}.isdisjoint(names.programs)


def test_what_is_built_in_follows_a_file_without_a_line_end() -> None:
    names = names_in("ssh 22/tcp", "rstatd 100001")
    assert names.services == {Port(TCP, 22): "ssh"}
    assert (names.programs["rstatd"], names.programs["portmapper"]) == (100001, 100000)


def test_both_files_are_read(tmp_path: Path) -> None:
    services, rpc = tmp_path / "services", tmp_path / "rpc"
    services.write_text(SERVICES, encoding="utf-8")
    rpc.write_text(RPC, encoding="utf-8")
    assert namefiles.read(services, rpc) == names_in(SERVICES, RPC)


def test_the_systems_own_files_are_read_by_default() -> None:
    assert namefiles.read() == namefiles.read("/etc/services", "/etc/rpc")


def test_a_directory_in_place_of_a_file_names_nothing(tmp_path: Path) -> None:
    assert namefiles.read(tmp_path, tmp_path).services == {}


def test_bytes_that_are_no_utf8_do_not_hide_the_other_lines(tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.write_bytes(b"\xff\xfe 21/tcp\nssh 22/tcp\n")
    assert namefiles.read(services, tmp_path / "rpc").services[Port(TCP, 22)] == "ssh"


def test_only_the_beginning_of_a_huge_file_is_read(tmp_path: Path) -> None:
    services = tmp_path / "services"
    filler = "#" * (namefiles.MAX_SIZE - len("ssh 22/tcp\n") - 1) + "\n"
    services.write_text(f"ssh 22/tcp\n{filler}late 23/tcp\n", encoding="utf-8")
    assert namefiles.read(services, tmp_path / "rpc").services == {Port(TCP, 22): "ssh"}


# Whatever the texts are

WORDS = st.sampled_from(["ssh", "22/tcp", "22/udp", "65536/tcp", "7", "#", "\n", "\t"]) | st.text()
NAME = st.text(st.characters(codec="ascii", categories=["L", "N", "P"], exclude_characters="#"))
NAMED = st.dictionaries(
    st.builds(Port, st.sampled_from(Protocol), st.integers(0, 65535)), NAME.filter(bool)
)


@given(st.lists(WORDS).map(" ".join) | st.text(), st.lists(WORDS).map(" ".join) | st.text())
def test_any_texts_give_names_of_ports_and_programs(services: str, rpc: str) -> None:
    names = names_in(services, rpc)
    given_names = {*names.services.values(), *(name for name, _ in names.ports)}
    assert given_names <= set(services.replace("#", " ").split())
    assert all(0 <= each.number <= 65535 for each in names.services)
    assert all(0 <= each < 2**32 for each in (*names.rpc_names, *names.programs.values()))
    assert all(names.programs[name] in names.rpc_names for name in names.programs)


@given(NAMED)
def test_names_are_read_as_they_are_written(named: Mapping[Port, str]) -> None:
    lines = [f"{name}\t{port.number}/{port.protocol} # {name}" for port, name in named.items()]
    assert names_in("\n".join(lines), "").services == named
