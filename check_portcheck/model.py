"""What was observed: frozen values in the field's own terms, no I/O and no judgement."""

from __future__ import annotations

import enum
import socket
from dataclasses import dataclass

HIGHEST_PORT = 65535

PORTMAPPER_PROGRAM = 100000
"""The RPC program number of portmapper and rpcbind alike (RFC 1833, 2.1 and 3.2)."""
PORTMAPPER_PORT = 111
"""RFC 1833, 3.2: "assigned port number 111 (SUNRPC)"; rpcbind has the same."""


class Protocol(enum.StrEnum):
    """A transport protocol whose ports are scanned; its text is the policy's and the report's."""

    TCP = "tcp"
    UDP = "udp"


class Method(enum.StrEnum):
    """How ports are looked at."""

    TABLE = "table"
    """Read the kernel's socket table; contact no port."""
    PROBE = "probe"
    """Contact every port."""
    FULL = "full"
    """Read the socket table, contact every port that it does not list."""


class State(enum.IntEnum):
    """A plugin state; the number is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3

    @property
    def rank(self) -> int:
        """How bad it is: what was found is never hidden by what could not be seen."""
        return (State.OK, State.WARNING, State.UNKNOWN, State.CRITICAL).index(self)


class Severity(enum.StrEnum):
    """Samhain's severities, least first."""

    DEBUG = "debug"
    INFO = "info"
    NOTICE = "notice"
    WARN = "warn"
    MARK = "mark"
    ERR = "err"
    CRIT = "crit"
    ALERT = "alert"

    @property
    def state(self) -> State:
        """The state that a finding of this severity brings the check to."""
        if self in (Severity.DEBUG, Severity.INFO, Severity.NOTICE):
            return State.OK
        return State.WARNING if self in (Severity.WARN, Severity.MARK) else State.CRITICAL


@dataclass(frozen=True)
class Port:
    """A port number of one protocol."""

    protocol: Protocol
    number: int

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True)
class Choice:
    """A name by which the user chose what is scanned."""

    name: str
    """An address, ``all``, or a device."""
    place: str
    """Where it stands: ``FILE:LINE`` or the option."""


@dataclass(frozen=True)
class Interface:
    """One IP address of this machine that is scanned."""

    address: str
    """Numeric, in the kernel's own spelling; a link-local IPv6 address carries its ``%device``."""
    device: str
    """The device that has the address, ``eth0``."""
    index: int
    """The kernel's number of that device."""
    label: str
    """The address label of an alias (``eth0:1``), else the device."""
    up: bool = True
    """Whether the device is up; the address answers locally even when it is down."""
    chosen: tuple[str, ...] = ()
    """The names by which the user chose it, addresses or devices: perfdata is kept per name."""
    origins: tuple[str, ...] = ()
    """Where it was chosen, for messages: ``official name HOST``, ``FILE:LINE``, an option."""

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    @property
    def packed(self) -> bytes:
        """The address without its scope, 4 or 16 bytes in network order."""
        return socket.inet_pton(self.family, self.address.partition("%")[0])

    @property
    def scope(self) -> int:
        """The scope id of a link-local IPv6 address, else 0."""
        return self.index if "%" in self.address else 0

    @property
    def loopback(self) -> bool:
        """Whether only this machine itself can reach the address."""
        return self.address == "::1" or self.address.startswith("127.")

    def __str__(self) -> str:
        return f"[{self.address}]" if ":" in self.address else self.address


@dataclass(frozen=True)
class Socket:
    """A row of the socket table: a TCP listener or an unconnected UDP socket."""

    protocol: Protocol
    address: str
    """The bound address without scope; ``0.0.0.0`` or ``::`` where it is the wildcard."""
    port: int
    v6only: bool
    """An IPv6 wildcard that does not answer IPv4."""
    device: int
    """Index of the device it is bound to (SO_BINDTODEVICE or a scope), 0 for none."""
    uid: int | None = None
    """User that opened it, None where the source does not tell."""
    inode: int | None = None
    """Inode of its descriptor, None where the source does not tell."""
    cookie: int | None = None
    """The kernel's number of this very socket, None where the source does not tell."""


