"""DeepLIFT with the RevealCancel rule."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, knob
from xaiwidgets.explainers.compared import baseline_knob, centered_knob, compare, gap_of, gates_knob
from xaiwidgets.explainers.onepass import OnePass, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.coverage import Coverage


@explainer(
    id="deeplift_revealcancel",
    title="DeepLIFT (RevealCancel)",
    family="relevance",
    idea="DeepLIFT that shares out what pushes a unit up and what pulls it down apart, so neither hides the other.",
    cite="Shrikumar, Greenside, Kundaje 2017",
    paper="arXiv:1704.02685",
    section="2.3.4",
    needs=("gradient",),
    formula="m⁺ = ½ [φ(u′+Δ⁺) − φ(u′) + φ(u) − φ(u′+Δ⁻)] / Δ⁺;  m⁻ alike",
    how="Photo and baseline run through the network together. What the inputs of a unit add and what they take away "
    "are told apart, and each is credited with the mean of its effect before and after the other, as in a game of two "
    "players. The values add up to the score minus the baseline's score.",
    caution="Looks directly behind weights only: after a sum or a normalization that cannot be folded, activations are "
    "rescaled. What equals the baseline gets nothing.",
)
class DeepLiftRevealCancel(OnePass):
    """Multipliers for positive and for negative changes (Shrikumar et al. 2017, section 3.5.3).

    Yields ``(C, H, W)`` in the unit of the score, signed; the values sum to ``f(image) - f(baseline)``. An activation
    is revealed if it directly follows weights of the kind in ``where`` (BatchNorm counts as part of the convolution
    before it); the others are rescaled, and ``details["coverage"]`` says which. Everything else is as in
    ``deeplift_rescale``.

    Raises:
        NotApplicable: an operation has no rule, or the network takes one image at a time.
    """

    effort: ClassVar[float] = 0.28  # its rules are cheaper than those that share out relevance

    where: str = knob(
        "dense",
        Choice(("dense", "all")),
        label="Reveal after",
        help="dense: fully connected layers only, as the authors do; all: convolutions, too, which takes twice the "
        "time.",
    )
    baseline: str = baseline_knob()
    gates: str = gates_knob()
    centered: bool = centered_knob()

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the shares of a batch."""
        from xaiwidgets.engine.baselines import baseline
        from xaiwidgets.surgery.deeplift import DeepLiftPolicy

        found = compare(
            "deeplift_revealcancel",
            model,
            images,
            baseline(model, images, self.baseline),
            target,
            lambda: DeepLiftPolicy(self.where, self.gates),
            centered=self.centered,
        )
        gap, details = gap_of(found)
        return Raw(found.values, found.scores, (*found.notes, self._told(found.coverage)), gap=gap, details=details)

    def _told(self, coverage: Coverage) -> str:
        rules = Counter[str]()
        for (_, _, rule), count in coverage.places.items():
            rules[rule] += count
        revealed, others = rules["reveal-cancel"], rules["rescale"]
        if revealed:
            rest = f"; the other {others} are rescaled" if others else ""
            return f"{revealed} of {revealed + others} activations are revealed{rest}."
        if self.where == "dense":
            return (
                "No activation follows a fully connected layer directly, so this is DeepLIFT (Rescale). "
                'Choose to reveal after "all".'
            )
        return "No activation follows weights directly, so this is DeepLIFT (Rescale)."

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Picture and baseline, forward and back."""
        return 2, 2

    def unit(self, target: Target) -> str:
        """The score's own unit."""
        return target.unit
