"""Names of ports and of RPC programs, from /etc/services and /etc/rpc.

The files themselves are read, not the name service switch: a lookup by NSS may ask the network.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from check_portcheck.model import HIGHEST_PORT, Port, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

HIGHEST_PROGRAM = 2**32 - 1
"""The last RPC program number (RFC 5531, 9: an unsigned int)."""

MAX_SIZE = 4 * 1024 * 1024
"""Characters read of each file; the complete IANA list takes less than 1 MiB."""

WELL_KNOWN_PROGRAMS = """
portmapper 100000 portmap sunrpc rpcbind
nfs        100003
mountd     100005
nlockmgr   100021
status     100024
"""
"""What holds where /etc/rpc is silent: minimal systems have no such file (numbers: IANA rpc)."""


class Names:
    """Names and numbers of services and RPC programs; each file is read at its first use."""

    def __init__(
        self,
        services: str | PathLike[str] = "/etc/services",
        rpc: str | PathLike[str] = "/etc/rpc",
    ) -> None:
        self._services_file = services
        self._rpc_file = rpc

    def service(self, port: Port) -> str | None:
        """The primary name of a port, None where it has none."""
        return self._services[0].get(port)

    def port_of(self, name: str, protocol: Protocol) -> int | None:
        """The number of the port that has *name*, or an alias of it, with that protocol."""
        return self._services[1].get((name, protocol))

    def rpc(self, program: int) -> str | None:
        """The primary name of an RPC program number, None where it has none."""
        return self._programs[0].get(program)

    def program(self, name: str) -> int | None:
        """The number of the RPC program that has *name*, or an alias of it."""
        return self._programs[1].get(name)

    @functools.cached_property
    def _services(self) -> tuple[dict[Port, str], dict[tuple[str, Protocol], int]]:
        """Names by port, and ports by name: the first line that names one wins (services(5))."""
        names: dict[Port, str] = {}
        ports: dict[tuple[str, Protocol], int] = {}
        for name, endpoint, aliases in _entries(_text(self._services_file)):
            digits, _, protocol = endpoint.partition("/")
            number = _number(digits, HIGHEST_PORT)
            if number is not None and protocol in ("tcp", "udp"):
                port = Port(Protocol(protocol), number)
                names.setdefault(port, name)
                for each in (name, *aliases):
                    ports.setdefault((each, port.protocol), number)
        return names, ports

    @functools.cached_property
    def _programs(self) -> tuple[dict[int, str], dict[str, int]]:
        """Names by program number, and numbers by name: the first line wins (rpc(5))."""
        names: dict[int, str] = {}
        programs: dict[str, int] = {}
        for name, digits, aliases in _entries(_text(self._rpc_file) + WELL_KNOWN_PROGRAMS):
            program = _number(digits, HIGHEST_PROGRAM)
            if program is not None:
                names.setdefault(program, name)
                for each in (name, *aliases):
                    programs.setdefault(each, program)
        return names, programs


def _text(file: str | PathLike[str]) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.read(MAX_SIZE)
    except OSError:
        return ""  # without the file services have numbers only, as the reports then show


def _entries(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """The name, the number and the aliases of each line that has them."""
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) >= 2:
            yield fields[0], fields[1], fields[2:]


def _number(digits: str, highest: int) -> int | None:
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10):
        return None
    return int(digits) if int(digits) <= highest else None
