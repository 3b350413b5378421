"""Networks with float16 or bfloat16 numbers: what a device cannot do in them, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.errors import InvalidModel

if TYPE_CHECKING:
    from torch import Tensor


def is_short(like: Tensor) -> bool:
    """Return whether numbers have fewer than 32 bits."""
    return like.is_floating_point() and like.element_size() < 4


def at_least_single(tensor: Tensor) -> Tensor:
    """Return it in float32 if its numbers are shorter: squares of float16 numbers are soon larger than all of them."""
    return tensor.float() if is_short(tensor) else tensor


def refusal(error: Exception, like: Tensor) -> InvalidModel | None:
    """Return what to raise where PyTorch lacks an operation for the numbers of a network, ``None`` for other errors.

    Args:
        error: what a pass raised.
        like: a tensor with the device and number type of the pass.
    """
    lacking = isinstance(error, NotImplementedError) or "not implemented for" in str(error)
    if not (is_short(like) and isinstance(error, RuntimeError) and lacking):
        return None
    numbers, device = str(like.dtype).removeprefix("torch."), like.device.type
    return InvalidModel(
        f"module must be of numbers that its operations can work with on the {device}; in {numbers} PyTorch lacks one "
        f"of them there: {error}. Give it in float32, Model(module.float(), …)"
        f"{', or move it to a GPU' if device == 'cpu' else ''}."
    )
