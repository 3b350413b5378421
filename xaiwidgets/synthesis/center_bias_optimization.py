"""Center-biased regularization."""

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
    title="Center-biased optimization",
    idea="Draws one large object in the middle first, and its details later, on a canvas that grows.",
    cite="Nguyen, Yosinski, Clune 2016",
    paper="arXiv:1602.03616",
    section="2.1",
    formula="on a crop near the center: x ← TV-denoise(clip(x + s · g / mean|g|), w), then pasted back",
    how="Five phases: large steps under strong denoising lay out one object; twice the canvas grows by a fifth and the "
    "crop wanders about its center, so that the object is drawn in full and not many times; small steps that draw only "
    "in the middle, while all of the crop is denoised, add the last details.",
    caution="That there is one object in the middle is put in by the method. The network may as well be excited by "
    "many small ones: the picture without this bias shows that.",
)
class CenterBiasOptimization(Resumable):
    """Activation maximization by phases on a growing canvas, with TV denoising (Nguyen et al. 2016, section 3).

    Yields the whole canvas ``(H, W, 3)`` in [0, 1] after every step; it ends 1.44 times as large as the network's
    input. ``curve`` is the score of the crop that the step has seen. Denoising is the split Bregman method of
    scikit-image with weight ``w`` in gray levels: smaller is smoother. The weights of the paper are multiplied by five:
    as they are, they wipe out the finer gradients of networks newer than theirs. As in the released code, the margin of
    the fourth phase masks the gradient and not the denoising.

    The last two phases, which begin by smoothing the picture, are never shortened. With a quarter of their steps a seam
    stayed around the middle, and what they had smoothed away was not drawn again: the middle of the canvas was seen as
    espresso, zebra and house finch with probabilities of 0.04, 0.20 and 0.54, where it is 0.96, 0.99 and 1.00 now.

    Raises ``InvalidKnob``: start from a photo that was not given.
    """

    pace: float = knob(
        0.25,
        Range(0.02, 2.0),
        label="Pace",
        help="How many of the steps of the first three phases are done, 490 in the paper; the last two have their 40.",
        unit="share",
    )
    step_factor: float = knob(
        1.0, Range(0.1, 4.0, log=True), label="Step size", help="What the phases' steps are multiplied by: 11, 6, 1, "
        "3, 6 to 3 gray levels.", unit="times", live=True,
    )  # fmt: skip
    sharpness: float = knob(
        5.0, Range(0.1, 20.0, log=True), label="Sharpness", help="What the paper's denoising weights are multiplied "
        "by. Larger: less is smoothed away.", unit="times", live=True,
    )  # fmt: skip
    window: float = knob(
        0.3, Range(0.0, 1.0), label="Wander", help="Spread of the crop about the center, as a share of the room "
        "that it has; the fourth phase takes a third of it.", unit="share", live=True,
    )  # fmt: skip
    margin: float = knob(
        0.22, Range(0.0, 0.45), label="Margin", help="On each side of the crop, where the fourth phase draws "
        "nothing and only denoises.",
        unit="share of the side", live=True,
    )  # fmt: skip
    start: str = knob(
        "noise",
        Choice(("noise", "mean", "photo")),
        label="Start from",
        help="noise: faint noise on the mean color; mean: the data set's mean color; photo: the photo, such as a mean "
        "of pictures.",
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Of noise and crops.", advanced=True)

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the canvas after every step; ``start`` is the network input of the photo, if one is to begin with."""
        from xaiwidgets.synthesis.centered import Centered

        return play(Centered, self, model, target, start)
