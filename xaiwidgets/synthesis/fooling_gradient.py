"""Fooling images by gradient ascent."""

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
    title="Fooling image (gradient)",
    family="adversarial",
    idea="Turns noise into a picture that the network is certain of, though nobody could say what it shows.",
    cite="Nguyen, Yosinski, Clune 2015",
    paper="arXiv:1412.1897",
    section="2.1",
    needs=("gradient",),
    asks=("target",),
    formula="x ← clip((1 − d)(x + η g)),  g = ∂P/∂x,  η = min(early, late · (1 − P)) / ‖g‖²",
    how="It is activation maximization without any prior that would make the picture look natural: only a slight decay "
    "towards the mean color. A step is as long as the slope says that it takes to raise the probability by a set "
    "amount, so steps get shorter as it nears 1. The pictures that first passed 0.5, 0.99, 0.999 and 0.9999 are kept.",
    caution="A high probability does not tell whether the picture looks like the class: the network never learned from "
    "such pictures. Whether it can be recognized is for you to say.",
)
class FoolingGradient(Resumable):
    """Noise that is changed until the network is certain of a class, by gradient ascent without a prior.

    Yields the picture ``(H, W, 3)`` in [0, 1] after every step; the objective is what is raised, log probability or
    logit, and ``promised`` by how much the step was to raise it. Nguyen et al. 2015, section 2.3, with the decay and
    the progress-limited steps of the authors' code. There the gradient is that of P itself, which vanishes with P; ours
    is that of log P, whose direction is the same. The code's progress of 0.03 and 0.1 suits networks whose slope holds;
    in ours a step brings a small part of what it promises, and the decay undoes that, so both are larger by default.

    Raises ``InvalidTarget``: the target is not one class.
    """

    early: float = knob(
        0.5,
        Range(0.001, 1.0, log=True),
        label="Early progress",
        help="By how much a step is to raise the probability, as long as it is low.",
        unit="probability per step",
        live=True,
    )
    late: float = knob(
        0.9,
        Range(0.001, 1.0, log=True),
        label="Late progress",
        help="Which share of what is missing to certainty a step is to add, when the probability is high.",
        unit="share per step",
        live=True,
    )
    decay: float = knob(
        0.01,
        Range(0.0, 0.2, step=0.001),
        label="L2 decay",
        help="How far every step fades the picture towards the mean color; 0 is off.",
        unit="share per step",
        live=True,
    )
    leap: float = knob(
        10.0,
        Range(0.1, 100.0, log=True),
        label="Longest step",
        help="No step promises more than this to the log probability or the logit: far from certainty it would "
        "leave the place where the slope holds.",
        unit="nats",
        live=True,
        advanced=True,
    )
    raised: str = knob(
        "probability",
        Choice(("probability", "logit")),
        label="What is raised",
        help="The probability, also by lowering other classes, or the score of this class alone.",
        live=True,
    )
    iterations: int = knob(60, Range(1, 2000, log=True), label="Steps", help="When to stop.", unit="steps")
    start: str = knob(
        "noise",
        Choice(("noise", "uniform", "mean")),
        label="Start from",
        help="noise: faint noise on the mean color; uniform: every value at random; mean: the mean color.",
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Of the noise. Same seed, same picture.", advanced=True)

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: not used: the picture begins as noise.
            target: the class that the network shall see.
        """
        from xaiwidgets.synthesis.certainty import Certainty

        return play(Certainty, self, model, target)
