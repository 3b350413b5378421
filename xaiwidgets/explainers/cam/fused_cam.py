"""Fused CAM: maps of several depths in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, LayerName, Range, knob
from xaiwidgets.explainers.cam.maps import MEMBERS, assumptions, fused_map
from xaiwidgets.explainers.cam.weighting import layer_for, layer_pairs
from xaiwidgets.explainers.onepass import OnePass, Raw, size_of

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.layers import Layer
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Fused CAM",
    family="cam",
    idea="Maps of several depths in one: where from the late layers, how it looks from the early ones.",
    cite="Jiang, Zhang, Hou, Cheng, Wei 2021",
    paper="10.1109/TIP.2021.3089943",
    section="2.3.8",
    needs=("gradient", "spatial"),
    signed=False,
    formula="max or mean over layers l of s(Mˡ),  s(M) = M / max M, lifted to tanh(γ M / max M) at early layers",
    how="One pass gives the activations and gradients of several stages, one for each size of map. Each becomes a map "
    "of its own, is scaled to a common height and enlarged to the photo, and their maximum or mean is taken.",
    caution="Each map is scaled by its own maximum, so an early layer that says little counts as much as a late one. "
    "Early layers bring in edges that every class shares.",
)
class FusedCam(OnePass):
    """Class activation maps of several stages, combined (after Jiang et al. 2021, section III-C, for any weighting).

    Yields ``(1, H, W)`` at the picture's size, at least 0: shares of each layer's maximum, at most 1; with ``scaling``
    ``none``, in the unit of the score. ``details["layers"]`` names the layers in execution order: the chosen one, and
    before it the last stage of each other size of map. All come from one forward and one backward pass. Raises
    ``InvalidLayer`` for a layer that does not exist or gives no map.
    """

    effort: ClassVar[float] = 0.8  # the gradient stops at the first of the layers

    layer: str = knob(
        "", LayerName(), label="Layer", help="The last of those that are fused; empty: the last spatial stage."
    )
    member: str = knob(
        "layer_cam", Choice(tuple(MEMBERS)), label="Map of a layer", help="How activations and gradients are combined."
    )
    sizes: int = knob(3, Range(1, 8), label="Sizes of map", help="How many: from the layer's own to finer ones.")
    combination: str = knob(
        "max", Choice(("max", "mean")), label="Combined by", help="max: what any layer shows; mean: what most show."
    )
    scaling: str = knob(
        "tanh",
        Choice(("tanh", "largest", "none")),
        label="Scaled",
        help="largest: each map by its maximum; tanh: earlier layers are lifted on top of that, as LayerCAM's authors "
        "do; none: as they are.",
    )
    gamma: float = knob(2.0, Range(0.1, 10.0, step=0.1), label="Lift", help="γ of tanh; 2 in the paper.", advanced=True)

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the maps of a batch."""
        last = layer_for("fused_cam", model, target, self.layer)
        layers = tuple(layer.name for layer in up_to(last, model.stages, self.sizes))
        pairs, scores = layer_pairs(model, images, target, layers)
        maps = [MEMBERS[self.member](activation, gradient) for activation, gradient in pairs]
        values = fused_map(maps, size_of(images), combine=self.combination, scaling=self.scaling, gamma=self.gamma)
        notes = [f"Fused from {', '.join(layers)}."]
        if self.member == "grad_cam_pp":
            notes += dict.fromkeys(note for activation, _ in pairs for note in assumptions(model, activation))
        return Raw(values, scores, tuple(notes), last.name, details={"layers": layers})

    def unit(self, target: Target) -> str:
        """The score's unit, unless each map is scaled by its own maximum."""
        return target.unit if self.scaling == "none" else f"share of each layer's largest {target.unit}"

    @property
    def view(self) -> dict[str, Any]:
        """One map."""
        return {"reduction": "sum", "signed": False}


def up_to(last: Layer, stages: tuple[Layer, ...], count: int) -> list[Layer]:
    """Return at most ``count`` layers in execution order: ``last``, and the last stages before it of other sizes."""
    found = [last]
    for stage in reversed(stages):
        if len(found) < count and stage.order < last.order and stage.shape[1:] not in {x.shape[1:] for x in found}:
            found.append(stage)
    return found[::-1]
