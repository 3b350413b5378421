"""Occlusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.windows import Grid, largest, mean_of_sizes, refined, share_done
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: More windows than this take minutes; a larger stride shows the same.
MOST_WINDOWS = 20_000
#: A window of half the size hides this many times fewer pixels.
QUARTER = 4


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
    its nearest neighbor's value. ``scales`` sizes follow each other, and the map is the mean of their maps. ``refine``
    then puts finer windows in place of the top quarter; the map keeps its sum (``engine.windows.refined``).

    Nothing is random, so there is no standard error. ``details``: ``done`` ``(H, W)``, the share of a pixel's windows
    measured so far, below 1 where it shows a neighbor's; ``windows``, ``windows_2``, … the falls by window and size,
    ``refined`` those of the finer windows, NaN where not done or not chosen.

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
        Choice(("gray", "mean", "black", "white", "blur", "border", "inpaint")),
        label="Fill",
        help="What hides the window. border: the mean color of the photo's edge; inpaint: of what touches the window.",
    )
    output: str = knob(
        "logit",
        Choice(("logit", "probability", "log_probability")),
        label="Score",
        help="The paper watches the probability; the logit does not saturate.",
        advanced=True,
    )
    scales: int = knob(
        1,
        Range(1, 4),
        label="Window sizes",
        help="Each size is half the one before, at half the stride: four times the windows. Their maps are averaged.",
        advanced=True,
    )
    refine: bool = knob(
        False,
        Flag(),
        label="Refine the top",
        help="Goes over the quarter where the map is largest once more, with windows of half the size.",
        advanced=True,
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one a window, and the whole picture's."""
        grids, extra = self._grids(size)
        return sum(grid.number for grid in grids[:-1]) + extra + 1, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the map after every batch of windows."""
        from xaiwidgets.engine.baselines import cover
        from xaiwidgets.engine.perturb import perturbed_scores

        grids, extra = self._grids(size_of(image))
        target = target.with_output(self.output)
        hidden = cover(model, image, self.fill)
        score = float(model.scores(image, target)[0])
        falls = [np.full(grid.shape, np.nan) for grid in grids]
        chosen = np.zeros(grids[-1].shape, dtype=bool)

        def measure(visits: list[tuple[int, tuple[int, int]]]) -> Iterator[int]:
            def hide(copies: Tensor, numbers: range) -> None:
                for copy, number in zip(copies, numbers, strict=True):
                    level, place = visits[number]
                    top, left, bottom, right = box = grids[level].box(*place)
                    copy[:, top:bottom, left:right] = hidden(box)

            for numbers, scores in perturbed_scores(model, image, target, len(visits), hide):
                for number, low in zip(numbers, scores.tolist(), strict=True):
                    level, place = visits[number]
                    falls[level][place] = score - low
                yield numbers.stop

        def result(done: int) -> Attribution:
            values = mean_of_sizes(grids[:-1], falls[:-1])
            details = {f"windows_{number}": found.copy() for number, found in enumerate(falls[1:-1], 2)}
            if not np.isnan(falls[-1]).all():
                values = refined(values, grids[-1], falls[-1], chosen, most=QUARTER)
                details["refined"] = falls[-1].copy()
            return Attribution(
                values=values[None],
                unit=target.unit,
                signed=True,
                size=grids[0].size,
                progress=done / count,
                score=score,
                notes=notes,
                details={"windows": falls[0].copy(), **details, "done": share_done(grids, falls, chosen)},
            )

        notes = self._notes(grids, extra)
        visits = [(level, place) for level, grid in enumerate(grids[:-1]) for place in grid.coarse_to_fine()]
        count = len(visits) + extra
        for done in measure(visits):
            yield result(done)
        if extra:
            chosen |= largest(grids[-1], mean_of_sizes(grids[:-1], falls[:-1]), extra)
            last = len(grids) - 1
            for done in measure([(last, place) for place in grids[-1].coarse_to_fine() if chosen[place]]):
                yield result(len(visits) + done)

    def _notes(self, grids: list[Grid], extra: int) -> tuple[str, ...]:
        """Return what the map is put together from, if from more than one size."""
        sizes = [f"{height} × {width}" for height, width in (grid.window for grid in grids)]
        notes = []
        if len(grids) > 2:
            notes.append(f"Mean of the maps of windows of {', '.join(sizes[:-1])} px (rows × columns).")
        if extra:
            notes.append(f"Where it was largest, in {extra} windows of {sizes[-1]} px, the map is a finer one, scaled.")
        return tuple(notes)

    def _grids(self, size: tuple[int, int]) -> tuple[list[Grid], int]:
        """Return the grids of all sizes, then that of the refinement, and how many windows of the last are chosen."""
        for name, length, side in (
            ("window_height", self.window_height, size[0]),
            ("window_width", self.window_width, size[1]),
        ):
            if length > side:
                raise InvalidKnob(f"{name} must be at most the picture's {side} px; got {length}.")
        grids = [Grid(size, (self.window_height, self.window_width), (self.stride_height, self.stride_width))]
        while len(grids) < self.scales and grids[-1].halved() != grids[-1]:
            grids.append(grids[-1].halved())
        finer = grids[-1].halved()
        extra = -(-finer.number // QUARTER) if self.refine else 0
        windows = sum(grid.number for grid in grids) + extra
        if windows > MOST_WINDOWS:
            too = ", fewer scales too" * (self.scales > 1) + ", refine=False too" * self.refine
            raise InvalidKnob(
                f"stride_height and stride_width must leave at most {MOST_WINDOWS:,} windows; {self.stride_height} and "
                f"{self.stride_width} give {windows:,}. Larger strides work{too}."
            )
        return [*grids, finer], extra
