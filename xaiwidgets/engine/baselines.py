"""Named baselines: what "nothing there" looks like. Defined on pixels, then normalized like any photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from xaiwidgets.core.knobs import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xaiwidgets.model.model import Model

BASELINES = Choice(("black", "white", "gray", "mean", "blur", "border"))
#: What can hide a window: a baseline, or the mean color around the window.
FILLS = Choice(("gray", "mean", "black", "white", "blur", "border", "inpaint"))
HELP = "black, white or gray pixels; the data set's mean color; the photo blurred; the mean color of the photo's border"
#: Standard deviation of the blurred baseline, as a share of the picture's height.
BLUR = 0.05


def baseline(model: Model, image: Tensor, name: str) -> Tensor:
    """Return the baseline ``(1, C, H, W)`` of this name for a normalized input of the same shape.

    Raises:
        InvalidKnob: no baseline has this name.
    """
    name = BASELINES.check("baseline", name)
    mean = torch.tensor(model.preprocessing.mean, dtype=image.dtype, device=image.device).reshape(1, -1, 1, 1)
    std = torch.tensor(model.preprocessing.std, dtype=image.dtype, device=image.device).reshape(1, -1, 1, 1)
    levels = {"black": 0.0, "gray": 0.5, "white": 1.0}
    if name in levels:
        return ((levels[name] - mean) / std).expand_as(image).contiguous()
    if name == "mean":
        return torch.zeros_like(image)
    if name == "blur":
        return gaussian_blur(image, max(1.0, BLUR * image.shape[-2]))
    inside = torch.zeros(image.shape[-2:], dtype=torch.bool, device=image.device)
    inside[1:-1, 1:-1] = True
    return image[..., ~inside].mean(dim=-1)[..., None, None].expand_as(image).contiguous()


def cover(model: Model, image: Tensor, fill: str) -> Callable[[tuple[int, int, int, int]], Tensor]:
    """Return what gives the pixels ``(C, h, w)`` that hide a window (top, left, bottom, right) of an input.

    ``inpaint`` is the mean color of the pixels that touch the window from outside, so that the edge of the window shows
    least; a window without an outside gets the mean color of the picture's border.

    Raises:
        InvalidKnob: no fill has this name.
    """
    fill = FILLS.check("fill", fill)
    whole = baseline(model, image, "border" if fill == "inpaint" else fill)[0]

    def part(box: tuple[int, int, int, int]) -> Tensor:
        top, left, bottom, right = box
        inside = whole[:, top:bottom, left:right]
        if fill != "inpaint":
            return inside
        ring = _ring(image[0], box)
        return inside if not ring.shape[1] else ring.mean(dim=1)[:, None, None].expand_as(inside)

    return part


def _ring(image: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """Return the pixels ``(C, n)`` of ``image (C, H, W)`` that touch a window from outside, corners included."""
    top, left, bottom, right = box
    rows, columns = slice(max(top - 1, 0), bottom + 1), slice(max(left - 1, 0), right + 1)
    outside = torch.ones(image.shape[1:], dtype=torch.bool, device=image.device)
    outside[top:bottom, left:right] = False
    return image[:, rows, columns][:, outside[rows, columns]]


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Return ``image (N, C, H, W)`` convolved with a Gaussian of ``sigma`` pixels, edges repeated."""
    if sigma <= 0:
        return image
    radius = max(1, int(3 * sigma + 0.5))
    steps = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    channels = image.shape[1]
    # edges are repeated by index, since padding cannot reach over the whole of a small picture
    rows = torch.arange(-radius, image.shape[2] + radius, device=image.device).clamp(0, image.shape[2] - 1)
    columns = torch.arange(-radius, image.shape[3] + radius, device=image.device).clamp(0, image.shape[3] - 1)
    down = kernel.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
    across = kernel.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1)
    blurred = functional.conv2d(image.index_select(2, rows), down, groups=channels)
    return functional.conv2d(blurred.index_select(3, columns), across, groups=channels)
