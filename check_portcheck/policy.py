"""What the administrator wants: rules that name services, interfaces and owners."""

from __future__ import annotations

import enum
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from check_portcheck.model import Interface, Owner, Port, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from ipaddress import IPv4Network, IPv6Network


class Kind(enum.StrEnum):
    """What a rule says of the services that it names."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    IGNORE = "ignore"
    SKIP = "skip"


@dataclass(frozen=True)
class InterfacePattern:
    """The interfaces that a rule speaks of."""

    text: str
    """``*``, an address in the kernel's spelling, a device, or a network."""
    network: IPv4Network | IPv6Network | None = None
    """The parsed network when *text* is one."""

    def matches(self, interface: Interface) -> bool:
        """Whether the rule holds on *interface*."""
        if self.network is not None:
            from ipaddress import ip_address  # 4 ms that only a policy with networks pays

            return ip_address(interface.address) in self.network
        return self.text in ("*", interface.address, interface.device, interface.label)

    @property
    def names_one(self) -> bool:
        """Whether it names an address or a device, which must then be scanned."""
        return self.network is None and self.text != "*"

    def __str__(self) -> str:
        # An IPv6 address; a device has one colon at most, before the label of an alias.
        bracketed = self.text.count(":") > 1 and self.network is None
        return f"[{self.text}]" if bracketed else self.text


ANY_INTERFACE = InterfacePattern("*")


@dataclass(frozen=True)
class PortRange:
    """Ports by number, both ends included."""

    protocol: Protocol
    lowest: int
    highest: int

    @property
    def single(self) -> Port | None:
        """The port, when it is just one."""
        return Port(self.protocol, self.lowest) if self.lowest == self.highest else None

    def __str__(self) -> str:
        if self.single:
            return str(self.single)
        return f"{self.lowest}-{self.highest}/{self.protocol}"


@dataclass(frozen=True)
class EphemeralPorts:
    """The kernel's range of ports for clients, as it is at the run."""

    protocol: Protocol

    def __str__(self) -> str:
        return f"ephemeral/{self.protocol}"


@dataclass(frozen=True)
class RpcProgram:
    """An RPC program, on whatever port it is registered."""

    protocol: Protocol
    program: int
    name: str = field(compare=False)
    """As the policy spells it."""

    def __str__(self) -> str:
        return f"{self.name}/{self.protocol}"


Item = PortRange | EphemeralPorts | RpcProgram


class OwnerKind(enum.StrEnum):
    """Which property of the owner a rule asks for."""

    NAME = "name"
    EXECUTABLE = "executable"
    USER = "user"
    UNIT = "unit"


@dataclass(frozen=True)
class OwnerPattern:
    """The owner without which a rule does not hold."""

    kind: OwnerKind
    value: str

    def matches(self, owner: Owner) -> bool | None:
        """Whether *owner* is the one, None where that could not be determined."""
        if self.kind is OwnerKind.NAME and self.value == "kernel":
            return None if owner.unseen else owner.kernel
        if self.kind is OwnerKind.USER and owner.user == self.value:
            return True
        if any(self._holds(owner)):
            return True
        return None if owner.unseen else False

    def _holds(self, owner: Owner) -> Iterator[bool]:
        for process in owner.processes:
            match self.kind:
                case OwnerKind.NAME:
                    yield process.name == self.value
                case OwnerKind.EXECUTABLE:
                    yield process.executable == self.value
                case OwnerKind.USER:
                    yield process.user == self.value
                case OwnerKind.UNIT:
                    yield process.unit == self.value

    def __str__(self) -> str:
        prefixed = self.kind in (OwnerKind.USER, OwnerKind.UNIT)
        return f"{self.kind}:{self.value}" if prefixed else self.value


@dataclass(frozen=True)
class Rule:
    """One item of one list of the policy."""

    kind: Kind
    where: InterfacePattern
    item: Item
    owner: OwnerPattern | None
    place: str
    """``FILE:LINE`` or the option that it comes from."""

    def __str__(self) -> str:
        return f"{self.where}:{self.item}" + (f"@{self.owner}" if self.owner else "")


class Policy:
    """The rules, in a form in which the few that may concern a port are found at once."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_port: dict[Port, list[Rule]] = defaultdict(list)
        self._others: list[Rule] = []
        for rule in self.rules:
            if isinstance(rule.item, PortRange) and rule.item.single:
                self._by_port[rule.item.single].append(rule)
            else:
                self._others.append(rule)

    def of_kind(self, kind: Kind) -> tuple[Rule, ...]:
        """The rules of one list."""
        return tuple(rule for rule in self.rules if rule.kind is kind)

    @property
    def names_rpc(self) -> bool:
        """Whether any rule names an RPC program."""
        return any(isinstance(rule.item, RpcProgram) for rule in self._others)

    def skips(self, interface: Interface, protocol: Protocol) -> list[tuple[int, int]]:
        """Ranges of ports, both ends included, that must not be contacted there."""
        return [
            (rule.item.lowest, rule.item.highest)
            for rule in self.of_kind(Kind.SKIP)
            if isinstance(rule.item, PortRange)
            and rule.item.protocol is protocol
            and rule.where.matches(interface)
        ]

    def concerning(
        self,
        interface: Interface,
        port: Port,
        programs: Collection[int] = (),
        ephemeral: tuple[int, int] = (0, -1),
    ) -> list[Rule]:
        """The rules, skip rules left out, that name a service, whoever its owner is.

        *programs* are the RPC programs on the port, *ephemeral* the kernel's range for clients.
        """

        def names(item: Item) -> bool:
            if item.protocol is not port.protocol:
                return False
            if isinstance(item, RpcProgram):
                return item.program in programs
            if isinstance(item, EphemeralPorts):
                return ephemeral[0] <= port.number <= ephemeral[1]
            return item.lowest <= port.number <= item.highest

        return [
            rule
            for rule in (*self._by_port.get(port, ()), *self._others)
            if rule.kind is not Kind.SKIP and names(rule.item) and rule.where.matches(interface)
        ]
