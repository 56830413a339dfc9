"""A real resolver whose upstream is dead is no alarm."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from namespace import IPV4
from resolver import dnsmasq, resolver, unbound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from namespace import Check

DGRAM = socket.SOCK_DGRAM

pytestmark = pytest.mark.daemons


@pytest.mark.parametrize(
    ("daemon", "method"), [(dnsmasq, "table"), (dnsmasq, "full"), (unbound, "table")]
)
def test_a_resolver_with_a_dead_upstream_is_no_alarm(
    check: Check, tmp_path: Path, daemon: Callable[[Path], list[str]], method: str
) -> None:
    options = ("--no-official", "--interface", IPV4, "--optional", "*:53/tcp,53/udp")
    ports = ("--min-port", "1", "--max-port", "65535", "--method", method)
    with resolver(check.there, tmp_path, daemon):
        reports = [check.report(*options, *ports) for _ in range(3)]
    assert [(each["state"], each["findings"]) for each in reports] == [("OK", [])] * 3


def test_a_server_beside_a_resolver_is_found(check: Check, tmp_path: Path) -> None:
    options = ("--no-official", "--interface", IPV4, "--optional", "*:53/tcp,53/udp")
    with (
        resolver(check.there, tmp_path),
        check.there.bound(DGRAM, "0.0.0.0", 45678),
        check.there.bound(DGRAM, "0.0.0.0", 7045),
    ):
        report = check.report(*options, "--method", "table")
    assert [each["item"] for each in report["findings"]] == ["7045/udp", "45678/udp"]
