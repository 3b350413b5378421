"""The filters of a network's first convolution: their frequencies, and what its stride cannot keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidLayer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xaiwidgets.model.model import Model

    Floats = NDArray[np.float64]

#: Side of the transform, at least; filters are padded with zeros.
SIDE = 32
#: Centers of frequency below the first are low and above the second high, in cycles a pixel.
LOW, HIGH = 0.08, 0.2
#: The bank is of extremes if less than this is in the middle and more than this is on either side.
MIDDLE, EXTREME = 0.25, 0.2
#: A filter is dead below this share of the median norm; two are near-duplicates above this cosine.
DEAD, ALIKE = 1e-3, 0.95


@dataclass(frozen=True)
class FirstLayer:
    """What the first convolution passes on.

    Attributes:
        layer: name. ``filters``, ``kernel``, ``stride``: how many, and their sizes (rows, columns).
        low, mid, high: shares of the filters by their center of frequency: below 0.08, up to 0.2, above, in cycles a
            pixel. ``extremes``: few are in the middle, and many on either side.
        aliasing: share of the filters' energy at frequencies that the stride cannot keep, above 1 / (2 stride).
        dead, duplicates: shares of filters that are all but zero, or nearly equal to another or its opposite.
        centers: center of frequency of each filter, NaN for a dead one.
    """

    layer: str
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    low: float
    mid: float
    high: float
    extremes: bool
    aliasing: float
    dead: float
    duplicates: float
    centers: tuple[float, ...]


def first_layer(model: Model) -> FirstLayer:
    """Return the facts about a network's first convolution (judged by eye in Zeiler and Fergus 2014, section 4.1).

    Raises:
        InvalidLayer: the network has no convolution of pictures.
    """
    name, weights, stride = first_filters(model)
    return filter_facts(weights, stride, name)


def first_filters(model: Model) -> tuple[str, Floats, tuple[int, int]]:
    """Return name, weights ``(K, C, h, w)`` and stride of the first convolution that is run.

    Raises:
        InvalidLayer: there is none.
    """
    from torch import nn

    modules = dict(model.module.named_modules())
    for layer in model.layers:
        module = modules.get(layer.name)
        if isinstance(module, nn.Conv2d):
            stride: Any = module.stride
            return layer.name, module.weight.detach().double().cpu().numpy(), (int(stride[0]), int(stride[1]))
    raise InvalidLayer(f"a convolution must come first, and {model.name} has none.")


def filter_facts(weights: Floats, stride: tuple[int, int], name: str = "") -> FirstLayer:
    """Return the facts about filters ``(K, C, h, w)`` at a stride; see ``FirstLayer``."""
    norms = np.sqrt((weights**2).sum(axis=(1, 2, 3)))
    alive = norms > DEAD * np.median(norms)
    centers = frequency_centers(weights)
    there = centers[alive]
    low, high = (float(np.mean(part)) if len(there) else 0.0 for part in (there < LOW, there > HIGH))
    mid = 1 - low - high if len(there) else 0.0
    flat = weights[alive].reshape(int(alive.sum()), -1) / norms[alive, None]
    cosines = np.abs(flat @ flat.T)
    np.fill_diagonal(cosines, 0)
    return FirstLayer(
        name,
        len(weights),
        (weights.shape[2], weights.shape[3]),
        stride,
        low,
        mid,
        high,
        mid < MIDDLE and low > EXTREME and high > EXTREME,
        aliasing(weights, stride),
        float(np.mean(~alive)),
        float(np.mean(cosines.max(axis=1) > ALIKE)) if len(flat) > 1 else 0.0,
        tuple(float(c) if a else float("nan") for c, a in zip(centers, alive, strict=True)),
    )


def power(weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the power ``(K, n, n)`` of filters, summed over colors, and their frequencies down and across ``(n, n)``.

    In cycles a pixel, from -0.5 to 0.5; ``n`` is 32, or the kernel's side if that is larger.
    """
    side = max(SIDE, *weights.shape[2:])
    found = (np.abs(np.fft.fft2(weights, s=(side, side))) ** 2).sum(axis=1)
    down, across = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    return found, down, across


def frequency_centers(weights: Floats) -> Floats:
    """Return each filter's mean frequency ``(K,)``, weighted by its power, in cycles a pixel; NaN for zeros."""
    found, down, across = power(weights)
    total = found.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        centers: Floats = (np.hypot(down, across) * found).sum(axis=(1, 2)) / total
    return centers


def aliasing(weights: Floats, stride: tuple[int, int]) -> float:
    """Return the share of all filters' energy, in [0, 1], that lies above 1 / (2 stride) in either direction.

    Never falls with the stride; exactly 0 at stride 1.
    """
    found, down, across = power(weights)
    lost = (np.abs(down) > 0.5 / stride[0] + 1e-12) | (np.abs(across) > 0.5 / stride[1] + 1e-12)
    total = found.sum()
    return float(found[:, lost].sum() / total) if total else 0.0
