"""A network that answers a shifted picture as another one answers the picture: the shift is compensated in its bias.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from xaiwidgets.errors import NotApplicable
from xaiwidgets.model import passes
from xaiwidgets.model.model import LASTING, Model, _is_of
from xaiwidgets.model.skeleton import keep_tensors, make_skeleton

if TYPE_CHECKING:
    from torch import Tensor

#: Largest difference of the outputs, relative to the largest one, that counts as none.
EQUAL = 1e-4
WORKS = "a first layer that alone reads the picture: Conv2d, timm's Conv2dSame, or Linear after flattening"


class ShiftedConv(nn.Module):
    """A convolution whose input is shifted and whose bias is not what it was: ``W(x + m) + (b - Wm) = Wx + b``.

    What lies beyond the picture is shifted, too: padding is done first, with the shift as its value. With zeros there,
    the border of the two networks would differ.

    Args:
        conv: the convolution. ``shift``: ``(1, C, H, W)``, what is added to its input.
    """

    def __init__(self, conv: nn.Conv2d, shift: Tensor) -> None:
        super().__init__()
        self.weight, self.stride, self.dilation, self.groups = conv.weight, conv.stride, conv.dilation, conv.groups
        self.pads = _pads(conv, shift)
        constant = bool((shift == shift[..., :1, :1]).all())
        value = shift[..., :1, :1] if constant else torch.zeros_like(shift[..., :1, :1])
        inside = functional.pad(torch.ones_like(shift[:, :1]), self.pads)
        around = functional.pad(torch.zeros_like(shift), self.pads)
        self.frame: Tensor
        self.places: Tensor | None
        self.register_buffer("frame", (around + value) * (1 - inside))
        whole = functional.pad(shift, self.pads) + self.frame
        moved = self._conv(whole, None)
        bias = torch.zeros_like(moved) if conv.bias is None else conv.bias.detach().reshape(1, -1, 1, 1)
        kept = bias - moved
        # of a constant shift, every place of the output has the same: a bias like any other
        self.bias = nn.Parameter(kept[0, :, 0, 0].clone(), requires_grad=False) if constant else None
        self.register_buffer("places", None if constant else kept)

    def _conv(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return functional.conv2d(x, self.weight, bias, self.stride, 0, self.dilation, self.groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the convolution for the input less the shift."""
        if any(self.pads):
            x = functional.pad(x, self.pads) + self.frame
        out = self._conv(x, self.bias)
        return out if self.places is None else out + self.places


