"""XGrad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.cam.layered import LayerMap, positive, which_layer
from xaiwidgets.explainers.cam.maps import xgrad_cam_map

if TYPE_CHECKING:
    from torch import Tensor


@explainer(
    id="xgrad_cam",
    title="XGrad-CAM",
    family="cam",
    idea="Grad-CAM with the gradient averaged where the channel is active, so that the map keeps its sum.",
    cite="Fu, Hu, Dong, Guo, Gao, Li 2020",
    paper="arXiv:2008.02312",
    section="2.3.8",
    needs=("gradient", "spatial"),
    signed=False,
    formula="ReLU( Σₖ wₖ Aᵏ ),  wₖ = Σᵢⱼ ∂y/∂Aᵏᵢⱼ · Aᵏᵢⱼ / Σᵢⱼ Aᵏᵢⱼ",
    how="Each channel has one weight, as in Grad-CAM, but places count in the mean gradient by their share of the "
    "channel's activation. Without the ReLU the map then sums to gradient times activation, summed over the layer.",
    caution="A channel whose positive and negative activations nearly cancel gets a huge weight: choose a layer after "
    "its activation function.",
)
class XGradCam(LayerMap):
    """Channels weighted by their activation-weighted mean gradient (Fu et al. 2020, eq. 8).

    Yields ``(1, h, w)`` in the unit of the score, at least 0 with ``relu``. A channel whose activations sum to zero
    has weight 0. Raises ``InvalidLayer`` for a layer that does not exist or gives no map.
    """

    layer: str = which_layer()
    relu: bool = positive()

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the maps ``(N, 1, h, w)``."""
        return xgrad_cam_map(activation, gradient, relu=self.relu)
