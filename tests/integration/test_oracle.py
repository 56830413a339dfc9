"""Situations of every kind: all methods, as root and as nobody, against connects and datagrams."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from oracle import disagreements
from scene import scene
from situations import SITUATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    Found = dict[str, Future[dict[str, list[str]]]]

pytestmark = pytest.mark.once

AT_ONCE = 3
"""Situations under way at the same time: most of what they do is to wait for what stays silent."""


def judged(name: str) -> dict[str, list[str]]:
    """In what the check is wrong about a situation."""
    with scene() as at:
        SITUATIONS[name](at)
        return disagreements(at)


@pytest.fixture(name="found", scope="module")
def found_fixture(request: pytest.FixtureRequest) -> Iterator[Found]:
    """What comes of the situations that were chosen."""
    chosen = [each.name for each in request.session.items]
    pool = ThreadPoolExecutor(AT_ONCE)
    names = [name for name in SITUATIONS if any(each.endswith(f"[{name}]") for each in chosen)]
    yield {name: pool.submit(judged, name) for name in names}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_method_says_what_connects_and_datagrams_show(found: Found, name: str) -> None:
    assert found[name].result() == {}
