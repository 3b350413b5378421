"""Explanation continuity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score
from xaiwidgets.evaluation.case import reduced
from xaiwidgets.evaluation.controls import sobel_map

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case

    Floats = NDArray[np.float64]

REGIONS = ("top left", "top right", "bottom left", "bottom right")


@metric(
    title="Explanation continuity",
    category="behavior",
    question="Does the map change as gradually as the picture when the picture is moved?",
    cite="Montavon, Samek, Müller 2018",
    paper="10.1016/j.dsp.2017.10.011",
    section="4.6",
    direction="lower",
    range=(0.0, math.inf),
    formula="max over neighboring shifts of ‖R(x) - R(x′)‖₁ / ‖x - x′‖₂",
    how="The picture is moved across in small steps and explained at each of them. The largest change of the map for a "
    "step, relative to the change of the picture, counts; so one sees maps that jump while score and picture glide.",
    caution="The network's own score may jump, and a true map with it: compare the curve of the score. A map that is "
    "the same for all pictures is the most continuous of all, and one that is spread out changes by little.",
)
class ExplanationContinuity:
    """Strongest variation of a map along a translation (Montavon et al. 2018, section 6.1).

    In shares of the map, or in its own unit, per unit of distance of inputs; neighboring pictures that are the same are
    left out. ``curves``: the score, the evidence in each quarter of the picture, and the variation of each step.
    ``details``: ``from_start``, the largest variation between the first picture and any other; ``total_variation`` of
    the quarters' evidence; ``shifts`` in px; ``worst``, the two shifts of the largest step. ``controls``: edges of the
    photo, and random numbers that are drawn anew at each step. Reduction: none for the variation; signed (``abs`` for
    maps without signs) for the quarters.
    """

    shifts: int = knob(28, Range(2, 500, log=True), label="Positions", help="Of the picture; whole pixels, each once.")
    reach: float = knob(
        0.25, Range(0.01, 0.5, step=0.01), label="Reach", help="To each side, as a share of the picture's side."
    )
    direction: str = knob("across", Choice(("across", "down")), label="Direction", help="Of the movement.")
    fill: str = knob(
        "reflect",
        Choice(("reflect", "edge", "black")),
        label="Filled with",
        help="What comes into the picture: its reflection, its border, or black, as for digits.",
    )
    normalized: bool = knob(
        True,
        Flag(),
        label="Shares of the map",
        help="Absolute values of each map sum to one, so that units do not count.",
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the largest variation so far, after every batch of positions."""
        places = self.places(case.size)
        images = [self.moved(case, int(place)) for place in places]
        found = yield from case.attribution()
        values: list[Floats] = []
        scores: list[float] = []
        for maps, answers in self.explained(case, images):
            if maps is None:
                yield None
                continue
            values += [self.shares(one) for one in maps]
            scores += answers
            if len(values) > 1:
                yield self.made(case, places, images, values, scores, signed=found.signed)

    def places(self, size: tuple[int, int]) -> NDArray[np.int64]:
        """Return the shifts in px, from left to right or from top to bottom."""
        side = size[1] if self.direction == "across" else size[0]
        most = max(1.0, self.reach * side)
        return np.unique(np.round(np.linspace(-most, most, self.shifts)).astype(np.int64))

    def moved(self, case: Case, shift: int) -> Tensor:
        """Return the input ``(1, C, H, W)`` moved by so many pixels."""
        import torch

        from xaiwidgets.engine.baselines import baseline

        image, axis = case.image, 3 if self.direction == "across" else 2
        side = image.shape[axis]
        where = torch.arange(side, device=image.device) - shift
        outside = (where < 0) | (where >= side)
        if self.fill == "reflect":
            where = torch.where(where < 0, -where, where)
            where = torch.where(where >= side, 2 * (side - 1) - where, where)
        found = image.index_select(axis, where.clamp(0, side - 1))
        if self.fill == "black":
            mask = outside if axis == 3 else outside[:, None]
            found = torch.where(mask, baseline(case.model, image, "black"), found)
        return found.contiguous(memory_format=torch.channels_last)

    def explained(self, case: Case, images: list[Tensor]) -> Iterator[tuple[Any, list[float]]]:
        """Yield maps ``(n, C, h, w)`` and scores of the next pictures; ``None`` while they take."""
        import torch

        from xaiwidgets.evaluation.batched import batches, maps_of

        if batches(case) and not case.target.layer:
            for _, values, logits in maps_of(case, len(images), images.__getitem__):
                yield None, []
                yield values.detach().double().cpu().numpy(), case.target.score(logits).tolist()
            return
        for image in images:
            steps = case.explaining(image=image)
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    found = end.value
                    break
                yield None, []
            answer = float(case.model.scores(image, case.target)[0])
            yield None, []
            yield torch.from_numpy(found.values.copy()[None]).double().numpy(), [answer]

    def shares(self, values: Floats) -> Floats:
        """Return a map whose absolute values sum to one, if that is wanted and it is not 0."""
        total = float(np.abs(values).sum())
        return values / total if self.normalized and total > 0 else values

    def made(
        self,
        case: Case,
        places: NDArray[np.int64],
        images: list[Tensor],
        values: list[Floats],
        scores: list[float],
        *,
        signed: bool,
    ) -> Score:
        """Return the score of the positions so far."""
        count = len(values)
        unit = "share of the map" if self.normalized else "map"
        steps = np.array([variation(values[i : i + 2], images[i : i + 2]) for i in range(count - 1)])
        start = [variation([values[0], values[i]], [images[0], images[i]]) for i in range(1, count)]
        known = np.nan_to_num(steps, nan=-1.0)
        worst = int(known.argmax())
        flat = np.stack([reduced(one, "signed" if signed else "abs") for one in values])
        quarters = quarters_of(flat)
        pixels = [case.model.to_pixels(image) for image in images[:count]]
        nothing = bool(np.isnan(steps).all())
        empty = not any(one.any() for one in values)
        where = places[:count].astype(np.float64)
        return Score(
            math.nan if nothing or empty else float(np.nanmax(steps)),
            f"{unit} per unit of distance",
            progress=count / len(images),
            controls=self.controls(case, images, pixels) if count == len(images) and not nothing else {},
            curves=(
                Curve("score", where, np.array(scores), "shift in px", case.target.unit),
                *(
                    Curve(name, where, line, "shift in px", unit)
                    for name, line in zip(REGIONS, quarters.T, strict=True)
                ),
                Curve("variation", where[1:], steps, "shift in px", f"{unit} per unit of distance"),
            ),
            maps={"map before the largest step": flat[worst], "map after it": flat[worst + 1]},
            pictures={
                "before the largest step": seen(pixels[worst]),
                "after it": seen(pixels[worst + 1]),
            },
            details={
                "from_start": float(np.nanmax(start)) if not nothing else math.nan,
                "total_variation": float(np.abs(np.diff(quarters, axis=0)).sum()),
                "shifts": tuple(places[:count].tolist()),
                "worst": (int(places[worst]), int(places[worst + 1])),
            },
            notes=("The picture is the same wherever it is moved.",)
            if nothing
            else ("The map is 0 everywhere.",)
            if empty
            else (),
            warnings=("W_DEGENERATE",) if nothing or empty else (),
        )

    def controls(self, case: Case, images: list[Tensor], pixels: list[NDArray[Any]]) -> dict[str, float]:
        """Return the same for maps that know nothing of the network."""
        edges = [self.shares(sobel_map(one, case.seed).astype(np.float64)[None]) for one in pixels]
        chance = [self.shares(case.rng(20, i).random((1, *case.size))) for i in range(len(images))]
        return {"edges": largest(edges, images), "random map": largest(chance, images)}


def largest(values: list[Floats], images: list[Tensor]) -> float:
    """Return the largest variation of neighbors."""
    return float(np.nanmax([variation(values[i : i + 2], images[i : i + 2]) for i in range(len(values) - 1)]))


def variation(values: list[Floats], images: list[Tensor]) -> float:
    """Return the absolute change of two maps by the distance of two inputs; NaN for equal inputs."""
    distance = float((images[0].double() - images[1].double()).square().sum().sqrt())
    return float(np.abs(values[0] - values[1]).sum()) / distance if distance > 0 else math.nan


def quarters_of(maps: NDArray[Any]) -> Floats:
    """Return the sums of maps ``(n, h, w)`` over the quarters of the picture, ``(n, 4)``; a middle line counts half.

    They sum to the whole map.
    """
    sides = []
    for length in maps.shape[1:]:
        first = np.clip(length / 2 - np.arange(length), 0, 1)
        sides.append(np.stack([first, 1 - first]))
    found: Floats = np.einsum("nhw,ah,bw->nab", maps, *sides).reshape(len(maps), 4)
    return found


def seen(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what an eye sees of pixels in [0, 1], uint8 ``(H, W, 3)``."""
    found = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return np.repeat(found, 3, axis=2) if found.shape[2] == 1 else found
