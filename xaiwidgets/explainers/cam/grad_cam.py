"""Grad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Flag, LayerName, knob
from xaiwidgets.explainers.cam.weighting import grad_cam_map, layer_pair
from xaiwidgets.explainers.onepass import OnePass, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Grad-CAM",
    family="cam",
    idea="Which places of a layer speak for the class; scrub through the layers.",
    cite="Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017",
    paper="arXiv:1610.02391",
    section="2.3.8",
    needs=("gradient", "spatial"),
    signed=False,
    formula="ReLU( Σₖ αₖ Aᵏ ),  αₖ = mean over positions of ∂y/∂Aᵏ",
    how="Each channel of the layer is weighted by the mean gradient of the class score with respect to it. The "
    "weighted sum keeps what is positive and is enlarged to the photo.",
    caution="Coarse at late layers; early layers are not meant for it and show texture. Misses repeated objects. "
    "Passes the randomization tests.",
)
class GradCam(OnePass):
    """Gradient-weighted class activation map of any spatial layer (Selvaraju et al. 2017, eq. 1 and 2).

    Yields ``(1, h, w)`` in the unit of the score (activation times score per activation), at least 0 with ``relu``.
    Raises ``InvalidLayer`` for a layer that does not exist or gives no map.
    """

    effort: ClassVar[float] = 0.5  # the gradient stops at the layer

    layer: str = knob("", LayerName(), label="Layer", help="Empty: the last spatial stage.")
    relu: bool = knob(True, Flag(), label="Positive part only", help="Off shows evidence against, too.")
    counterfactual: bool = knob(
        False, Flag(), label="Counterfactual", help="What would lower the score: the map of the negative score."
    )

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the maps of a batch."""
        activation, gradient, scores, layer = layer_pair("grad_cam", model, images, target, self.layer)
        sign = -1.0 if self.counterfactual else 1.0
        return Raw(grad_cam_map(activation, gradient, relu=self.relu, sign=sign), scores, layer=layer)

    def unit(self, target: Target) -> str:
        """The mean gradient times the activation."""
        return target.unit

    @property
    def view(self) -> dict[str, Any]:
        """One map; signed without the ReLU."""
        return {"reduction": "sum", "signed": not self.relu}
