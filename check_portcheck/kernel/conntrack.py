"""How full the kernel's connection tracking table is (nf_conntrack-sysctl)."""

from __future__ import annotations

from typing import NamedTuple

_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
_LIMIT = "/proc/sys/net/netfilter/nf_conntrack_max"


class Entries(NamedTuple):
    """Entries of the table, all network namespaces together where they share it."""

    used: int
    """How many there are at this moment."""
    limit: int
    """How many there may be: beyond it packets of new connections are dropped."""


def entries() -> Entries | None:
    """The figures, None where connection tracking is not loaded."""
    try:
        return Entries(_figure(_COUNT), _figure(_LIMIT))
    except (OSError, ValueError):
        return None


def _figure(file: str) -> int:
    with open(file, encoding="utf-8") as stream:
        return int(stream.read())
