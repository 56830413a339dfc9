"""How long a socket waits, as the kernel takes it (socket(7), SO_RCVTIMEO)."""

from __future__ import annotations

import struct

_NEW_OPTIONS = (66, 67)
"""SO_RCVTIMEO_NEW and SO_SNDTIMEO_NEW (asm-generic/socket.h): two 64-bit numbers everywhere.

The C library gives these for 32-bit systems whose time_t has 64 bits.
"""


def timeval(option: int, seconds: float) -> bytes:
    """The value of SO_RCVTIMEO or SO_SNDTIMEO, whose number on this system is *option*."""
    whole, rest = divmod(round(seconds * 1_000_000), 1_000_000)
    return struct.pack("=qq" if option in _NEW_OPTIONS else "@ll", whole, rest)
