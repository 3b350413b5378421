"""Rank class names for what a person typed: names that hold it, then misspellings of it."""

from __future__ import annotations

from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

TYPO = 0.75  # a typed word that shares this much with a known one is taken for a misspelling of it
WORD_OF_A_NAME = 0.99  # of two equal likenesses, a whole name goes before a word of a longer one
EXACT, PREFIX, WORD_PREFIX, INSIDE, MISSPELLED = range(5)


def plain(name: str) -> str:
    """Return the name without capitals and with single spaces; an underscore counts as a space."""
    return " ".join(name.casefold().replace("_", " ").split())


def ranking(names: Sequence[Sequence[str]], wanted: str, limit: int) -> tuple[int, ...]:
    """Return the places of up to ``limit`` groups of plain names, the best first; a group is as good as its best name.

    The order is: the name itself, names that start with the text, words that do, names that hold it, misspellings;
    among equals, the group's first name before its others, and the shorter name.
    """
    if not wanted or limit < 1:
        return ()
    ranked = [(rank, place) for place, group in enumerate(names) if (rank := _rank(group, wanted)) is not None]
    if len(ranked) < limit and len(wanted) > 2:
        known = {place for _, place in ranked}
        likeness = _likeness(wanted)
        others = ((likeness(group), place) for place, group in enumerate(names) if place not in known)
        ranked += [((MISSPELLED, 1 - score, 0.0), place) for score, place in others if score >= TYPO * WORD_OF_A_NAME]
    return tuple(place for _, place in sorted(ranked)[:limit])


def _rank(group: Sequence[str], wanted: str) -> tuple[int, float, float] | None:
    found = []
    for place, name in enumerate(group):
        if wanted in name:
            kind = EXACT if name == wanted else PREFIX if name.startswith(wanted) else INSIDE
            if kind == INSIDE and (f" {wanted}" in name or f"-{wanted}" in name):
                kind = WORD_PREFIX
            found.append((kind, float(place > 0), float(len(name))))
    return min(found, default=None)


def _likeness(wanted: str) -> Callable[[Iterable[str]], float]:
    """Return a function from names to how much the closest of them, or of their words, is like the wanted one."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)

    @cache
    def one(name: str) -> float:
        matcher.set_seq1(name)
        return 0.0 if matcher.real_quick_ratio() < TYPO or matcher.quick_ratio() < TYPO else matcher.ratio()

    def best(names: Iterable[str]) -> float:
        return max(max(one(name), *(WORD_OF_A_NAME * one(word) for word in name.split())) for name in names)

    return best
