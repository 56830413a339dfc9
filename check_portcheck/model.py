"""What was observed: frozen values in the field's own terms, no I/O and no judgement.

They are NamedTuples: as fixed as frozen dataclasses, and a sixth of their price at every start.
"""

from __future__ import annotations

import enum
import socket
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

HIGHEST_PORT = 65535

PORTMAPPER_PROGRAM = 100000
"""The RPC program number of portmapper and rpcbind alike (RFC 1833, 2.1 and 3.2)."""
PORTMAPPER_PORT = 111
"""RFC 1833, 3.2: "assigned port number 111 (SUNRPC)"; rpcbind has the same."""

V4_MAPPED = bytes(10) + b"\xff\xff"
"""Prefix of an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2)."""


def is_link_local(packed: bytes) -> bool:
    """Whether an address, in network order, is one that each device may have: of fe80::/10.

    RFC 4291, 2.4; so does ipv6_addr_type of net/ipv6/addrconf_core.c.
    """
    return len(packed) == 16 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


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


class Port(NamedTuple):
    """A port number of one protocol."""

    protocol: Protocol
    number: int

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


class Span(NamedTuple):
    """Numbers of ports that follow each other, both ends included."""

    first: int
    last: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.first != self.last else str(self.first)


class PortRange(NamedTuple):
    """Ports of one protocol that follow each other."""

    protocol: Protocol
    span: Span

    @classmethod
    def of(cls, port: Port) -> PortRange:
        """The range that is this port alone."""
        return cls(port.protocol, Span(port.number, port.number))

    @property
    def single(self) -> Port | None:
        """The port, when it is just one."""
        first, last = self.span
        return Port(self.protocol, first) if first == last else None

    def covers(self, port: Port) -> bool:
        """Whether the port is one of them."""
        return port.protocol is self.protocol and port.number in self.span

    def __str__(self) -> str:
        return f"{self.span}/{self.protocol}"


class Choice(NamedTuple):
    """A name by which the user chose what is scanned."""

    name: str
    """An address, ``all``, or a device."""
    source: str
    """Where it stands: ``FILE:LINE`` or the option."""


class Device(NamedTuple):
    """A network device."""

    name: str
    """``eth0``."""
    group: str
    """The name under which it counts where it was not chosen itself: its own, or the kernel's kind
    for what comes and goes with containers and virtual machines (``veth``, ``tap``)."""


class Interface(NamedTuple):
    """One IP address of this machine that is scanned, or where else a socket is bound."""

    address: str
    """Numeric, in the kernel's own spelling; a link-local IPv6 address carries its ``%device``."""
    device: str
    """The device that has the address, ``eth0``; empty for a bound address without a device."""
    ifindex: int
    """The kernel's index of the device of its local route, on which packets to it arrive.

    That is the same device, but where several have the address. 0 for none.
    """
    label: str
    """What else rules may call it: the address label of an alias (``eth0:1``), else the device."""
    up: bool = True
    """Whether the device is up; the address answers locally even when it is down."""
    chosen: tuple[str, ...] = ()
    """The names by which the user chose it, addresses or devices: perfdata is kept per name."""
    origins: tuple[str, ...] = ()
    """Where it was chosen, for messages: ``official name HOST``, ``FILE:LINE``, an option."""
    expires: bool = False
    """An IPv6 address that another one will replace: temporary, or of a router's prefix."""
    scanned: bool = True
    """False for where a socket is bound that no scanned address reaches: a multicast address, an
    address of a device that is down, a device without addresses."""
    host_end: bool = False
    """Whether its device is the host's end of a container's or virtual machine's (veth, tap)."""

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
        return self.ifindex if "%" in self.address else 0

    @property
    def loopback(self) -> bool:
        """Whether only this machine itself can reach the address."""
        return self.address == "::1" or self.address.startswith("127.")

    def __str__(self) -> str:
        text = self.address if self.scanned else self.label
        return f"[{text}]" if ":" in self.address else text


Target = tuple[Interface, Protocol]
"""Where ports are looked at."""


