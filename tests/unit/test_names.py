from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.model import Port, Protocol
from check_portcheck.names import MAX_SIZE, Names

if TYPE_CHECKING:
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
def names(tmp_path: Path) -> Names:
    services, rpc = tmp_path / "services", tmp_path / "rpc"
    services.write_text(SERVICES, encoding="utf-8")
    rpc.write_text(RPC, encoding="utf-8")
    return Names(services, rpc)


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
    assert names.service(port) == name


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
    assert names.port_of(name, protocol) == number


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
    assert names.program(name) == program


@pytest.mark.parametrize(
    ("program", "name"),
    [
        pytest.param(100000, "portmapper", id="file"),
        pytest.param(100001, "rstatd", id="first-line-wins"),
        pytest.param(300003, "nfs", id="file-before-what-is-built-in"),
        pytest.param(100021, "nlockmgr", id="built-in"),
        pytest.param(400000, None, id="unnamed"),
    ],
)
def test_program_has_the_name_of_its_first_line(
    names: Names, program: int, name: str | None
) -> None:
    assert names.rpc(program) == name


def test_without_files_only_the_well_known_programs_have_names(tmp_path: Path) -> None:
    names = Names(tmp_path / "services", tmp_path / "rpc")
    assert names.service(Port(TCP, 22)) is None
    assert names.port_of("ssh", TCP) is None
    known = ("portmapper", "portmap", "sunrpc", "rpcbind", "nfs", "mountd", "nlockmgr", "status")
    numbers = [100000, 100000, 100000, 100000, 100003, 100005, 100021, 100024]
    assert [names.program(name) for name in known] == numbers
    assert names.program("rstatd") is None


def test_a_directory_in_place_of_a_file_names_nothing(tmp_path: Path) -> None:
    assert Names(tmp_path, tmp_path).service(Port(TCP, 22)) is None


def test_bytes_that_are_no_utf8_do_not_hide_the_other_lines(tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.write_bytes(b"\xff\xfe 21/tcp\nssh 22/tcp\n")
    assert Names(services, tmp_path / "rpc").service(Port(TCP, 22)) == "ssh"


def test_file_is_read_at_the_first_use_and_never_again(tmp_path: Path) -> None:
    services = tmp_path / "services"
    names = Names(services, tmp_path / "rpc")
    services.write_text("ssh 22/tcp\n", encoding="utf-8")
    assert names.service(Port(TCP, 22)) == "ssh"
    services.write_text("other 22/tcp\n", encoding="utf-8")
    assert names.service(Port(TCP, 22)) == "ssh"


def test_only_the_beginning_of_a_huge_file_is_read(tmp_path: Path) -> None:
    services = tmp_path / "services"
    filler = "#" * (MAX_SIZE - len("ssh 22/tcp\n") - 1) + "\n"
    services.write_text(f"ssh 22/tcp\n{filler}late 23/tcp\n", encoding="utf-8")
    names = Names(services, tmp_path / "rpc")
    assert names.service(Port(TCP, 22)) == "ssh"
    assert names.service(Port(TCP, 23)) is None
