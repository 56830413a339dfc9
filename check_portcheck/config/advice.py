"""What may be meant by what is wrong: texts to try, best first. Pure.

They are guesses. Who offers one to the user reads it first, so that no advice is refused itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from check_portcheck.config import owners
from check_portcheck.config.values import TokenError
from check_portcheck.model import HIGHEST_PORT, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from check_portcheck.names import Names

_QUOTES = "\"'`;,"
_MOST_PORTS = 8
"""Ports of a range that are written one by one where no range can stand."""


def accepted(guesses: Iterable[str], read: Callable[[str], object]) -> str:
    """The first of some guesses that can be read, empty where none can."""
    for guess in guesses:
        try:
            read(guess)
        except TokenError:
            continue
        return guess
    return ""


# Items of lists

_PROTOCOL = r"(?P<protocol>tcp|udp)[46]*"
_FORMS = [
    re.compile(form)
    for form in (
        rf"(?P<port>[^/]+)/(open|listen)[^/]*/{_PROTOCOL}/.*",  # nmap -oG
        rf"(?P<port>[^/]+)/{_PROTOCOL}/(?!tcp|udp).+",  # 22/tcp/ssh
        rf"(?P<port>.+?)[/:\\._ -]?{_PROTOCOL}",  # 22/tcp6, 22:tcp, 22tcp
        rf"{_PROTOCOL}[/:\\._ -]?(?P<port>.+)",  # tcp/22, tcp22
        r"(?P<protocol>[tu])[:/](?P<port>.+)",  # nmap -p
    )
]
_BOTH = re.compile(r"(?P<port>[^/]+)/(any|all|both|\*|tcp\W?udp|udp\W?tcp)")
_UNFINISHED = re.compile(r"(?P<port>[^/]+)/?(?P<protocol>[a-z]*)")  # 22, 22/, 22/tpc
_SPAN = re.compile(r"([0-9]{1,9})(-|:|\.\.|\u2013)([0-9]{0,9})")  # 6000:6063, 1024-
_PROGRAM = re.compile(r"r[pc][cp][_.-]?([0-9]{1,10})")
_LOWEST_PROGRAM = 100000  # of those that are assigned (RFC 5531, 13.1: 0x186A0)
_WORDS = {"any": "*", "all": "*", "dynamic": "ephemeral", "random": "ephemeral"}


def items(token: str, names: Names) -> Iterator[str]:
    """What an item may mean, with or without an owner; several are separated by commas."""
    yield token.strip(_QUOTES).replace(";", ",")
    text, at, owner = token.strip(_QUOTES).partition("@")
    for item in _services(text, names):
        for meant in owners.meant(owner) if at else [""]:
            pairs = [(one, each) for each in meant.split("|") for one in item.split(",")]
            yield ",".join(one + at + each for one, each in pairs)


def _services(text: str, names: Names) -> Iterator[str]:
    """What an item without its owner may mean."""
    yield text
    text = text.lower()
    if _WORDS.get(text, text) == "*":
        yield "*/tcp,*/udp"
    if match := _BOTH.fullmatch(text):
        for port in _ports(match["port"], Protocol.TCP, names):
            yield f"{port}/tcp,{port}/udp"
    for part, protocol in _formed(text):
        yield from (f"{port}/{protocol}" for port in _ports(part, protocol, names))


def _formed(text: str) -> Iterator[tuple[str, Protocol]]:
    """What may be the port in an item, and its protocol."""
    for match in filter(None, (form.fullmatch(text) for form in _FORMS)):
        yield match["port"], Protocol.UDP if match["protocol"].startswith("u") else Protocol.TCP
    if rest := _UNFINISHED.fullmatch(text):
        yield from ((rest["port"], protocol) for protocol in _alike(rest["protocol"]))


def _alike(text: str) -> list[Protocol]:
    """The protocols for which a mistyped one may stand; those of an empty text are both."""
    return [each for each in Protocol if not text or sorted(text) == sorted(each)]


def _ports(text: str, protocol: Protocol, names: Names) -> Iterator[str]:
    """What may be meant before the stroke."""
    if text.isdecimal() and len(text) <= 10:
        yield str(int(text))
        if int(text) > _LOWEST_PROGRAM:
            yield f"RPC_{int(text)}"
    if match := _SPAN.fullmatch(text):
        yield from _span(int(match[1]), int(match[3] or HIGHEST_PORT), match[2], protocol)
    if match := _PROGRAM.fullmatch(text):
        yield f"RPC_{int(match[1])}"
    yield _WORDS.get(text, text)
    if port := names.ports.get((text, protocol)):
        yield str(port)


def _span(first: int, last: int, separator: str, protocol: Protocol) -> Iterator[str]:
    """What may be meant by two numbers, which backwards are no range but docker's mapping."""
    if first > last and separator != "-":
        return
    first, last = sorted((first, last))
    yield f"{first}-{last}"
    if last - first < _MOST_PORTS:
        yield f"/{protocol},".join(map(str, range(first, last + 1)))


# Interfaces

_EVERYWHERE = ("any", "all", "every", "::", "0", "0.0.0.0")  # noqa: S104 nothing is bound here
_HERE = {"localhost": "127.0.0.1", "loopback": "127.0.0.1"}
_MASK = re.compile(r"(.+)/([0-9]+(?:\.[0-9]+){3}|0[0-9]+)")
_OCTETS = re.compile(r"((?:[0-9]{1,3}\.){1,3})\*?")
_GLOB = re.compile(r"([^][?+*]*)(?:\[[^]]*\]|[?+*])+")


