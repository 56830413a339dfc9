"""What the control groups of a process say of it (cgroups(7)). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSTEMD = ("", "name=systemd")
"""The hierarchy of version 2, and systemd's own of version 1."""
UNIT_SUFFIXES = (".service", ".scope", ".socket", ".mount", ".swap")
_CONTAINER = r"(?:^|[-:])([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?$"
"""``docker-ID.scope``, ``libpod-ID.scope``, ``cri-containerd-ID.scope``, ``/docker/ID``."""


def unit(cgroups: str) -> str | None:
    """The systemd unit, or ``container:ID``, that the text of a /proc/PID/cgroup names.

    What counts is the topmost group that is no slice, as in sd_pid_get_unit(3): below it a user
    may have the right to make groups of any name.
    """
    for path in _paths(cgroups):
        groups = [group for group in path.split("/") if _tells(group)]
        if found := _topmost(groups):
            return found
    return None


def _paths(cgroups: str) -> Iterator[str]:
    """The paths of the process in the hierarchies that systemd keeps."""
    for line in cgroups.split("\n"):
        _, _, rest = line.partition(":")
        hierarchy, _, path = rest.partition(":")
        if hierarchy in _SYSTEMD:
            yield path


def _tells(group: str) -> bool:
    """Whether a group can be a unit or a container; ``..`` leads out of a namespace."""
    return group not in ("", "..") and not group.endswith(".slice")


def _topmost(groups: list[str]) -> str | None:
    for depth, group in enumerate(groups):
        if found := re.search(_CONTAINER, group):
            return f"container:{found[1]}"
        if depth == 0 and group.endswith(UNIT_SUFFIXES):
            return group.removeprefix("_")  # systemd's escape for a name that is taken
    return None