class ShiftedLinear(nn.Module):
    """The same for a linear layer whose input is the flattened picture."""

    def __init__(self, linear: nn.Linear, shift: Tensor) -> None:
        super().__init__()
        self.weight = linear.weight
        moved = functional.linear(shift.reshape(1, -1), linear.weight)[0]
        kept = -moved if linear.bias is None else linear.bias.detach() - moved
        self.bias = nn.Parameter(kept.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the linear layer for the input less the shift."""
        return functional.linear(x, self.weight, self.bias)


def _pads(conv: nn.Conv2d, image: Tensor) -> list[int]:
    """Return left, right, top, bottom, as ``functional.pad`` takes them."""
    kernel, dilation = conv.kernel_size, conv.dilation
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if type(conv).__name__ == "Conv2dSame":
        total = [
            max((-(-size // s) - 1) * s + r + 1 - size, 0)
            for size, s, r in zip(image.shape[-2:], conv.stride, reach, strict=True)
        ]
    elif conv.padding == "same":
        total = reach
    else:
        sides = [0, 0] if isinstance(conv.padding, str) else list(conv.padding)
        return [sides[1], sides[1], sides[0], sides[0]]
    rows, columns = total
    return [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]


def first_layer(model: Model, image: Tensor) -> str:
    """Return the name of the layer with weights that reads the picture itself, found by running the network.

    Raises:
        NotApplicable: there is none that can be shifted.
    """
    network = make_skeleton(model.module)
    found: list[str] = []
    handles = []

    def look(name: str) -> object:
        def hook(module: nn.Module, inputs: tuple[object, ...]) -> None:
            seen = inputs[0] if inputs else None
            if isinstance(seen, torch.Tensor) and seen.numel() == image.numel():
                flat = isinstance(module, nn.Linear) and seen.shape == (1, image.numel())
                if (seen.shape == image.shape or flat) and torch.equal(seen.reshape(-1), image.reshape(-1)):
                    found.append(name)

        return hook

    for name, part in network.named_modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            handles.append(part.register_forward_pre_hook(look(name)))  # type: ignore[arg-type]
    with torch.no_grad():
        network(image.clone(memory_format=torch.contiguous_format))
    names = list(dict.fromkeys(found))
    part = network.get_submodule(names[0]) if len(names) == 1 else None
    known = type(part) in (nn.Conv2d, nn.Linear) or type(part).__name__ == "Conv2dSame"
    if part is None or not known or (isinstance(part, nn.Conv2d) and part.padding_mode != "zeros"):
        reads = (
            f"{len(names)} layers read it ({', '.join(names)})" if len(names) > 1 else "the first layer is another one"
        )
        raise NotApplicable(
            "input_invariance", WORKS, f"in {model.name} {reads if names else 'no such layer reads it'}"
        )
    return names[0]


def in_double(model: Model) -> Model:
    """Return the same network in float64; it shares nothing, and the given one stays as it is."""
    return _like(model, make_skeleton(model.module).double(), f"{model.name} in float64")


def _like(model: Model, network: nn.Module, name: str) -> Model:
    """Return a Model of a network that does the same layer by layer, without looking at it anew."""
    other = copy.copy(model)
    other._lock, other._memo, other._shared = threading.RLock(), {}, {}
    other.captures, other.name, other.module = None, name, network.eval()
    # nothing is folded: two or three passes are not worth it, and the maps are compared to the last digits
    other._build(lambda: make_skeleton(network), dataclasses.replace(model.inspection, pairs=()))
    other._shared = {key: value for key, value in model._shared.items() if _is_of(key, *LASTING)}
    return other.exactly()


def shifted(model: Model, image: Tensor, shift: Tensor, name: str | None = None) -> tuple[Model, float]:
    """Return a network whose answer to ``image + shift`` is that of ``model`` to ``image``, and how far they differ.

    For a shift that is the same everywhere, its preprocessing is shifted, too: a photo becomes its input as before, and
    black stays the input of a black photo, while the zero vector is another picture than it was.

    Args:
        model: it stays as it is, and shares its other weights.
        image: an input ``(1, C, H, W)``, for finding the first layer.
        shift: ``(1, C, H, W)``, or of one place, in units of the input.
        name: of the first layer, if it is known.

    Raises:
        NotApplicable: no layer alone reads the picture, or something else reads it, too, so that answers differ.
    """
    name = first_layer(model, image) if name is None else name
    whole = shift.expand_as(image).contiguous()
    with torch.no_grad():
        skeleton = make_skeleton(model.module)
        network = copy.deepcopy(skeleton, keep_tensors(skeleton))
        part = network.get_submodule(name)
        new = ShiftedLinear(part, whole) if isinstance(part, nn.Linear) else ShiftedConv(part, whole)  # type: ignore[arg-type]
        parent, _, child = name.rpartition(".")
        if name:
            setattr(network.get_submodule(parent), child, new)
        else:
            network = new
    old, other = model.preprocessing, _like(model, network, f"{model.name}, shifted")
    if bool((whole == whole[..., :1, :1]).all()):
        by = whole[0, :, 0, 0].double().cpu().tolist()
        mean = tuple(m - b * s for m, b, s in zip(old.mean, by, old.std, strict=True))
        other.preprocessing = dataclasses.replace(old, mean=mean)
    answers, wanted = _answers(other, image + whole), _answers(model, image)
    difference = float((answers - wanted).abs().max())
    relative = difference / max(float(wanted.abs().max()), 1e-12)
    if not relative <= EQUAL:
        raise NotApplicable(
            "input_invariance",
            WORKS,
            f"{model.name} reads the picture elsewhere, too: answers differ by {relative:.1e}",
        )
    return other, difference


def _answers(model: Model, image: Tensor) -> Tensor:
    """Return what a network as it was built gives: preparing a copy of it takes as long as four passes."""
    network = model.exactly()._for([])
    return passes.forward(network.module, network.fit(image).clone())[0]
