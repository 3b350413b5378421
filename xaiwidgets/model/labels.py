"""Class names: short and full, found by index, name, synonym, WordNet id or a few typed letters."""

from __future__ import annotations

import operator
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidTarget, did_you_mean
from xaiwidgets.model.label_search import plain, ranking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What tells classes apart whose names are the same and that have no second name; from their WordNet definitions.
GLOSSES = {"n02012849": "bird", "n03126707": "machine", "n03710637": "tights"}
LISTED = 8


@dataclass(frozen=True)
class Labels:
    """The classes of a model in the order of its outputs.

    Attributes:
        names: one a class; synonyms are separated by a comma and a space, the usual one first.
        wnids: their WordNet ids, or nothing.
    """

    names: tuple[str, ...]
    wnids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("names", "wnids"):
            given = getattr(self, field)
            if isinstance(given, str) or not all(isinstance(name, str) and name.strip() for name in given):
                raise InvalidTarget(f"{field} must be a sequence of strings, none of them empty; got {_brief(given)}.")
            object.__setattr__(self, field, tuple(name.strip() for name in given))
        if not self.names:
            raise InvalidTarget(
                "names must have at least one class; got none. numbered_labels(n) names them by number."
            )
        if self.wnids and len(self.wnids) != len(self.names):
            raise InvalidTarget(
                f"wnids must be empty or have one id a class; got {len(self.wnids)} for {len(self.names)} names."
            )

    def __len__(self) -> int:
        return len(self.names)

    def short(self, index: int) -> str:
        """Return the usual name, unlike that of any other class: ``espresso``, ``crane (bird)``."""
        return self._shorts[self._checked(index)]

    def full(self, index: int) -> str:
        """Return the name with its synonyms: ``tabby, tabby cat``."""
        return self.names[self._checked(index)]

    def index(self, query: Any) -> int:
        """Return the class of an index, a name, any one synonym (in any case) or a WordNet id.

        The usual name of one class goes before a synonym of another: ``missile`` is the class of that name.

        Raises:
            InvalidTarget: no such class (with close names), or several (with their ids).
        """
        if not isinstance(query, str):
            return self._checked(query)
        wanted = plain(query)
        for table in self._tables:
            if found := table.get(wanted):
                if len(found) > 1:
                    raise InvalidTarget(self._ambiguous(query, found))
                return found[0]
        if wanted.removeprefix("-").isdecimal():
            return self._checked(int(wanted))
        if not wanted:
            raise InvalidTarget(f"target must be {self._expected}; got an empty name.")
        raise InvalidTarget(f"target must be {self._expected}; got {_brief(query)}.{self._suggestion(wanted)}")

    def search(self, text: str, limit: int = 20) -> tuple[int, ...]:
        """Return up to ``limit`` classes for what a person typed, the best first.

        A name that is the text goes first, then names, words and parts of words that start with it or hold it, then
        misspellings of it. An index or a WordNet id finds its class. Empty text finds nothing.
        """
        wanted = plain(str(text))
        if wanted in self.wnids:
            return (self.wnids.index(wanted),)[: max(0, limit)]
        if wanted.isdecimal() and int(wanted) < len(self) and wanted not in self._by_usual:
            return (int(wanted),)[: max(0, limit)]
        return ranking(self._searched, wanted, limit)

    @cached_property
    def _searched(self) -> tuple[tuple[str, ...], ...]:
        pairs = zip(self._synonyms, self._shorts, strict=True)
        return tuple((*synonyms, plain(short)) for synonyms, short in pairs)

    @cached_property
    def _synonyms(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(plain(part) for part in name.split(", ")) for name in self.names)

    @cached_property
    def _tables(self) -> tuple[Mapping[str, list[int]], ...]:
        """From names to classes, the surest first: WordNet ids and whole names, usual names, synonyms, short names."""
        whole = [(wnid, index) for index, wnid in enumerate(self.wnids)]
        whole += [(plain(name), index) for index, name in enumerate(self.names) if ", " in name]
        shorts = ((plain(short), index) for index, short in enumerate(self._shorts))
        return _table(whole), self._by_usual, self._by_synonym, _table(shorts)

    @cached_property
    def _by_usual(self) -> Mapping[str, list[int]]:
        return _table((parts[0], index) for index, parts in enumerate(self._synonyms))

    @cached_property
    def _by_synonym(self) -> Mapping[str, list[int]]:
        return _table((part, index) for index, parts in enumerate(self._synonyms) for part in dict.fromkeys(parts))

    @cached_property
    def _shorts(self) -> tuple[str, ...]:
        firsts = [name.split(", ")[0] for name in self.names]
        alone = (len(self._by_usual[plain(first)]) == 1 for first in firsts)
        return tuple(
            first if single else f"{first} ({self._mark(index)})"
            for index, (first, single) in enumerate(zip(firsts, alone, strict=True))
        )

    def _mark(self, index: int) -> str:
        """Return what tells a class from others of its name: a meaning, a synonym of its own, or its index."""
        if self.wnids and (gloss := GLOSSES.get(self.wnids[index])):
            return gloss
        own = [part for part in self._synonyms[index] if len(self._by_synonym[part]) == 1]
        return own[0] if own else str(index)

    def _checked(self, index: Any) -> int:
        try:
            number = operator.index(index)
        except TypeError:
            number = -1
        if isinstance(index, bool) or not 0 <= number < len(self):
            raise InvalidTarget(f"target must be {self._expected}; got {_brief(index)}.")
        return number

    @property
    def _expected(self) -> str:
        ids = ", a WordNet id" if self.wnids else ""
        return f"a class index from 0 to {len(self) - 1}{ids} or the name of one of the model's {len(self)} classes"

    def _ambiguous(self, query: str, found: list[int]) -> str:
        ids = [f"{i} {self._shorts[i]}" + (f" {self.wnids[i]}" if self.wnids else "") for i in found[:LISTED]]
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        return (
            f"target must name one of the model's {len(self)} classes; {_brief(query)} names {len(found)}: "
            f"{'; '.join(ids)}{more}. Give the index{' or the WordNet id' if self.wnids else ''}."
        )

    def _suggestion(self, wanted: str) -> str:
        close = self.search(wanted, 5)
        if close:
            return f" Did you mean {', '.join(f'{self._shorts[i]} ({i})' for i in close)}?"
        return did_you_mean(wanted, self._shorts) or f" Names look like {self._shorts[0]!r}."


@cache
def imagenet_labels() -> Labels:
    """Return the 1,000 classes of ImageNet-1k with their WordNet synonyms and ids."""
    rows = files("xaiwidgets.data").joinpath("imagenet1k.tsv").read_text(encoding="utf-8").splitlines()
    wnids, names = zip(*(row.split("\t") for row in rows), strict=True)
    return Labels(names, wnids)


def numbered_labels(count: int) -> Labels:
    """Return ``class 0``, ``class 1``, … for a model whose class names are not known."""
    return Labels(tuple(f"class {index}" for index in range(count)))


def _table(pairs: Iterable[tuple[str, int]]) -> Mapping[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for name, index in pairs:
        found[name].append(index)
    return dict(found)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
