"""Lines of a policy that allow what is open, as they are written into a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from check_portcheck.model import PortRange
from check_portcheck.report.wording import spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from check_portcheck.model import Owner
    from check_portcheck.names import Names
    from check_portcheck.report.entries import Entry
    from check_portcheck.report.places import Places

_NAME = r"[\w.\\@:-]+"
"""Names of users and units that can stand in a list; others hold blanks, commas or worse."""

_STRETCHES = 16
"""More stretches of ports than these are no line that anybody would keep."""


def allowing(entry: Entry, places: Places, names: Names) -> Iterator[str]:
    """``PortCheckOptional = *:4444/tcp@user:games``: a line for each place; none for too many."""
    # A program that is registered on several ports has one name.
    items = list(dict.fromkeys(_items(entry, names)))
    if len(items) > _STRETCHES:
        return
    user = common_user(entry.owners)
    owner = f"@user:{user}" if user else ""
    for pattern in places.patterns(entry.interfaces):
        yield f"PortCheckOptional = {pattern}:{','.join(item + owner for item in items)}"


def common_user(owners: Iterable[Owner]) -> str | None:
    """The user that opened all the sockets; None where there is no such."""
    return _common(owner.user for owner in owners)


def strongest(owners: Sequence[Owner]) -> str:
    """The owner that proves most of those that can be told of all sockets, with its ``@``.

    A unit comes first, which is more than a user: many daemons run as root.
    """
    if unit := _common_unit(owners):
        return f"@unit:{unit}"
    if owners and all(owner.kernel for owner in owners):
        return "@kernel"
    user = common_user(owners)
    return f"@user:{user}" if user else ""


def _common_unit(owners: Sequence[Owner]) -> str | None:
    """The service unit of every process; None where there is no such.

    Scopes and containers have another name at each start, and where process 1 has opened the socket
    it is the only one that holds it until the service is needed.
    """
    if not all(owner.processes and not owner.others for owner in owners):
        return None
    processes = [process for owner in owners for process in owner.processes]
    if any(process.pid == 1 for process in processes):
        return None
    unit = _common(process.unit for process in processes)
    return unit if unit and unit.endswith(".service") else None


def _common(names: Iterable[str | None]) -> str | None:
    """The name that all have, if rules can name it."""
    one, *others = set(names) or {None}
    return one if one and not others and re.fullmatch(_NAME, one) else None


def _items(entry: Entry, names: Names) -> Iterator[str]:
    """What stands for the ports: an RPC program by its name, others by stretches of numbers."""
    numbered = []
    for item, programs in entry.items.items():
        if programs and isinstance(item, PortRange):
            yield f"{names.rpc(programs[0])}/{item.protocol}"
        else:
            numbered.append(item)
    for protocol, stretches in spans(numbered).items():
        for span in stretches:
            yield f"{span}/{protocol}"
