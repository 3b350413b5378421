"""Explanation fragility."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.evaluation.attack import Attack
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.criteria import shares

if TYPE_CHECKING:
    from collections.abc import Generator

    from xaiwidgets.evaluation.case import Case

#: Draws of random signs beside a directed attack, and in place of one.
BESIDE, DRAWS = 3, 10


@metric(
    title="Explanation fragility",
    category="input",
    question="Does the map stay where it is when somebody changes the picture invisibly in order to move it?",
    cite="Ghorbani, Abid, Zou 2019",
    paper="arXiv:1710.10547",
    section="4.4",
    direction="higher",
    range=(0.0, 1.0),
    formula="|top-k e(x) ∩ top-k e(x + d)| / k for the d, ‖d‖∞ ≤ ε with the same first class, that changes e most",
    how="Step by step, the picture follows the sign of a criterion's derivative: the map's strongest pixels should "
    "fade, its center move, or a region light up. A step that loses the class is followed by steps that win it back. "
    "Of the pictures that keep their class, the best one counts.",
    caution="An attack that fails does not show that there is none. A map that follows a network's true decision moves "
    "with it: the network, and not the method, may be what is fragile.",
)
class ExplanationFragility:
    """Share of a map's strongest pixels that are left after an attack on it (Ghorbani et al. 2019, algorithm 1).

    ``data`` may be a region for the attack ``target``: bool ``(H, W)``; by default the corner with the least evidence.
    Streams every step: ``maps`` has the map before, the best one so far and the one now, ``pictures`` the same.
    ``details``: ``spearman``; ``center_shift`` in px; ``region``, its share of the map before and after; ``kept``, the
    share of steps that kept the class; ``probability`` of the class before and after; ``largest_change`` in levels.
    ``controls``: the same for random signs of the same size, the mean of those draws that keep the class (left out if
    none does), and for a map of random numbers. Beyond the paper: where the class is lost, the next step follows the
    derivative of its score less the strongest other one's, since the paper's steps may never come back.

    Methods that can be differentiated twice: saliency, gradient × input, integrated gradients, Grad-CAM, DeepLIFT
    (RevealCancel by the slope of Rescale) and DeepSHAP (by at most two of its backgrounds), on a copy with softplus
    for ReLU; maps that count are always those of the network itself. Others get random signs only, and ``notes`` say
    so. Reduction: ``abs``, divided by its sum.

    Raises:
        InvalidImage: ``data`` is no region of this picture.
    """

    attack: str = knob(
        "top_k",
        Choice(("top_k", "mass_center", "target", "random")),
        label="Attack",
        help="What the change of the picture is for.",
    )
    epsilon: float = knob(
        8.0, Range(0.0, 64.0, step=0.5), label="Largest change", help="Of a pixel, of 255 levels.", unit="levels"
    )
    steps: int = knob(60, Range(1, 1000, log=True), label="Steps", help="The paper takes 300.")
    rate: float = knob(
        0.5, Range(0.05, 16.0, log=True), label="Step size", help="Of each step and pixel.", unit="levels"
    )
    share: float = knob(
        0.05,
        Range(0.001, 0.5, log=True),
        label="Strongest pixels",
        help="Share of the picture's pixels that counts as the map's top.",
        advanced=True,
    )
    beta: float = knob(
        10.0,
        Range(1.0, 1000.0, log=True),
        label="Sharpness β",
        help="Of the softplus that stands for a ReLU, in the copy that says where to go.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the best attack so far after each step."""
        from xaiwidgets.evaluation.twice import twice

        found = yield from case.attribution()
        run = Attack(self, case, shares(map_of(found)))
        if not run.start.any():
            yield Score(math.nan, run.unit, notes=("The map is 0 everywhere.",), warnings=("W_DEGENERATE",))
            return
        drawn = None if self.attack == "random" else twice(case, self.beta)
        random = yield from run.random_signs(DRAWS if drawn is None else BESIDE, alone=drawn is None)
        if drawn is None:
            if self.attack != "random":
                title = type(case.method).card.title
                run.used, run.notes = (
                    "random",
                    (f"{title} cannot be differentiated twice here: random signs were tried instead.",),
                )
            yield run.random_score(random)
            return
        yield from run.follow(drawn, random)
