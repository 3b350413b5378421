"""Blur integrated gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.quadrature import early_first, nodes
from xaiwidgets.explainers.onepass import size_of
from xaiwidgets.explainers.path.integral import path_integral

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: The derivative with respect to the blur is a finite difference of this many pixels.
GRAIN = 0.01


@explainer(
    id="blur_ig",
    title="Blur integrated gradients",
    family="gradient",
    idea="Adds up the gradient while the photo comes into focus.",
    cite="Xu, Venugopalan, Sundararajan 2020",
    paper="arXiv:2004.03383",
    section="2.3.3",
    needs=("gradient",),
    formula="−∫ ∂f/∂z(σ) ⊙ ∂z(σ)/∂σ dσ, z(σ) = photo ∗ Gaussian of width σ",
    how="The path leads from a blurred photo to the sharp one, coarse shapes first, fine detail last. On the way "
    "the gradient is multiplied by what the focus adds. No baseline color has to be chosen.",
    caution="Flat areas never change under blur and get nothing, whatever they mean. Few points leave a gap: watch it.",
)
class BlurIG:
    """Integrated gradients along the scale space of the picture (Xu et al. 2020, eq. 6).

    Yields ``(C, H, W)`` in the unit of the score, signed; the values sum to ``f(image) - f(blurred image)`` as
    ``points`` grows, and ``gap`` is what is missing. Scales are visited in an order in which every prefix covers the
    path. The scale-space derivative is a finite difference of 0.01 px.
    """

    effort: ClassVar[float] = 1.3  # each point is a blur, too

    points: int = knob(32, Range(2, 512, log=True), label="Path points", help="More is smoother and slower.")
    blur: float = knob(
        50.0,
        Range(1.0, 100.0, step=1.0),
        label="Largest blur",
        help="Standard deviation of the Gaussian at the start of the path.",
        unit="px",
    )
    spacing: str = knob(
        "quadratic",
        Choice(("quadratic", "linear")),
        label="Spacing",
        help="How the widths are spread: quadratic has more of them where the photo is sharp and changes most.",
        advanced=True,
    )
    edges: str = knob(
        "constant",
        Choice(("constant", "nearest")),
        label="Beyond the edge",
        help="constant: the data set's mean color; nearest: the edge repeated.",
        advanced=True,
    )
    rule: str = knob(
        "riemann_middle",
        Choice(("riemann_middle", "riemann_left", "riemann_trapezoid", "gausslegendre")),
        label="Quadrature",
        help="How the path is sampled and weighted.",
        advanced=True,
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the points, and the scores of both ends."""
        return self.points + 2, self.points

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the integral over the widths visited so far, after every batch."""
        import torch

        at, weights = nodes(self.rule, self.points)
        power = 2 if self.spacing == "quadratic" else 1
        widths = self.blur * at**power
        speeds = self.blur * power * at ** (power - 1)

        def path(chosen: NDArray[Any]) -> tuple[Tensor, Tensor]:
            blurred, change = scale_space(image, widths[chosen], self.edges)
            speed = torch.as_tensor(speeds[chosen], dtype=image.dtype, device=image.device)
            return blurred, -change * speed.reshape(-1, 1, 1, 1)

        start = scale_space(image, np.array([self.blur]), self.edges)[0]
        ends = model.scores(torch.cat([image, start]), target).double()
        difference = float(ends[0] - ends[1])
        for values, visited in path_integral(model, target, weights, early_first(self.points), path):
            yield Attribution(
                values=values.float().cpu().numpy(),
                unit=target.unit,
                signed=True,
                size=size_of(image),
                progress=visited / self.points,
                score=float(ends[0]),
                gap=float(values.sum()) - difference,
                details={"explained": difference, "baseline_score": float(ends[1]), "points": visited},
            )


def scale_space(image: Tensor, widths: NDArray[Any], edges: str) -> tuple[Tensor, Tensor]:
    """Return ``(N, C, H, W)`` blurred by each of N widths in pixels, and the derivative with respect to the width."""
    import torch

    def matrices(side: int) -> tuple[Tensor, Tensor]:
        kept = blur_matrices(side, widths, edges)
        # in float64, and cut off at the same pixel: a difference so small would show rounding, and a jump of the cut
        slope = (blur_matrices(side, widths + GRAIN, edges, cut=widths) - kept) / GRAIN
        return torch.as_tensor(kept).to(image)[:, None], torch.as_tensor(slope).to(image)[:, None]

    (down, down_slope), (across, across_slope) = (matrices(side) for side in image.shape[-2:])
    rows = down @ image
    blurred = rows @ across.mT
    return blurred, down_slope @ image @ (across + GRAIN * across_slope).mT + rows @ across_slope.mT


def blur_matrices(side: int, widths: NDArray[Any], edges: str, cut: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Return ``(N, side, side)``: what each of N Gaussians makes of a line of pixels.

    They are cut off at four widths, or at four times ``cut``, like those of SciPy.
    """
    reach = np.floor(4 * (widths if cut is None else cut) + 0.5).astype(int)
    steps = np.arange(max(side, int(reach.max()) + 1))
    kernel = np.exp(-0.5 * (steps / np.maximum(widths, 1e-9)[:, None]) ** 2)
    kernel *= steps <= reach[:, None]
    kernel /= kernel[:, :1] + 2 * kernel[:, 1:].sum(axis=1, keepdims=True)
    pixel = np.arange(side)
    matrix: NDArray[np.float64] = kernel[:, np.abs(pixel[:, None] - pixel)]
    if edges == "nearest":
        beyond = kernel[:, ::-1].cumsum(axis=1)[:, ::-1]  # the weight of all steps from this one on
        beyond = np.concatenate([beyond, np.zeros((len(widths), 1))], axis=1)[:, 1 : side + 1]
        matrix[:, :, 0] += beyond
        matrix[:, :, -1] += beyond[:, ::-1]
    return matrix
