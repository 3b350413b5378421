"""Regularized optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Regularized optimization",
    idea="Climbs a score, and after every step fades, blurs and erases what counts least.",
    cite="Yosinski, Clune, Nguyen, Fuchs, Lipson 2015",
    paper="arXiv:1506.06579",
    section="2.1",
    formula="x ← r(x + η ∂S/∂x);  r: (1 − d) x, blur of width b, pixels of small norm, or small |Σ x ∂S/∂x|, to 0",
    how="Decay fights extreme values, blur fights high frequencies, the two clips leave only what stands out or what "
    "matters to the score. The paper found its settings by random search; its four favorites are here as presets, with "
    "learning rates that were made for another network: steps by the first gradient fit any.",
    caution="Regularizers make pictures that people can read, by forbidding others: what is seen is as much their "
    "choice as the network's. Compare the four presets before you say what a unit responds to.",
)
class RegularizedOptimization(Resumable):
    """Gradient ascent with four regularizers (Yosinski et al. 2015, section 3 and table 1), in gray levels.

    Yields a picture ``(H, W, 3)`` in [0, 1] after every step; beside it the best so far, and for classes the first for
    which the network answered with the class. Pixels are clipped to colors at the beginning of every step.
    """

    decay: float = knob(
        1e-4, Range(0.0, 0.5), label="L2 decay", help="How far every step fades the picture to the mean color; 0 is "
        "off.", unit="share per step", live=True,
    )  # fmt: skip
    blur_width: float = knob(
        1.0, Range(0.0, 5.0, step=0.1), label="Blur width", help="Gaussian blur; widths between 0 and 0.3 act badly; "
        "0 is off.", unit="pixels", live=True,
    )  # fmt: skip
    blur_every: int = knob(
        4,
        Range(1, 50),
        label="Blur every",
        help="Blur after the first step, and after every so many from then on.",
        unit="steps",
        live=True,
    )
    clip_norm: float = knob(
        0.0, Range(0.0, 95.0, step=1.0), label="Clip small norm", help="The faintest pixels become the mean color; "
        "0 is off.", unit="% of pixels", live=True,
    )  # fmt: skip
    clip_contribution: float = knob(
        0.0, Range(0.0, 95.0, step=1.0), label="Clip small contribution", help="The pixels that matter least to the "
        "score become the mean color; 0 is off.", unit="% of pixels", live=True,
    )  # fmt: skip
    rate: str = knob(
        "first",
        Choice(("first", "constant", "progress")),
        label="Learning rate",
        help="first: such that the first step is a step size long; constant: the number below; progress: such that the "
        "score would rise by the number below, were it linear.",
        live=True,
    )
    step_size: float = knob(
        1.5, Range(0.1, 64.0, log=True), label="First step", help="Length of the first step, as a root mean square.",
        unit="gray levels", live=True,
    )  # fmt: skip
    eta: float = knob(
        100.0, Range(0.01, 1e8, log=True), label="η", help="Learning rate where it is constant, and the largest "
        "where it follows the progress.", unit="squared gray levels per score", live=True, advanced=True,
    )  # fmt: skip
    progress: float = knob(
        2.0, Range(1e-4, 100.0, log=True), label="Progress", help="By how much each step should raise the score.",
        live=True, advanced=True,
    )  # fmt: skip
    iterations: int = knob(96, Range(1, 2000, log=True), label="Steps", help="When to stop.", unit="steps")
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Of the noise that it starts from.", advanced=True)

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; ``start`` is not used: it begins with noise on the mean color."""
        from xaiwidgets.synthesis.regularized import Regularized

        return play(Regularized, self, model, target, None)
