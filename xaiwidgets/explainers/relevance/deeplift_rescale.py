"""DeepLIFT with the rescale rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.compared import baseline_knob, centered_knob, compare, gap_of, gates_knob
from xaiwidgets.explainers.onepass import OnePass, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    id="deeplift_rescale",
    title="DeepLIFT (Rescale)",
    family="relevance",
    idea="Shares out how far the score moved from a baseline, unit by unit, with finite steps in place of slopes.",
    cite="Shrikumar, Greenside, Kundaje 2017",
    paper="arXiv:1704.02685",
    section="2.3.4",
    needs=("gradient",),
    formula="R = (x − x′) ⊙ m;  m(activation) = Δh / Δu, m(weights) = w, chained from the score",
    how="Photo and baseline run through the network together. On the way back each activation passes on its change "
    "divided by the change of its input: where a slope has died, the step still counts. The values add up to the score "
    "minus the baseline's score.",
    caution="What equals the baseline gets nothing. Evidence that cancels inside a unit stays hidden; RevealCancel "
    "looks for it.",
)
class DeepLiftRescale(OnePass):
    """Multipliers times the difference from a baseline (Shrikumar et al. 2017, sections 3.2 to 3.5.2).

    Yields ``(C, H, W)`` in the unit of the score, signed; the values sum to ``f(image) - f(baseline)``, and ``gap`` is
    what rounding misses. Where an activation's input moves by less than 1000 rounding errors, its slope at the
    baseline is taken. Of maxima, what the photo's winner rises by goes to it and what the baseline's winner falls by
    to that one (as in SHAP's library), which the authors do not do, and which completeness needs. Beyond the paper:
    products of two maps are split in half (``gates``), normalization by the photo's own statistics and softmax follow
    from that.

    Raises:
        NotApplicable: an operation has no rule, or the network takes one image at a time.
    """

    effort: ClassVar[float] = 0.28  # its rules are cheaper than those that share out relevance

    baseline: str = baseline_knob()
    gates: str = gates_knob()
    centered: bool = centered_knob()

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the shares of a batch."""
        from xaiwidgets.engine.baselines import baseline
        from xaiwidgets.surgery.deeplift import DeepLiftPolicy

        found = compare(
            "deeplift_rescale",
            model,
            images,
            baseline(model, images, self.baseline),
            target,
            lambda: DeepLiftPolicy(gates=self.gates),
            centered=self.centered,
        )
        gap, details = gap_of(found)
        return Raw(found.values, found.scores, found.notes, gap=gap, details=details)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Picture and baseline, forward and back."""
        return 2, 2

    def unit(self, target: Target) -> str:
        """The score's own unit."""
        return target.unit
