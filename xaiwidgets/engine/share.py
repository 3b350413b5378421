"""How much of a pass comes after a layer, for the price of methods that run only the rest of a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xaiwidgets.model.layers import Layer
    from xaiwidgets.model.model import Model

#: What a number of an output costs, and a weight, which is read once a batch, in multiplications of a convolution.
NUMBER, WEIGHT = 10.0, 4.0
#: What copying the altered map and calling the rest takes at least, and how much heavier the rest is than its share. On
#: one thread, at the first stage, one in the middle and the last, prices are 0.86 to 1.3 of what was timed on
#: EfficientNet-Lite0, ResNet-18 and MobileNet-V2, but 0.6 at ResNet-18's last and 0.7 at VGG-11's.
LEAST, HEAVIER = 0.015, 1.1


def share_after(model: Model, layer: str) -> float:
    """Return what running only the part after a layer takes, in forward passes, from counts alone; up to 1.1 or so.

    Args:
        model: whose layers were written down in the order in which they end.
        layer: one of them, by name.
    """
    weights = {name: part for name, part in model.module.named_modules() if hasattr(part, "weight")}
    prices = [_price(one, getattr(weights.get(one.name.partition("#")[0]), "weight", None)) for one in model.layers]
    place = next(number for number, one in enumerate(model.layers) if one.name == layer)
    total = sum(prices)
    return LEAST + HEAVIER * (sum(prices[place + 1 :]) / total if total else 1.0)


def _price(layer: Layer, weight: object) -> float:
    """Return what a call of a layer costs: its own work, not that of what is inside it."""
    numbers = math.prod(layer.shape)
    found = NUMBER * numbers if layer.leaf else 0.0
    shape = tuple(getattr(weight, "shape", ()))
    if len(shape) >= 2:  # a convolution's or a dense layer's: each number of the output is a sum over one filter
        found += numbers * math.prod(shape[1:]) + WEIGHT * math.prod(shape)
    return found
