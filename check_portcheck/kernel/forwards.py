"""Which ports the packet filter sends elsewhere: what explains an answer without a socket."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from check_portcheck.model import HIGHEST_PORT, Port, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from check_portcheck.deadline import Deadline

_COMMANDS = (
    ("iptables-save", "-t", "nat"),
    ("ip6tables-save", "-t", "nat"),
    ("nft", "-j", "list", "ruleset"),
)
_DIRECTORIES = (Path("/usr/sbin"), Path("/sbin"))
_TARGETS = ("DNAT", "REDIRECT")
_EXCEPTS = {("!", "-p"), ("!", "--dport"), ("!", "--dports")}
_LARGEST = 4 * 1024 * 1024

Stretch = tuple[Protocol, int, int]
"""Ports of one protocol, both ends included."""


def forwarded(ports: Collection[Port], deadline: Deadline) -> set[Port]:
    """Those of *ports* that a DNAT or REDIRECT rule names; none where the rules may not be read.

    Named sets and maps of nft are not followed. What is not told by *deadline* is left out.
    """
    if os.geteuid() != 0:
        return set()
    seconds = deadline.left() / len(_COMMANDS)
    stretches: list[Stretch] = []
    for program, *arguments in _COMMANDS:
        if text := _output(program, arguments, seconds):
            stretches += _of_nft(text) if program == "nft" else _of_iptables(text)
    return {
        port
        for port in ports
        if any(
            protocol is port.protocol and lowest <= port.number <= highest
            for protocol, lowest, highest in stretches
        )
    }


def _output(program: str, arguments: Sequence[str], seconds: float) -> str:
    """What a program prints, run by its full path without our environment; empty on failure."""
    import subprocess

    path = next((each / program for each in _DIRECTORIES if (each / program).exists()), None)
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments],
            env={"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:_LARGEST].decode(errors="replace")


def _of_iptables(text: str) -> Iterator[Stretch]:
    """The ports of the rules that iptables-save(8) prints.

    A rule that names what it does not hold for (``! --dport 22``) is passed over.
    """
    for line in text.splitlines():
        words = line.split()
        options = dict(pairwise(words))
        if options.get("-j") not in _TARGETS or options.get("-p") not in tuple(Protocol):
            continue
        if _EXCEPTS.intersection(pairwise(words)):
            continue
        protocol = Protocol(options["-p"])
        named = options.get("--dport") or options.get("--dports") or f"0:{HIGHEST_PORT}"
        for part in named.split(","):
            ends = part.split(":")
            if all(map(str.isdecimal, ends)):
                yield protocol, int(ends[0]), int(ends[-1])


def _of_nft(text: str) -> Iterator[Stretch]:
    """The ports of the rules in nft's JSON (libnftables-json(5))."""
    import json

    try:
        objects = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError):
        return
    for each in objects:
        expressions = each.get("rule", {}).get("expr", [])
        if any("dnat" in one or "redirect" in one for one in expressions):
            for expression in expressions:
                yield from _of_match(expression.get("match", {}))


def _of_match(match: dict[str, Any]) -> Iterator[Stretch]:
    """The ports of one ``tcp dport ...``; ``th dport`` stands for both protocols."""
    left = match.get("left", {})
    payload = left.get("payload", {}) if isinstance(left, dict) else {}
    if payload.get("field") != "dport" or match.get("op") == "!=":
        return
    protocols = [each for each in Protocol if payload.get("protocol") in (each, "th")]
    right = match.get("right")
    values = right["set"] if isinstance(right, dict) and "set" in right else [right]
    for value in values:
        match value:
            case int():
                yield from ((protocol, value, value) for protocol in protocols)
            case {"range": [int() as lowest, int() as highest]}:
                yield from ((protocol, lowest, highest) for protocol in protocols)
