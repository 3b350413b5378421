"""FusionGrad: the mean of an explanation over noisy weights and noisy copies of the picture, around any explainer."""

from __future__ import annotations

from typing import ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.explainers.noise import Average, Averaged, around, photo_noise, seeded, weight_level


@explainer(
    id="fusiongrad",
    title="FusionGrad",
    family="gradient",
    idea="SmoothGrad and NoiseGrad at once: the mean of a map over noisy photos on slightly different networks.",
    cite="Bykov, Hedström, Nakajima, Höhne 2022",
    paper="arXiv:2106.10185",
    section="2.3.3",
    needs=("gradient",),
    formula="(1/NM) Σ Σ M(x + ε; W ⊙ η), ε ~ N(0, σ²), η ~ N(1, σw²)",
    how="Every weight is multiplied by a random number near one. Each network that this gives explains a few noisy "
    "copies of the photo, and all the signed maps are averaged.",
    caution="Two noises add up: watch how far the score moves. Calibrate the weights' noise with the photo's noise on.",
)
class FusionGrad(Averaged):
    """Mean of a base map over noisy networks and, afresh for each, noisy inputs (Bykov et al. 2022).

    Yields what the base yields; ``details["standard_error"]`` holds the standard error of the mean, same shape, and
    ``details["scores"]`` the target's score in each sample. Without weight noise it is SmoothGrad of all copies; with
    one copy and no photo noise it is NoiseGrad. ``score`` is that of the network under study.

    Raises:
        InvalidKnob: ``base`` is not the id of another explainer.
    """

    effort: ClassVar[float] = 1.9  # each network is made anew

    samples: int = knob(6, Range(1, 64, log=True), label="Noisy networks", help="More is smoother and slower.")
    copies: int = knob(4, Range(1, 64, log=True), label="Copies for each", help="Noisy photos for each network.")
    noise: float = photo_noise()
    weight_noise: float = weight_level()
    base: str = around()
    seed: int = seeded()

    @property
    def average(self) -> Average:
        """The mean over noisy copies on noisy networks."""
        return Average(self.base, self.seed, self.copies, self.noise, self.samples, self.weight_noise)
