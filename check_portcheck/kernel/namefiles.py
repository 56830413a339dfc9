"""The system's files of names: /etc/services and /etc/rpc.

The files themselves are read, not the name service switch: a lookup by NSS may ask the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_portcheck.names import Names, names

if TYPE_CHECKING:
    from os import PathLike

MAX_SIZE = 4 * 1024 * 1024
"""Characters read of each file; the complete IANA list takes less than 1 MiB."""


def read(
    services: str | PathLike[str] = "/etc/services", rpc: str | PathLike[str] = "/etc/rpc"
) -> Names:
    """The names in both files; without a file services have numbers only, as reports then show."""
    return names(_text(services), _text(rpc))


def _text(file: str | PathLike[str]) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.read(MAX_SIZE)
    except OSError:
        return ""
