from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_portcheck.kernel import conntrack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("used", "limit", "entries"),
    [
        ("12\n", "262144\n", conntrack.Entries(used=12, limit=262144)),
        (None, "262144\n", None),
        ("12\n", None, None),
        ("", "262144\n", None),
    ],
)
def test_the_figures_of_the_table(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    used: str | None,
    limit: str | None,
    entries: conntrack.Entries | None,
) -> None:
    for name, text in (("_COUNT", used), ("_LIMIT", limit)):
        file = tmp_path / name
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(conntrack, name, str(file))
    assert conntrack.entries() == entries


def test_the_figures_are_the_kernels_own() -> None:
    # Documentation/networking/nf_conntrack-sysctl.rst
    assert conntrack._COUNT == "/proc/sys/net/netfilter/nf_conntrack_count"
    assert conntrack._LIMIT == "/proc/sys/net/netfilter/nf_conntrack_max"
