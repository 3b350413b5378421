"""Integrated gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.quadrature import RULES, early_first, nodes
from xaiwidgets.explainers.onepass import size_of
from xaiwidgets.explainers.path.integral import path_integral

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

BASELINES = ("black", "white", "gray", "mean", "blur", "border")
#: The gap is compared with the tolerance after every so many points: a multiple of all batch sizes, so that where a run
#: stops does not depend on the batch size.
LOOK_EVERY = 16


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
    grows, and ``gap`` is what is missing. Points are visited in an order in which every prefix covers the path. With a
    second baseline, the result is the mean of both, and so is the baseline's score.
    """

    points: int = knob(32, Range(2, 512, log=True), label="Path points", help="More is smoother and slower.")
    baseline: str = knob("black", Choice(BASELINES), label="Baseline", help="Where the path starts.")
    second: str = knob(
        "none",
        Choice(("none", *BASELINES)),
        label="Second baseline",
        help="Takes the mean over two paths, each with all the points; black and white leave no color out.",
    )
    rule: str = knob(
        "riemann_middle", Choice(RULES), label="Quadrature", help="How the path is sampled and weighted.", advanced=True
    )
    tolerance: float = knob(
        0.0,
        Range(0.0, 0.5, step=0.01),
        label="Stop at gap",
        help="Stops early when the gap is at most this share of the difference of the scores; 0 visits all points.",
        advanced=True,
    )

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names of the baselines: one, or two."""
        return (self.baseline,) if self.second == "none" else (self.baseline, self.second)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the points, and the scores of the ends; or fewer."""
        paths = len(self.baselines)
        return paths * self.points + paths + 1, paths * self.points

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the integral over the points visited so far, after every batch."""
        import torch

        from xaiwidgets.engine.baselines import baseline

        starts = torch.cat([baseline(model, image, name) for name in self.baselines])
        paths = len(starts)
        ends = model.scores(torch.cat([image, starts]), target).double()
        difference = float(ends[0] - ends[1:].mean())
        alphas, weights = nodes(self.rule, self.points)

        def path(chosen: NDArray[Any]) -> tuple[Tensor, Tensor]:
            where = torch.as_tensor(alphas[chosen // paths], dtype=image.dtype, device=image.device)
            start = starts[torch.as_tensor(chosen % paths, device=image.device)]
            return torch.lerp(start, image, where.reshape(-1, 1, 1, 1)), image - start

        order = (early_first(self.points)[:, None] * paths + np.arange(paths)).ravel()
        for values, visited in path_integral(model, target, np.repeat(weights, paths) / paths, order, path):
            gap = float(values.sum()) - difference
            near = abs(gap) <= self.tolerance * abs(difference)
            early = self.tolerance > 0 and visited % LOOK_EVERY == 0 and near and visited < len(order)
            yield Attribution(
                values=values.float().cpu().numpy(),
                unit=target.unit,
                signed=True,
                size=size_of(image),
                progress=1.0 if early else visited / len(order),
                score=float(ends[0]),
                gap=gap,
                notes=(f"Stopped after {visited} of {len(order)} points: the gap is small enough.",) if early else (),
                details={"explained": difference, "baseline_score": float(ends[1:].mean()), "points": visited},
            )
            if early:
                return
