"""GradientSHAP."""

from __future__ import annotations

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Flag, Range, knob
from xaiwidgets.explainers.noise import seeded
from xaiwidgets.explainers.path.sampling import Sampled, pictures_knob, positions_knob, reference_knob


@explainer(
    id="gradient_shap",
    title="GradientSHAP",
    family="gradient",
    idea="Integrated gradients averaged over several baselines, sampled at random points of their paths.",
    cite="Lundberg, Lee 2017",
    paper="arXiv:1705.07874",
    section="2.3.4",
    needs=("gradient",),
    formula="E[(x − x′) ⊙ ∂f/∂x (x′ + α(x + ε − x′))], x′ a reference, α ~ U(0, 1), ε ~ N(0, σ²)",
    how="Each sample takes one of the references and one point of the way from it to the photo, noise added if wanted. "
    "The gradient there, times the difference of photo and reference, is averaged. The values approach Shapley values "
    "of the pixels where the network is nearly linear and the pixels independent.",
    caution="The references decide what counts as absent: a black one hides black parts, a photo brings in objects of "
    "its own. Watch the standard error and the gap.",
)
class GradientShap(Sampled):
    """Expected gradient over references and points on the way (SHAP library's GradientExplainer; Erion et al. 2021).

    Yields ``(C, H, W)`` in the unit of the score, signed; without noise the values sum to ``f(image)`` less the mean
    score of the references as samples grow, and the last result's ``gap`` is what is missing. ``details``:
    ``standard_error`` of the mean, same shape; ``sum_standard_error`` of its sum; ``baseline_score``.

    Raises:
        InvalidKnob: no set of pictures is registered under ``references``.
    """

    samples: int = knob(32, Range(1, 512, log=True), label="Samples", help="More is smoother and slower.")
    noise: float = knob(
        0.0,
        Range(0.0, 1.0, step=0.01),
        label="Noise level",
        help="Standard deviation of the noise as a share of the photo's range of values.",
    )
    noisy_difference: bool = knob(
        False,
        Flag(),
        label="Noise in the factor",
        help="Multiplies by the noisy photo's difference from the reference, as Captum does, not by the photo's own.",
        advanced=True,
    )
    references: str = reference_knob("plain")
    positions: str = positions_knob()
    pictures: int = pictures_knob()
    seed: int = seeded()
