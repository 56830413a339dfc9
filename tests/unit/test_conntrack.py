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


@pytest.fixture(name="table")
def table_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file for the number of entries; there may be 1000."""
    (tmp_path / "limit").write_text("1000\n")
    monkeypatch.setattr(conntrack, "_LIMIT", str(tmp_path / "limit"))
    monkeypatch.setattr(conntrack, "_COUNT", str(tmp_path / "count"))
    return tmp_path / "count"


def test_a_scan_may_fill_a_quarter_of_what_is_free(table: Path) -> None:
    table.write_text("200\n")
    room = conntrack.room()
    assert room == conntrack.Room(400)
    assert (room.of(10), room.of(1000), room.of(1000, kept=50)) == (10, 200, 150)
    table.write_text("390\n")
    assert (room.of(1000), room.of(1000, kept=50)) == (10, 0)
    table.unlink()
    assert room.of(10) == 0


def test_a_table_that_is_over_its_limit_has_no_room(table: Path) -> None:
    table.write_text("1200\n")
    assert conntrack.room().of(10) == 0


@pytest.mark.usefixtures("table")
def test_where_nothing_is_tracked_there_is_room_and_nobody_is_asked() -> None:
    assert conntrack.room().of(10) == 10
    assert conntrack.connect() is None
