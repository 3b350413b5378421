"""An attack on a map: random signs, or steps that follow the slope of what it is for, with all that was seen.

This module imports torch inside functions only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.correlation import spearman
from xaiwidgets.core.scores import Curve, Score
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.criteria import CRITERIA, center, quiet_corner, region_of, shares, top_pixels
from xaiwidgets.evaluation.examples import seen
from xaiwidgets.model.targets import class_target

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.evaluation.criteria import Aim

    Floats = NDArray[np.float64]

#: Maps of methods that take more passes than this are looked at after every so many steps only.
QUICK, SELDOM = 4, 8


class Attack:
    """One attack: where it is, the best picture so far, and what each step gave."""

    unit = "share of the strongest pixels that stay"

    def __init__(self, knobs: Any, case: Case, start: Floats) -> None:
        import torch

        self.knobs, self.case, self.start = knobs, case, start
        self.rng = case.rng(12)
        std, mean = (
            torch.tensor(v, dtype=torch.float64).reshape(1, -1, 1, 1).to(case.image)
            for v in (case.model.preprocessing.std, case.model.preprocessing.mean)
        )
        self.level, self.low, self.high = 1 / 255 / std, -mean / std, (1 - mean) / std
        self.top = top_pixels(start, knobs.share)
        self.region = quiet_corner(start)
        if knobs.attack == "target" and case.data is not None:
            self.region = region_of(case.data, case.size)
        self.aim: Aim = (self.top, np.array(center(start)), self.region)
        logits = case.model.logits(case.image)[0]
        self.answer, self.before = int(logits.argmax()), float(logits.softmax(dim=0).max())
        self.random = math.nan
        self.notes: tuple[str, ...] = ()
        criterion = -math.inf if knobs.attack == "random" else float(CRITERIA[knobs.attack](start, self.aim))
        self.best = (criterion, case.image, start, self.before)
        self.used = knobs.attack
        self.lines: list[tuple[float, float, float]] = []
        self.kept: list[bool] = []

    def kept_share(self, values: Floats) -> float:
        """Return the share of the strongest pixels that still are."""
        return float((self.top & top_pixels(values, self.knobs.share)).sum() / self.top.sum())

    def inside(self, image: Tensor) -> Tensor:
        """Return the nearest picture that is a picture and not changed by more than epsilon."""
        radius = self.knobs.epsilon * self.level
        image = image.clamp(self.case.image - radius, self.case.image + radius)
        return image.clamp(self.low.minimum(self.case.image), self.high.maximum(self.case.image)).detach()

    def signs(self) -> Tensor:
        """Return random signs ``(1, C, H, W)``."""
        import torch

        drawn = self.rng.integers(0, 2, tuple(self.case.image.shape)) * 2.0 - 1.0
        return torch.from_numpy(drawn).to(self.case.image)

    def holds(self, image: Tensor) -> tuple[bool, int, float]:
        """Return whether the answer is still the first, the strongest other class, and the answer's probability."""
        logits = self.case.model.logits(image)[0]
        probability = float(logits.softmax(dim=0)[self.answer])
        held = int(logits.argmax()) == self.answer
        logits[self.answer] = -math.inf
        return held, int(logits.argmax()), probability

    def mapped(self, image: Tensor) -> Generator[None, None, Floats]:
        """Return the map of a picture."""
        found = yield from self.case.explaining(image=image)
        return shares(map_of(found))

    def random_signs(self, draws: int, *, alone: bool) -> Generator[None, None, list[float]]:
        """Return what is left of the strongest pixels after random signs of the whole size, for each draw that counts.

        Those count that keep the first class, as of the steps of an attack.
        """
        found = []
        for _ in range(draws):
            yield None
            image = self.inside(self.case.image + self.knobs.epsilon * self.level * self.signs())
            held, _, probability = self.holds(image)
            self.kept.append(held)
            if not (held or alone):
                continue
            values = yield from self.mapped(image)
            left = self.kept_share(values)
            found += [left] * held
            if alone:
                self.note(values)
                if held and -left > self.best[0]:
                    self.best = (-left, image, values, probability)
        if not alone:
            self.kept.clear()
        return found

    def random_score(self, found: list[float]) -> Score:
        """Return the mean over draws of random signs."""
        self.random = _mean(found)
        error = float(np.std(found, ddof=1) / math.sqrt(len(found))) if len(found) > 1 else math.nan
        score = self.made(1.0, self.best[2], self.best[1])
        return score.replace(value=self.random, standard_error=error, items=tuple(found)) if found else score

    def follow(self, drawn: Any, random: list[float]) -> Generator[Score | None, None, None]:
        """Yield the best so far after each step along the sign of the criterion's derivative.

        A step that has lost the class is followed by steps that win it back.
        """
        knobs, case = self.knobs, self.case
        self.random = _mean(random)
        criterion = CRITERIA[knobs.attack]
        every = 1 if sum(case.method.cost(case.size)) <= QUICK else SELDOM
        # at the picture itself a criterion such as the distance of centers may have no slope
        image = self.inside(case.image + min(knobs.rate, knobs.epsilon) * self.level * self.signs())
        values, looked = self.start, 0
        held, other, _ = self.holds(image)
        for step in range(1, knobs.steps + 1):
            yield None
            slope = self.slope(drawn, criterion, image) if held or step == 1 else self.way_back(image, other)
            if slope is not None and bool(slope.any()):
                image = self.inside(image + knobs.rate * self.level * slope.sign())
            elif step == 1:
                self.notes += ("The map of the smoothed network has no slope: there is nothing to follow.",)
                yield self.made(1.0, values, image)
                return
            else:  # it has run into a place where the map is 0, or the answer a constant
                image = self.inside(self.best[1] + knobs.rate * self.level * self.signs())
            held, other, probability = self.holds(image)
            self.kept.append(held)
            if (step - looked < every or (every > 1 and not held)) and step < knobs.steps:
                continue
            looked = step
            values = yield from self.mapped(image)
            found = float(criterion(values, self.aim))
            self.note(values)
            if held and found > self.best[0] and values.any():  # a map that is gone has no center
                self.best = (found, image, values, probability)
            yield self.made(step / knobs.steps, values, image)

    def slope(self, drawn: Any, criterion: Any, image: Tensor) -> Tensor | None:
        """Return the derivative of the criterion by the picture, on the smoothed network."""
        import torch

        aim = tuple(torch.as_tensor(part, device=image.device) for part in self.aim)
        with torch.inference_mode(False), torch.enable_grad():
            leaf = image.clone().requires_grad_()
            now = drawn(leaf)
            found = criterion(now / now.sum().clamp_min(1e-30), aim)
            if not found.requires_grad:
                return None
            (slope,) = torch.autograd.grad(found, leaf, allow_unused=True)
        return slope

    def way_back(self, image: Tensor, other: int) -> Tensor:
        """Return the derivative of how far the answer's score is above that of another class."""
        target = class_target(self.case.model.labels, self.answer, minus=other)
        return self.case.model.gradient(image, target).input

    def note(self, values: Floats) -> None:
        """Keep the numbers of a step for the curves."""
        shift = float(np.hypot(*(np.array(center(values)) - self.aim[1])))
        self.lines.append((self.kept_share(values), shift, float(values[self.region].sum())))

    def made(self, progress: float, now: Floats, image: Tensor) -> Score:
        """Return the score of the best picture so far."""
        _, picture, values, probability = self.best
        change = (picture - self.case.image) / self.level
        steps = np.arange(1.0, len(self.lines) + 1)
        names = (("strongest pixels that stay", "share"), ("center", "px"), ("region", "share of the map"))
        curves = tuple(
            Curve(name, steps, np.array(line), "looks", unit)
            for (name, unit), line in zip(names, zip(*self.lines, strict=True), strict=False)
        )
        moved = self.knobs.epsilon > 0 and not any(self.kept)
        notes = ("No step kept the first class.",) if self.kept and moved else ()
        known = {} if math.isnan(self.random) else {"random signs": self.random}
        return Score(
            self.kept_share(values),
            self.unit,
            progress=progress,
            controls={**known, "random map": float(self.top.mean())},
            curves=curves,
            maps={
                "map": self.start,
                "map of the changed picture": values,
                "map now": now,
                "change": change[0].mean(dim=0).float().cpu().numpy(),
            },
            pictures={
                "picture": seen(self.case.model, self.case.image),
                "changed": seen(self.case.model, picture),
                "now": seen(self.case.model, image),
            },
            details={
                "attack": self.used,
                "spearman": spearman(self.start, values),
                "center_shift": float(np.hypot(*(np.array(center(values)) - self.aim[1]))),
                "region": (float(self.start[self.region].sum()), float(values[self.region].sum())),
                "kept": float(np.mean(self.kept)) if self.kept else math.nan,
                "probability": (self.before, probability),
                "largest_change": float(change.abs().max()),
            },
            notes=(*self.notes, *notes),
        )


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
