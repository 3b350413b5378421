"""One step of regularized gradient ascent, as a pure function of picture, gradient and hyper-parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.synthesis import regularizers

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.synthesis.activation_maximization import ActivationMaximization

#: What the gradient is divided by, so that the step size has a meaning in gray levels for every network and unit.
NORMALIZATIONS = ("rms", "mean", "max", "first", "none")


def rms(values: Tensor) -> float:
    """Return the root of the mean square; safe for gradients whose squares are too small for float32."""
    largest = values.abs().max()
    if not largest:
        return 0.0
    return float(largest * (values / largest).square().mean().sqrt())


def is_finite(values: Tensor) -> bool:
    """Return whether all values are finite; in one pass without a mask, since it is asked at every step."""
    low, high = values.aminmax()  # either is not a number where any value is not
    return bool((high - low).isfinite()) or bool(values.isfinite().all())


def direction(gradient: Tensor, normalization: str, first: float) -> Tensor:
    """Return the gradient divided by what ``normalization`` names; ``first`` is the rms of the run's first gradient."""
    if normalization == "none":
        return gradient
    if normalization == "first":
        return gradient / first
    # by the largest value first, so that tiny gradients do not vanish when they are squared or summed
    unit = gradient / gradient.abs().max()
    if normalization == "mean":
        return unit / unit.abs().mean()
    return unit / unit.square().mean().sqrt() if normalization == "rms" else unit


def follow(motion: Tensor, ascent: Tensor, momentum: float) -> Tensor:
    """Return the direction to move in: the running mean of directions, of which ``momentum`` is kept from before."""
    return momentum * motion + (1.0 - momentum) * ascent if momentum else ascent


def climb(picture: Tensor, gradient: Tensor, motion: Tensor, method: ActivationMaximization, step: int) -> Tensor:
    """Return the picture after step number ``step`` (from 1), before it is clipped to colors that can be shown.

    The order is that of Yosinski et al. 2015, section 3: ascent, decay, blur, small norm, small contribution. The slope
    of the total variation is taken off the direction of the ascent.
    """
    if method.total_variation:
        motion = motion - method.total_variation * regularizers.tv_gradient(picture)
    picture = regularizers.decay(picture + method.step_size * motion, method.decay)
    if step % method.blur_every == 0:
        picture = regularizers.blur(picture, method.blur_width)
    picture = regularizers.clip_norm(picture, method.clip_norm)
    return regularizers.clip_contribution(picture, gradient, method.clip_contribution)
