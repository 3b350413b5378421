"""Grad-CAM++."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.cam.layered import LayerMap, positive, which_layer
from xaiwidgets.explainers.cam.maps import assumptions, grad_cam_pp_map

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model


@explainer(
    id="grad_cam_pp",
    title="Grad-CAM++",
    family="cam",
    idea="Grad-CAM that gives every instance of the object its due, however small.",
    cite="Chattopadhay, Sarkar, Howlader, Balasubramanian 2018",
    paper="arXiv:1710.11063",
    section="2.3.9",
    needs=("gradient", "spatial"),
    signed=False,
    formula="ReLU( Σₖ wₖ Aᵏ ),  wₖ = Σᵢⱼ αᵏᵢⱼ ReLU(gᵏᵢⱼ),  α = g² / (2g² + (Σ Aᵏ) g³),  g = ∂y/∂Aᵏ",
    how="A channel's weight is a sum of its positive gradients, each with a factor that evens out how much of the "
    "photo the channel covers. The factor comes from the second and third derivatives of exp(score), which are powers "
    "of the gradient where the network is piecewise linear.",
    caution="Negative gradients are dropped, so it is less class-specific than Grad-CAM. A larger scale of the scores "
    "changes the map, not only its height. The factors assume activations that are not negative.",
)
class GradCamPP(LayerMap):
    """Channels weighted by positive gradients and their curvature (Chattopadhay et al. 2018, eq. 8, 9 and 19).

    Yields ``(1, h, w)`` in the unit of the score, at least 0 with ``relu``. The common factor exp(score) is left out.
    The map that is reviewed as equation 8 (section 2.3.9) has no ReLU at the end: that is ``relu=False``. Raises
    ``InvalidLayer`` for a layer that does not exist or gives no map.
    """

    layer: str = which_layer()
    relu: bool = positive("Off keeps what negative activations contribute.")

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the maps ``(N, 1, h, w)``."""
        return grad_cam_pp_map(activation, gradient, relu=self.relu)

    def remarks(self, model: Model, activation: Tensor) -> tuple[str, ...]:
        """Return what the formula takes for granted and the network does not give."""
        return assumptions(model, activation)
