"""One exchange with a portmapper, over TCP and over UDP: servers on loopback, no root is needed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from check_portcheck.deadline import Deadline
from check_portcheck.rpc import rpcbind

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(name="host", params=["127.0.0.1", "::1"])
def host_fixture(request: pytest.FixtureRequest) -> str:
    host: str = request.param
    return host


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextlib.contextmanager
def serving(kind: socket.SocketKind, host: str, *answers: bytes) -> Iterator[Any]:
    """The address of a server that answers one call of four bytes, with a pause in between."""

    def serve() -> None:
        if kind == socket.SOCK_DGRAM:
            call, client = server.recvfrom(100)
            calls.append(call)
            for answer in answers:
                server.sendto(answer, client)
            return
        connection, _ = server.accept()
        with connection:
            calls.append(connection.recv(8, socket.MSG_WAITALL))
            for answer in answers:
                connection.sendall(answer)
                time.sleep(0.01)

    calls: list[bytes] = []
    with socket.socket(family(host), kind) as server:
        server.settimeout(10)
        server.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()
        finally:
            thread.join()
    assert calls == [b"\x80\0\0\4call" if kind == socket.SOCK_STREAM else b"call"]


def test_an_exchange_over_tcp(host: str) -> None:
    pieces = (b"\0\0\0\2an", b"\x80\0\0\4sw", b"er")
    with serving(socket.SOCK_STREAM, host, *pieces) as address:
        assert rpcbind._over_tcp(address, b"call", Deadline.after(10)) == b"answer"


def test_an_exchange_over_udp(host: str) -> None:
    largest = bytes(range(256)) * 200
    with serving(socket.SOCK_DGRAM, host, largest, b"stray") as address:
        assert rpcbind._over_udp(address, b"call", Deadline.after(10)) == largest


def test_a_connection_that_ends_before_the_answer_is_an_error() -> None:
    with (
        serving(socket.SOCK_STREAM, "127.0.0.1", b"\x80\0\0\4ans") as address,
        pytest.raises(ConnectionResetError),
    ):
        rpcbind._over_tcp(address, b"call", Deadline.after(10))


def test_a_silent_server_is_waited_for_until_the_deadline() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with pytest.raises(TimeoutError):
            rpcbind._over_udp(server.getsockname(), b"call", Deadline.after(0.05))
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        rpcbind._over_tcp(listener.getsockname(), b"call", Deadline.after(0.05))


def test_a_full_queue_of_connections_leaves_time_for_udp(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rpcbind._CONNECT_SECONDS * 3 < rpcbind.SECONDS
    monkeypatch.setattr(rpcbind, "_CONNECT_SECONDS", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
        pytest.raises(rpcbind._UnavailableError) as caught,
    ):
        rpcbind._over_tcp(listener.getsockname(), b"call", Deadline.after(10))
    assert str(caught.value) == "portmapper on 127.0.0.1 accepts no connection"
