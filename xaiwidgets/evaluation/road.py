"""ROAD: remove and debias."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score, mean_and_interval
from xaiwidgets.engine.ranks import ranks
from xaiwidgets.evaluation.case import REDUCTIONS, map_of
from xaiwidgets.evaluation.controls import sobel_map
from xaiwidgets.evaluation.imputing import imputed
from xaiwidgets.evaluation.removal import picture

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.learned.labelled import Examples
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Shares that are removed, in the order they are tried: the middle first.
LEVELS = {"five": (50, 10, 90, 30, 70), "nine": (50, 10, 90, 30, 70, 20, 80, 40, 60), "few": (10, 5, 30)}
NAMES = ("map", "random", "edges")


@dataclass(frozen=True)
class _Table:
    """Scores of one picture by (ranking, most or least relevant first, level)."""

    values: NDArray[np.float64]
    whole: float


@metric(
    title="ROAD: remove and debias",
    category="faithfulness",
    question="Does the answer change without the most relevant pixels, and stay without the least relevant ones?",
    cite="Rong, Leemann, Borisov, Kasneci, Kasneci 2022",
    paper="arXiv:2202.00449",
    section="extra",
    direction="higher",
    range=(-0.5, 0.5),
    formula="(mean over t of P without the t % least relevant - the same of the most relevant) / 2",
    how="Removed pixels become the weighted mean of their eight neighbors, all at once, with a little noise, so that "
    "the shape of what was removed gives nothing away. With labelled pictures it is the accuracy that is watched.",
    caution="What is removed in large areas leaves smooth patches, which are no natural pictures either.",
)
class Road:
    """Half the difference between removing the least and the most relevant pixels (Rong et al. 2022, section 4).

    Of the class's probability on one picture; with ``data``, labelled pictures, of the accuracy on them. ``details``:
    ``levels`` in percent, ``morf`` and ``lerf``, the mean scores at them, ``whole``, the score of whole pictures, and
    ``pictures``, how many. ``items``: the value of each picture.

    Raises:
        NotApplicable: a hidden unit is explained, which has no probability.
        InvalidImage: ``data`` are no pictures. Without labels, the network's own answers take their place.
    """

    levels: str = knob(
        "five",
        Choice(tuple(LEVELS)),
        label="Shares",
        help="five: 10, 30, 50, 70 and 90 % are removed; nine: every ten percent; few: 5, 10 and 30 %.",
    )
    noise: float = knob(
        0.01, Range(0.0, 1.0), label="Noise", help="Standard deviation that is added, in units of the normalized input."
    )
    reduction: str = knob(
        "abs", Choice(REDUCTIONS), label="Channels", help="How the colors become one number.", advanced=True
    )
    most: int = knob(20, Range(1, 10_000), label="Pictures", help="So many of the labelled pictures are used, at most.")

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the score with more and more shares of one picture, or with more and more pictures."""
        if case.data is None:
            yield from self._one(case)
        else:
            yield from self._many(case)

    def _one(self, case: Case) -> Generator[Score | None, None, None]:
        target = case.probability()
        found = yield from case.attribution()
        values = map_of(found, self.reduction)
        levels = LEVELS[self.levels]
        rankings = self._rankings(case, case.image, values, 0)
        table = np.full((len(NAMES), 2, len(levels)), math.nan)
        whole = float(case.model.scores(case.image, target)[0])
        shown: dict[str, NDArray[np.uint8]] = {}
        for number, level in enumerate(levels):
            for row, rank in enumerate(rankings):
                for least in (0, 1):
                    gone = self._without(case, case.image, rank, level, bool(least), number)
                    table[row, least, number] = float(case.model.scores(gone, target)[0])
                    if row == 0 and number < 2:
                        shown[f"{'least' if least else 'most'} relevant {level} % gone"] = picture(case.model, gone)
                    yield None
            yield self._result([_Table(table.copy(), whole)], (number + 1) / len(levels), "probability", values, shown)

    def _many(self, case: Case) -> Generator[Score | None, None, None]:
        from xaiwidgets.learned.labelled import examples

        given = examples(case.model, pairs(case.model, case.data))
        tables: list[_Table] = []
        count = min(self.most, given.count)
        for number in range(count):
            made = yield from self._accuracies(case, given, number)
            tables.append(made)
            unit = "agreement with itself" if given.own else "accuracy"
            yield self._result(tables, (number + 1) / count, unit, None, {}, count=number + 1)

    def _accuracies(self, case: Case, given: Examples, number: int) -> Generator[None, None, _Table]:
        """Return whether one labelled picture is still classified right, by ranking, direction and level."""
        image = given.inputs([number])
        label = given.labels[number] if given.labels is not None else int(case.model.logits(image)[0].argmax())
        target: Target = case.model.target(label)
        found = yield from case.explaining(image=image, target=target)
        levels = LEVELS[self.levels]
        rankings = self._rankings(case, image, map_of(found, self.reduction), number)
        right = np.zeros((len(NAMES), 2, len(levels)))
        for column, level in enumerate(levels):
            for row, rank in enumerate(rankings):
                for least in (0, 1):
                    gone = self._without(case, image, rank, level, bool(least), number, column)
                    right[row, least, column] = int(case.model.logits(gone)[0].argmax()) == label
            yield None
        return _Table(right, float(int(case.model.logits(image)[0].argmax()) == label))

    def _rankings(self, case: Case, image: Tensor, values: NDArray[np.float32], number: int) -> list[NDArray[np.int32]]:
        by_chance = case.rng(1, number).random(values.shape)
        return [ranks(values), ranks(by_chance), ranks(sobel_map(case.model.to_pixels(image), case.seed))]

    def _without(
        self, case: Case, image: Tensor, rank: NDArray[np.int32], level: int, least: bool, *more: int
    ) -> Tensor:
        """Return a picture whose most or least relevant pixels are blended away."""
        import torch

        missing = removed(rank, level, least=least)
        values = imputed(image[0].cpu().numpy(), missing)
        if self.noise:
            drawn = case.rng(3, level, int(least), *more).normal(0, self.noise, (len(values), int(missing.sum())))
            values[:, missing] += drawn
        return torch.from_numpy(values)[None].to(image)

    def _result(
        self,
        tables: list[_Table],
        progress: float,
        unit: str,
        values: NDArray[np.float32] | None,
        shown: dict[str, NDArray[np.uint8]],
        count: int = 1,
    ) -> Score:
        levels = np.array(LEVELS[self.levels])
        order = np.argsort(levels)
        by_level = np.array([table.values for table in tables]).mean(axis=0)
        each = [_combined(table.values) for table in tables]
        combined = dict(zip(NAMES, _combined(by_level), strict=True))
        curves = [
            Curve(
                f"{name}, {'least' if least else 'most'} first",
                levels[order],
                by_level[row, least][order],
                "removed (%)",
                unit,
            )
            for row, name in enumerate(NAMES)
            for least in (0, 1)
        ]
        items = tuple(float(one[0]) for one in each)
        interval = mean_and_interval(items)[1] if count > 1 else None
        details: dict[str, Any] = {
            "levels": levels[order],
            "morf": by_level[0, 0][order],
            "lerf": by_level[0, 1][order],
            "random": by_level[1, 0][order],
            "edges": by_level[2, 0][order],
            "whole": float(np.mean([table.whole for table in tables])),
            "pictures": count,
        }
        few = unit != "probability" and count < 10
        return Score(
            float(combined["map"]),
            f"{unit}, half the difference",
            progress=progress,
            interval=interval,
            controls={name: float(combined[name]) for name in NAMES[1:]},
            curves=tuple(curves),
            maps={} if values is None else {"map": values},
            pictures=shown,
            items=items,
            details=details,
            notes=("The accuracy on fewer than ten pictures says little.",) if few else (),
            warnings=("W_OOD",),
        )


def _combined(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (least - most) / 2 of each ranking, over the levels that are there."""
    found: NDArray[np.float64] = (np.nanmean(table[:, 1], axis=1) - np.nanmean(table[:, 0], axis=1)) / 2
    return found


def removed(rank: NDArray[np.int32], level: int, *, least: bool) -> NDArray[np.bool_]:
    """Return the ``level`` % of the pixels that are most, or least, relevant, as a mask ``(H, W)``."""
    count = round(rank.size * level / 100)
    return np.asarray(rank >= rank.size - count if least else rank < count)


def pairs(model: Model, data: Any) -> Any:
    """Return labelled pictures as pairs; scenes bring their labels, and are not resized."""
    from xaiwidgets.data.scenes import Scene

    if isinstance(data, (list, tuple)) and data and all(isinstance(one, Scene) for one in data):
        return [(model.from_pixels(one.fitted(model.preprocessing))[0], one.label) for one in data]
    return data
