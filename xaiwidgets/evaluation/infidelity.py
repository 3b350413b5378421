"""Infidelity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import random_map, sobel_map
from xaiwidgets.evaluation.squares import all_squares, mean_at, sides_of, weights_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.evaluation.squares import Squares

    Floats = NDArray[np.float64]

BASELINES = ("black", "white", "gray", "mean", "blur", "border")
#: How the unit of a map ends whose values are slopes.
SLOPES = "per unit of input"


@metric(
    title="Infidelity",
    category="behavior",
    question="Does the map predict how the score answers when the picture is disturbed?",
    cite="Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019",
    paper="arXiv:1901.09392",
    section="4.6",
    direction="lower",
    range=(0.0, math.inf),
    formula="E[ (β Iᵀe - (f(x) - f(x - I)))² ], β = E[Iᵀe · Δf] / E[(Iᵀe)²] or 1",
    how="The picture is disturbed at random, and the score's change is compared with what the map says it should be: "
    "the disturbance times the map, summed. The mean squared error counts.",
    caution="The number depends on the disturbance, which must mean something, and on the size of the score: compare "
    "methods on one picture. Smoothing a map with the disturbance's own kernel lowers it.",
)
class Infidelity:
    """Expected squared error of the score changes that a map predicts (Yeh et al. 2019, definition 2.1).

    In squared units of the score. Maps of slopes (score per unit of input) are multiplied with the disturbance I; other
    maps hold contributions, of which the share I / (x - baseline) is taken away: all of it where a square is removed.
    Maps without channels are spread evenly over them. ``controls``: the same for the edges of the photo, a random map,
    and a map of zeros, which is E[Δf²]. ``details``: ``raw`` and ``scaled``, without and with the factor ``beta``;
    ``unexplained``, the scaled error as a share of E[Δf²]; ``predicted`` and ``actual`` change of each draw. ``items``:
    the squared errors. Reduction: none.

    ``all_squares`` draws nothing: it is the expectation that ``square`` estimates, over every square whose corner is a
    multiple of ``step``; each side counts alike. ``details`` then has ``squares`` (side, top, left in px) and
    ``by_side``, and the map ``error`` tells where the method is wrong.
    """

    perturbation: str = knob(
        "gaussian",
        Choice(("gaussian", "noisy_baseline", "square", "all_squares")),
        label="Disturbance",
        help="Gaussian noise; the difference from a noisy baseline; squares that are set to the baseline, some or all.",
    )
    samples: int = knob(
        100, Range(2, 10_000, log=True), label="Draws", help="The paper takes 1,000; all squares are not drawn."
    )
    deviation: float = knob(
        0.2, Range(0.0, 1.0, step=0.01), label="Noise", help="Standard deviation of the noise, of pixels in [0, 1]."
    )
    baseline: str = knob(
        "black", Choice(BASELINES), label="Baseline", help="What squares are set to, and what noise is added to."
    )
    smallest: float = knob(
        0.125,
        Range(0.01, 1.0, log=True),
        label="Smallest square",
        help="Side, as a share of the picture's shorter one.",
        advanced=True,
    )
    largest: float = knob(0.25, Range(0.01, 1.0, log=True), label="Largest square", help="Side, alike.", advanced=True)
    lengths: int = knob(
        2, Range(1, 20), label="Sides", help="How many, evenly from the smallest to the largest.", advanced=True
    )
    step: int = knob(
        0,
        Range(0, 128),
        label="Step of squares",
        help="Between neighbors, of all squares; 0 is half the smallest side, 1 leaves none out.",
        unit="px",
        advanced=True,
    )
    scaled: bool = knob(
        True, Flag(), label="Scaled", help="The map may be multiplied by the factor that fits best, as in the paper."
    )
    form: str = knob(
        "auto",
        Choice(("auto", "slope", "share")),
        label="Values are",
        help="slope: score per unit of input; share: parts of the score; auto: as the map's unit says.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the mean over the draws so far, after every batch."""
        from xaiwidgets.engine.baselines import baseline
        from xaiwidgets.engine.perturb import perturbed_scores

        found = yield from case.attribution()
        pixels = case.model.to_pixels(case.image)
        flat = {"edges": sobel_map(pixels, case.seed), "random map": random_map(pixels, case.seed)}
        values = spread(found, case)
        maps = np.stack([values, *(np.broadcast_to(one, values.shape) for one in flat.values())])
        start = baseline(case.model, case.image, self.baseline)
        slope = self.form == "slope" or (self.form == "auto" and found.unit.endswith(SLOPES))
        plain = float(case.model.scores(case.image, case.target)[0])
        count = len(self.squares(case)) if self.perturbation == "all_squares" else self.samples
        predicted, changed = np.zeros((len(maps), count)), np.zeros(count)
        weights = torch_of(maps, case.image)

        def alter(copies: Tensor, numbers: range) -> None:
            for place, number in enumerate(numbers):
                noise, part = self.draw(case, start, number)
                copies[place] -= noise[0]
                # in float64: many small terms of both signs
                factor = (noise if slope else part).double()[0]
                predicted[:, number] = (weights * factor).sum(dim=(1, 2, 3)).cpu().numpy()

        yield None
        for numbers, scores in perturbed_scores(case.model, case.image, case.target, count, alter):
            done = numbers.stop
            changed[numbers.start : done] = plain - scores.double().cpu().numpy()
            if done < count and done < 2:
                yield None
                continue
            yield self.made(case, predicted[:, :done], changed[:done], tuple(flat), done / count, found, slope)

    def made(
        self,
        case: Case,
        predicted: Floats,
        changed: Floats,
        names: tuple[str, ...],
        progress: float,
        found: Attribution,
        slope: bool,
    ) -> Score:
        """Return the score of the draws so far."""
        squares = self.squares(case)[: len(changed)] if self.perturbation == "all_squares" else None
        weights = np.full(len(changed), 1 / len(changed)) if squares is None else weights_of(squares)
        errors = [errors_of(line, changed, weights, scaled=self.scaled) for line in predicted]
        raw, scaled = (errors_of(predicted[0], changed, weights, scaled=how) for how in (False, True))
        value, nothing = float(weights @ errors[0]), float(weights @ changed**2)
        draws = np.arange(1.0, len(changed) + 1)
        mean = np.cumsum(weights * errors[0]) / np.cumsum(weights)
        spread_of = np.sqrt(np.maximum(np.cumsum(errors[0] ** 2) / draws - mean**2, 0) / np.maximum(draws - 1, 1))
        error = float(np.std(errors[0], ddof=1) / math.sqrt(len(changed))) if len(changed) > 1 else math.nan
        whole = squares is not None and progress == 1  # nothing is left to chance
        maps, more = {"map": map_of(found, "signed")}, {}
        if squares is not None:
            sides = np.unique(squares[:, 0]).tolist()
            more = {"squares": squares, "by_side": {n: float(errors[0][squares[:, 0] == n].mean()) for n in sides}}
            maps["error"] = mean_at(squares, errors[0], case.size)
        empty = not found.values.any()
        return Score(
            value,
            f"squared {case.target.unit}",
            progress=progress,
            standard_error=0.0 if whole else error,
            controls={name: float(weights @ line) for name, line in zip(names, errors[1:], strict=True)}
            | {"map of zeros": nothing},
            curves=(
                Curve(
                    "mean so far",
                    draws,
                    mean,
                    "draws",
                    f"squared {case.target.unit}",
                    low=None if whole else mean - 1.96 * spread_of,
                    high=None if whole else mean + 1.96 * spread_of,
                ),
            ),
            maps=maps,
            items=tuple(errors[0].tolist()),
            details={
                "raw": float(weights @ raw),
                "scaled": float(weights @ scaled),
                "beta": beta_of(predicted[0], changed, weights),
                "unexplained": float(weights @ scaled) / nothing if nothing > 0 else math.nan,
                "values": "slope" if slope else "share",
                "predicted": predicted[0].copy(),
                "actual": changed.copy(),
                **more,
            },
            notes=("The map is 0 everywhere.",) if empty else (),
            warnings=("W_OOD", "W_DEGENERATE") if empty else ("W_OOD",),
        )

    def draw(self, case: Case, start: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Return a disturbance I and its share I / (x - baseline), ``(1, C, H, W)`` each; 0 where the picture is it.

        The same for a number, however many are drawn.
        """
        import torch

        image = case.image
        generator = torch.Generator().manual_seed(case.seed * 100_003 + number)
        away = image - start
        if self.perturbation in ("square", "all_squares"):
            height, width = case.size
            if self.perturbation == "all_squares":
                side, top, left = self.squares(case)[number].tolist()
            else:
                chance, sides = torch.rand(3, generator=generator).tolist(), self.sides(case)
                side = sides[int(chance[0] * len(sides))]
                top, left = int(chance[1] * (height - side + 1)), int(chance[2] * (width - side + 1))
            inside = torch.zeros_like(image)
            inside[..., top : top + side, left : left + side] = 1
            return inside * away, inside
        std = torch.tensor(case.model.preprocessing.std, dtype=torch.float64).reshape(1, -1, 1, 1)
        noise = torch.randn(image.shape, generator=generator, dtype=torch.float64) * self.deviation / std
        found = noise.to(image)
        if self.perturbation == "noisy_baseline":
            found = away - found
        return found, torch.where(away == 0, torch.zeros_like(away), found / torch.where(away == 0, 1.0, away))

    def sides(self, case: Case) -> tuple[int, ...]:
        """Return the sides of squares in pixels."""
        return sides_of(self.smallest, self.largest, self.lengths, case.size)

    def squares(self, case: Case) -> Squares:
        """Return all squares, one row each."""
        sides = self.sides(case)
        return all_squares(sides, self.step or max(1, min(sides) // 2), case.size)


def beta_of(predicted: Floats, changed: Floats, weights: Floats) -> float:
    """Return the factor that makes predictions fit changes best; 1 if nothing was predicted."""
    size = float(weights @ predicted**2)
    return float(weights @ (predicted * changed)) / size if size > 0 else 1.0


def errors_of(predicted: Floats, changed: Floats, weights: Floats, *, scaled: bool) -> Floats:
    """Return the squared error of each prediction, of the best multiple of all if ``scaled``."""
    factor = beta_of(predicted, changed, weights) if scaled else 1.0
    return np.asarray((factor * predicted - changed) ** 2)


def spread(found: Attribution, case: Case) -> Floats:
    """Return a map's values ``(C, H, W)``: as they are, or spread evenly over the channels of the input."""
    shape = tuple(case.image.shape[1:])
    if found.values.shape == shape:
        return found.values.astype(np.float64)
    return np.repeat(map_of(found, "signed")[None].astype(np.float64) / shape[0], shape[0], axis=0)


def torch_of(values: NDArray[Any], like: Tensor) -> Tensor:
    """Return an array as a float64 tensor on another's device."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, np.float64)).to(like.device)
