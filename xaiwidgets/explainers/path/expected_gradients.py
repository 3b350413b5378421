"""Expected gradients."""

from __future__ import annotations

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.explainers.noise import seeded
from xaiwidgets.explainers.path.sampling import Sampled, pictures_knob, positions_knob, reference_knob


@explainer(
    id="expected_gradients",
    title="Expected gradients",
    family="gradient",
    idea="Integrated gradients with other photos as the baselines, so that no color stands for nothing.",
    cite="Erion, Janizek, Sturmfels, Lundberg, Lee 2021",
    paper="arXiv:1906.10670",
    section="2.3.4",
    needs=("gradient",),
    formula="E[(x − x′) ⊙ ∂f/∂x (x′ + α(x − x′))], x′ of the data, α ~ U(0, 1)",
    how="Each sample fades from another photo to this one, stops at one point of the way, and takes the gradient times "
    "the difference of the two photos there. The mean says what sets this photo apart from the others.",
    caution="It is only as good as the photos it is compared with: use at least 16 like those the network was trained "
    "on. Their own objects can leave traces. Watch the standard error and the gap.",
)
class ExpectedGradients(Sampled):
    """Expected gradient over pictures of the data and points on the way (Erion et al. 2021, section 3).

    Yields ``(C, H, W)`` in the unit of the score, signed; the values sum to ``f(image)`` less the mean score of the
    references as samples grow, and the last result's ``gap`` is what is missing. ``details``: ``standard_error`` of the
    mean, same shape; ``sum_standard_error`` of its sum; ``baseline_score``.

    Raises:
        InvalidKnob: no set of pictures is registered under ``references``.
    """

    samples: int = knob(32, Range(1, 512, log=True), label="Samples", help="More is smoother and slower.")
    references: str = reference_knob("photos")
    positions: str = positions_knob()
    pictures: int = pictures_knob()
    seed: int = seeded()