@dataclass(frozen=True)
class RpcService:
    """A program registered with the portmapper."""

    program: int
    name: str | None
    """Its name in /etc/rpc, None where it has none."""

    def __str__(self) -> str:
        return self.name or f"RPC_{self.program}"


@dataclass(frozen=True)
class Process:
    """A process that holds a socket."""

    pid: int
    name: str
    """The name that ps shows. A process can choose it: it proves nothing."""
    executable: str | None
    """Path of the program file, without the kernel's `` (deleted)``; None where unreadable."""
    command: tuple[str, ...] = ()
    """The command line. A process can change it: it proves nothing."""
    user: str | None = None
    """Name or number of the user it runs as (effective)."""
    started: float | None = None
    """Start, seconds since the epoch."""
    unit: str | None = None
    """The systemd unit, or the container as ``container:ID``, from the cgroup."""


@dataclass(frozen=True)
class Owner:
    """Who holds one socket, as far as it could be seen."""

    user: str | None = None
    """Name or number of the user that opened it, from the socket table."""
    processes: tuple[Process, ...] = ()
    """Every process that holds it, the one that started first at the front."""
    kernel: bool = False
    """The kernel itself listens (nfsd, lockd, WireGuard): no process holds it."""
    unseen: str | None = None
    """Why the processes could not be determined, None when they were."""


class Evidence(enum.StrEnum):
    """What showed that a port is open."""

    TABLE = "table"
    """A row of the socket table."""
    PROBE = "probe"
    """It answered."""
    LOOKUP = "lookup"
    """It stayed silent, and the kernel's lookup found a socket there."""


@dataclass(frozen=True)
class OpenService:
    """A port that is open on one interface."""

    interface: Interface
    port: Port
    evidence: Evidence
    sockets: tuple[Socket, ...] = ()
    """The rows of the socket table that answer there; empty where it was not read or has none."""
    no_socket: bool = False
    """It is open although the socket table, read again, lists no socket for it."""
    forwarded: bool = False
    """A packet filter rule (DNAT, REDIRECT) explains the missing socket."""
    rpc: tuple[RpcService, ...] = ()
    """The RPC programs registered on it."""
    owners: tuple[Owner, ...] | None = None
    """One per socket; None when nobody asked."""


@dataclass(frozen=True)
class Unanswered:
    """Ports of which nothing could be learnt: neither open nor closed. Both ends included."""

    interface: Interface
    protocol: Protocol
    lowest: int
    highest: int


@dataclass(frozen=True)
class Registration:
    """What the portmapper of an interface says: this program is on this port."""

    interface: Interface
    port: Port
    service: RpcService


@dataclass(frozen=True)
class Failure:
    """Something that could not be looked at."""

    reason: str
    """What failed and why, in one line; may hold foreign text."""
    interface: Interface | None = None
    """The interface concerned, None for all."""
    rpc_only: bool = False
    """Only the names of RPC services are unknown: ports are judged all the same."""


@dataclass(frozen=True)
class Coverage:
    """How many ports were looked at, over all interfaces and protocols."""

    ports: int = 0
    """Ports in the range that are not skipped, per protocol and interface."""
    probed: int = 0
    """Of these, accounted for by a probe or by the socket table."""
    looked_up: int = 0
    """Of these, decided by the kernel's lookup in place of a probe."""
    filtered: int = 0
    """Probed ports that stayed silent and have no socket."""
    untracked: int = 0
    """UDP ports left unprobed so that connection tracking keeps room."""
    resume: int = 0
    """Where the next run should begin to probe so that repeated runs cover everything."""


@dataclass(frozen=True)
class ScanReport:
    """All that one run observed."""

    method: Method
    interfaces: tuple[Interface, ...]
    protocols: tuple[Protocol, ...]
    lowest: int
    """First port of the range."""
    highest: int
    """Last port of the range."""
    ephemeral: tuple[int, int]
    """The kernel's range of ports for clients, both ends included (ip_local_port_range)."""
    services: tuple[OpenService, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    registrations: tuple[Registration, ...] = ()
    failures: tuple[Failure, ...] = ()
    coverage: Coverage = Coverage()
    seconds: float = 0.0
    """Duration of the scan."""


class ScanError(Exception):
    """Nothing could be learnt: the socket table is unreadable, a worker failed."""