class Endpoint(NamedTuple):
    """One end of a connection; its text is ``192.0.2.7:80`` or ``[2001:db8::7]:80``."""

    address: str
    """Numeric, without scope."""
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


class Socket(NamedTuple):
    """A row of the socket table: a TCP listener or an unconnected UDP socket."""

    protocol: Protocol
    address: str
    """The bound address without scope; ``0.0.0.0`` or ``::`` where it is the wildcard."""
    port: int
    v6only: bool | None
    """An IPv6 wildcard that does not answer IPv4; None where the source does not tell."""
    device: int | None
    """Index of the device it is bound to (SO_BINDTODEVICE or a scope), 0 for none.

    None where the source does not tell."""
    uid: int | None = None
    """User that opened it, None where the source does not tell."""
    inode: int | None = None
    """Inode of its descriptor, None where the source does not tell."""
    cookie: int | None = None
    """The kernel's number of this very socket, None where the source does not tell."""


class Process(NamedTuple):
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
    deleted: bool = False
    """Whether the program file was deleted, or replaced, since the process started it."""
    files: tuple[str, ...] = ()
    """The paths, of those that were asked for, at which this machine has its program file, or had
    it until that was replaced. Another mount namespace may have another file at the same path."""
    unread: tuple[str, ...] = ()
    """The paths, of those that were asked for, of which that could not be told."""


class Unseen(enum.StrEnum):
    """Why the processes that hold a socket could not be determined, as the report says it."""

    NOT_ROOT = "not root"
    HIDEPID = "hidepid"
    """Whoever may not see process 1 is not shown the processes of others (proc(5))."""
    DENIED = "permission denied"
    """Even root may not look: capabilities or a security module."""
    NO_PSUTIL = "psutil cannot be imported"
    TIME_LIMIT = "time limit"
    OUTSIDE = "holder outside this container"
    ENDED = "holder ended meanwhile"
    CLOSED = "closed meanwhile"
    NO_PROCESS = "no process found"
    NO_OWNERS = "socket table without owners"
    NOT_YET = "not looked up yet"
    """What was known before anybody was asked."""


class Owner(NamedTuple):
    """Who holds one socket, as far as it could be seen."""

    user: str | None = None
    """Name or number of the user that opened it, from the socket table."""
    processes: tuple[Process, ...] = ()
    """Every process that holds it, the one that started first at the front."""
    kernel: bool = False
    """The kernel itself listens (nfsd, lockd, WireGuard): no process holds it."""
    unseen: Unseen | None = None
    """Why the processes could not be determined, None when they were."""
    others: Unseen | None = None
    """Why more processes may hold it, process 1 apart; None when each was examined."""


class Evidence(enum.StrEnum):
    """What showed that a port is open."""

    TABLE = "table"
    """A row of the socket table."""
    PROBE = "probe"
    """It answered."""
    LOOKUP = "lookup"
    """It stayed silent, and the kernel's lookup found a socket there."""


class OpenService(NamedTuple):
    """A port that is open on some interfaces, by the same sockets and the same evidence."""

    port: Port
    interfaces: tuple[Interface, ...]
    """Those on which it answers, in the order in which they are scanned."""
    evidence: Evidence
    sockets: tuple[Socket, ...] = ()
    """The rows of the socket table that answer; none where the table lists no socket for it."""

    @property
    def no_socket(self) -> bool:
        """Whether it is open although the socket table, read again, lists no socket for it."""
        return not self.sockets

    def on(self, interfaces: tuple[Interface, ...]) -> OpenService:
        """The service as far as it concerns some of its interfaces."""
        return self if interfaces == self.interfaces else self._replace(interfaces=interfaces)


class Unanswered(NamedTuple):
    """Ports of which nothing could be learnt: neither open nor closed."""

    interface: Interface
    ports: PortRange
    reason: str = ""
    """Why, where it was not for want of time."""


class Coverage(NamedTuple):
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
    runs: int = 0
    """In how many such runs all are probed; 0 where that cannot be told."""


