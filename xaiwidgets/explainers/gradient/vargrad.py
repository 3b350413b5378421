"""VarGrad: how much an explanation varies between noisy copies of the picture."""

from __future__ import annotations

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.explainers.noise import Average, Averaged, around, photo_noise, seeded


@explainer(
    id="vargrad",
    title="VarGrad",
    family="gradient",
    idea="How much a map varies between noisy copies of the photo.",
    cite="Adebayo, Gilmer, Goodfellow, Kim 2018",
    paper="arXiv:1810.03307",
    section="2.3.3",
    needs=("gradient",),
    signed=False,
    formula="(1/n) Σ (M(x + ε) − mean)², ε ~ N(0, σ²)",
    how="As SmoothGrad, but what is shown is the variance of the maps in place of their mean: it is large where a "
    "little noise changes how the score reacts to a pixel.",
    caution="Says where the map is unsteady, not what speaks for the class: a linear model gets an empty map.",
)
class VarGrad(Averaged):
    """Variance of a base map over noisy inputs (Adebayo et al. 2018).

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
        """The variance over noisy copies."""
        return Average(self.base, self.seed, copies=self.samples, photo=self.noise, moment="variance")
