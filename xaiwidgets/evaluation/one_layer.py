"""Gradients of networks of one random layer, which show edges whatever the weights are.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def random_filters(channels: int, count: int, seed: int) -> Tensor:
    """Return independent Gaussian filters of 3 × 3, ``(count, channels, 3, 3)``."""
    return torch.randn(count, channels, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_layer_gradient(image: Tensor, filters: Tensor) -> NDArray[np.float64]:
    """Return the gradient of ``f(x) = Σ ReLU(w ∗ x)``, summed over filters and places, absolute and over colors.

    At a pixel it depends on nothing but which of the units around are active: in a flat area they are all alike, and
    the gradient is constant; where they are not, there is an edge (Adebayo et al. 2018, on
    convolutions of one layer).

    Args:
        image: ``(1, C, H, W)``, at least 5 px a side.
        filters: ``(K, C, 3, 3)``.

    Returns:
        ``(H - 4, W - 4)``: without the two pixels at the border, of which fewer units know.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = image.detach().double().cpu().clone().requires_grad_()
        total = functional.conv2d(leaf, filters).relu().sum()
        (slope,) = torch.autograd.grad(total, leaf)
    return slope[0].abs().sum(dim=0)[2:-2, 2:-2].numpy()  # type: ignore[no-any-return]


def steps_of(map: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much a map changes around each pixel, ``(H, W)``: the length of its gradient by differences."""
    import numpy as np

    down, across = np.gradient(map)
    return np.hypot(down, across)  # type: ignore[no-any-return]
