"""Saliency: the plain gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.onepass import OnePass, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Saliency",
    family="gradient",
    idea="How strongly the score reacts to a tiny change of each pixel.",
    cite="Simonyan, Vedaldi, Zisserman 2014",
    paper="arXiv:1312.6034",
    section="2.3.2",
    needs=("gradient",),
    signed=False,
    formula="M(i, j) = max over channels of |∂f/∂x|",
    how="One backward pass gives the derivative of the class score with respect to every input value. "
    "The map shows the largest absolute derivative over the color channels.",
    caution="Noisy; it says where the score is sensitive, not what speaks for it. Passes the randomization tests.",
)
class Saliency(OnePass):
    """Gradient of the score with respect to the input (Simonyan et al. 2014, section 3).

    Yields ``(C, H, W)``, score per unit of normalized input, signed; shown as the maximum over channels of its absolute
    value.
    """

    exact: ClassVar[bool] = True

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the gradients of a batch."""
        found = model.gradient(images, target)
        return Raw(found.input, found.score)

    @property
    def view(self) -> dict[str, Any]:
        """Shown as the maximum over channels."""
        return {"reduction": "max_abs", "signed": False}
