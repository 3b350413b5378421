"""Eigen-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Flag, LayerName, knob
from xaiwidgets.explainers.cam.maps import eigen_cam_map
from xaiwidgets.explainers.cam.weighting import layer_for, layer_pairs
from xaiwidgets.explainers.onepass import OnePass, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

NOTE = "Class-agnostic: shows what the layer responds to most, whatever class is asked for."


@explainer(
    title="Eigen-CAM (class-agnostic)",
    family="cam",
    idea="What a layer responds to most, whatever the class: the main direction of its activations.",
    cite="Muhammad, Yeasin 2020",
    paper="arXiv:2008.00299",
    section="2.3.8",
    needs=("spatial",),
    signed=False,
    formula="ReLU( A v₁ ),  v₁: first right singular vector of A (places × channels)",
    how="The channels at each place are a point in a space of as many dimensions; the map is each point's coordinate "
    "along the direction in which they spread most. No gradient and no score enter.",
    caution="Class-agnostic: the same map for every class, so it explains no decision. The direction has no sign; the "
    "stronger extreme is shown as positive, and that may be the background.",
)
class EigenCam(OnePass):
    """First principal component of a layer's activations (Muhammad and Yeasin 2020); no class enters.

    Yields ``(1, h, w)`` in units of activation, at least 0 with ``relu``; ``score`` is the target's, for reference.
    The paper does not center: that is ``center=False``. Raises ``InvalidLayer`` for a layer that does not exist or
    gives no map.
    """

    effort: ClassVar[float] = 1.2  # the decomposition

    layer: str = knob("", LayerName(), label="Layer", help="Empty: the last spatial stage.")
    relu: bool = knob(
        True, Flag(), label="Positive part only", help="Off shows the other side of the main direction, too."
    )
    center: bool = knob(
        True,
        Flag(),
        label="Center",
        help="Subtract each channel's mean over the photo: what varies, not what is bright. The paper does not.",
    )

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the maps of a batch."""
        layer = layer_for("eigen_cam", model, target, self.layer).name
        if model.captures is not None and len(images) == 1:  # a kept pass has the activations of every layer
            ((activation, _),), scores = layer_pairs(model, images, target, [layer])
        else:
            activation, scores = model.activations(images, [layer])[layer], model.scores(images, target)
        return Raw(eigen_cam_map(activation, center=self.center, relu=self.relu), scores, (NOTE,), layer)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the activations', and the score's."""
        return 2, 0

    def unit(self, target: Target) -> str:
        """A length in the space of channels."""
        return "activation"

    @property
    def view(self) -> dict[str, Any]:
        """One map; signed without the ReLU."""
        return {"reduction": "sum", "signed": not self.relu}
