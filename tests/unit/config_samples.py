"""Ports in as few words as a table of cases of the configuration needs."""

from __future__ import annotations

from check_portcheck.model import PortRange, Protocol, Span

TCP, UDP = Protocol.TCP, Protocol.UDP


def ports(text: str) -> PortRange:
    """``22/tcp`` or ``6000-6063/tcp``."""
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    return PortRange(Protocol(protocol), Span(int(first), int(last or first)))
