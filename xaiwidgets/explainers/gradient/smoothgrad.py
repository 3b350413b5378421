"""SmoothGrad: the mean of an explanation over noisy copies of the picture, around any explainer."""

from __future__ import annotations

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.explainers.noise import Average, Averaged, around, photo_noise, seeded, which_moment


@explainer(
    id="smoothgrad",
    title="SmoothGrad",
    family="gradient",
    idea="The mean of a map over noisy copies of the photo: sharper than any one of them.",
    cite="Smilkov, Thorat, Kim, Viégas, Wattenberg 2017",
    paper="arXiv:1706.03825",
    section="2.3.3",
    needs=("gradient",),
    formula="(1/n) Σ M(x + ε), ε ~ N(0, σ²)",
    how="Gaussian noise is added to the photo, the map is computed for each noisy copy, and the signed maps are "
    "averaged. What flickers cancels out; the standard error says how far the mean has settled.",
    caution="Inherits what its base map gets wrong; too much noise explains pictures the network never saw.",
)
class SmoothGrad(Averaged):
    """Mean, mean square or variance of a base map over noisy inputs (Smilkov et al. 2017, section 3).

    Yields what the base yields; ``details["standard_error"]`` holds the standard error of the mean, same shape, and
    ``details["scores"]`` the target's score on each copy. Noise is drawn for each sample by its number, so the result
    does not depend on the batch size.

    Raises:
        InvalidKnob: ``base`` is not the id of another explainer.
    """

    samples: int = knob(24, Range(1, 512, log=True), label="Noisy copies", help="More is smoother and slower.")
    noise: float = photo_noise()
    base: str = around()
    moment: str = which_moment()
    seed: int = seeded()

    @property
    def average(self) -> Average:
        """The chosen moment over noisy copies."""
        return Average(self.base, self.seed, copies=self.samples, photo=self.noise, moment=self.moment)
