"""What the smallest sufficient and the smallest destroying region share: a map is cut off at ever more pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.cards import resolve
from xaiwidgets.core.knobs import Choice, MethodName, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.ranks import coarse_to_fine, first_lasting, ranks, saliency_metric, tight_box
from xaiwidgets.explainers.mask.watch import ends
from xaiwidgets.explainers.noise import check_wrapper
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Share of the pixels that is shown as long as the map they are ranked by is under way.
FIRST = 0.25
#: What hides, in words, where that is not its name.
FILLS = {"mean": "the mean color", "border": "the border's color"}
#: The map that is made for this, and its game.
LEARNED = "meaningful_perturbation"


def ranked_by() -> Any:
    """Return the knob for the map that ranks the pixels."""
    return knob(
        "grad_cam",
        MethodName(exclude=("ssr", "sdr")),
        label="Ranked by",
        help="The map whose largest values come first. Meaningful perturbation plays the game that fits.",
    )


def threshold(label: str, text: str) -> Any:
    """Return the knob for how much of the score counts."""
    return knob(0.9, Range(0.05, 1.0, step=0.05), label=label, help=text)


def fill() -> Any:
    """Return the knob for what hides the rest."""
    return knob(
        "blur", Choice(("blur", "gray", "mean", "black", "white", "border")), label="Fill", help="What hides pixels."
    )


def levels() -> Any:
    """Return the knob for the number of areas."""
    return knob(64, Range(2, 512, log=True), label="Areas", help="How many areas are tried, evenly spaced.")


def nothing() -> Any:
    """Return the knob for what counts as no score."""
    return knob(
        "fill",
        Choice(("fill", "zero")),
        label="Nothing is",
        help="fill: the score with all hidden counts as 0, so that a region is always found; zero: 0 itself, as "
        "defined. Where the hidden photo scores next to nothing, they agree.",
        advanced=True,
    )


class Region:
    """Mixin: ``steps`` for a card with ``base``, ``threshold``, ``fill``, ``levels`` and ``nothing``.

    With ``keeps``, the region is what alone is seen; without, it is what is hidden.
    """

    keeps: ClassVar[bool]
    curves: ClassVar[tuple[str, ...]] = ("score",)
    base: str
    threshold: float
    fill: str
    levels: int
    nothing: str

    def __post_init__(self) -> None:
        check_wrapper(self)

    def _ranking(self) -> Any:
        game = {"game": "preservation" if self.keeps else "deletion"} if self.base == LEARNED else {}
        return resolve(self.base, **game)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes: the base's, the photo's score, one an area, and the cut-out's."""
        return self._plus(self._ranking().cost(size))

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return what ``cost`` does, for a base whose passes depend on the network."""
        from xaiwidgets.engine.cost import passes

        return self._plus(passes(self._ranking(), model, size))

    def _plus(self, spent: tuple[int, int]) -> tuple[int, int]:
        return spent[0] + self.levels + 2, spent[1]

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the region that is known to do after every batch of areas, coarse areas first."""
        import torch

        from xaiwidgets.engine.baselines import baseline
        from xaiwidgets.engine.perturb import perturbed_scores
        from xaiwidgets.engine.run import check_applicable

        base = self._ranking()
        check_applicable(base, model)
        by, target = target, target.with_output("probability")
        size, pixels = size_of(image), image.shape[-2] * image.shape[-1]
        whole = float(model.scores(image, target)[0])
        before = max(1, self.cost_on(model, size)[0] - self.levels - 2)
        work = before + self.levels + 1
        known = np.full(self.levels + 1, np.nan, dtype=np.float64)
        known[self.levels if self.keeps else 0] = whole
        empty = 0 if self.keeps else self.levels  # the level at which all is hidden
        order = [empty, *coarse_to_fine(self.levels)]
        counts = [round(level * pixels / self.levels) for level in range(self.levels + 1)]

        def result(region: NDArray[np.bool_], done: float, *notes: str, **details: Any) -> Attribution:
            return Attribution(
                values=region[None].astype(np.float32),
                unit=f"share {'kept to hold' if self.keeps else 'hidden to lower'} the {target.unit}",
                signed=False,
                size=size,
                progress=done / work,
                score=whole,
                notes=notes,
                details={
                    "curves": {"score": known.copy()},
                    "curve_words": {"score": target.unit},
                    "across": f"share of the photo {'kept' if self.keeps else 'hidden'}",
                    "ends": ends(not self.keeps, FILLS.get(self.fill, self.fill)),
                    **details,
                },
            )

        place: NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        for found in base.steps(model, image, by):
            place = ranks(found.heatmap())
            first = place < round(FIRST * pixels)
            yield result(first, before * found.progress, f"The map it is cut from is under way: its top {FIRST:.0%}.")
        cover, where = baseline(model, image, self.fill), torch.from_numpy(place).to(image.device)
        inside, outside = (image, cover) if self.keeps else (cover, image)

        def hide(copies: Tensor, numbers: range) -> None:
            for copy, number in zip(copies, numbers, strict=True):
                copy.copy_(torch.where(where < counts[order[number]], inside[0], outside[0]))

        level, region = None, place < 0
        for numbers, scores in perturbed_scores(model, image, target, self.levels, hide, fresh=False):
            known[order[numbers.start : numbers.stop]] = scores.double().cpu().numpy()
            level = self._level(known, whole, float(known[empty]))
            region = place < (0 if level is None else counts[level])
            yield result(region, before + numbers.stop, area=_area(level, region), level=level)
        box = tight_box(region)
        top, left, bottom, right = box or (0, 0, *size)
        cut = image[..., top:bottom, left:right]
        seen = torch.nn.functional.interpolate(cut, size=size, mode="bilinear", align_corners=False)
        alone = float(model.scores(seen, target)[0])
        details: dict[str, Any] = {"area": _area(level, region), "level": level, "crop_score": alone}
        if box is not None:
            details["box"] = box
            if not target.layer and target.minus is None:
                details["saliency_metric"] = saliency_metric(cut.shape[-2] * cut.shape[-1] / pixels, alone)
        yield result(region, work, self._told(level, region, known, whole, target.unit), **details)

    def _level(self, known: NDArray[np.float64], whole: float, hidden: float) -> int | None:
        """Return the first level at which the score is held (or lost) and stays so, or ``None``."""
        zero = hidden if self.nothing == "fill" else 0.0
        if whole == zero:
            return None
        share = (known - zero) / (whole - zero)
        reached = share >= self.threshold if self.keeps else share <= 1 - self.threshold
        return first_lasting({int(n): bool(reached[n]) for n in np.flatnonzero(~np.isnan(known))})

    def _told(
        self, level: int | None, region: NDArray[np.bool_], known: NDArray[np.float64], whole: float, unit: str
    ) -> str:
        """Return what was found, in words."""
        if level is None:
            why = "the score stays what it is" if self.nothing == "fill" else "hiding all of the photo does not do it"
            return f"There is no such region: {why}."
        way = "kept" if self.keeps else "hidden"
        return (
            f"With {region.mean():.1%} of the photo {way}, the {unit} goes from {whole:.3g} to {known[level]:.3g}; "
            f"ranked by {self.base}."
        )


def _area(level: int | None, region: NDArray[np.bool_]) -> float:
    return float("nan") if level is None else float(region.mean())
