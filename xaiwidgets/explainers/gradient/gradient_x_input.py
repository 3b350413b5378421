"""Gradient × input."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.onepass import OnePass, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    id="gradient_x_input",
    title="Gradient × input",
    family="gradient",
    idea="Each pixel's share of the score, if the network were linear.",
    cite="Shrikumar, Greenside, Shcherbina, Kundaje 2016",
    paper="arXiv:1605.01713",
    section="2.3.3",
    needs=("gradient",),
    formula="R = x ⊙ ∂f/∂x",
    how="The gradient is multiplied by the normalized input and added up over the color channels. For a network of "
    "ReLUs and max-pooling without biases the values add up to the score.",
    caution="Dominated by the picture itself: bright and dark pixels light up whatever the network does. Fails the "
    "randomization and the input-shift tests.",
)
class GradientXInput(OnePass):
    """Input times gradient (Shrikumar et al. 2016).

    Yields ``(C, H, W)``, in the unit of the score, signed; the sum over channels is shown.
    """

    exact: ClassVar[bool] = True

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return input times gradient for a batch."""
        found = model.gradient(images, target)
        return Raw(images * found.input, found.score)

    def unit(self, target: Target) -> str:
        """The score's own unit."""
        return target.unit
