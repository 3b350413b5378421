"""Convolution, bias and activation in one call, for passes without gradients on a CPU.

Where gradients are enabled, the layer runs as PyTorch has it; elsewhere it uses the oneDNN kernel that PyTorch's own
compiler uses. The function is the same up to rounding, and the prepared copy is checked as a whole.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

#: What the kernel can do to its output: by class of the activation, (name, numbers).
ACTIVATIONS: Mapping[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
#: Images in the batch on which both ways are timed.
BATCH = 4
#: Verdicts of this process, by network and conditions: two loads of one network must give the same last bit.
_VERDICTS: dict[tuple[str, tuple[int, ...], int], bool] = {}


def usable(probe: Tensor) -> bool:
    """Return whether the kernel is there and fits these inputs."""
    there = bool(torch._C._has_mkldnn) and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return there and probe.device.type == "cpu" and probe.dtype == torch.float32 and probe.ndim == 4


class FusedConv(nn.Module):
    """A 2-D convolution and the activation that alone reads its output.

    Args:
        conv: with zero padding, or timm's "same" padding, whose odd pixel lies below and at the right.
        act: a key of ``ACTIVATIONS``.
    """

    #: Its parts are no layers of the network: what runs in them runs in it.
    whole = True

    def __init__(self, conv: nn.Conv2d, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.act = conv, act
        self.name, self.numbers = ACTIVATIONS[type(act)]
        self.same = type(conv).__name__ == "Conv2dSame"
        weight = conv.weight.detach()
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        # a kernel with one more row and column of zeros in front does the work of one pixel more padding behind
        padded = functional.pad(weight, (1, 0, 1, 0)) if self.same else None
        self.wide = None if padded is None else padded.contiguous(memory_format=torch.channels_last)

    def follow(self) -> None:
        """Bring the kernels up to date after the convolution's weights were written to in place."""
        weight = self.conv.weight
        if self.weight.data_ptr() != weight.data_ptr():
            self.weight.copy_(weight)
        if self.wide is not None:
            self.wide[..., 1:, 1:].copy_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated output."""
        if torch.is_grad_enabled():  # also before the layer that a gradient is taken of: one pass, one rounding
            return self.act(self.conv(x))  # type: ignore[no-any-return]
        weight, padding = self._padded(x)
        if padding is None:
            return self.act(self.conv(x))  # type: ignore[no-any-return]
        conv = self.conv
        return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
            x, weight, conv.bias, padding, conv.stride, conv.dilation, conv.groups, self.name, self.numbers, ""
        )

    def _padded(self, x: Tensor) -> tuple[Tensor, list[int] | None]:
        """Return the kernel to use and its padding on both sides, or ``None`` where there is no such kernel."""
        conv = self.conv
        if not self.same:
            return (self.weight, None) if isinstance(conv.padding, str) else (self.weight, list(conv.padding))
        total = [
            max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            for size, stride, kernel, dilation in zip(
                x.shape[-2:], conv.stride, conv.kernel_size, conv.dilation, strict=True
            )
        ]
        odd = [t % 2 for t in total]
        if odd == [0, 0]:
            return self.weight, [t // 2 for t in total]
        if odd == [1, 1] and tuple(conv.dilation) == (1, 1) and self.wide is not None:
            return self.wide, [t // 2 + 1 for t in total]
        return self.weight, None


def fuse(module: nn.Module, followers: Mapping[str, str]) -> int:
    """Fuse in place on a private copy; return how many convolutions were.

    Args:
        module: a copy whose normalization is folded.
        followers: by a folded convolution's name, the name of what is left of its normalization layer.
    """
    done = 0
    for conv_name, norm_name in followers.items():
        conv, rest = module.get_submodule(conv_name), module.get_submodule(norm_name)
        act = getattr(rest, "act", rest)
        if not isinstance(conv, nn.Conv2d) or type(act) not in ACTIVATIONS or conv.padding_mode != "zeros":
            continue
        if type(conv) is not nn.Conv2d and type(conv).__name__ != "Conv2dSame":
            continue  # a class of its own may do anything in its forward
        if type(getattr(rest, "drop", nn.Identity())) is not nn.Identity:
            continue
        for name, new in ((conv_name, FusedConv(conv, act)), (norm_name, nn.Identity())):
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, new)
        done += 1
    return done


def faster(one: nn.Module, other: nn.Module, images: Tensor) -> bool:
    """Return whether ``one`` takes less time than ``other`` without gradients, measured in turn, once a process."""
    key = (str(other), tuple(images.shape[1:]), torch.get_num_threads())
    known = _VERDICTS.get(key)
    # of two threads that measure at once, the first verdict counts for both
    return _VERDICTS.setdefault(key, _faster(one, other, images)) if known is None else known


def _faster(one: nn.Module, other: nn.Module, images: Tensor) -> bool:
    images = images[:1].expand(BATCH, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    times = []
    with torch.no_grad():
        one(images), other(images)
        for _ in range(3):
            pair = []
            for network in (one, other):
                start = time.perf_counter()
                network(images)
                pair.append(time.perf_counter() - start)
            times.append(pair)
    first, second = (min(column) for column in zip(*times, strict=True))
    return bool(first < second)
