"""What single units of a weighted operation read and give: patches of the input, values of the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from .ops import pair

if TYPE_CHECKING:
    from torch import Tensor

    from .ops import Op


def rows_of(values: Tensor, *, spatial: bool) -> Tensor:
    """Return ``(N, P, C)``: what each of P places of a result holds; ``spatial``: of a map ``(N, C, h, w)``."""
    moved = values.permute(0, 2, 3, 1) if spatial else values
    return moved.reshape(len(values), -1, moved.shape[-1])


def chosen(values: Tensor, places: Tensor, groups: int, *, spatial: bool) -> Tensor:
    """Return ``(N·S, groups, C / groups)``: values at ``places (N, S)``."""
    found = rows_of(values, spatial=spatial)
    picked = found[torch.arange(len(found), device=found.device)[:, None], places]
    return picked.reshape(-1, groups, found.shape[-1] // groups)


def patches(op: Op, places: Tensor, columns: int) -> Tensor:
    """Return ``(N·S, taps, groups, C / groups)``: what units at ``places (N, S)`` of a convolution's output read.

    Taps are the positions of the kernel, row by row; zeros stand for what lies outside.

    Args:
        op: a two-dimensional convolution.
        places: row times ``columns`` plus column, of the output.
        columns: how many the output has.
    """
    found = op.parameters
    groups = int(found.get("groups", 1))
    high, wide = found["weight"].shape[2:]
    (down, across), (apart, beside) = pair(found.get("stride", 1)), pair(found.get("dilation", 1))
    top, bottom, left, right = _borders(found.get("padding", 0), (high - 1) * apart, (wide - 1) * beside)
    values = op.inputs[0]
    if top or bottom or left or right:
        values = functional.pad(values, (left, right, top, bottom))
    width = values.shape[3]
    device = values.device
    rows = (places // columns * down)[..., None] + torch.arange(high, device=device) * apart
    cells = (places % columns * across)[..., None] + torch.arange(wide, device=device) * beside
    index = (rows[..., :, None] * width + cells[..., None, :]).flatten(1)
    flat = rows_of(values, spatial=True)
    read = flat[torch.arange(len(flat), device=device)[:, None], index]
    return read.reshape(places.numel(), high * wide, groups, values.shape[1] // groups)


def _borders(padding: object, tall: int, broad: int) -> tuple[int, int, int, int]:
    if padding == "same":  # the odd pixel lies below and at the right
        return tall // 2, tall - tall // 2, broad // 2, broad - broad // 2
    if padding == "valid":
        return 0, 0, 0, 0
    above, beside = pair(padding)
    return int(above), int(above), int(beside), int(beside)