class Earlier(NamedTuple):
    """What an earlier run leaves to a look."""

    resume: int | None = None
    """Where it stopped (Coverage.resume), None for anywhere."""
    open: Mapping[Target, Collection[int]] = MappingProxyType({})
    """What was open then. It is looked at first: what has no socket is seen by a probe alone."""


class Look(NamedTuple):
    """What one look at some ports found."""

    services: tuple[OpenService, ...]
    unanswered: tuple[Unanswered, ...] = ()
    coverage: Coverage = Coverage()
    unreached: tuple[Socket, ...] = ()
    """Rows of the socket table that answer on none of the interfaces."""
    notes: tuple[str, ...] = ()
    """What the socket table did not tell and why, one line each."""


NOTHING: Mapping[Any, Any] = MappingProxyType({})
"""An empty mapping that stays so: what a value holds that knows nothing yet."""


class Registrations(NamedTuple):
    """What the portmapper of an interface says."""

    programs: Mapping[Port, tuple[int, ...]] = NOTHING
    """The numbers of the RPC programs registered on a port."""
    unreachable: str | None = None
    """Why it could not be asked, one line with foreign text; None when it has answered."""

    def ports_of(self, program: int, protocol: Protocol) -> list[Port]:
        """The ports of a protocol on which an RPC program is registered, in ascending order."""
        return sorted(
            port
            for port, programs in self.programs.items()
            if port.protocol is protocol and program in programs
        )


class Failure(NamedTuple):
    """Something that could not be looked at."""

    reason: str
    """What failed and why, in one line; may hold foreign text."""
    name: str
    """The chosen name, of an address or a device, that it concerns."""


class Report(NamedTuple):
    """All that one run observed."""

    method: Method
    interfaces: tuple[Interface, ...]
    protocols: tuple[Protocol, ...]
    span: Span
    """The ports looked at."""
    ephemeral: Span
    """The kernel's range of ports for clients (ip_local_port_range)."""
    services: tuple[OpenService, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    coverage: Coverage = Coverage()
    failures: tuple[Failure, ...] = ()
    registrations: Mapping[Interface, Registrations] = NOTHING
    """By interface; those whose portmapper was not asked are missing."""
    owners: Mapping[Socket, Owner] = NOTHING
    """By socket; those that nobody asked for are missing."""
    present: frozenset[str] = frozenset()
    """The addresses, devices and labels that the machine has, scanned or not."""
    forwarded: Mapping[tuple[Interface, Port], Endpoint] = NOTHING
    """Where what was sent to ports without a socket really went, as far as that could be told."""
    seconds: float = 0.0
    """Duration of the scan."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the ports were looked at, one line each."""

    def by_programs(self, service: OpenService) -> Iterator[tuple[OpenService, tuple[int, ...]]]:
        """The service, cut where other RPC programs are registered on it, with their numbers."""
        if not self.registrations:  # and there may be very many services
            yield service, ()
            return
        groups: dict[tuple[int, ...], list[Interface]] = {}
        for interface in service.interfaces:
            programs = self.programs_at(interface, service.port)
            groups.setdefault(programs, []).append(interface)
        for programs, interfaces in groups.items():
            yield service.on(tuple(interfaces)), programs

    def destinations(self, service: OpenService) -> tuple[Endpoint | None, ...]:
        """Where what is sent to a service really goes, each place once; None where unknown."""
        ends = (self.forwarded.get((each, service.port)) for each in service.interfaces)
        return tuple(dict.fromkeys(ends))

    def programs_at(self, interface: Interface, port: Port) -> tuple[int, ...]:
        """The numbers of the RPC programs registered on a port of one interface."""
        return self.registered(interface).programs.get(port, ()) if self.registrations else ()

    def registered(self, interface: Interface) -> Registrations:
        """What the portmapper of an interface says; nothing where it was not asked."""
        return self.registrations.get(interface, _NOT_ASKED)


_NOT_ASKED = Registrations()


class ScanError(Exception):
    """Nothing could be learnt: the socket table is unreadable, a worker failed."""
