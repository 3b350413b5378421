"""Networks that are trained anew on pictures without what a map ranks highest, or with only that."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.scores import Curve, Score
from xaiwidgets.engine.ranks import ranks
from xaiwidgets.errors import NotApplicable
from xaiwidgets.evaluation.case import REDUCTIONS, map_of
from xaiwidgets.evaluation.controls import sobel_map

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.learned.recipes import Recipe
    from xaiwidgets.model.model import Model

    Pictures = NDArray[np.float32]
    Ranks = NDArray[np.int32]

#: Percent of the pixels, in the order they are tried.
LEVELS = {"five": (50, 10, 90, 30, 70), "three": (50, 10, 90), "one": (50,), "few": (10, 5, 30)}
NAMES = ("map", "random", "edges")
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Retraining:
    """Mean test accuracy, over shares of pixels, of networks trained on altered pictures.

    ``data``: a recipe or its name; the network in question must take its pictures. Maps are of the network's own
    answers, so that no label leaks into the pictures. What is replaced gets the mean color of the training pictures,
    the same for all rankings. ``details``: ``levels`` in percent, ``accuracies`` ``(rankings, levels, repeats)`` of
    ``rankings``, ``whole``, the accuracy with whole pictures, ``color`` and ``gain``, how much better than random.
    """

    keep: ClassVar[bool] = False

    levels: str = knob(
        "five", Choice(tuple(LEVELS)), label="Shares", help="five: 10, 30, 50, 70, 90 %; three: 10, 50, 90 %."
    )
    repeats: int = knob(1, Range(1, 20), label="Repeats", help="Trainings of each kind. The paper takes 5.")
    count: int = knob(
        50_000, Range(20, 50_000), label="Training pictures", help="So many of the recipe's are used, at most."
    )
    tested: int = knob(50_000, Range(20, 50_000), label="Test pictures", help="So many of the recipe's, at most.")
    epochs: int = knob(0, Range(0, 1000), label="Epochs", help="Of each training; 0 is what the recipe says.")
    reduction: str = knob(
        "abs", Choice(REDUCTIONS), label="Channels", help="How the colors become one number.", advanced=True
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the mean accuracy with more and more shares and repeats."""
        from xaiwidgets.learned.recipes import recipe

        made = recipe(case.data)
        sets = {split: self._pictures(case, made, split) for split in SPLITS}
        made = dataclasses.replace(made, load=sets.__getitem__)  # pictures are read, or drawn, once for all trainings
        ranked: dict[str, list[list[Ranks]]] = {}
        for number, split in enumerate(SPLITS):
            ranked[split] = yield from self._ranked(case, sets[split][0], number)
        color = sets["train"][0].mean(axis=(0, 1, 2))
        levels = LEVELS[self.levels]
        table = np.full((len(NAMES), len(levels), self.repeats), np.nan)
        whole = np.full(self.repeats, np.nan)
        for repeat in range(self.repeats):
            seed = int(case.rng(5, repeat).integers(2**31))
            whole[repeat] = yield from self._trained(made, sets, {s: sets[s][0] for s in SPLITS}, seed)
            for column, level in enumerate(levels):
                for row in range(len(NAMES)):
                    altered = {
                        split: self.altered(sets[split][0], ranked[split][row], level, color) for split in SPLITS
                    }
                    table[row, column, repeat] = yield from self._trained(made, sets, altered, seed)
                done = (repeat * len(levels) + column + 1) / (self.repeats * len(levels))
                yield self._result(table.copy(), whole, np.array(levels), color, done)

    def _pictures(self, case: Case, made: Recipe, split: str) -> tuple[Pictures, NDArray[np.int64]]:
        pictures, labels = made.load(split)
        shape = (pictures.shape[3], *pictures.shape[1:3])
        if shape != case.model.input_shape or len(made.labels) != case.model.classes:
            raise NotApplicable(
                type(self).card.id,  # type: ignore[attr-defined]
                f"a network for the pictures of {made.id}, {shape} and {len(made.labels)} classes",
                f"{case.model.name} takes {case.model.input_shape} and has {case.model.classes}",
            )
        most = self.count if split == "train" else self.tested
        return pictures[:most], labels[:most]

    def _ranked(self, case: Case, pictures: Pictures, split: int) -> Generator[None, None, list[list[Ranks]]]:
        """Return the ranks of all pictures' pixels by each of ``NAMES``."""
        found: list[list[Ranks]] = [[], [], []]
        for number, pixels in enumerate(pictures):
            image = case.model.from_pixels(pixels)
            made = yield from case.explaining(image=image, target=case.model.target(None, image))
            found[0].append(ranks(map_of(made, self.reduction)))
            found[1].append(ranks(case.rng(1, split, number).random(pixels.shape[:2])))
            found[2].append(ranks(sobel_map(pixels, case.seed)))
            yield
        return found

    def altered(self, pictures: Pictures, order: list[Ranks], level: int, color: NDArray[Any]) -> Pictures:
        """Return pictures whose ``level`` % highest pixels got the mean color, or with ``keep`` all others did."""
        found = pictures.copy()
        for picture, rank in zip(found, order, strict=True):
            top = rank < round(rank.size * level / 100)
            picture[~top if self.keep else top] = color
        return found

    def _trained(
        self,
        made: Recipe,
        sets: dict[str, tuple[Pictures, NDArray[np.int64]]],
        altered: dict[str, Pictures],
        seed: int,
    ) -> Generator[None, None, float]:
        """Return the test accuracy of a network that was trained on altered pictures; yields several times a second."""
        from xaiwidgets.learned.recipes import train_pieces

        state = None
        running = train_pieces(
            made, seed=seed, epochs=self.epochs or None, images=altered["train"], labels=sets["train"][1]
        )
        for found in running:
            state = found or state
            yield
        if state is None or state.model is None:
            raise RuntimeError("a finished training must hold its model")
        return accuracy(state.model, altered["test"], sets["test"][1])

    def _result(
        self,
        table: NDArray[np.float64],
        whole: NDArray[np.float64],
        levels: NDArray[np.int64],
        color: NDArray[Any],
        progress: float,
    ) -> Score:
        measured = ~np.isnan(table[0]).all(axis=1)
        order = [number for number in np.argsort(levels) if measured[number]]
        means = np.nanmean(table[:, order], axis=2)
        mean = dict(zip(NAMES, means.mean(axis=1).tolist(), strict=True))
        base = float(np.nanmean(whole))
        shares = levels[order].astype(np.float64)
        curves = []
        for row, name in enumerate(NAMES):
            low, high = (limit(table[row, order], axis=1) for limit in (np.nanmin, np.nanmax))
            curves.append(
                Curve(
                    name, shares, means[row], f"pixels {'kept' if self.keep else 'removed'} (%)", "accuracy", low, high
                )
            )
        sign = 1 if self.keep else -1
        details: dict[str, Any] = {
            "levels": levels[order],
            "rankings": NAMES,
            "accuracies": table[:, order],
            "whole": base,
            "color": color,
            "gain": sign * (mean["map"] - mean["random"]),
        }
        return Score(
            mean["map"],
            "test accuracy, mean over shares",
            progress=progress,
            controls={"random": mean["random"], "edges": mean["edges"]},
            curves=tuple(curves),
            header=("pixels (%)", *NAMES),
            rows=tuple((int(level), *column) for level, column in zip(shares, means.T.tolist(), strict=True)),
            details=details,
            notes=(f"With whole pictures, the accuracy is {base:.3f}; every network starts from new weights.",),
        )


def accuracy(model: Model, pictures: Pictures, labels: NDArray[np.int64]) -> float:
    """Return the share of pictures ``(N, H, W, C)`` that a network classifies right."""
    import torch

    right = 0
    for start in range(0, len(pictures), 256):
        part = torch.cat([model.from_pixels(one) for one in pictures[start : start + 256]])
        right += int((model.logits(part).argmax(1).cpu().numpy() == labels[start : start + 256]).sum())
    return right / len(pictures)
