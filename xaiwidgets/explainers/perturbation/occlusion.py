"""Occlusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.windows import Grid
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: More windows than this take minutes; a larger stride shows the same.
MOST_WINDOWS = 20_000


@explainer(
    title="Occlusion",
    family="perturbation",
    idea="Slides a patch over the photo and watches the score fall.",
    cite="Zeiler, Fergus 2014",
    paper="arXiv:1311.2901",
    section="2.3.1",
    formula="a(W) = f(x) − f(x with window W covered)",
    how="A rectangle hides one part of the photo after another. Where the score falls, that part mattered; where it "
    "rises, that part spoke against the class. A pixel gets the mean over the windows that cover it.",
    caution="Depends on the size and the color of the patch, which is itself something the network sees. Compare two.",
)
class Occlusion:
    """Fall of the score when a window is covered, averaged over the windows that cover a pixel (Zeiler, Fergus 2014).

    Yields ``(1, H, W)`` in the unit of the score, signed, windows coarse to fine; until all are done, a window takes
    its nearest neighbor's value. ``details["windows"]`` holds the falls by window, NaN where not done.

    Raises:
        InvalidKnob: the window is larger than the picture, or there would be too many windows.
    """

    window_height: int = knob(32, Range(1, 512), label="Window height", help="Rows that are hidden at once.", unit="px")
    window_width: int = knob(
        32, Range(1, 512), label="Window width", help="Columns that are hidden at once.", unit="px"
    )
    stride_height: int = knob(16, Range(1, 512), label="Stride down", help="Rows between two windows.", unit="px")
    stride_width: int = knob(16, Range(1, 512), label="Stride across", help="Columns between two windows.", unit="px")
    fill: str = knob(
        "gray",
        Choice(("gray", "mean", "black", "white", "blur", "border")),
        label="Fill",
        help="What hides the window.",
    )
    output: str = knob(
        "logit",
        Choice(("logit", "probability", "log_probability")),
        label="Score",
        help="The paper watches the probability; the logit does not saturate.",
        advanced=True,
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one a window, and the whole picture's."""
        rows, columns = self._grid(size).shape
        return rows * columns + 1, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the map after every batch of windows."""
        from xaiwidgets.engine.baselines import baseline
        from xaiwidgets.engine.perturb import perturbed_scores

        grid = self._grid(size_of(image))
        order = grid.coarse_to_fine()
        target = target.with_output(self.output)
        cover = baseline(model, image, self.fill)[0]
        score = float(model.scores(image, target)[0])
        falls = np.full(grid.shape, np.nan)

        def hide(copies: Tensor, numbers: range) -> None:
            for copy, number in zip(copies, numbers, strict=True):
                top, left, bottom, right = grid.box(*order[number])
                copy[:, top:bottom, left:right] = cover[:, top:bottom, left:right]

        for numbers, scores in perturbed_scores(model, image, target, len(order), hide):
            for number, hidden in zip(numbers, scores.tolist(), strict=True):
                falls[order[number]] = score - hidden
            yield Attribution(
                values=grid.spread(falls)[None],
                unit=target.unit,
                signed=True,
                size=grid.size,
                progress=numbers.stop / len(order),
                score=score,
                details={"windows": falls.copy()},
            )

    def _grid(self, size: tuple[int, int]) -> Grid:
        for name, length, side in (
            ("window_height", self.window_height, size[0]),
            ("window_width", self.window_width, size[1]),
        ):
            if length > side:
                raise InvalidKnob(f"{name} must be at most the picture's {side} px; got {length}.")
        grid = Grid(size, (self.window_height, self.window_width), (self.stride_height, self.stride_width))
        rows, columns = grid.shape
        if rows * columns > MOST_WINDOWS:
            raise InvalidKnob(
                f"stride_height and stride_width must leave at most {MOST_WINDOWS:,} windows; {self.stride_height} and "
                f"{self.stride_width} give {rows * columns:,}. Larger strides work."
            )
        return grid
