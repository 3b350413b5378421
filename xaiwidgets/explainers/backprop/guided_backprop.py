"""Guided backpropagation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.onepass import OnePass, Raw, covered, ruled_gradient
from xaiwidgets.surgery.recipes import GUIDED

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Guided backpropagation",
    family="backprop",
    idea="A gradient that only follows positive signals through active units: crisp, but hardly about the class.",
    cite="Springenberg, Dosovitskiy, Brox, Riedmiller 2015",
    paper="arXiv:1412.6806",
    section="2.3.5",
    needs=("gradient", "relu"),
    formula="at each ReLU:  R ← R · 1[x > 0] · 1[R > 0]",
    how="On the way back, a signal passes a ReLU only if the unit was active and the signal is positive. "
    "Everything else is the ordinary gradient.",
    caution="The standing example of a beautiful map that cannot be trusted: it hardly changes with the class or with "
    "random weights, and fails both randomization tests.",
)
class GuidedBackprop(OnePass):
    """Gradient with every ReLU's backward signal masked by activity and by its own sign (Springenberg et al. 2015).

    Yields ``(C, H, W)``, score per unit of normalized input, signed; shown as the maximum over channels of its absolute
    value. Raises ``NotApplicable`` when an activation has no rule, naming it.
    """

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the guided gradients of a batch."""
        found, receipt = ruled_gradient("guided_backprop", model, images, target, GUIDED)
        return Raw(found.input, found.score, (receipt,), details=covered(found))

    @property
    def view(self) -> dict[str, Any]:
        """Shown as the maximum over channels."""
        return {"reduction": "max_abs", "signed": False}
