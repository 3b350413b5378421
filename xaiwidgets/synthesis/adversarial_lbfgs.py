"""Adversarial examples by box-constrained L-BFGS."""

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
    title="Adversarial example (L-BFGS)",
    family="adversarial",
    idea="Searches for the smallest change of a photo that makes the network take it for a class of your choice.",
    cite="Szegedy, Zaremba, Sutskever, Bruna, Erhan, Goodfellow, Fergus 2014",
    paper="arXiv:1312.6199",
    section="2.1",
    needs=("gradient",),
    asks=("photo",),
    takes=("target",),
    formula="min_r  c · ‖r‖ + J(x + r, l)   with x + r in [0, 1]ᵐ;  the largest c whose result is taken for l",
    how="L-BFGS walks down the sum of two costs: the loss of the class wanted, and the size of the change, times c. "
    "A larger c gives a smaller change, so bisection looks for the largest c that still deceives the network, and the "
    "smallest deceiving picture seen on the way is shown. Without a target, the class wanted is the one that the "
    "network finds second likeliest.",
    caution="The change found is small, not the smallest: L-BFGS ends in a local minimum. The picture lies just "
    "past the border between two classes, so another network, a crop or a compressed file may undo it. Attack photos "
    "that the network is right about: of others the answer was wrong before.",
)
class AdversarialLbfgs(Resumable):
    """The smallest change found that makes the network take a photo for the target; ``target=`` is the class wanted.

    Yields the changed photo ``(H, W, 3)`` in [0, 1] after every pass: the smallest one so far that deceives, also when
    rounded to 8 bits, or else the one that is being tried. The objective is c‖r‖ + J of the one being tried, in nats;
    ``rms`` is the distortion in gray levels, ``loss`` the J and ``weight`` the c being tried. Szegedy et al. 2014,
    section 4.1, which looks for the least c that deceives and means the same search; L-BFGS is projected onto the box
    with an Armijo line search. Without a target, or with the photo's own class, the runner-up is wanted.

    Raises ``InvalidTarget``: the target is not one class. ``NotApplicable``: the network has a single class.
    """

    weight: float = knob(
        0.01,
        Range(1e-4, 100.0, log=True),
        label="Weight of the change (c)",
        help="The first c that is tried; moved while it runs, the one that is tried from then on.",
        unit="nats",
        live=True,
    )
    bisections: int = knob(
        8,
        Range(0, 20),
        label="Bisections",
        help="How many more values of c are tried, each halfway, on a log scale, between one that deceives and one "
        "that does not.",
        live=True,
    )
    passes: int = knob(
        25,
        Range(5, 500, log=True),
        label="Passes for each c",
        help="After so many passes, or when nothing improves any more, the next c is tried.",
        live=True,
    )
    norm: str = knob(
        "l2",
        Choice(("l2", "l2_squared")),
        label="Size of the change",
        help="l2: the length ‖r‖, as in the paper; l2_squared: its square, which is smooth at no change.",
        advanced=True,
    )
    seed: int = knob(
        0,
        Range(0, 2**31 - 1),
        label="Seed",
        help="Of the faint noise that each c starts from: the length has no slope at no change.",
        advanced=True,
    )

    def steps(self, model: Model, start: Tensor | None, target: Goal) -> Generator[Synthesis, Self | None, None]:
        """Yield the picture after every pass; live knobs of a method that is sent in act from the next pass on.

        Args:
            model: the network.
            start: network input ``(1, C, H, W)`` of the photo.
            target: the class that it shall be taken for, or ``NOTHING``.
        """
        from xaiwidgets.synthesis.boxsearch import BoxSearch

        return play(BoxSearch, self, model, target, start)
