"""The grammar of a list entry: text to rules.

Pure. Every token is read as a whole: one that is only partly understood is an error.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from check_portcheck.config import owners
from check_portcheck.config.interfaces import interface
from check_portcheck.config.values import TokenError, quoted, whole
from check_portcheck.model import HIGHEST_PORT, PortRange, Protocol, Span
from check_portcheck.names import HIGHEST_PROGRAM
from check_portcheck.policy.rules import (
    ANY_INTERFACE,
    EphemeralPorts,
    Item,
    Kind,
    RpcProgram,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_portcheck.names import Names
    from check_portcheck.policy.rules import InterfacePattern, OwnerPattern

_PROTOCOLS = {protocol.value: protocol for protocol in Protocol}
_RANGE = r"([0-9]+)(?:-([0-9]+))?"
_PROGRAM = r"RPC_([0-9]+)"
_LONGEST_REWRITTEN = 200
"""Characters of an entry that a message writes anew as a whole."""


class _PlaceError(TokenError):
    """An entry whose interfaces are wrong, so that the whole has to be written in another way."""


def tokens(text: str) -> list[str]:
    """The parts of a list between any run of commas, blanks and tabs."""
    return text.replace(",", " ").split()


def rules(kind: Kind, text: str, source: str, names: Names) -> tuple[list[Rule], list[str]]:
    """The rules of one list entry, ``[INTERFACE:]ITEM[,ITEM...]``, and all that is wrong in it."""
    found, errors = _read(kind, text, source, names)
    misplaced = next((each for each in errors if isinstance(each, _PlaceError)), None)
    if misplaced and (advice := _rewritten(kind, text, names)):
        return found, [str(misplaced.advised(advice))]
    return found, [str(error) for error in errors]


def _read(kind: Kind, text: str, source: str, names: Names) -> tuple[list[Rule], list[TokenError]]:
    """The rules of one list entry, and what is wrong with it, part by part."""
    entry = _joined(tokens(text))
    if not entry:
        return [], [TokenError("no port")]
    prefix, first = _parted(entry[0])
    items, errors = _items(kind, [first, *entry[1:]], names)
    try:
        where = _where(kind, prefix)
    except TokenError as error:
        return [], [error, *errors]
    return [Rule(kind, where, item, owner, source) for item, owner in items], errors


def _rewritten(kind: Kind, text: str, names: Names) -> str:
    """What to write in place of an entry whose interfaces are wrong, empty where that is not known.

    An entry for each interface, ``... and ...``, and where some may be meant, ``... or ...``.
    """
    if len(text) > _LONGEST_REWRITTEN:
        return ""
    from check_portcheck.config.rewriting import rewritten  # only what is wrong pays for advice

    meant = partial(_item_meant, kind, names=names)
    found = {
        " and ".join(entries): None
        for entries in rewritten(tokens(text), names, meant)
        if entries and not any(_read(kind, entry, "", names)[1] for entry in entries)
    }
    return " or ".join(found)


def _joined(entry: list[str]) -> list[str]:
    """An entry in which interface, colon and first item are one token.

    Blanks may stand before and after that colon. Owners begin with ``@`` and may hold colons of
    their own: what follows one is another item.
    """
    for _ in range(2):
        if len(entry) < 2 or "@" in entry[0]:
            break
        if entry[0].endswith(":") or entry[1].startswith(":"):
            entry = [entry[0] + entry[1], *entry[2:]]
    return entry


def _parted(token: str) -> tuple[str | None, str]:
    """The interface that the first token begins with, and its item.

    The interface is all before the last colon that is not the owner's; None where there is none.
    """
    text, at, owner = token.partition("@")
    where, colon, item = text.rpartition(":")
    return where if colon else None, item + at + owner


def _where(kind: Kind, prefix: str | None) -> InterfacePattern:
    """The interfaces that the rules of an entry hold on."""
    if prefix:
        try:
            return interface(prefix)
        except TokenError as error:
            raise _PlaceError(error.problem) from error
    if kind is Kind.SKIP and prefix is None:
        return ANY_INTERFACE
    raise _PlaceError("no interface in front (* is every scanned one)")


def _items(
    kind: Kind, entry: Iterable[str], names: Names
) -> tuple[list[tuple[Item, OwnerPattern | None]], list[TokenError]]:
    """The items of an entry with their owners, and what is wrong with the others."""
    found = []
    errors: list[TokenError] = []
    for token in entry:
        try:
            found.append(_item(kind, token, names))
        except _PlaceError as error:
            errors.append(error)
        except TokenError as error:
            errors.append(error.advised(_item_meant(kind, token, names)))
    return found, errors


def _item_meant(kind: Kind, token: str, names: Names) -> str:
    """What to write in place of a wrong item, empty where that is not known."""
    from check_portcheck.config import advice  # only what is wrong pays for advice

    if kind is Kind.SKIP:
        token = token.partition("@")[0]

    def read(guess: str) -> None:
        for each in tokens(guess):
            _item(kind, each, names)

    return advice.accepted(advice.items(token, names), read)


def _item(kind: Kind, token: str, names: Names) -> tuple[Item, OwnerPattern | None]:
    """One item with its owner, as far as the list takes such an item."""
    text, at, owner = token.partition("@")
    item = _services(text, token, names)
    if kind is Kind.REQUIRED:
        _require(item, token)
    if kind is Kind.SKIP and (at or not isinstance(item, PortRange)):
        raise TokenError(f"{quoted(token)}: only ports can be skipped, whoever holds them")
    return item, owners.owner(owner) if at else None


def _require(item: Item, token: str) -> None:
    """Refuse what is no single service, so that it cannot be said whether it is missing."""
    if isinstance(item, RpcProgram):
        return
    if not isinstance(item, PortRange) or item.single is None:
        raise TokenError(f"{quoted(token)} is no single port, as a required one must be")


def _services(text: str, token: str, names: Names) -> Item:
    """What an item names, without its owner; *token* is the whole, for messages."""
    if ":" in text:
        raise _PlaceError(f"{quoted(token)} names a second interface: an entry takes one")
    what, _, suffix = text.rpartition("/")
    protocol = _PROTOCOLS.get(suffix.lower())
    if not what or protocol is None:
        raise TokenError(f"{quoted(token)} is not of the form PORT/tcp or PORT/udp")
    if what.lower() == "ephemeral":
        return EphemeralPorts(protocol)
    return _ports(what, protocol) or _program(what, protocol, names)


def _ports(what: str, protocol: Protocol) -> PortRange | None:
    """``22``, ``6000-6063`` or ``*``; None for anything else."""
    if what == "*":
        return PortRange(protocol, Span(0, HIGHEST_PORT))
    match = re.fullmatch(_RANGE, what)
    if not match:
        return None
    first = whole(match[1], HIGHEST_PORT)
    last = whole(match[2], HIGHEST_PORT) if match[2] else first
    if first > last:
        raise TokenError(f"{quoted(what)} runs backwards")
    return PortRange(protocol, Span(first, last))


def _program(what: str, protocol: Protocol, names: Names) -> RpcProgram:
    """``RPC_100075`` or the name of an RPC program."""
    numbered = re.fullmatch(_PROGRAM, what)
    program = whole(numbered[1], HIGHEST_PROGRAM) if numbered else names.programs.get(what)
    if numbered and not program:
        raise TokenError(f"{quoted(what)}: RPC program numbers begin at 1")
    if program is None:
        raise _no_program(what, protocol, names)
    return RpcProgram(protocol, program, what)


def _no_program(what: str, protocol: Protocol, names: Names) -> TokenError:
    """The error of a name that is no RPC program, with what to write in its place."""
    token = quoted(f"{what}/{protocol}")
    if (what, protocol) in names.ports:
        return TokenError(f"{token} is no RPC program")
    return TokenError(
        f"{token} is no port, and no RPC program of /etc/rpc (RPC_number/{protocol} names any)"
    )
