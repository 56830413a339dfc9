"""Which addresses of this machine the user chose to scan."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from check_portcheck.kernel.addresses import own_addresses, routed
from check_portcheck.kernel.selection import Chosen, NothingChosenError, OfficialName, Own, select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_portcheck.model import Choice


class InterfaceError(Exception):
    """There is nothing to scan: *errors*, each one line."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = tuple(errors)


def choose(addresses: Sequence[Choice], devices: Sequence[Choice], *, official: bool) -> Chosen:
    """The interfaces that the choices, and the official name, stand for at this moment.

    Raises InterfaceError where nothing is chosen, or the kernel does not tell its addresses.
    """
    try:
        known = own_addresses()
    except OSError as refused:
        reason = f"the addresses of this machine cannot be read: netlink: {refused.strerror}"
        raise InterfaceError([reason]) from refused
    own = Own(known.interfaces, routed, known.devices)
    name = _resolved(socket.gethostname()) if official else None
    try:
        return select(own, name, addresses, devices)
    except NothingChosenError as nothing:
        raise InterfaceError(nothing.reasons) from nothing


def _resolved(name: str) -> OfficialName:
    """What the host's resolver says of a name."""
    try:
        # As bytes, since text would load the codec for international names first.
        answers = socket.getaddrinfo(os.fsencode(name), None, type=socket.SOCK_DGRAM)
    except socket.gaierror as failed:
        return OfficialName(name, unresolved=failed.strerror)
    return OfficialName(name, tuple(dict.fromkeys(str(answer[4][0]) for answer in answers)))