def interfaces(text: str) -> Iterator[str]:
    """What a wrong interface may mean, for lists and for what is scanned."""
    plain = text.strip(_QUOTES)
    yield plain
    plain = plain.strip("[]()")
    base = plain.removesuffix(":")
    if base.lower() in _EVERYWHERE or plain in _EVERYWHERE:
        yield from ("*", "all")
    yield _HERE.get(base.lower(), base)
    yield from _networks(base)
    yield base.partition("@")[0]  # as ip link writes it: eth0@if7
    if match := _GLOB.fullmatch(text.strip(_QUOTES)):
        yield f"{match[1]}*"
    if base.count(":") == 1:  # an address with a port
        yield base.partition(":")[0]
    yield base.partition("%")[0]
    yield f"{base.rstrip('%')}%eth0"


def _networks(text: str) -> Iterator[str]:
    """The network, or the address, that is meant by one with a mask, a star or bits of a host."""
    from ipaddress import ip_network

    if match := _OCTETS.fullmatch(text):
        octets = match[1].split(".")[:-1]
        text = f"{'.'.join([*octets, '0', '0', '0'][:4])}/{8 * len(octets)}"
    address, _, digits = text.partition("/")
    if _MASK.fullmatch(text) or digits:
        try:
            network = ip_network(f"{address.strip('[]')}/{digits.lstrip('0') or 0}", strict=False)
        except ValueError:
            return
        if not address.endswith((".0", ":")):  # as ip addr writes an address
            yield address
        yield str(network)


# Single values

_MEANINGS = {
    "yes": "enable enabled active ja oui si always",
    "no": "disable disabled inactive nein non never none",
    "0": "no off never none disabled",
    "alert": "emerg emergency panic fatal 0 1",
    "crit": "high severe 2",
    "err": "3",
    "warn": "medium warnings 4",
    "notice": "low ok 5",
    "info": "information informational 6",
    "debug": "none verbose 7",
    "probe": "scan connect syn nmap active port",
    "table": "netstat ss list passive proc procfs sockets kernel",
    "full": "both all complete default",
    "nagios": "icinga icinga2 naemon nrpe plugin text plain",
    "checkmk": "check_mk cmk local",
}
_BY_WORD = [(word, value) for value, words in _MEANINGS.items() for word in words.split()]
_TIME = re.compile(r"([0-9]*[.,]?[0-9]*) *(ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?)?")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def values(text: str) -> Iterator[str]:
    """What a wrong single value, or one of what is scanned, may mean."""
    plain = text.strip(_QUOTES + " ")
    yield plain
    lower = plain.lower()
    yield from (value for word, value in _BY_WORD if word == lower)
    yield lower.removesuffix("/tcp").removesuffix("/udp")
    if (match := _TIME.fullmatch(lower)) and match[1].strip(".,"):
        unit = match[2] or "s"
        factor = _UNITS.get(unit, _UNITS[unit[0]])
        yield f"{float(match[1].replace(',', '.')) * factor:.15g}"
    mark = "!" if plain.startswith("!") else ""
    yield from (mark + each for each in interfaces(plain.removeprefix("!")))


# Keys

_STEMS = {
    "unexpected": "SeverityPortCheckUnexpected",
    "missing": "SeverityPortCheckMissing",
    "sever level critical warning": "SeverityPortCheck",
    "minport minim firstport lowest lowport startport": "PortCheckMinPort",
    "maxport maxim lastport highest highport endport": "PortCheckMaxPort",
    "requir mandatory must need expect": "PortCheckRequired",
    "option allow permit accept white": "PortCheckOptional",
    "ignor exclud black": "PortCheckIgnore",
    "skip noscan dontscan": "PortCheckSkip",
    "device nic": "PortCheckDevice",
    "official hostname": "PortCheckOfficial",
    "interval period frequency": "PortCheckInterval",
    "interface iface address": "PortCheckInterface",
    "timeout timelimit limit deadline": "PortCheckTimeout",
    "statefile state cache memory": "PortCheckState",
    "method mode scantype": "PortCheckMethod",
    "confirm retry retries recheck": "PortCheckConfirm",
    "udp": "PortCheckUDP",
    "activ enable disable": "PortCheckActive",
}
_BY_STEM = [(stem, key) for stems, key in _STEMS.items() for stem in stems.split()]
_CLOSE = 0.9
"""How much of the letters must be the same where no part of a word tells what is meant."""
_SHORT = {"ip": "PortCheckInterface", "if": "PortCheckInterface", "dev": "PortCheckDevice"}


def key(text: str, keys: Mapping[str, str]) -> str:
    """The one of *keys*, which has their names in lower case, that is meant; empty for none."""
    from difflib import get_close_matches  # only a file with a wrong key pays for it

    plain = re.sub("[^a-z]", "", text.lower()[:64])
    found = [meant for stem, meant in _BY_STEM if stem in plain]
    found.append(_SHORT.get(plain.removeprefix("portcheck"), ""))
    if plain.removeprefix("portcheck"):
        found += sorted(filter(lambda word: word in plain or word.startswith(plain), keys), key=len)
    found += get_close_matches(plain, keys, 1, _CLOSE)
    return next((keys[each.lower()] for each in found if each.lower() in keys), "")
