"""NoiseGrad: the mean of an explanation over networks with noisy weights, around any explainer."""

from __future__ import annotations

from typing import ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.explainers.noise import Average, Averaged, around, seeded, weight_level


@explainer(
    id="noisegrad",
    title="NoiseGrad",
    family="gradient",
    idea="The mean of a map over slightly different networks: what one set of weights draws by chance fades.",
    cite="Bykov, Hedström, Nakajima, Höhne 2022",
    paper="arXiv:2106.10185",
    section="2.3.3",
    needs=("gradient",),
    formula="(1/N) Σ M(x; W ⊙ η), η ~ N(1, σ²)",
    how="Every weight is multiplied by a random number near one, which gives a slightly different network. The map is "
    "computed on many of them, and the signed maps are averaged.",
    caution="With too much noise the networks explained are no longer the one under study: see how far the score "
    "moves, and let calibrate_noise find the level on labeled photos.",
)
class NoiseGrad(Averaged):
    """Mean of a base map over networks with multiplicative weight noise (Bykov et al. 2022).

    Yields what the base yields; ``details["standard_error"]`` holds the standard error of the mean, same shape, and
    ``details["scores"]`` the target's score under each network. All learnable parameters are noisy, running statistics
    are not. The network under study is only read; ``score`` is its own.

    Raises:
        InvalidKnob: ``base`` is not the id of another explainer.
    """

    effort: ClassVar[float] = 3.5  # each network is made anew and sees one picture

    samples: int = knob(10, Range(1, 128, log=True), label="Noisy networks", help="More is smoother and slower.")
    weight_noise: float = weight_level()
    base: str = around()
    seed: int = seeded()

    @property
    def average(self) -> Average:
        """The mean over noisy networks."""
        return Average(self.base, self.seed, networks=self.samples, weights=self.weight_noise)
