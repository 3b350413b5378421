"""Guided Grad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import LayerName, knob
from xaiwidgets.explainers.cam.weighting import grad_cam_map, layer_pair
from xaiwidgets.explainers.onepass import OnePass, Raw, covered, ruled_gradient
from xaiwidgets.surgery.recipes import GUIDED

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Guided Grad-CAM",
    family="cam",
    idea="Guided backpropagation, kept only where Grad-CAM sees evidence.",
    cite="Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017",
    paper="arXiv:1610.02391",
    section="2.3.8",
    needs=("gradient", "relu", "spatial"),
    formula="guided backpropagation ⊙ upsample(Grad-CAM)",
    how="The coarse map of the class is enlarged and multiplied onto the crisp guided gradient, channel by channel.",
    caution="Its fine detail comes from guided backpropagation, so it fails both randomization tests with it.",
)
class GuidedGradCam(OnePass):
    """Product of guided backpropagation and the up-sampled Grad-CAM (Selvaraju et al. 2017, section 3.2).

    Yields ``(C, H, W)``, signed; shown as the sum over channels. Raises ``NotApplicable`` when an activation has no
    rule for guided backpropagation.
    """

    layer: str = knob("", LayerName(), label="Layer", help="Of the Grad-CAM; empty: the last spatial stage.")

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the products of a batch."""
        from torch.nn import functional

        activation, gradient, scores, _ = layer_pair("guided_grad_cam", model, images, target, self.layer)
        coarse = functional.interpolate(
            grad_cam_map(activation, gradient), size=images.shape[-2:], mode="bilinear", align_corners=False
        )
        guided, receipt = ruled_gradient("guided_grad_cam", model, images, target, GUIDED)
        return Raw(guided.input * coarse, scores, (receipt,), details=covered(guided))

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Two passes each way: one with backward rules, and one without."""
        return 2, 2

    def unit(self, target: Target) -> str:
        """A product of two maps."""
        return f"{target.unit}² per unit of input"
