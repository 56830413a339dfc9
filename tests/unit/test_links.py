"""Where the guides point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIRECTORIES = (".", "benchmarks", "checkmk", "docs", "icinga", "nrpe", "packaging", "policies")
GUIDES = [guide for each in DIRECTORIES for guide in sorted((ROOT / each).glob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_links_lead_to_files(guide: Path) -> None:
    targets = _LINK.findall(guide.read_text())
    assert [each for each in targets if not (guide.parent / each).exists()] == []


def test_readme_leads_to_every_guide() -> None:
    readme = ROOT / "README.md"
    found = {(ROOT / each).resolve() for each in _LINK.findall(readme.read_text())}
    assert {each for each in GUIDES if each.parent != ROOT} <= found
