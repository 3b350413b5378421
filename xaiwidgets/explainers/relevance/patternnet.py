"""PatternNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.patterns import Patterned, estimators, fitted_on, view_count

if TYPE_CHECKING:
    from xaiwidgets.model.targets import Target


@explainer(
    id="patternnet",
    title="PatternNet",
    family="relevance",
    idea="Paints the signal in the photo that the active units detect, in place of the filters that detect it.",
    cite="Kindermans, Schütt, Alber, Müller, Erhan, Kim, Dähne 2018",
    paper="arXiv:1705.05598",
    section="2.3.5",
    needs=("gradient", "relu"),
    formula="R ← aᵀR in place of wᵀR;  a = (E₊[x·y] − E₊[x]·E[y]) / wᵀ(…)",
    how="A unit's weights must cancel distractors, so they do not look like what the unit detects. What it detects is "
    "estimated from data: how inputs change with the unit's output. From the class, these directions are sent back "
    "instead of the weights. The result is a picture: show its channels as an image.",
    caution="As good as the pictures that the directions were fitted on, which a note names. Many units paint the same "
    "signal, so its size grows from layer to layer and means nothing: look at the form.",
)
class PatternNet(Patterned):
    """Signal back-projected through fitted signal directions (Kindermans et al. 2018, section 4).

    Yields ``(C, H, W)``, units of normalized input per unit of score, signed. Directions are fitted on the first
    explanation of a model, as a step with progress and maps meanwhile, and kept for its weights; those of
    ``xaiwidgets.fit_patterns`` or ``use_patterns`` are used at once. ``cost`` counts the pass of the explanation; a
    signal that outgrows float32 is sent a second time, from a smaller start, and a note says so. A constant shift of
    inputs that the network takes back changes nothing with the linear estimator, but does with the two-component one.

    Raises:
        NotApplicable: the network has an operation without a signal direction, which the message names.
        InvalidKnob: ``patterns`` names no set of pictures.
        WrongPatterns: the given patterns were fitted for other weights.
    """

    effort: ClassVar[float] = 0.45  # its rules are cheaper than those that share out relevance

    attribution: ClassVar[bool] = False

    patterns: str = fitted_on()
    views: int = view_count()
    estimator: str = estimators()

    def unit(self, target: Target) -> str:
        """Return what the values are measured in."""
        return f"input per unit of {target.unit}"
