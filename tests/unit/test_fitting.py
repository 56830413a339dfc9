"""As much as fits, and how much does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.report.fitting import Section, bounded, each, fitted, lines

if TYPE_CHECKING:
    from collections.abc import Iterator


@given(
    st.text(max_size=20),
    st.lists(st.text(min_size=1, max_size=60)),
    st.integers(40, 200),
)
def test_what_does_not_fit_is_counted(head: str, items: list[str], longest: int) -> None:
    text = fitted(head, lines([each(items)]), longest)
    assert text.startswith(head)
    if items:
        assert len(text) <= longest
    whole = head + ", ".join(items)
    if len(whole) <= longest:
        assert text == whole


@pytest.mark.parametrize(
    ("longest", "text"),
    [
        (100, "3 found: one, two, three"),
        (24, "3 found: one, two, three"),
        (23, "3 found: one and 2 more"),
        (22, "3 found:... and 2 more"),
    ],
)
def test_items_stay_whole(longest: int, text: str) -> None:
    assert fitted("3 found: ", lines([each(["one", "two", "three"])]), longest) == text


@pytest.mark.parametrize("length", [1, 50, 1000])
@pytest.mark.parametrize("count", [1, 100, 10000])
@pytest.mark.parametrize("char", ["x", "\u4e2d"])
def test_lines_are_kept_while_they_fit(char: str, count: int, length: int) -> None:
    told = [char * length] * count
    kept = bounded(lines([each(told)]), 8000)
    if kept == told:
        return
    *kept, last = kept
    assert kept == told[: len(kept)]
    assert last == f"... and {count - len(kept)} more"
    size = sum(len(line.encode()) + 1 for line in kept)
    assert size + len(last) + 1 <= 8000
    # No line was left out that would have fitted.
    more = f"... and {count - len(kept) - 1} more\n"
    assert size + len(told[0].encode()) + 1 + len(more) > 8000


def test_without_room_nothing_is_told() -> None:
    assert bounded(lines([each(["first line", "b", "c"])]), 3) == []
    assert bounded(lines([each(["first line", "b", "c"])]), 16) == ["... and 3 more"]
    assert bounded(lines([each([])]), 3) == []


def blocks(made: list[str]) -> Iterator[tuple[int, Iterator[str]]]:
    """Three blocks of two lines, of which is written down what was made."""

    def texts(name: str) -> Iterator[str]:
        for line in (name, f"  {name}"):
            made.append(line)
            yield line

    yield 5, texts("five")
    yield 3, texts("three")
    yield 1, texts("one")


def test_services_are_counted_and_nothing_is_made_that_has_no_room() -> None:
    made: list[str] = []
    assert bounded(lines([Section(9, blocks(made))]), 30) == ["five", "  five", "... and 4 more"]
    assert made == ["five", "  five", "three"]


def test_what_explains_the_last_one_may_be_left_out() -> None:
    one = [(1, ("one", "  and a long explanation"))]
    assert bounded(lines([Section(1, one)]), 20) == ["one", "..."]


def test_an_entry_that_is_shown_takes_all_its_services_from_the_rest() -> None:
    found = [(5, ("five",)), (4, ("of another name",))]
    assert fitted("9: ", lines([Section(9, found)]), 18) == "9: five and 4 more"
