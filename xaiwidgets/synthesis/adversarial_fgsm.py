"""The fast gradient sign method, in one step or many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Flag, Range, knob
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    title="Fast gradient sign",
    family="adversarial",
    idea="Moves every pixel by at most a few gray levels, all against the network, until it sees something else.",
    cite="Goodfellow, Shlens, Szegedy 2015; Kurakin, Goodfellow, Bengio 2017; Madry et al. 2018",
    paper="arXiv:1412.6572",
    section="2.1",
    needs=("gradient",),
    asks=("photo",),
    takes=("target",),
    formula="x′ = clip(x + ε · sign(∂J(x, y)/∂x)); many steps: x ← Π_ε(x + α · sign(∂J/∂x));  J = −log P(y)",
    how="One backward pass tells for every pixel which way the loss rises; all of them move by the same ε that way. "
    "With more steps than one, each follows the slope anew and is brought back to within ε of the photo. Without a "
    "target, or with the class that the photo has, it moves away from that class; with another class as the target, "
    "towards it.",
    caution="That a small change turns the answer shows that the network is fragile here, not that it errs on photos "
    "that nobody has tampered with; that an attack fails does not show that none exists. A larger ε is not always a "
    "stronger attack: in one step it may pass the place where the answer turns.",
)
class AdversarialFgsm(Resumable):
    """A photo changed by at most ε in every pixel, so that it is taken for something else; ``target=`` is for what.

    Yields the changed photo ``(H, W, 3)`` in [0, 1]. The objective is what the attack raises, in nats: the loss of the
    photo's class, or, with another class as target, the log probability of that. ``probability`` is that of the target
    (without one, of the strongest other class) and ``probability_first`` that of the photo's class; ``l_inf`` and
    ``rms`` are the size of the change in gray levels. One step: Goodfellow et al. 2015, section 4, with the answer at
    1, 2, 4 and 8/255 from the same gradient; several: Kurakin et al. 2017 (BIM), from a random start Madry et al. 2018
    (PGD), with momentum Dong et al. 2018. The class is the network's own answer, not a label.

    Raises ``InvalidTarget``: the target is not one class. ``NotApplicable``: the network has a single class.
    """

    epsilon: float = knob(
        2.0,
        Range(0.0, 128.0, step=0.25),
        label="Largest change (ε)",
        help="No pixel is changed by more than this. One step uses its gradient again when this is moved.",
        unit="/255",
        live=True,
    )
    iterations: int = knob(
        1,
        Range(1, 500, log=True),
        label="Steps",
        help="1 is the fast gradient sign method; more are its iterated form, which finds smaller changes.",
        unit="steps",
    )
    step_size: float = knob(
        0.0,
        Range(0.0, 128.0, step=0.25),
        label="Step size (α)",
        help="How far one of several steps moves each pixel; 0 is 2.5 ε divided by the steps.",
        unit="/255",
        live=True,
        advanced=True,
    )
    momentum: float = knob(
        0.0,
        Range(0.0, 1.0, step=0.05),
        label="Momentum",
        help="How much of the slopes of earlier steps is kept, where there are several; 0 is off.",
        unit="share",
        live=True,
        advanced=True,
    )
    random_start: bool = knob(
        False,
        Flag(),
        label="Random start",
        help="Several steps begin at a random picture within ε of the photo, not at the photo.",
        advanced=True,
    )
    seed: int = knob(
        0, Range(0, 2**31 - 1), label="Seed", help="Of the random start. Same seed, same picture.", advanced=True
    )

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the changed photo after every step; live knobs of a method that is sent in act from the next step on.

        Args:
            model: the network.
            start: network input ``(1, C, H, W)`` of the photo.
            target: the class that it shall be taken for, or ``NOTHING``.
        """
        from xaiwidgets.synthesis.signsteps import SignSteps

        return play(SignSteps, self, model, target, start)
