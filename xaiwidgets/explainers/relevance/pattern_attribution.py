"""PatternAttribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.patterns import Patterned, estimators, fitted_on, view_count

if TYPE_CHECKING:
    from xaiwidgets.model.targets import Target


@explainer(
    id="pattern_attribution",
    title="PatternAttribution",
    family="relevance",
    idea="How much each input value contributes to the signal that the active units detect.",
    cite="Kindermans, Schütt, Alber, Müller, Erhan, Kim, Dähne 2018",
    paper="arXiv:1705.05598",
    section="2.3.4",
    needs=("gradient", "relu"),
    formula="R ← (w ⊙ a)ᵀR in place of wᵀR, from R = f;  a = (E₊[x·y] − E₊[x]·E[y]) / wᵀ(…)",
    how="Each unit's signal direction is estimated from data: how inputs change with the unit's output. The score is "
    "sent back through weights times directions, which is deep Taylor decomposition with the distractor, learned from "
    "data, as its root point.",
    caution="As good as the pictures that the directions were fitted on, which a note names. Biases and residual "
    "branches break the sum: the values need not add up to the score.",
)
class PatternAttribution(Patterned):
    """Contributions to the signal, by fitted signal directions (Kindermans et al. 2018, section 4).

    Yields ``(C, H, W)`` in units of the score, signed; of one linear layer, the values sum to the score.
    Directions are fitted on the first explanation of a model, as a step with progress and maps meanwhile, and kept for
    its weights; those of ``xaiwidgets.fit_patterns`` or ``use_patterns`` are used at once. ``cost`` counts the pass of
    the explanation.

    Raises:
        NotApplicable: the network has an operation without a signal direction, which the message names.
        InvalidKnob: ``patterns`` names no set of pictures.
        WrongPatterns: the given patterns were fitted for other weights.
    """

    effort: ClassVar[float] = 0.45  # its rules are cheaper than those that share out relevance

    attribution: ClassVar[bool] = True

    patterns: str = fitted_on()
    views: int = view_count()
    estimator: str = estimators()

    def unit(self, target: Target) -> str:
        """Return what the values are measured in."""
        return target.unit
