"""DeconvNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.onepass import OnePass, Raw, covered, ruled_gradient
from xaiwidgets.surgery.recipes import DECONV

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

NOT_SPECIFIC = (
    "This network has no max-pooling, so below the explained unit the map does not depend on the photo (review 2.3.5)."
)


@explainer(
    id="deconvnet",
    title="DeconvNet",
    family="backprop",
    idea="Runs the network backwards: transposed filters, remembered pooling places, positive signals only.",
    cite="Zeiler, Fergus 2014",
    paper="arXiv:1311.2901",
    section="2.3.1",
    needs=("gradient", "relu"),
    formula="at each ReLU:  R ← max(R, 0)",
    how="The score is sent back through transposed filters and through the places that max-pooling chose. At each ReLU "
    "the backward signal itself is rectified; whether the unit was active does not matter.",
    caution="Hardly class-sensitive. Without max-pooling the picture plays no part in the map at all.",
)
class DeconvNet(OnePass):
    """Backward pass whose ReLUs rectify the signal and ignore the forward mask (Zeiler and Fergus 2014, section 2.1).

    Yields ``(C, H, W)``, score per unit of normalized input, signed; shown as the maximum over channels of its absolute
    value. Raises ``NotApplicable`` when an activation has no rule, naming it.
    """

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the deconvolved signals of a batch."""
        found, receipt = ruled_gradient("deconvnet", model, images, target, DECONV)
        notes = (receipt,) if "max_pool" in model.offers else (receipt, NOT_SPECIFIC)
        return Raw(found.input, found.score, notes, details=covered(found))

    @property
    def view(self) -> dict[str, Any]:
        """Shown as the maximum over channels."""
        return {"reduction": "max_abs", "signed": False}
