"""What keeps a synthesized picture calm: pure functions on pictures in gray levels.

A picture here is ``(1, C, H, W)`` in gray levels of 0 to 255 less the data set's mean color, so 0 is that color.
Each operator with its strength at 0 returns the picture as it came. Definitions: Yosinski et al. 2015,
section 3 (decay, blur, the two clips), Mahendran and Vedaldi 2015 (total variation).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Added under the root of the total variation, in squared gray levels, so that flat regions have a derivative.
FLAT = 1.0


def decay(picture: Tensor, rate: float) -> Tensor:
    """Return the picture moved towards the mean color: ``(1 - rate) * picture``."""
    return picture * (1.0 - rate) if rate else picture


def blur(picture: Tensor, width: float) -> Tensor:
    """Return the picture convolved with a Gaussian of standard deviation ``width`` pixels, edges repeated."""
    if not width:
        return picture
    from xaiwidgets.engine.baselines import gaussian_blur

    return gaussian_blur(picture, width)


def blur_mirrored(picture: Tensor, width: float) -> Tensor:
    """Return the picture blurred as Yosinski et al. 2015 did: up to four deviations away, mirrored at the edges."""
    radius = int(4 * width + 0.5)
    if not width or not radius:
        return picture
    import torch

    offsets = torch.arange(-radius, radius + 1, dtype=picture.dtype, device=picture.device)
    kernel = torch.exp(-offsets.square() / (2 * width**2))
    kernel = kernel / kernel.sum()
    for axis in (2, 3):
        length = picture.shape[axis]
        # the edge pixel is its own mirror image: ... 1 0 | 0 1 2 ...
        place = torch.arange(-radius, length + radius, device=picture.device) % (2 * length)
        padded = picture.index_select(axis, torch.minimum(place, 2 * length - 1 - place))
        picture = padded.unfold(axis, 2 * radius + 1, 1) @ kernel
    return picture


def total_variation(picture: Tensor) -> Tensor:
    """Return ``sum(sqrt(down**2 + right**2 + FLAT) - sqrt(FLAT))`` over pixels and channels, ``(N,)``, gray levels."""
    down, right = _differences(picture)
    length = (down.square() + right.square() + FLAT).sqrt()
    return (length - math.sqrt(FLAT)).flatten(1).sum(dim=1)


def tv_gradient(picture: Tensor) -> Tensor:
    """Return the derivative of ``total_variation`` with respect to the picture, of its shape, without a unit."""
    down, right = _differences(picture)
    length = (down.square() + right.square() + FLAT).sqrt()
    down, right = down / length, right / length
    slope = -(down + right)
    slope[..., 1:, :] += down[..., :-1, :]
    slope[..., :, 1:] += right[..., :, :-1]
    return slope


def clip_norm(picture: Tensor, percent: float) -> Tensor:
    """Return the picture with the ``percent`` of pixels of the smallest color norm set to the mean color."""
    return _clip(picture, picture.square().sum(dim=1, keepdim=True), percent)


def clip_contribution(picture: Tensor, gradient: Tensor, percent: float) -> Tensor:
    """Return the picture with the ``percent`` of pixels that matter least set to the mean color.

    What a pixel matters is ``abs(sum over channels of picture * gradient)``: to first order, how far the objective
    would move if the pixel were set to the mean color (Yosinski et al. 2015, section 3).
    """
    return _clip(picture, (picture * gradient).sum(dim=1, keepdim=True).abs(), percent)


def _differences(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences to the pixel below and to the pixel on the right, 0 at the border."""
    down, right = picture.new_zeros(picture.shape), picture.new_zeros(picture.shape)
    down[..., :-1, :] = picture[..., 1:, :] - picture[..., :-1, :]
    right[..., :, :-1] = picture[..., :, 1:] - picture[..., :, :-1]
    return down, right


def _clip(picture: Tensor, importance: Tensor, percent: float) -> Tensor:
    """Set to 0 the pixels whose importance lies below the percentile; pixels that tie with it are kept."""
    count = importance[0].numel()
    dropped = min(int(percent * count / 100), count - 1)
    if dropped <= 0:
        return picture
    threshold = importance.flatten(1).kthvalue(dropped + 1, dim=1).values.reshape(-1, 1, 1, 1)
    return picture.masked_fill(importance < threshold, 0.0)
