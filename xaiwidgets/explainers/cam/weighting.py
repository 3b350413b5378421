"""What the maps of this family share: a layer's activation and gradient, from a kept pass where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from xaiwidgets.model.layers import Layer
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


def layer_for(method: str, model: Model, target: Target, layer: str) -> Layer:
    """Return the spatial layer of this name; for an empty one the default of ``layer_pair``, whose errors it raises."""
    unit = model.layer(target.layer) if target.layer else None
    if unit is not None and not layer:
        layer = next((stage.name for stage in reversed(model.stages) if stage.order < unit.order), unit.name)
    found = model.layer(layer, spatial=True)
    if unit is not None and found.order > unit.order:
        raise NotApplicable(method, f"a layer before the explained unit ({unit.name})", f"{found.name} comes after it")
    return found


def layer_pair(
    method: str, model: Model, images: Tensor, target: Target, layer: str
) -> tuple[Tensor, Tensor, Tensor, str]:
    """Return (activation, gradient, scores, layer name) of a spatial layer; ``layer`` may be empty for the default.

    The default is the last spatial stage before what is explained; for a unit of the first stage, that stage.

    Raises:
        NotApplicable: the layer comes after the hidden unit that is explained.
        InvalidLayer: no such layer, or no spatial map.
    """
    found = layer_for(method, model, target, layer)
    ((activation, gradient),), scores = layer_pairs(model, images, target, [found.name])
    return activation, gradient, scores, found.name


def layer_pairs(
    model: Model, images: Tensor, target: Target, layers: Sequence[str]
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Return (activation, gradient) of each of these layers, and the scores, from one pass or from a kept one."""
    if model.captures is None or len(images) > 1:
        passed = model.gradient(images, target, layers=layers, wrt_input=False)
        return [passed.layers[name] for name in layers], passed.score
    found = {}
    for name in reversed(layers):  # the first pass takes all stages along, and one layer that is none of them: the last
        found[name], scores = model.captures.pair(model, images, target, name)
    return [found[name] for name in layers], scores


def grad_cam_map(activation: Tensor, gradient: Tensor, *, relu: bool = True, sign: float = 1.0) -> Tensor:
    """Return ``(N, 1, h, w)``: channels weighted by their mean gradient (Selvaraju et al. 2017, eq. 1 and 2)."""
    weights = sign * gradient.mean(dim=(2, 3), keepdim=True)
    total = (weights * activation).sum(dim=1, keepdim=True)
    return total.clamp_min(0) if relu else total
