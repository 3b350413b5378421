"""Prediction difference analysis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, ReferenceName, check_knobs, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.patches import PatchModel, color_axes, conditional, marginal, turned
from xaiwidgets.engine.windows import Grid, share_done
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.explainers.onepass import size_of
from xaiwidgets.model.references import find_references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: More passes than this take many minutes; a larger stride shows nearly the same.
MOST_PASSES = 50_000
#: A covariance of patches with a longer side takes hundreds of megabytes.
LONGEST_SIDE = 48
#: Pictures that are taken of a large set, and the fewest that patches may come from. Of fewer than ``ENOUGH`` the
#: reader is told that they are few.
PICTURES, FEWEST, ENOUGH = 64, {"conditional": 5, "marginal": 2}, 64
#: What the reader can do about it.
MORE = "xaiwidgets.reference_set(name, folder) adds your own."


@explainer(
    title="Prediction difference",
    family="perturbation",
    idea="Fills each part of the photo with what might stand there, and asks how much the true content told.",
    cite="Zintgraf, Cohen, Adel, Welling 2017",
    paper="arXiv:1702.04595",
    section="2.3.1",
    formula="WE = log₂ odds(c|x) − log₂ odds(c|x∖w), p(c|x∖w) = 1/S Σ p(c|x with w ← sample)",
    how="Occlusion hides a window behind a color that no photo has; here the window is filled with samples of what "
    "photos have there. The conditional sampler draws them so that they continue the pixels around the window, by a "
    "Gaussian fitted to patches of reference photos. The mean over the samples is the prediction without the window.",
    caution="A window that can be guessed from its surroundings tells nothing new and gets little, even if the class "
    "depends on it. A Gaussian knows no objects: its samples are smooth and blurred. Few samples are noisy.",
)
class PredictionDifference:
    """Weight of evidence of each window against samples of it (Zintgraf et al. 2017, section 3).

    Yields ``(1, H, W)``, signed, in bits, the mean over the windows that cover a pixel, windows coarse to fine. Hidden
    units and differences of two classes have no odds: their values are plain differences, in the unit of the score.
    Samples are clipped to the range of pixels. At the picture's border, only the pixels that are there are given.
    ``details``: ``windows``, the values by window, NaN where not done; ``done``, ``(H, W)``, the share of a pixel's
    windows that have all their samples; with two or more samples ``standard_error``, ``(1, H, W)``, to first order.

    Raises:
        InvalidKnob: the window is larger than the picture, there would be too many passes, the patches of the
            conditional sampler would be too large, or no set of pictures is registered under ``references``.
    """

    window: int = knob(16, Range(1, 64), label="Window", help="Rows and columns that are filled at once.", unit="px")
    stride: int = knob(16, Range(1, 512), label="Stride", help="Pixels between two windows.", unit="px")
    samples: int = knob(4, Range(1, 64, log=True), label="Samples", help="Fillings of each window; more is less noisy.")
    sampler: str = knob(
        "conditional",
        Choice(("conditional", "marginal")),
        label="Sampler",
        help="conditional: a Gaussian given the pixels around; marginal: what other photos have at the same place.",
    )
    references: str = knob(
        "photos",
        ReferenceName(),
        label="References",
        help="Where the fillings come from; xaiwidgets.reference_set(name, folder) adds your own.",
    )
    pad: int = knob(
        2, Range(1, 8), label="Surroundings", help="Pixels on each side that are given.", unit="px", advanced=True
    )
    patches: int = knob(
        4000,
        Range(16, 20_000, log=True),
        label="Patches",
        help="Patches of the references that the Gaussian is fitted to.",
        advanced=True,
    )
    colors: str = knob(
        "apart",
        Choice(("apart", "together")),
        label="Colors",
        help="apart: each channel on its own, as in the paper, which gives colored noise; together: along the axes on "
        "which the references' colors do not correlate.",
        advanced=True,
    )
    measure: str = knob(
        "evidence",
        Choice(("evidence", "difference")),
        label="Measure",
        help="evidence: of the odds, in bits; difference: of the probability.",
        advanced=True,
    )
    observations: int = knob(
        1_000_000,
        Range(1, 1_000_000_000, log=True),
        label="Training pictures",
        help="Keeps the odds of a sure prediction finite, as if each class had been seen once more.",
        advanced=True,
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Same seed, same fillings.", advanced=True)

    def __post_init__(self) -> None:
        check_knobs(self)
        find_references(self.references)
        if self.sampler == "conditional" and self.window + 2 * self.pad > LONGEST_SIDE:
            raise InvalidKnob(
                f"window and twice pad must be at most {LONGEST_SIDE} px for the conditional sampler; got "
                f"{self.window} + 2 · {self.pad}. sampler='marginal' takes any."
            )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the samples of all windows, and the whole picture's."""
        return self._grid(size).number * self.samples + 1, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the map after every batch of samples; a window counts from its first sample on."""
        import torch

        from xaiwidgets.engine.perturb import perturbed_scores

        grid, order = self._grid(size_of(image)), self._grid(size_of(image)).coarse_to_fine()
        target = target.with_output("probability")
        draw, notes = self._sampler(model, image)
        score = float(model.scores(image, target)[0])
        odds = self.measure == "evidence" and not target.layer and target.minus is None
        # counted as departures from the whole picture's score, so that a window that changes nothing gets exactly 0
        total, squares, done = (np.zeros(grid.shape) for _ in range(3))
        low, high = (
            torch.tensor(ends, dtype=image.dtype, device=image.device).reshape(-1, 1, 1)
            for ends in zip(*model.preprocessing.bounds(), strict=True)
        )

        def fill(copies: Tensor, numbers: range) -> None:
            for copy, number in zip(copies, numbers, strict=True):
                place, sample = divmod(number, self.samples)
                top, left, bottom, right = box = grid.box(*order[place])
                drawn = torch.as_tensor(draw(box, sample)).to(copy)
                copy[:, top:bottom, left:right] = torch.minimum(torch.maximum(drawn, low), high)

        count = len(order) * self.samples
        for numbers, scores in perturbed_scores(model, image, target, count, fill):
            for number, found in zip(numbers, scores.tolist(), strict=True):
                place = order[number // self.samples]
                total[place] += found - score
                squares[place] += (found - score) ** 2
                done[place] += 1
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = np.where(done > 0, total / done, np.nan)
                error = np.sqrt(np.maximum(squares - done * mean**2, 0) / (done - 1) / done)
            if odds:
                before, after = (self._bits(p, target, model.classes) for p in (np.float64(score), score + mean))
                values, error = before[0] - after[0], error * after[1]
            else:
                values = -mean
            details = {
                "windows": values,
                "done": share_done([grid], [np.where(done == self.samples, mean, np.nan)], np.ones(grid.shape, bool)),
            }
            if self.samples > 1:
                spread = np.sqrt(grid.total(np.where(done > 1, error, 0) ** 2)) / np.maximum(grid.count(), 1)
                details["standard_error"] = spread.astype(np.float32)[None]
            yield Attribution(
                values=grid.spread(values)[None],
                unit="bits" if odds else target.unit,
                signed=True,
                size=grid.size,
                progress=numbers.stop / count,
                score=score,
                notes=notes,
                details=details,
            )

    def _bits(self, probability: Any, target: Target, classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return log₂ of the odds after Laplace's correction, (p·N + 1) / (N + K), and its derivative by p."""
        one = len(target.classes)
        every = max(classes, one + 1)  # so that not even the sum over all classes is sure
        share = (probability * self.observations + one) / (self.observations + every)
        slope = self.observations / (self.observations + every) / (share * (1 - share) * math.log(2))
        return np.log2(share / (1 - share)), slope

    def _sampler(
        self, model: Model, image: Tensor
    ) -> tuple[Callable[[tuple[int, int, int, int], int], NDArray[Any]], tuple[str, ...]]:
        """Return what draws a window's pixels, and notes on where they come from."""
        from xaiwidgets.engine.references import images_of

        references = find_references(self.references)
        own = references.baselines or len(references) < FEWEST[self.sampler]
        pictures = image if own else images_of(model, self.references, PICTURES, image)
        if self.sampler == "marginal" and not own:  # the photo itself would fill its windows with what is there
            others = [not bool((one == image[0]).all()) for one in pictures]
            own = sum(others) < FEWEST["marginal"]
            pictures = image if own else pictures[others]
        notes = [] if own else [references.sentence(PICTURES)]
        if own:
            few = f"{self.references!r} has too few photos to take patches from, so they come from this photo itself"
            notes.append(f"{few}; {MORE}")
        elif len(pictures) < ENOUGH:
            few = f"{len(pictures)} are few for what photos may look like: {ENOUGH} or more are better"
            notes.append(f"{few}; {MORE}")
        arrays = pictures.detach().cpu().numpy()
        if self.sampler == "marginal":
            return marginal(arrays, self.seed, anywhere=own), tuple(notes)
        side = tuple(min(self.window + 2 * self.pad, length) for length in arrays.shape[2:])

        def fit() -> tuple[PatchModel, NDArray[np.float64]]:
            axes = color_axes(arrays) if self.colors == "together" else np.eye(arrays.shape[1])
            return PatchModel.fit(turned(arrays, axes), side, self.patches), axes

        known = ("patches", references.content, side, self.patches, self.colors)
        patches, axes = fit() if own else model.remember(known, fit)
        drawn = conditional(patches, turned(image[0].detach().cpu().numpy(), axes), self.pad, self.seed)
        return lambda box, number: turned(drawn(box, number), axes.T), tuple(notes)

    def _grid(self, size: tuple[int, int]) -> Grid:
        if self.window > min(size):
            raise InvalidKnob(f"window must be at most the picture's {min(size)} px; got {self.window}.")
        grid = Grid(size, (self.window, self.window), (self.stride, self.stride))
        if grid.number * self.samples > MOST_PASSES:
            raise InvalidKnob(
                f"stride and samples must leave at most {MOST_PASSES:,} passes; {self.stride} and {self.samples} give "
                f"{grid.number * self.samples:,}. A larger stride works."
            )
        return grid
