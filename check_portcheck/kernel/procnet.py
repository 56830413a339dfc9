"""The socket table as files of /proc/net, for where netlink does not give it (proc_net(5)).

They know neither V6ONLY nor the device that a socket is bound to.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

from check_portcheck.model import Protocol, Socket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DIRECTORY = "/proc/net"
_FAMILIES = {socket.AF_INET: "", socket.AF_INET6: "6"}

# As in sock_diag: TCP_LISTEN, and TCP_CLOSE, which an unconnected UDP socket is in.
_STATES = {Protocol.TCP: "0A", Protocol.UDP: "07"}


def path(protocol: Protocol, family: socket.AddressFamily) -> str:
    """The file that lists the sockets of a protocol and family."""
    return f"{_DIRECTORY}/{protocol}{_FAMILIES[family]}"


def read(protocol: Protocol, family: socket.AddressFamily) -> list[Socket] | None:
    """The TCP listeners or the unconnected UDP sockets of a family, None without that family.

    Raises OSError where the file cannot be read, ValueError where it is none of this kind.
    """
    try:
        with open(path(protocol, family), encoding="ascii") as file:
            next(file, "")  # the names of the columns
            return list(rows(protocol, family, file))
    except FileNotFoundError:
        if family == socket.AF_INET6 and os.access(path(protocol, socket.AF_INET), os.F_OK):
            return None  # ipv6.disable=1
        raise


def rows(
    protocol: Protocol, family: socket.AddressFamily, lines: Iterable[str]
) -> Iterator[Socket]:
    """The sockets of the lines below the first; raises ValueError for anything else."""
    for line in lines:
        _, local, _, state, _, _, _, uid, _, inode, *_ = line.split(maxsplit=10)
        if state == _STATES[protocol]:
            address, port = local.split(":")
            yield Socket(
                protocol,
                _address(family, address),
                _port(port),
                v6only=None if family == socket.AF_INET6 else False,
                device=None,
                uid=int(uid),
                inode=int(inode),
            )


def _port(text: str) -> int:
    packed = bytes.fromhex(text)
    if len(packed) != 2:
        raise ValueError(f"port {text}")
    return int.from_bytes(packed, "big")


def _address(family: socket.AddressFamily, text: str) -> str:
    """An address that is written as words of 32 bits, each in the machine's order of bytes."""
    words = (bytes.fromhex(text[start : start + 8]) for start in range(0, len(text), 8))
    if sys.byteorder == "little":
        words = (word[::-1] for word in words)
    return socket.inet_ntop(family, b"".join(words))
