"""The last passes of a Model, kept so that one of them serves every layer of a class activation map."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from xaiwidgets.model.skeleton import stamp

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: How many (picture, target) pairs are kept.
KEPT = 3

Pair = tuple["Tensor", "Tensor"]


class Captures:
    """Activations and gradients of all stages, for the last few questions; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, dict[str, Pair]] = OrderedDict()
        self._scores: dict[object, Tensor] = {}

    def pair(self, model: Model, images: Tensor, target: Target, layer: str) -> tuple[Pair, Tensor]:
        """Return (activation, gradient) of a layer and the scores, from a kept pass or a new one over all stages."""
        key = (hashlib.sha1(images.detach().cpu().numpy().tobytes()).digest(), target, stamp(model.module))
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
