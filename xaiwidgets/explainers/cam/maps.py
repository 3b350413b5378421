"""Maps of a layer from its activation and the score's gradient there, ``(N, K, h, w)`` each: formulas, no passes.

All return ``(N, 1, h, w)``; with ``relu``, only what is positive of it. They differ in what weighs a channel:

* one number a channel, the gradient's mean (Grad-CAM), its mean weighted by the activation (XGrad-CAM), or its positive
  part weighted by second derivatives (Grad-CAM++);
* one number a place: the gradient itself (HiResCAM), or its positive part (LayerCAM);
* nothing of the score at all (Eigen-CAM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.explainers.cam.weighting import grad_cam_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model

#: A sum that is smaller than this share of its terms is taken for zero: what is left of it is rounding.
CANCELED = 1e-12
#: Activations that are not made of straight pieces.
CURVED = frozenset({
    "elu", "silu", "mish", "gelu", "hardswish", "sigmoid", "tanh", "softplus", "logsigmoid", "softsign", "glu",
})  # fmt: skip


def layer_cam_map(activation: Tensor, gradient: Tensor, *, relu: bool = True) -> Tensor:
    """Return each place weighted by its own positive gradient (Jiang et al. 2021, eq. 6 and 7)."""
    return _summed(gradient.clamp_min(0) * activation, relu)


def hirescam_map(activation: Tensor, gradient: Tensor, *, relu: bool = True) -> Tensor:
    """Return each place weighted by its own gradient (Draelos and Carin 2020, section 3.2)."""
    return _summed(gradient * activation, relu)


def xgrad_cam_map(activation: Tensor, gradient: Tensor, *, relu: bool = True) -> Tensor:
    """Return channels weighted by the mean gradient, each place counted by its activation (Fu et al. 2020, eq. 8).

    A channel whose activations sum to zero has no such mean; its weight is 0.
    """
    import torch

    whole = _total(activation)
    sums = whole.abs() > CANCELED * _total(activation.abs())
    weights = torch.where(sums, _total(gradient * activation) / whole, 0.0)
    return _summed(weights.to(activation) * activation, relu)


def grad_cam_pp_map(activation: Tensor, gradient: Tensor, *, relu: bool = True) -> Tensor:
    """Return channels weighted by their positive gradients (Chattopadhay et al. 2018, eq. 8, 9 and 19).

    The derivatives of ``exp(S)`` are powers of those of ``S``, since above the layer the network is piecewise linear.
    """
    slope = gradient.double()
    weights = curvature_weights(activation, slope, slope**2, slope**3)
    return _summed(weights.to(activation) * activation, relu)


def curvature_weights(activation: Tensor, first: Tensor, second: Tensor, third: Tensor, by: str = "d2") -> Tensor:
    """Return the channels' weights ``(N, K, 1, 1)`` in float64: the sum of ``alpha · ReLU(first)``.

    ``alpha = top / (2 · second + (sum of the activation) · third)``, and 0 where the denominator is.

    Args:
        activation: of the layer.
        first: derivatives of the score, in float64, or means of them.
        second: of their squares.
        third: of their cubes.
        by: ``d2``: ``top`` is ``second``, as in Grad-CAM++; ``paper``: ``first``, as Omeiza et al. 2019 print it.
    """
    import torch

    one, other = 2 * second, _total(activation) * third
    below = one + other
    alpha = (second if by == "d2" else first) / below
    alpha = torch.where(below.abs() > CANCELED * (one + other.abs()), alpha, 0.0)
    return _total(alpha * first.clamp_min(0))


def eigen_cam_map(activation: Tensor, *, center: bool = True, relu: bool = True) -> Tensor:
    """Return the projection of each place's channels on their first principal axis (Muhammad and Yeasin 2020).

    An axis has no sign of its own: the larger of the map's two extremes is made positive.

    Args:
        activation: of the layer.
        center: subtract each channel's mean first; without, the axis is the first singular vector, as in the paper.
        relu: keep only what is positive.
    """
    import torch

    places = activation.flatten(2).double()
    if center:
        rounding = 16 * torch.finfo(activation.dtype).eps * places.abs().amax(dim=(1, 2), keepdim=True)
        places = places - places.mean(dim=2, keepdim=True)
        # where all places are alike there is no axis, only rounding, which has one
        places = torch.where(places.abs().amax(dim=(1, 2), keepdim=True) <= rounding, 0.0, places)
    if not bool(places.isfinite().all()):  # there are no axes, and what they were made of should be seen
        return torch.full_like(activation[:, :1], float("nan"))
    channels, count = places.shape[1:]
    if channels <= count:  # the axis is an eigenvector of the smaller of two matrices
        axis = torch.linalg.eigh(places @ places.mT).eigenvectors[..., -1]
        found = (axis[:, None] @ places)[:, 0]
    else:
        squares, along = torch.linalg.eigh(places.mT @ places)
        found = squares[:, -1:].clamp_min(0).sqrt() * along[..., -1]
    flipped = -found.amin(dim=1, keepdim=True) > found.amax(dim=1, keepdim=True)
    shown = torch.where(flipped, -found, found).to(activation).reshape(activation[:, :1].shape)
    return shown.clamp_min(0) if relu else shown


#: Weightings that a fused map may be made of, by the id of their method.
MEMBERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "layer_cam": layer_cam_map,
    "grad_cam": grad_cam_map,
    "grad_cam_pp": grad_cam_pp_map,
    "xgrad_cam": xgrad_cam_map,
    "hirescam": hirescam_map,
}


def fused_map(
    maps: Sequence[Tensor], size: tuple[int, int], *, combine: str = "max", scaling: str = "tanh", gamma: float = 2.0
) -> Tensor:
    """Return ``(N, 1, H, W)``: non-negative maps of several layers, scaled, enlarged to ``size`` and combined.

    Args:
        maps: of the layers in execution order, ``(N, 1, h, w)`` each.
        size: (H, W) of the photo.
        combine: ``max`` or ``mean`` over the layers.
        scaling: ``largest``: each map is divided by its largest value; ``tanh``: then ``tanh(gamma · map)`` lifts all
            but the last layer's (Jiang et al. 2021, eq. 9); ``none``: as they are. An empty map stays empty.
        gamma: see ``scaling``.
    """
    import torch
    from torch.nn import functional

    large = []
    for number, found in enumerate(maps, 1):
        scaled = found
        if scaling != "none":
            largest = found.amax(dim=(1, 2, 3), keepdim=True)
            scaled = torch.where(largest > 0, found / largest, 0.0)
        if scaling == "tanh" and number < len(maps):
            scaled = (gamma * scaled).tanh()
        large.append(functional.interpolate(scaled, size=size, mode="bilinear", align_corners=False))
    stacked = torch.stack(large)
    return stacked.amax(dim=0) if combine == "max" else stacked.mean(dim=0)


def assumptions(model: Model, activation: Tensor) -> tuple[str, ...]:
    """Return notes on what Grad-CAM++ takes for granted and this network or layer does not give."""
    from xaiwidgets.surgery.coverage import label

    notes = []
    found = sorted({label(kind) for kind in model.inspection.kinds & CURVED}, key=str.lower)
    if found:
        notes.append(f"Grad-CAM++ takes the network for piecewise linear above the layer; {', '.join(found)} is not.")
    if bool((activation < 0).any()):
        notes.append("Grad-CAM++ takes activations for not negative; here some are, and its factors may have no bound.")
    return tuple(notes)


def _total(values: Tensor) -> Tensor:
    """Return the sum over places, ``(N, K, 1, 1)``, in float64."""
    import torch

    return values.sum(dim=(2, 3), keepdim=True, dtype=torch.float64)


def _summed(weighted: Tensor, relu: bool) -> Tensor:
    total = weighted.sum(dim=1, keepdim=True)
    return total.clamp_min(0) if relu else total
