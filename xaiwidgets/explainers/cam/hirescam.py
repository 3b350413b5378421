"""HiResCAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.cam.layered import LayerMap, positive, which_layer
from xaiwidgets.explainers.cam.maps import hirescam_map

if TYPE_CHECKING:
    from torch import Tensor


@explainer(
    id="hirescam",
    title="HiResCAM",
    family="cam",
    idea="Gradient times activation at every place of a layer: only places the network has used light up.",
    cite="Draelos, Carin 2020",
    paper="arXiv:2011.08891",
    section="2.3.8",
    needs=("gradient", "spatial"),
    signed=False,
    formula="ReLU( Σₖ ∂y/∂Aᵏ ⊙ Aᵏ )",
    how="The gradient is not averaged over the photo, as in Grad-CAM, but multiplied with the activation place by "
    "place. Behind a layer that is followed by one linear layer only, the map without the ReLU sums exactly to the "
    "score less its bias.",
    caution="Where the layers above pool by averaging alone it is Grad-CAM. With several layers above, the gradient is "
    "that of a straight line through the present picture, and the sum no longer the score.",
)
class HiResCam(LayerMap):
    """Gradient times activation, summed over the channels of a layer (Draelos and Carin 2020, section 3.2).

    Yields ``(1, h, w)`` in the unit of the score, at least 0 with ``relu``. Raises ``InvalidLayer`` for a layer that
    does not exist or gives no map.
    """

    layer: str = which_layer()
    relu: bool = positive()

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the maps ``(N, 1, h, w)``."""
        return hirescam_map(activation, gradient, relu=self.relu)
