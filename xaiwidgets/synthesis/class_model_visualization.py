"""Class model visualization."""

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
    title="Class model visualization",
    idea="Finds, from the mean picture, the picture of the highest class score that is not far from it.",
    cite="Simonyan, Vedaldi, Zisserman 2014",
    paper="arXiv:1312.6034",
    section="2.1",
    formula="argmax over x of S(x) − λ ‖x‖²,  x in gray levels less the mean color, S before the softmax",
    how="Starts from the mean color and climbs the class score, while the L2 penalty pulls every pixel back to it. The "
    "score is the one before the softmax: a probability could also rise because other classes sink. Nothing is clipped "
    "on the way; what is shown is.",
    caution="Without a prior for pictures it mixes parts of many objects in high frequencies. It shows what raises the "
    "score, and not what the network needs to see: other pictures do it as well.",
)
class ClassModelVisualization(Resumable):
    """Gradient ascent on a score less ``λ ‖x‖²``, from the mean picture (Simonyan et al. 2014, section 2).

    Yields a picture ``(H, W, 3)`` in [0, 1] after every step, clipped for display only: ``state`` holds what is
    optimized, in gray levels less the mean color, and the score is of that. ``curves`` has the penalty and the score
    less it, which is climbed, and for classes the probability; beside the picture is one of stretched contrast. Of a
    network that ends in a softmax the scores before it are used.

    The paper does not say how long steps are. Equally long ones do not come to rest: they swing across ridges that are
    narrower than a step (on EfficientNet-Lite0 for espresso the cosine of one slope and the next is -0.3, every second
    step lowers what is climbed, and it ranges over 3.8 in the last ten). Shorter from the beginning, they come less far
    (15.6 after 96 steps that shrink throughout, for 18.3). So they settle at the end: 20.8, and 20.1 for 17.0 for
    goldfinch, 23.0 for 21.1 for zebra.
    """

    l2: float = knob(
        1e-5,
        Range(1e-7, 1e-4, log=True),
        label="L2 penalty",
        help="What a squared gray level costs. Stronger: fainter pictures, nearer to the mean color.",
        live=True,
    )
    step_size: float = knob(
        2.0,
        Range(0.1, 64.0, log=True),
        label="Step size",
        help="How far the pixel moves that moves most.",
        unit="gray levels",
        live=True,
    )
    steps_by: str = knob(
        "settling",
        Choice(("settling", "each", "first")),
        label="Steps are",
        help="settling: equally long, then shorter and shorter over the last quarter; each: equally long; first: as "
        "long as the gradient is, the first one being a step size long, and none longer.",
        advanced=True,
    )
    iterations: int = knob(96, Range(1, 2000, log=True), label="Steps", help="When to stop.", unit="steps")

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; ``start`` is not used: it begins with the mean color."""
        from xaiwidgets.synthesis.classmodel import ClassModel

        return play(ClassModel, self, model, target, None)
