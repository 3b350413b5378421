"""The last passes of a Model, kept so that one of them serves every layer of a class activation map."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from xaiwidgets.model.skeleton import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Target

#: How many (picture, target) pairs are kept.
KEPT = 3
#: Pictures whose ordinary gradients are shared.
MOST_ADMITTED = 16

Pair = tuple["Tensor", "Tensor"]


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


def _digest(images: Tensor) -> bytes:
    return hashlib.sha1(images.detach().cpu().numpy().tobytes()).digest()


def _key(model: Model, images: Tensor) -> tuple[object, ...]:
    return _digest(images), stamp(model.module)
