"""DeSaliNet and the family of reversed architectures around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Flag, knob
from xaiwidgets.explainers.onepass import OnePass, Raw, covered, ruled_gradient
from xaiwidgets.surgery.recipes import desalinet

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

NOT_SPECIFIC = "With neither ReLU masks nor switches the map does not depend on the photo."


@explainer(
    id="desalinet",
    title="DeSaliNet",
    family="backprop",
    idea="The reversed network with every trick switched on or off: saliency, DeconvNet and what lies between.",
    cite="Mahendran, Vedaldi 2016",
    paper="10.1007/978-3-319-46466-4_8",
    section="2.3.5",
    needs=("gradient", "relu"),
    formula="at each ReLU:  R ← R · 1[x > 0] · 1[R > 0], each factor if it is on",
    how="The score is sent back through transposed filters. Three switches decide what the backward pass remembers of "
    "the forward one: which units were on, where each maximum was, and whether signals are rectified. All on is "
    "DeSaliNet; without rectification it is the gradient (SaliNet), without the mask DeconvNet.",
    caution="With all on it is guided backpropagation, and fails the same randomization tests.",
)
class DeSaliNet(OnePass):
    """Backward pass of a reversed architecture (Mahendran and Vedaldi 2016, section 2).

    Yields ``(C, H, W)``, score per unit of normalized input, signed; shown as the maximum over channels of its absolute
    value. Local response normalization passes signals unchanged. Raises ``NotApplicable`` when an activation has no
    rule, naming it.
    """

    relu_mask: bool = knob(True, Flag(), label="ReLU mask", help="Units that were off let nothing through.")
    switches: bool = knob(
        True, Flag(), label="Pooling switches", help="Back to where each maximum was; otherwise to the window's center."
    )
    rectify: bool = knob(True, Flag(), label="Rectify", help="At each ReLU only positive signals pass.")

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the backward signals of a batch."""
        recipe = desalinet(relu_mask=self.relu_mask, switches=self.switches, rectify=self.rectify)
        found, receipt = ruled_gradient("desalinet", model, images, target, recipe)
        blind = not self.relu_mask and not (self.switches and "max_pool" in model.offers)
        notes = (receipt, NOT_SPECIFIC) if blind else (receipt,)
        return Raw(found.input, found.score, notes, details=covered(found))

    @property
    def view(self) -> dict[str, Any]:
        """Shown as the maximum over channels."""
        return {"reduction": "max_abs", "signed": False}
