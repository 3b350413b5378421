"""Gradient × input."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, knob
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
    formula="R = (x − x′) ⊙ ∂f/∂x, x′ = 0 unless a baseline is chosen",
    how="The gradient is multiplied by the normalized input and added up over the color channels. For a network of "
    "ReLUs and max-pooling without biases the values add up to the score.",
    caution="Dominated by the picture itself: bright and dark pixels light up whatever the network does. Fails the "
    "randomization and the input-shift tests.",
)
class GradientXInput(OnePass):
    """Input, or its difference from a baseline, times gradient (Shrikumar et al. 2016).

    Yields ``(C, H, W)``, in the unit of the score, signed; the sum over channels is shown. The mean color is zero in
    the network's own input, which is the original's baseline.
    """

    exact: ClassVar[bool] = True

    baseline: str = knob(
        "mean",
        Choice(("mean", "black", "white", "gray", "blur", "border")),
        label="Baseline",
        help="What the photo is compared with; the data set's mean color is zero to the network.",
        advanced=True,
    )

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return input times gradient for a batch."""
        from xaiwidgets.engine.baselines import baseline

        found = model.gradient(images, target)
        return Raw((images - baseline(model, images, self.baseline)) * found.input, found.score)

    def unit(self, target: Target) -> str:
        """The score's own unit."""
        return target.unit
