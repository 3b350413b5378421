"""Maps that are given, not computed: for tests of what is done with a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xaiwidgets.core.cards import Card
from xaiwidgets.core.results import Attribution


@dataclass(frozen=True, eq=False)
class FixedMap:
    """A method whose map ``(H, W)`` or ``(C, H, W)`` is the same for every network and picture; registered nowhere."""

    values: Any
    signed: bool = False
    card: ClassVar[Any] = None

    def steps(self, model: Any, image: Any, target: Any) -> Any:
        """Yield the map."""
        values = np.asarray(self.values, np.float32)
        values = values if values.ndim == 3 else values[None]
        yield Attribution(values, "evidence", signed=self.signed, size=tuple(image.shape[2:]))


@dataclass(frozen=True, eq=False)
class MadeMap:
    """A method whose map is computed from (model, image, target) by a function; registered nowhere."""

    make: Any
    signed: bool = True
    card: ClassVar[Any] = None

    def steps(self, model: Any, image: Any, target: Any) -> Any:
        """Yield the map."""
        values = np.asarray(self.make(model, image, target), np.float32)
        values = values if values.ndim == 3 else values[None]
        yield Attribution(values, "evidence", signed=self.signed, size=tuple(image.shape[2:]))


for made in (FixedMap, MadeMap):
    texts = dict.fromkeys(("idea", "cite", "paper", "how", "formula", "caution"), "")
    made.card = Card(
        id=made.__name__, title=made.__name__, family="gradient", kind="explainer", cls=made, section="2", needs=(),
        signed=True, **texts,
    )  # fmt: skip


def fixed(values: Any) -> FixedMap:
    """Return a method that gives this map, which has no negative evidence."""
    return FixedMap(values)
