"""Activation maximization through a generator network.

How often separately trained networks see the target in its pictures, in those of maximization without regularizers,
and in those with the default ones, all of 200 steps. Of another architecture, on digits: 224, 119 and 151 of 300 for
a small convolutional network, judged by ones with batch normalization; 255, 179 and 100 of 300 the other way around
(held-out errors of the generators 0.22 and 0.28; of the mean picture 0.71). Of the same architecture, on digits: 40,
40 and 27 of 40. Where the generator knows little it does not help: on shapes (0.67) 14, 10 and 12 of 40 by another
architecture and 20, 29 and 24 by the same one, on cluttered digits (0.73) 32, 35 and 30 by another. For the bundled
ImageNet network, from crops of eight photos (0.54, mean picture 0.70), it raises logits by two to three with a bound
of 1 and steps of 0.1, and reaches no class.

An adversarial loss of weight 0.003 and 0.01 makes pictures of digits as sharp as real ones (squared differences of
neighbors over variance: 0.239 without, 0.251 and 0.252 with, 0.254 of real ones). It changes neither the held-out error
(0.218, 0.222, 0.223) nor how often three networks of another architecture believe 50 pictures (114, 116 and 112 of
150), and takes twice the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from xaiwidgets.core.cards import synthesizer
from xaiwidgets.core.knobs import Choice, NetworkName, Range, knob
from xaiwidgets.synthesis.run import Resumable, play

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.core.results import Synthesis
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal


@synthesizer(
    id="dgn_am",
    title="Maximization through a generator",
    idea="Looks for the code from which a generator makes the picture that excites a unit most.",
    cite="Nguyen, Dosovitskiy, Yosinski, Brox, Clune 2016",
    paper="arXiv:1605.09304",
    section="2.1",
    formula="argmax over y of S(G(y)) − λ ‖y‖,  0 ≤ yᵢ ≤ meanᵢ + k · sdᵢ over real pictures",
    how="A generator was trained beforehand to invert a layer of this network. Its code is moved up the gradient of "
    "the score; the gradient is divided by its mean absolute value at the picture, and again at the code. After each "
    "step the code decays and is kept within what real pictures give.",
    caution="What the picture looks like comes from the generator, which knows its training pictures: it shows which "
    "of its pictures excites the unit, and not all that would. A unit that wants something else is shown wrongly. A "
    "generator whose held-out error is near the mean picture's knows too little: other networks then believe its "
    "pictures no more often than plain ones.",
)
class DgnAm(Resumable):
    """Gradient ascent on a generator's code (Nguyen et al. 2016, section 2.4), from ``train_generator``.

    Yields a picture ``(H, W, 3)`` in [0, 1] of the generator's size after every step. The picture is clipped to [0, 1]
    before the network sees it, and the gradient goes through as if it were not. ``curves`` has the probability where
    the target is a class, also under a second network if one is named. Beside it stands the code. Other than in the
    paper, step sizes are in standard deviations of the code, since codes of other networks have other scales, and the
    generator is trained without an adversarial loss unless ``train_generator`` is asked for one. How often other
    networks believe it: see the top of this file.

    Raises:
        NotApplicable: no generator was trained for this network. InvalidKnob: it is one for another.
    """

    rate: float = knob(
        0.3,
        Range(0.01, 8.0, log=True),
        label="Step size",
        help="How far a number of the code moves on average, at first; it falls to zero in a straight line.",
        unit="standard deviations",
        live=True,
    )
    decay: float = knob(
        0.01, Range(0.0, 0.2), label="Decay", help="The part of the code that is lost at each step.", live=True
    )
    clip: float = knob(
        3.0,
        Range(1.0, 5.0),
        label="Bound",
        help="How far above its mean over real pictures a number of the code may rise.",
        unit="standard deviations",
        live=True,
    )
    iterations: int = knob(200, Range(1, 2000, log=True), label="Steps", help="When to stop.", unit="steps")
    start: str = knob(
        "random",
        Choice(("random", "zero", "mean")),
        label="Start",
        help="The code to begin with: drawn as if real, all zeros, or the mean of real ones.",
    )
    seed: int = knob(0, Range(0, 9999), label="Seed", help="Of the random start.")
    generator: str = knob(
        "",
        NetworkName("generator"),
        label="Generator",
        help="Name of a network from train_generator; empty is the newest that was trained for this network.",
    )
    judge: str = knob(
        "",
        NetworkName("model", "none"),
        label="Second network",
        help="Name of a kept Model that is also asked for the probability of the class; empty is none.",
        advanced=True,
    )

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every step; a photo is not used."""
        from xaiwidgets.learned.generating import Generating

        return play(Generating, self, model, target, None)
