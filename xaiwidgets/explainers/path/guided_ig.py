"""Guided integrated gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Distances that differ by less than this, relative or absolute, are equal.
CLOSE = 1e-9


@explainer(
    id="guided_ig",
    title="Guided integrated gradients",
    family="gradient",
    idea="Integrated gradients on a path that changes first what matters least, and so collects less noise.",
    cite="Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi 2021",
    paper="arXiv:2106.09788",
    section="2.3.3",
    needs=("gradient",),
    formula="Σ ∂f/∂x(γ_t) ⊙ (γ_t+1 − γ_t), where γ moves the features of smallest |∂f/∂x| first",
    how="The photo fades in from a baseline. At each step only the input values with the smallest gradients move, in "
    "a band around the straight line, until as much of the photo has come back as a straight fade would bring. "
    "The values add up to the score minus the baseline's score as the steps grow.",
    caution="The order of the gradients decides the path, so rounding alone moves single pixels: trust regions, not "
    "dots. Watch the gap. Each step waits for the one before, so it is slower than integrated gradients.",
)
class GuidedIG:
    """Path integral along an adaptive path (Kapishnikov et al. 2021, algorithm 1).

    Yields ``(C, H, W)`` in the unit of the score, signed; the values sum to ``f(image) - f(baseline)`` as ``points``
    grows, and the last result's ``gap`` is what is missing. An unfinished one explains the way gone so far. With
    ``riemann_left`` this is the paper's sum; values are chosen for a small gradient, which it then takes for the whole
    move, and the gap need not close.
    """

    effort: ClassVar[float] = 1.7  # each point waits for the last, so there is no batch

    points: int = knob(50, Range(2, 512, log=True), label="Path steps", help="More is smoother and slower.")
    baseline: str = knob(
        "black",
        Choice(("black", "white", "gray", "mean", "blur", "border")),
        label="Baseline",
        help="Where the path starts.",
    )
    fraction: float = knob(
        0.25,
        Range(0.01, 1.0, step=0.01),
        label="Moved at once",
        help="Share of the input values, those of the smallest gradients, that may move in one go.",
        advanced=True,
    )
    max_dist: float = knob(
        0.02,
        Range(0.0, 1.0, step=0.01),
        label="Band",
        help="How far a value may be ahead of the straight fade or behind it; 0 is plain integrated gradients.",
    )
    rule: str = knob(
        "riemann_trapezoid",
        Choice(("riemann_trapezoid", "riemann_left")),
        label="Quadrature",
        help="riemann_left, the paper's, takes the gradient before each move, which was chosen for being small; "
        "riemann_trapezoid takes the mean of before and after.",
        advanced=True,
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the points on the path, and the scores of both ends."""
        return self._visited + 2, self._visited

    @property
    def _visited(self) -> int:
        """How many points of the path take a gradient."""
        return self.points + (self.rule == "riemann_trapezoid")

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the sum over the way gone so far, after every step."""
        import torch

        from xaiwidgets.engine.baselines import baseline

        # the order of the gradients decides the path, and rounding alone changes it: so the network as it was built
        model = model.exactly()
        begin = baseline(model, image, self.baseline)
        ends = model.scores(torch.cat([image, begin]), target).double()
        difference = float(ends[0] - ends[1])
        goal, start = image.double(), begin.double()
        here, total = start.clone(), torch.zeros_like(goal)
        count = self._visited
        part = 0.5 if count > self.points else 1.0  # of a move's length that the gradient before it stands for
        moved = torch.zeros_like(goal)
        for visited in range(1, count + 1):
            gradient = model.gradient(here.to(image), target).input.double()
            total += (1 - part) * gradient * moved
            if visited <= self.points:
                there = self._move(here, gradient, start, goal, visited / self.points)
                here, moved = there, there - here
                total += part * gradient * moved
            yield Attribution(
                values=total[0].float().cpu().numpy(),
                unit=target.unit,
                signed=True,
                size=size_of(image),
                progress=visited / count,
                score=float(ends[0]),
                gap=float(total.sum()) - difference if visited == count else None,
                details={"explained": difference, "baseline_score": float(ends[1]), "points": visited},
            )

    def _move(self, here: Tensor, gradient: Tensor, start: Tensor, goal: Tensor, share: float) -> Tensor:
        """Return the next point: at this share of the way in the sum of absolute differences, inside the band."""
        import torch

        way = goal - start
        least, most = (start + way * min(max(share + d, 0.0), 1.0) for d in (-self.max_dist, self.max_dist))
        # what has fallen behind the band catches up first; along each value's own direction, whichever its sign
        behind = (here - least) * way.sign() < 0
        here = torch.where(behind, least, here)
        wanted = float(way.abs().sum()) * (1 - share)
        size = gradient.abs()
        while True:
            left = float((goal - here).abs().sum())
            if math.isclose(left, wanted, rel_tol=CLOSE, abs_tol=CLOSE):
                return here
            size = size.masked_fill(here == most, math.inf)
            rank = math.floor(self.fraction * (size.numel() - 1)) + 1
            chosen = (size <= size.flatten().kthvalue(rank).values) & size.isfinite()
            room = float(((most - here).abs() * chosen).sum())
            if room == 0 and not chosen.any():  # all are at the front of the band: what is left is rounding
                return here
            part = (left - wanted) / room if room > 0 else math.inf
            here = torch.where(chosen, most if part > 1 else here + (most - here) * part, here)
            if part <= 1:
                return here
