"""LayerCAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.cam.layered import LayerMap, positive, which_layer
from xaiwidgets.explainers.cam.maps import layer_cam_map

if TYPE_CHECKING:
    from torch import Tensor


@explainer(
    title="LayerCAM",
    family="cam",
    idea="Each place of a layer weighted by its own positive gradient: usable at early layers, too.",
    cite="Jiang, Zhang, Hou, Cheng, Wei 2021",
    paper="10.1109/TIP.2021.3089943",
    section="2.3.8",
    needs=("gradient", "spatial"),
    signed=False,
    formula="ReLU( Σₖ ReLU(∂y/∂Aᵏ) ⊙ Aᵏ )",
    how="Where Grad-CAM gives a channel one weight for the whole photo, here every place of every channel has its own: "
    "the gradient there, if it is positive. That keeps early layers, whose channels mean different things at "
    "different places, from blurring into texture.",
    caution="What speaks against the class is left out before the sum, so the map does not add up to the score. Early "
    "layers show edges of the object, with some of the background.",
)
class LayerCam(LayerMap):
    """Activation times positive gradient, summed over the channels of a layer (Jiang et al. 2021, eq. 6 and 7).

    Yields ``(1, h, w)`` in the unit of the score, at least 0 with ``relu``; without, values are negative only where
    activations are. Raises ``InvalidLayer`` for a layer that does not exist or gives no map.
    """

    layer: str = which_layer()
    relu: bool = positive("Off keeps what negative activations contribute.")

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Return the maps ``(N, 1, h, w)``."""
        return layer_cam_map(activation, gradient, relu=self.relu)
