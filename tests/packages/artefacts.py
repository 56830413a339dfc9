"""The checkout, and what packaging/build has made of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def built(pattern: str) -> Path:
    """The one file in dist/ with such a name; raises ValueError where there is none or several."""
    [found] = CHECKOUT.glob(f"dist/{pattern}")
    return found


def tracked() -> set[str]:
    """The files of the checkout, as git has them."""
    listed = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    output = subprocess.run(listed, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    return set(output.rstrip("\0").split("\0"))
