"""What the administrator wants: rules that name services, interfaces and owners. Pure."""

from __future__ import annotations

import enum
from collections import defaultdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from check_portcheck.model import Interface, Port, PortRange, Protocol, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Network, IPv6Network


class Kind(enum.StrEnum):
    """What a rule says of the services that it names."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    IGNORE = "ignore"
    SKIP = "skip"


class InterfacePattern(NamedTuple):
    """The interfaces that a rule speaks of."""

    text: str
    """``*``, an address in the kernel's spelling, a device, a pattern of devices, or a network."""
    network: IPv4Network | IPv6Network | None = None
    """The parsed network when *text* is one."""

    def matches(self, interface: Interface) -> bool:
        """Whether the rule holds on *interface*."""
        if self.network is not None:
            from ipaddress import ip_address  # 4 ms that only a policy with networks pays

            return ip_address(interface.address) in self.network
        names = (interface.address, interface.device, interface.label)
        if self.text in names or self.text == "*":
            return True
        return self.is_pattern and any(fnmatchcase(name, self.text) for name in names[1:])

    @property
    def is_pattern(self) -> bool:
        """Whether it is a pattern of devices, ``veth*``."""
        return "*" in self.text and self.text != "*"

    @property
    def names_one(self) -> bool:
        """Whether it names an address or a device."""
        return self.network is None and "*" not in self.text

    def __str__(self) -> str:
        # An IPv6 address; a device has one colon at most, before the label of an alias.
        bracketed = self.text.count(":") > 1 and self.network is None
        return f"[{self.text}]" if bracketed else self.text


ANY_INTERFACE = InterfacePattern("*")


class EphemeralPorts(NamedTuple):
    """The kernel's range of ports for clients, as it is at the run."""

    protocol: Protocol

    def __str__(self) -> str:
        return f"ephemeral/{self.protocol}"


class RpcProgram(NamedTuple):
    """An RPC program, on whatever port it is registered."""

    protocol: Protocol
    program: int
    name: str
    """As the policy spells it; one program is the same by all its names."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RpcProgram):
            return NotImplemented
        return (self.protocol, self.program) == (other.protocol, other.program)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.protocol, self.program))

    def __str__(self) -> str:
        return f"{self.name}/{self.protocol}"


Item = PortRange | EphemeralPorts | RpcProgram


class OwnerKind(enum.StrEnum):
    """Which property of the owner a rule asks for."""

    NAME = "name"
    EXECUTABLE = "executable"
    USER = "user"
    UNIT = "unit"


class OwnerPattern(NamedTuple):
    """The owner that a service must have for a rule to hold."""

    kind: OwnerKind
    value: str

    def __str__(self) -> str:
        prefixed = self.kind in (OwnerKind.USER, OwnerKind.UNIT)
        return f"{self.kind}:{self.value}" if prefixed else self.value


class Rule(NamedTuple):
    """One item of one list of the policy."""

    kind: Kind
    where: InterfacePattern
    item: Item
    owner: OwnerPattern | None
    source: str
    """``FILE:LINE`` or the option that it comes from."""

    def __str__(self) -> str:
        return f"{self.where}:{self.item}" + (f"@{self.owner}" if self.owner else "")


class Policy:
    """The rules, in a form in which the few that may concern a port are found at once."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_port: defaultdict[Port, list[Rule]] = defaultdict(list)
        self._others: list[Rule] = []
        for rule in self.rules:
            single = rule.item.single if isinstance(rule.item, PortRange) else None
            (self._by_port[single] if single else self._others).append(rule)

    def of_kind(self, kind: Kind) -> tuple[Rule, ...]:
        """The rules of one list."""
        return tuple(rule for rule in self.rules if rule.kind is kind)

    @property
    def names_rpc(self) -> bool:
        """Whether any rule names an RPC program."""
        return bool(self.rpc_programs)

    @property
    def rpc_programs(self) -> tuple[int, ...]:
        """The numbers of the RPC programs that rules name, ascending."""
        items = [rule.item for rule in self._others]
        return tuple(sorted({item.program for item in items if isinstance(item, RpcProgram)}))

    @property
    def names_owners(self) -> bool:
        """Whether any rule asks for an owner."""
        return any(rule.owner for rule in self.rules)

    @property
    def executables(self) -> tuple[str, ...]:
        """The paths of program files by which rules name owners, ascending."""
        owners = {rule.owner for rule in self.rules if rule.owner}
        return tuple(sorted(each.value for each in owners if each.kind is OwnerKind.EXECUTABLE))

    def skips(self, interface: Interface, protocol: Protocol) -> list[Span]:
        """The ports that must not be contacted there."""
        return [item.span for _, item in self._skips(interface) if item.protocol is protocol]

    def skipping(self, interface: Interface, port: Port) -> Rule | None:
        """A rule by which a port must not be contacted there."""
        return next((rule for rule, item in self._skips(interface) if item.covers(port)), None)

    def _skips(self, interface: Interface) -> Iterator[tuple[Rule, PortRange]]:
        for rule in self.of_kind(Kind.SKIP):
            if isinstance(rule.item, PortRange) and rule.where.matches(interface):
                yield rule, rule.item

    def naming(self, port: Port, ephemeral: Span) -> list[Rule]:
        """The rules, skip rules left out, that name a port on some interface, whoever its owner is.

        Rules for RPC programs of its protocol are among them: one may be registered on it.
        *ephemeral* is the kernel's range for clients.
        """
        candidates = (*self._by_port.get(port, ()), *self._others)
        return [
            rule
            for rule in candidates
            if rule.kind is not Kind.SKIP and _may_be(rule.item, port, ephemeral)
        ]


def concerning(
    rules: Iterable[Rule], interface: Interface, programs: tuple[int, ...] = ()
) -> Iterator[Rule]:
    """Those of *rules*, which name a port, that speak of it on *interface*.

    *programs* are the RPC programs registered there.
    """
    for rule in rules:
        registered = not isinstance(rule.item, RpcProgram) or rule.item.program in programs
        if registered and rule.where.matches(interface):
            yield rule


def _may_be(item: Item, port: Port, ephemeral: Span) -> bool:
    """Whether an item may stand for a port."""
    if isinstance(item, PortRange):
        return item.covers(port)
    same = item.protocol is port.protocol
    return same and (isinstance(item, RpcProgram) or port.number in ephemeral)
