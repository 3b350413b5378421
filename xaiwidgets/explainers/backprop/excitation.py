"""What excitation backpropagation and its contrastive form share: where the map is taken, and how it is started."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xaiwidgets.errors import NotApplicable
from xaiwidgets.explainers.relevant import refusing, relevance_pass, signed_note
from xaiwidgets.surgery.composites import composite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.propagate import Propagation, Start
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.propagation import RelevancePolicy

#: Stands for the picture where a layer's name is asked for.
PICTURE = "input"
#: The default is the last layer with maps of at least this share of the picture's sides.
SHARE = 1 / 16
SIGNED = "there P follows contributions by their sign, and is no probability of an active unit."


def layer_of(method: str, model: Model, target: Target, layer: str) -> str:
    """Return the layer whose map is wanted, or an empty string for the picture.

    Raises:
        InvalidLayer: no such layer, or no spatial map.
        NotApplicable: the layer comes after the hidden unit that is explained.
    """
    names = {known.name for known in model.layers}
    if layer == PICTURE and PICTURE not in names:
        return ""
    end = model.layer(target.layer).order if target.layer else len(model.layers)
    if layer:
        found = model.layer(layer, spatial=True)
        if found.order >= end:
            raise NotApplicable(method, f"a layer before the explained unit ({target.layer})", f"{layer} is not")
        return found.name
    least = [SHARE * side for side in model.input_shape[1:]]
    before = [stage for stage in model.stages if stage.order < end]
    large = [stage for stage in before if all(a >= b for a, b in zip(stage.shape[1:], least, strict=True))]
    return (large or [*reversed(before)])[-1].name if before else ""


def excite(
    method: str, model: Model, images: Tensor, target: Target, layer: str, *, dual: bool = False
) -> tuple[Tensor, Propagation, RelevancePolicy, tuple[str, ...]]:
    """Return the winning probabilities at a layer, or at the picture, less those of the dual if it is wanted.

    The probabilities ``(N, C, h, w)`` start as 1 at the target and follow the zplus rule without biases.
    """
    made = refusing(replace(composite("zplus", epsilon=0.0, bias="ignore"), ends="dual" if dual else "plain"))
    found, used, notes = relevance_pass(
        method, model, images, target.with_output("logit"), made, start=_winner(2 if dual else 1),
        layers=[layer] if layer else [], wrt_input=not layer,
    )  # fmt: skip
    if dual and not used.ends:
        raise NotApplicable(
            method, "weights that feed the target", f"none feed {target.name}", ("excitation_backprop",)
        )
    arrived = found.layers[layer] if layer else found.inputs
    values = arrived[0] - arrived[1] if dual else arrived[0]
    return values, found, used, (*notes, *signed_note(used, SIGNED))


def _winner(count: int) -> Start:
    """Make ``count`` signals that are 1 at the target; shared if it has several units."""

    def start(source: Tensor, scores: Tensor) -> Sequence[Tensor]:
        from xaiwidgets.model.propagate import slope

        derivative = slope(source, scores)
        total = derivative.clamp(min=0).flatten(1).sum(dim=1).reshape(-1, *[1] * (derivative.ndim - 1))
        return (derivative / total.where(total != 0, 1),) * count

    return start
