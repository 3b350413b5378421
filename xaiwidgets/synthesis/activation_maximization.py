"""Activation maximization."""

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
    title="Activation maximization",
    idea="Paints, step by step, a picture that excites one class or one unit as much as it can.",
    cite="Erhan et al. 2009; Simonyan et al. 2014; Yosinski et al. 2015",
    paper="arXiv:1506.06579",
    section="2.1",
    formula="x ← R(x + η · g/rms(g)),  g = ∂S(x)/∂x;  R = decay, blur, clip small norm, clip small contribution",
    how="The network stays fixed and the picture is learned: every step asks how the score would change with each "
    "pixel, and moves all pixels a little that way. Left alone, this ends in fine noise that no photo has, so after "
    "each step regularizers fade, blur or erase what counts least. All of them can be moved while it runs.",
    caution="It shows what drives the score up, not what photos of the class look like: pictures that people cannot "
    "read reach a probability of 1 as well. Another start, seed or regularizer gives another picture: compare several "
    "before you say what a unit responds to.",
)
class ActivationMaximization(Resumable):
    """Gradient ascent on the score of a class or a hidden unit, in the space of pictures.

    Yields a picture ``(H, W, 3)`` in [0, 1] after every step. The score is a logit, or an activation for hidden units;
    with jitter it is that of the shifted picture. Erhan et al. 2009 (gradient ascent), Simonyan et al. 2014, section 2
    (logit, L2 decay), Yosinski et al. 2015, section 3 (operators and their order); total variation and jitter as in
    Mahendran and Vedaldi 2015 and Mordvintsev et al. 2015; momentum is ours. ``constraint`` says where pixels stay.

    Raises ``InvalidKnob``: the start ``photo`` without a photo; a fixed knob was changed while the run goes on.
    """

    step_size: float = knob(
        16.0,
        Range(0.1, 1000.0, log=True),
        label="Step size",
        help="How far one step moves the pixels. Large steps give strong contrast and coarser shapes.",
        unit="gray levels",
        live=True,
    )
    momentum: float = knob(
        0.8,
        Range(0.0, 0.95, step=0.05),
        label="Momentum",
        help="How much of the direction of earlier steps is kept. Evens out what changes from step to step; 0 is off.",
        unit="share",
        live=True,
        advanced=True,
    )
    decay: float = knob(
        0.003,
        Range(0.0, 0.5, step=0.001),
        label="L2 decay",
        help="How far every step fades the picture towards the mean color. Against extreme values; 0 is off.",
        unit="share per step",
        live=True,
    )
    blur_width: float = knob(
        1.5,
        Range(0.0, 5.0, step=0.1),
        label="Blur width",
        help="Gaussian blur against fine noise. Widths under 0.3 change nothing that can be seen; 0 is off.",
        unit="pixels",
        live=True,
    )
    blur_every: int = knob(
        4, Range(1, 50), label="Blur every", help="Blur after every so many steps.", unit="steps", live=True
    )
    total_variation: float = knob(
        0.0,
        Range(0.0, 2.0, step=0.01),
        label="Total variation",
        help="How strongly neighboring pixels pull each other together, against a gradient of 1. Flat areas, sharp "
        "edges; 0 is off.",
        live=True,
    )
    jitter: int = knob(
        4,
        Range(0, 64),
        label="Jitter",
        help="Every step sees the picture shifted at random by up to so much. Against patterns tied to the network's "
        "grid; 0 is off.",
        unit="pixels",
        live=True,
    )
    rotation: float = knob(
        0.0,
        Range(0.0, 45.0, step=1.0),
        label="Rotation",
        help="Every step sees the picture turned at random by up to so much; 0 is off.",
        unit="degrees",
        live=True,
    )
    zoom: float = knob(
        0.0,
        Range(0.0, 0.5, step=0.01),
        label="Zoom",
        help="Every step sees the picture larger or smaller by up to this share, at random; 0 is off.",
        unit="share",
        live=True,
    )
    clip_norm: float = knob(
        0.0,
        Range(0.0, 95.0, step=1.0),
        label="Clip small norm",
        help="Sets the faintest pixels to the mean color after every step: only what stands out stays; 0 is off.",
        unit="% of pixels",
        live=True,
    )
    clip_contribution: float = knob(
        0.0,
        Range(0.0, 95.0, step=1.0),
        label="Clip small contribution",
        help="Sets the pixels that matter least to the score to the mean color after every step; 0 is off.",
        unit="% of pixels",
        live=True,
    )
    iterations: int = knob(128, Range(1, 2000, log=True), label="Steps", help="When to stop.", unit="steps")
    start: str = knob(
        "noise",
        Choice(("noise", "mean", "zero", "photo")),
        label="Start from",
        help="noise: faint noise on the mean color; mean: the data set's mean color; zero: black; photo: the photo.",
    )
    seed: int = knob(
        0,
        Range(0, 2**31 - 1),
        label="Seed",
        help="Of noise and jitter. Same seed, same picture.",
        advanced=True,
    )
    normalization: str = knob(
        "rms",
        Choice(("rms", "mean", "max", "first", "none")),
        label="Gradient divided by",
        help="rms, mean or max: of its own values, so that every step is equally long; first: the rms of the first "
        "gradient, so that steps shrink as the score levels off; none: plain gradient ascent, for far larger steps.",
        advanced=True,
    )

    constraint: str = knob(
        "box",
        Choice(("box", "sphere", "none")),
        label="Pixels stay",
        help="box: between black and white; sphere: at one distance from the mean color (Erhan et al.); none: "
        "anywhere, and only shown clipped.",
        advanced=True,
    )
    radius: float = knob(
        63.75,
        Range(1.0, 255.0),
        label="Radius",
        help="Of the sphere: how far a value is from the mean color, as a root mean square. Photos are near 64.",
        unit="gray levels",
        live=True,
        advanced=True,
    )

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: network input ``(1, C, H, W)`` of the photo to start from, if any.
            target: what to excite.
        """
        from xaiwidgets.synthesis.ascent import Ascent

        return play(Ascent, self, model, target, start)
