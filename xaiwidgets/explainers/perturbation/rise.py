"""RISE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: The map is compared with itself after every so many masks: about a hundred, and a multiple of all batch sizes, so
#: that where a run stops does not depend on them.
LOOK_EVERY = 96


@explainer(
    id="rise",
    title="RISE",
    family="perturbation",
    idea="Hides the photo behind hundreds of random masks and averages those that kept the score high.",
    cite="Petsiuk, Das, Saenko 2018",
    paper="arXiv:1806.07421",
    section="2.3.10",
    signed=False,
    formula="S = 1/(N·p) Σ f(x ⊙ M) · M",
    how="Coarse random grids are enlarged to smooth masks, shifted at random and laid over the photo. The map is the "
    "mean of the masks, each weighted by the probability that the class kept under it.",
    caution="A sample: watch the standard error fall. Every pixel gets at least the score's mean, so only differences "
    "count. Border pixels are covered less often unless normalized by coverage.",
)
class Rise:
    """Mean of random masks weighted by the score under them (Petsiuk et al. 2018, eq. 6).

    Yields ``(1, H, W)`` in the unit of the score, at least 0 for probabilities. Grids and shifts are drawn for all
    samples at the start, so neither the batch size nor an early stop changes a mask. ``details``: ``standard_error`` of
    the mean, ``(1, H, W)``; ``change``, how far the last ``LOOK_EVERY`` masks moved the map, as a share of its
    contrast: the norm of the difference over that of the map, each less its mean, which every pixel has alike.

    On a Model that shares its passes (``Model.sharing``), a run for a class keeps every mask's scores of the ten
    likeliest classes too: the map of another of them, with the same masks, takes no pass.
    """

    samples: int = knob(600, Range(10, 16_000, log=True), label="Masks", help="More is less noisy and slower.")
    cells: int = knob(7, Range(2, 32), label="Grid cells", help="Cells of a mask along one side.")
    keep: float = knob(0.5, Range(0.05, 0.95, step=0.05), label="Kept share", help="Chance that a cell stays visible.")
    fill: str = knob(
        "mean", Choice(("mean", "black", "gray", "white", "blur", "border")), label="Fill", help="What hides the photo."
    )
    output: str = knob(
        "probability",
        Choice(("probability", "logit", "log_probability")),
        label="Score",
        help="The paper weights by the probability.",
        advanced=True,
    )
    normalize: str = knob(
        "share",
        Choice(("share", "coverage")),
        label="Divide by",
        help="share: the kept share, as in the paper; coverage: how often each pixel was visible.",
        advanced=True,
    )
    seed: int = knob(0, Range(0, 2**31 - 1), label="Seed", help="Same seed, same masks.", advanced=True)
    tolerance: float = knob(
        0.0,
        Range(0.0, 0.5, step=0.01),
        label="Stop at change",
        help="Stops early when the last 96 masks have moved the map by less than this share of its contrast; 0 draws "
        "all masks.",
        advanced=True,
    )
    antithetic: bool = knob(
        False,
        Flag(),
        label="Mask pairs",
        help="After each mask its counterpart, which shows what it hid: evens out how often a pixel is visible.",
        advanced=True,
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one a mask, and the whole picture's; or fewer."""
        return self.samples + 1, 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the running mean after every batch of masks."""
        import torch

        from xaiwidgets.engine.baselines import baseline
        from xaiwidgets.engine.masks import MaskSums, RandomMasks
        from xaiwidgets.engine.perturb import perturbed_scores, score_table

        size = size_of(image)
        target = target.with_output(self.output)
        signed = bool(target.layer) or target.minus is not None or target.output != "probability"
        cover = baseline(model, image, self.fill)
        shown = image - cover
        masks = RandomMasks(size, self.samples, self.cells, self.keep, self.seed, pairs=self.antithetic)
        drawn: dict[str, Tensor] = {}

        def hide(copies: Tensor, numbers: range) -> None:
            drawn["masks"] = mask = masks.draw(numbers).to(copies)
            torch.addcmul(cover, shown, mask, out=copies)

        pixels = size[0] * size[1]
        sums = MaskSums(pixels, 2 if self.antithetic else 1, self.keep, coverage=self.normalize == "coverage")
        series = ("rise", self.cells, self.keep, self.fill, self.seed, self.antithetic)
        table = score_table(model, image, target, series, self.samples)
        score = float((model.scores(image, target) if table is None else table.columns.read(table.whole, target))[0])
        looked: Tensor | None = None
        details: dict[str, Any] = {}
        for numbers, scores in perturbed_scores(model, image, target, self.samples, hide, fresh=False, table=table):
            mask = drawn.pop("masks", None)
            mask = (masks.draw(numbers).to(image.dtype) if mask is None else mask).reshape(len(numbers), pixels).cpu()
            sums.add(scores.to(mask), mask)
            count, values, early = numbers.stop, sums.mean, False
            if count % LOOK_EVERY == 0:
                if looked is not None:
                    details["change"] = _change(values, looked)
                    early = details["change"] < self.tolerance and count < self.samples
                looked = values
            yield Attribution(
                values=values.float().reshape(1, *size).numpy(),
                unit=target.unit,
                signed=signed,
                size=size,
                progress=1.0 if early else count / self.samples,
                score=score,
                notes=(f"Stopped after {count} of {self.samples} masks: the map hardly changes.",) if early else (),
                details={"standard_error": sums.error.float().reshape(1, *size).numpy(), **details},
            )
            if early:
                return


def _change(values: Tensor, before: Tensor) -> float:
    """Return how far a map has moved, as a share of its contrast; the mean over pixels plays no part."""
    moved, contrast = values - before, values - values.mean()
    length = float(contrast.norm())
    return float((moved - moved.mean()).norm()) / length if length else 0.0
