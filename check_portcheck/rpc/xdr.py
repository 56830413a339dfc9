"""Values of XDR (RFC 4506) as the portmapper's calls and replies have them. Pure."""

from __future__ import annotations

import struct

_NUMBER = struct.Struct(">I")


class MalformedReplyError(ValueError):
    """The bytes are no reply to the call."""


def string(text: str) -> bytes:
    """A string, its length before it, filled up with zeros (4.11)."""
    data = text.encode()
    return _NUMBER.pack(len(data)) + data + bytes(-len(data) % 4)


class XdrReader:
    """Takes values of XDR (RFC 4506) off the front of a message."""

    __slots__ = ("_message", "_offset")

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._offset = 0

    def _take(self, length: int) -> bytes:
        taken = self._message[self._offset : self._offset + length]
        if len(taken) < length:
            raise MalformedReplyError("cut short")
        self._offset += length
        return taken

    def number(self) -> int:
        """An unsigned integer of 32 bits (4.2)."""
        return int.from_bytes(self._take(_NUMBER.size))

    def boolean(self) -> bool:
        """TRUE or FALSE, 1 or 0 (4.4)."""
        number = self.number()
        if number > 1:
            raise MalformedReplyError(f"boolean {number}")
        return number == 1

    def opaque(self, limit: int) -> bytes:
        """Opaque data or a string, their length before them (4.10, 4.11)."""
        length = self.number()
        if length > limit:
            raise MalformedReplyError(f"more than {limit} bytes in one value")
        data = self._take(length)
        # RFC 4506, 4.10: "followed by enough (0 to 3) residual zero bytes".
        if any(self._take(-length % 4)):
            raise MalformedReplyError("padding other than zeros")
        return data

    def skip_versions(self) -> None:
        """Pass over mismatch_info, the lowest and the highest version that the server has."""
        self._take(2 * _NUMBER.size)

    def finish(self) -> None:
        """Raise MalformedReplyError where anything is left."""
        if self._offset < len(self._message):
            raise MalformedReplyError("bytes after the end of the reply")
