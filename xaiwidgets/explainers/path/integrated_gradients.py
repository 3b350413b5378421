"""Integrated gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.quadrature import RULES, early_first, nodes
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Integrated gradients",
    family="gradient",
    idea="Adds up the gradient while the photo fades in from a baseline.",
    cite="Sundararajan, Taly, Yan 2017",
    paper="arXiv:1703.01365",
    section="2.3.3",
    needs=("gradient",),
    formula="(x − x′) ⊙ ∫ ∂f/∂x (x′ + α(x − x′)) dα",
    how="The photo is faded in from the baseline in small steps. The gradients on the way are averaged and multiplied "
    "by the distance travelled. The values add up to the score minus the baseline's score; the gap says how nearly.",
    caution="Pixels that equal the baseline get nothing: on black, black parts are invisible. Try a second baseline.",
)
class IntegratedGradients:
    """Path integral of the gradient times the distance travelled (Sundararajan et al. 2017, eq. 1).

    Yields ``(C, H, W)`` in the unit of the score, signed; the values sum to ``f(image) - f(baseline)`` as ``points``
    grows, and ``gap`` is what is missing. Points are visited in an order in which every prefix covers the path.
    """

    points: int = knob(32, Range(2, 512, log=True), label="Path points", help="More is smoother and slower.")
    baseline: str = knob(
        "black",
        Choice(("black", "white", "gray", "mean", "blur", "border")),
        label="Baseline",
        help="Where the path starts.",
    )
    rule: str = knob(
        "riemann_middle", Choice(RULES), label="Quadrature", help="How the path is sampled and weighted.", advanced=True
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the points, and the scores of both ends."""
        return self.points + 2, self.points

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the integral over the points visited so far, after every batch."""
        import torch

        from xaiwidgets.engine.baselines import baseline
        from xaiwidgets.engine.batching import batch_size

        start = baseline(model, image, self.baseline)
        ends = torch.cat([model.scores(image, target), model.scores(start, target)])
        alphas, weights = nodes(self.rule, self.points)
        order = early_first(self.points)
        size = batch_size(model, gradient=True)
        total = torch.zeros_like(image, dtype=torch.float64)
        done = 0.0
        for first in range(0, self.points, size):
            chosen = order[first : first + size]
            path = torch.as_tensor(alphas[chosen], dtype=image.dtype, device=image.device).reshape(-1, 1, 1, 1)
            share = torch.as_tensor(weights[chosen], device=image.device).reshape(-1, 1, 1, 1)
            found = model.gradient(torch.lerp(start, image, path), target).input
            total += (found.double() * share).sum(dim=0, keepdim=True)
            done += float(weights[chosen].sum())
            last = first + size >= self.points
            # a prefix is weighted as if it were the whole rule; the complete rule keeps its own weights
            scale = 1.0 if last or done == 0 else 1.0 / done
            values = ((image - start).double() * total * scale)[0]
            yield Attribution(
                values=values.float().cpu().numpy(),
                unit=target.unit,
                signed=True,
                size=size_of(image),
                progress=min(1.0, (first + len(chosen)) / self.points),
                score=float(ends[0]),
                gap=float(values.sum()) - float(ends[0] - ends[1]),
                details={"baseline_score": float(ends[1]), "points": min(self.points, first + size)},
            )
