"""Names of ports and of RPC programs, from the texts of /etc/services and /etc/rpc. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.model import HIGHEST_PORT, Port, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HIGHEST_PROGRAM = 2**32 - 1
"""The last RPC program number (RFC 5531, 9: an unsigned int)."""

WELL_KNOWN_PROGRAMS = """
portmapper 100000 portmap sunrpc rpcbind
nfs        100003
mountd     100005
nlockmgr   100021
status     100024
"""
"""What holds where /etc/rpc is silent: minimal systems have no such file (numbers: IANA rpc)."""


class Names(NamedTuple):
    """Names and numbers of services and RPC programs, both ways."""

    services: Mapping[Port, str]
    """The primary name of a port."""
    ports: Mapping[tuple[str, Protocol], int]
    """The number of the port that has a name or an alias, with that protocol."""
    rpc_names: Mapping[int, str]
    """The primary name of an RPC program number."""
    programs: Mapping[str, int]
    """The number of the RPC program that has a name or an alias."""

    def rpc(self, program: int) -> str:
        """The primary name of an RPC program, ``RPC_NUMBER`` where it has none."""
        return self.rpc_names.get(program) or f"RPC_{program}"


def names(services: str, rpc: str) -> Names:
    """The names in the texts of /etc/services and /etc/rpc; what is no entry is passed over."""
    return Names(*_services(services), *_programs(rpc + WELL_KNOWN_PROGRAMS))


def _services(text: str) -> tuple[dict[Port, str], dict[tuple[str, Protocol], int]]:
    """Names by port, and ports by name: the first line that names one wins (services(5))."""
    names: dict[Port, str] = {}
    ports: dict[tuple[str, Protocol], int] = {}
    for name, endpoint, aliases in _entries(text):
        digits, _, protocol = endpoint.partition("/")
        number = _number(digits, HIGHEST_PORT)
        if number is not None and protocol in ("tcp", "udp"):
            port = Port(Protocol(protocol), number)
            names.setdefault(port, name)
            for each in (name, *aliases):
                ports.setdefault((each, port.protocol), number)
    return names, ports


def _programs(text: str) -> tuple[dict[int, str], dict[str, int]]:
    """Names by program number, and numbers by name: the first line wins (rpc(5))."""
    names: dict[int, str] = {}
    programs: dict[str, int] = {}
    for name, digits, aliases in _entries(text):
        program = _number(digits, HIGHEST_PROGRAM)
        if program is not None:
            names.setdefault(program, name)
            for each in (name, *aliases):
                programs.setdefault(each, program)
    return names, programs


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
