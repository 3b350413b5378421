"""SmoothGrad²: the mean square of an explanation over noisy copies of the picture."""

from __future__ import annotations

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.explainers.noise import Average, Averaged, around, photo_noise, seeded


@explainer(
    id="smoothgrad_sq",
    title="SmoothGrad²",
    family="gradient",
    idea="The mean square of a map over noisy copies of the photo: what reacts at all, whatever its sign.",
    cite="Hooker, Erhan, Kindermans, Kim 2019",
    paper="arXiv:1806.10758",
    section="2.3.3",
    needs=("gradient",),
    signed=False,
    formula="(1/n) Σ M(x + ε)², ε ~ N(0, σ²)",
    how="As SmoothGrad, but each map is squared before it is averaged, so that opposite signs do not cancel out. In "
    "the retraining test of its authors, what it marks was more important than what SmoothGrad marks.",
    caution="Says nothing about for or against the class, and squaring makes a few strong pixels outshine the rest.",
)
class SmoothGradSquared(Averaged):
    """Mean square of a base map over noisy inputs (Hooker et al. 2019).

    Yields what the base yields, but non-negative and in the square of its unit; ``details`` as of SmoothGrad.

    Raises:
        InvalidKnob: ``base`` is not the id of another explainer.
    """

    samples: int = knob(24, Range(1, 512, log=True), label="Noisy copies", help="More is steadier and slower.")
    noise: float = photo_noise()
    base: str = around()
    seed: int = seeded()

    @property
    def average(self) -> Average:
        """The mean square over noisy copies."""
        return Average(self.base, self.seed, copies=self.samples, photo=self.noise, moment="square")
