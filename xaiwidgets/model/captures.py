"""The last passes of a Model, kept so that one of them serves every layer of a class activation map, or every class."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch

from xaiwidgets.model.skeleton import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import EachClass, Target

#: How many (picture, target) pairs are kept.
KEPT = 3
#: Pictures whose ordinary gradients are shared.
MOST_ADMITTED = 16

Pair = tuple["Tensor", "Tensor"]


class ScoreTable:
    """Scores of several classes on a numbered series of altered copies of one picture, as far as it was run.

    Safe to share between threads, and between runs that advance in turn: each finds what the others have added.

    Args:
        columns: the classes.
        whole: their scores on the picture itself, ``(1, classes)``.
        count: how many copies the series has.
    """

    def __init__(self, columns: EachClass, whole: Tensor, count: int) -> None:
        self.columns, self.whole, self.done = columns, whole.cpu(), 0
        self._rows = torch.empty((count, len(columns.classes)), dtype=whole.dtype)
        self._lock = threading.Lock()

    def rows(self, numbers: range) -> Tensor | None:
        """Return the scores ``(n, classes)`` of copies, or ``None`` if not all of them are known."""
        with self._lock:
            return self._rows[numbers.start : numbers.stop].clone() if numbers.stop <= self.done else None

    def add(self, numbers: range, scores: Tensor) -> None:
        """Add the scores of copies, unless some before them are missing; those that are known stay."""
        with self._lock:
            if numbers.start <= self.done < numbers.stop:
                self._rows[self.done : numbers.stop] = scores[self.done - numbers.start :].cpu()
                self.done = numbers.stop


class Captures:
    """Activations and gradients of all stages, for the last few questions; safe to share between threads.

    Args:
        whole: take every ordinary gradient of a picture that was admitted in one pass on the network as it was built,
            by the picture and by all stages at once, so that it serves whatever is asked of it and its target next.
    """

    def __init__(self, whole: bool = False) -> None:
        self.whole = whole
        self._admitted: OrderedDict[bytes, None] = OrderedDict()
        self._passes: OrderedDict[object, Gradients] = OrderedDict()
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, dict[str, Pair]] = OrderedDict()
        self._scores: dict[object, Tensor] = {}
        self._pooled: OrderedDict[object, Pair] = OrderedDict()
        self._tables: OrderedDict[tuple[object, ...], ScoreTable] = OrderedDict()

    def pair(self, model: Model, images: Tensor, target: Target, layer: str) -> tuple[Pair, Tensor]:
        """Return (activation, gradient) of a layer and the scores, from a kept pass or a new one over all stages."""
        key = (*_key(model, images), target)
        with self._lock:
            known = self._kept.get(key, {})
            if layer in known:
                self._kept.move_to_end(key)
                return known[layer], self._scores[key]
        names = [layer] if known else list(dict.fromkeys([*(stage.name for stage in model.stages), layer]))
        found = model.gradient(images, target, layers=names, wrt_input=False)
        with self._lock:
            self._kept[key] = {**known, **found.layers}
            self._kept.move_to_end(key)
            self._scores[key] = found.score
            while len(self._kept) > KEPT:
                old, _ = self._kept.popitem(last=False)
                self._scores.pop(old, None)
        return found.layers[layer], found.score

    def admit(self, images: Tensor) -> None:
        """Share the gradients of this picture from now on; those of pictures that a method makes are its own."""
        with self._lock:
            self._admitted[_digest(images)] = None
            while len(self._admitted) > MOST_ADMITTED:
                self._admitted.popitem(last=False)

    def serves(self, images: Tensor) -> bool:
        """Return whether one pass is to serve all that is asked of this picture."""
        return self.whole and len(images) == 1 and _digest(images) in self._admitted

    def gradients(self, model: Model, images: Tensor, target: Target, layers: Sequence[str]) -> Gradients | None:
        """Return a kept pass by the picture and by these layers, if there is one."""
        key = (*_key(model, images), target)
        with self._lock:
            found = self._passes.get(key)
            if found is None or not set(layers) <= set(found.layers):
                return None
            self._passes.move_to_end(key)
            return found

    def keep(self, model: Model, images: Tensor, target: Target, found: Gradients) -> None:
        """Keep a pass by the picture and by all stages."""
        with self._lock:
            self._passes[(*_key(model, images), target)] = found
            while len(self._passes) > KEPT:
                self._passes.popitem(last=False)

    def pooled(self, model: Model, images: Tensor, make: Callable[[], Pair]) -> Pair:
        """Return (pooled maps, class scores) of a picture, kept or made now: one pass serves all classes."""
        key = _key(model, images)
        with self._lock:
            if key in self._pooled:
                self._pooled.move_to_end(key)
                return self._pooled[key]
        made = make()
        with self._lock:
            self._pooled[key] = made
            while len(self._pooled) > KEPT:
                self._pooled.popitem(last=False)
        return made

    def table(
        self, model: Model, images: Tensor, series: Hashable, target: Target, make: Callable[[], ScoreTable]
    ) -> ScoreTable:
        """Return the longest kept table of a picture and series of copies that a target follows from, or a new one.

        A picture's tables differ in their classes; the last few are kept, whosoever's they are.
        """
        key = (*_key(model, images), series)

        def held() -> ScoreTable | None:
            fits = [name for name, one in self._tables.items() if name[:-1] == key and one.columns.covers(target)]
            if not fits:
                return None
            best = max(fits, key=lambda name: self._tables[name].done)
            self._tables.move_to_end(best)
            return self._tables[best]

        with self._lock:
            found = held()
        if found is not None:
            return found
        made = make()
        with self._lock:
            found = held()  # another thread may have been faster
            if found is None:
                found = self._tables[*key, made.columns] = made
            while len(self._tables) > KEPT:
                self._tables.popitem(last=False)
        return found


def _digest(images: Tensor) -> bytes:
    return hashlib.sha1(images.detach().cpu().numpy().tobytes()).digest()


def _key(model: Model, images: Tensor) -> tuple[object, ...]:
    return _digest(images), stamp(model.module)
