"""What photos have in common, as energies of a batch of pictures and their slopes, written out.

A picture is ``(N, C, H, W)`` in any unit. Sums over a picture, not means; one energy a picture, ``(N,)``. Definitions:
Mahendran and Vedaldi 2015, eq. 5, and 2016, eq. 8 and 9; slopes as in the authors' code, which bounds the one of the
total variation where the picture is flat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Where the picture is flat, the slope of a total variation with an exponent under 2 has a pole: it is bounded as if
#: the length of the difference to the power of ``beta`` were this.
FLAT = 1e-5


def alpha_norm(picture: Tensor, alpha: float) -> Tensor:
    """Return ``sum |x| ** alpha`` over all values."""
    return picture.abs().pow(alpha).flatten(1).sum(dim=1)


def alpha_slope(picture: Tensor, alpha: float) -> Tensor:
    """Return the derivative of ``alpha_norm``, of the picture's shape."""
    return alpha * picture.sign() * picture.abs().pow(alpha - 1)


def color_norm(picture: Tensor, alpha: float) -> Tensor:
    """Return ``sum ||x_ij|| ** alpha`` over pixels, of the length of each pixel's color."""
    return lengths(picture).pow(alpha).flatten(1).sum(dim=1)


def color_slope(picture: Tensor, alpha: float) -> Tensor:
    """Return the derivative of ``color_norm``, of the picture's shape; 0 where the color is."""
    length = lengths(picture)
    # the color divided by its length first: a power of less than one is never taken of 0
    return alpha * length.pow(alpha - 1) * (picture / length.clamp_min(_tiny(length)))


def variation(picture: Tensor, beta: float) -> Tensor:
    """Return ``sum (down ** 2 + right ** 2) ** (beta / 2)`` over all values; differences are 0 at the border."""
    down, right = differences(picture)
    return (down.square() + right.square()).sqrt().pow(beta).flatten(1).sum(dim=1)


def variation_slope(picture: Tensor, beta: float) -> Tensor:
    """Return the derivative of ``variation``, of the picture's shape."""
    down, right = differences(picture)
    if beta != 2:
        length = (down.square() + right.square()).sqrt().pow(beta)
        length = (length.clamp_min(FLAT) if beta < 2 else length).pow(1 - 2 / beta)
        down, right = down * length, right * length
    slope = -(down + right)
    slope[..., 1:, :] += down[..., :-1, :]
    slope[..., :, 1:] += right[..., :, :-1]
    return beta * slope


def differences(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences to the pixel below and to the pixel on the right, 0 at the border."""
    down, right = picture.new_zeros(picture.shape), picture.new_zeros(picture.shape)
    down[..., :-1, :] = picture[..., 1:, :] - picture[..., :-1, :]
    right[..., :, :-1] = picture[..., :, 1:] - picture[..., :, :-1]
    return down, right


def lengths(picture: Tensor) -> Tensor:
    """Return the length of each pixel's color, ``(N, 1, H, W)``."""
    return picture.square().sum(dim=1, keepdim=True).sqrt()


def bounded(picture: Tensor, bound: float) -> Tensor:
    """Return the picture with every color that is longer than ``bound`` shortened to it."""
    length = lengths(picture)
    return picture * (bound / length.clamp_min(bound))


def _tiny(values: Tensor) -> float:
    import torch

    return float(torch.finfo(values.dtype).tiny)
