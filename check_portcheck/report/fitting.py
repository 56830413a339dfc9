"""As much as fits into the room that there is, and how many more there are.

What is told comes one by one, so that nothing is worked out that there is no room for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Line(NamedTuple):
    """Something that is told."""

    text: str
    before: int
    """How many services and other things are untold where it is left out."""
    left: int
    """How many are still untold behind it."""


Block = tuple[int, "Iterable[str]"]
"""How many services or other things some lines tell of, and these lines."""


class Section(NamedTuple):
    """Things of a kind that are told one after the other."""

    number: int
    """How many services or other things there are in all blocks."""
    blocks: Iterable[Block]


def lines(sections: Sequence[Section]) -> Iterator[Line]:
    """The lines of all blocks, each with what is left behind its block."""
    left = sum(section.number for section in sections)
    for section in sections:
        for count, texts in section.blocks:
            before, left = left, left - count
            for text in texts:
                yield Line(text, before, left)
                before = left


def each(texts: Sequence[str]) -> Section:
    """Texts that stand for one thing each."""
    return Section(len(texts), ((1, (text,)) for text in texts))


def fitted(head: str, items: Iterable[Line], longest: int) -> str:
    """The head and as many whole items as fit into *longest* characters, then how many more."""
    text, fitting = head, ""
    for index, (item, _, left) in enumerate(items):
        text += f", {item}" if index else item
        if index == 0:
            fitting = _cut(text, longest, _more(left))
        if len(text) > longest:
            break
        counted = text + _more(left)
        if len(counted) <= longest:
            fitting = counted
    return fitting or head


def bounded(told: Iterable[Line], longest: int) -> list[str]:
    """As many lines as fit into *longest* bytes, then how many more there are."""
    kept: list[str] = []
    size = 0
    for text, before, left in told:
        size += len(text.encode()) + 1
        if size + len(_rest(left)) + 1 > longest:
            return [*kept, _rest(before)] if kept or len(_rest(before)) < longest else []
        kept.append(text)
    return kept


def _rest(count: int) -> str:
    return f"... and {count} more" if count else "..."


def _more(left: int) -> str:
    return f" and {left} more" if left else ""


def _cut(text: str, longest: int, more: str) -> str:
    """The text, cut where it does not fit."""
    if len(text) + len(more) <= longest:
        return text + more
    return text[: longest - len(more) - 3] + "..." + more
