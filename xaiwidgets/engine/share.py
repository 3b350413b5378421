"""How much of a pass comes after a layer, for the price of methods that run only the rest of a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xaiwidgets.model.layers import Layer
    from xaiwidgets.model.model import Model

#: What a number of an output costs, and a weight, which is read once a batch, in multiplications of a convolution:
#: with these the shares of EfficientNet-Lite0, ResNet-18, MobileNet-V2 and VGG-11 are within a sixth of what was timed
#: at the first stage, one in the middle, and the last but for ResNet-18's, which takes 0.05 and is told as 0.03.
NUMBER, WEIGHT = 20.0, 15.0
#: The least share: what was altered has to be copied, and the rest to be called.
LEAST = 0.03


def share_after(model: Model, layer: str) -> float:
    """Return the share of a forward pass's time, in [0, 1], that comes after a layer, from counts alone.

    Args:
        model: whose layers were written down in the order in which they end.
        layer: one of them, by name.
    """
    weights = {name: part for name, part in model.module.named_modules() if hasattr(part, "weight")}
    prices = [_price(one, getattr(weights.get(one.name.partition("#")[0]), "weight", None)) for one in model.layers]
    place = next(number for number, one in enumerate(model.layers) if one.name == layer)
    total = sum(prices)
    return LEAST + (1 - LEAST) * (sum(prices[place + 1 :]) / total if total else 1.0)


def _price(layer: Layer, weight: object) -> float:
    """Return what a call of a layer costs: its own work, not that of what is inside it."""
    numbers = math.prod(layer.shape)
    found = NUMBER * numbers if layer.leaf else 0.0
    shape = tuple(getattr(weight, "shape", ()))
    if len(shape) >= 2:  # a convolution's or a dense layer's: each number of the output is a sum over one filter
        found += numbers * math.prod(shape[1:]) + WEIGHT * math.prod(shape)
    return found
