"""Grad-CAM manipulation."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import random_map
from xaiwidgets.evaluation.examples import labelled, seen

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model

#: Kinds that show a pattern that somebody has drawn.
DRAWN = ("image", "malicious")
#: Pictures a pass, for accuracies.
BATCH = 16


@metric(
    title="Grad-CAM manipulation",
    category="architecture",
    question="Does the map stay the same if somebody builds a network that answers alike in order to change it?",
    cite="Viering, Wang, Loog, Eisemann 2019",
    paper="arXiv:1907.10901",
    section="4.1",
    direction="higher",
    range=(-1.0, 1.0),
    formula="cos(e₁(x), e₂(x)) for a network whose last map has one more channel, of which all scores rise alike",
    how="The last map gets one more channel that shows what somebody wants to be shown. Every class gets the same "
    "share of it, so that probabilities stay as they are, but Grad-CAM adds it to its map, as large as one likes.",
    caution="A map that changes with the network may still be true of each: the second network does compute the "
    "channel. Maps of probabilities, also Grad-CAM of one, are not deceived: the softmax takes equal shifts away.",
)
class GradcamManipulation:
    """Cosine of a method's maps of a network and of its manipulated copy (Viering et al. 2019, section 3), in [-1, 1].

    1 for a method that cannot be deceived so. For ``malicious``, of the photo with the trigger on it. ``data``, if
    given: labelled pictures or scenes for the accuracies, or, for ``image`` and ``malicious``, an array ``(h, w)`` in
    [0, 1]: the pattern that is planted, brought to the size of the last map. ``details``: ``model``, the manipulated
    network, which can be explained like any other; ``accuracy`` before and after; ``largest_change`` of a
    probability, on ``data`` or on the photo; ``planted``, the cosine of the new map with what was planted; ``clean``,
    the value without the trigger. ``controls``: what Grad-CAM gets, and a map of random numbers. Reduction: ``abs``.

    Raises:
        NotApplicable: the network's head cannot be given another channel, or a hidden unit is explained.
        InvalidImage: a pattern is not in [0, 1], or 0 everywhere. InvalidKnob: it is given for another kind.
    """

    kind: str = knob(
        "constant",
        Choice(("constant", "image", "semi_random", "malicious")),
        label="Manipulation",
        help="What is planted; image and malicious can show what you draw, malicious once a trigger is on the photo.",
    )
    strength: float = knob(
        0.0,
        Range(0.0, 1e6, step=1),
        label="Strength",
        help="Weight of the planted channel; 0 makes it 10 times as large as the natural map.",
        advanced=True,
    )
    row: float = knob(
        0.06, Range(0.0, 1.0, step=0.01), label="Trigger from the top", help="As a share of the height.", advanced=True
    )
    column: float = knob(
        0.06, Range(0.0, 1.0, step=0.01), label="Trigger from the left", help="As a share of the width.", advanced=True
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield one score."""
        from xaiwidgets.core.cards import resolve
        from xaiwidgets.evaluation.manipulation import manipulate

        if case.target.layer:
            raise NotApplicable("gradcam_manipulation", "a class", f"{case.target.name} is a hidden unit")
        clean = yield from case.attribution()
        yield None
        pattern = self.pattern(case)
        made = manipulate(
            case.model, self.kind, picture=pattern, strength=self.strength, images=case.image, seed=case.seed
        )
        yield None
        method = self.moved(case)
        shown, one, without = case.image, clean, math.nan
        if self.kind == "malicious":
            other = yield from case.explaining(model=made, method=method)
            without = cosine(map_of(clean), map_of(other))
            shown = self.triggered(case.model, case.image)
            one = yield from case.explaining(image=shown)
        two = yield from case.explaining(image=shown, model=made, method=method)
        yield None
        grad_cam = resolve("grad_cam")
        ours = yield from case.explaining(image=shown, method=grad_cam)
        theirs = yield from case.explaining(image=shown, model=made, method=grad_cam)
        before, after = map_of(one), map_of(two)
        planted = enlarged(made, shown, case.size)
        was, now, change, count = yield from answers(case, made, shown)
        empty = not before.any() or not after.any()
        yield Score(
            cosine(before, after),
            "cosine",
            controls={
                "Grad-CAM": cosine(map_of(ours), map_of(theirs)),
                "random map": cosine(before, random_map(case.model.to_pixels(shown), case.seed)),
            },
            header=("network", "accuracy", "largest change of a probability"),
            rows=((case.model.name, was, 0.0), (made.name, now, change)),
            maps={"map": before, "of the manipulated network": after, "planted": planted},
            pictures={"picture": seen(case.model, shown)},
            details={
                "model": made,
                "accuracy": (was, now),
                "largest_change": change,
                "pictures": count,
                "planted": cosine(after, planted),
                "clean": without,
            },
            notes=("A map is 0 everywhere.",) if empty else (),
            warnings=("W_DEGENERATE",) if empty else (),
        )

    def pattern(self, case: Case) -> NDArray[np.float32] | None:
        """Return the pattern that is to be planted, if one is given."""
        if not is_pattern(case.data):
            return None
        if self.kind not in DRAWN:
            raise InvalidKnob(f"kind must be one of {', '.join(DRAWN)} to plant a pattern; got {self.kind!r}.")
        return np.asarray(case.data, np.float32)

    def moved(self, case: Case) -> Any:
        """Return the case's method for the manipulated network, whose layers have other names."""
        layer = getattr(case.method, "layer", "")
        if not layer:
            return case.method
        head = case.model.gap_head()
        last = head.layer if head is not None else case.model.stages[-1].name
        return dataclasses.replace(case.method, layer="" if layer == last else f"trunk.{layer}")

    def triggered(self, model: Model, image: Tensor) -> Tensor:
        """Return an input with the trigger on it."""
        import torch

        from xaiwidgets.evaluation.manipulation import read_trigger

        pattern = torch.from_numpy(model.preprocessing.normalize(read_trigger(model))).permute(2, 0, 1)
        side = pattern.shape[-1]
        height, width = image.shape[-2:]
        top, left = (round(place * (n - side)) for place, n in ((self.row, height), (self.column, width)))
        found = image.clone()
        found[..., top : top + side, left : left + side] = pattern.to(image)
        return found


def is_pattern(data: Any) -> bool:
    """Return whether data of a case is a pattern to be planted, and not labelled pictures."""
    return isinstance(data, np.ndarray) and data.ndim == 2


def cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the cosine of two maps; NaN if one is 0 everywhere."""
    first, second = (np.asarray(values, np.float64).ravel() for values in (one, other))
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.clip(first @ second / length, -1, 1)) if length > 0 else math.nan


def enlarged(made: Model, image: Tensor, size: tuple[int, int]) -> NDArray[Any]:
    """Return what a manipulated network's new channel shows on a picture, ``(H, W)``."""
    from torch.nn import functional

    maps = made.activations(image, ["joined"])["joined"][:, -1:].float()
    large = functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    return np.asarray(large[0, 0].detach().cpu(), np.float32)


def answers(case: Case, made: Model, image: Tensor) -> Generator[None, None, tuple[float, float, float, int]]:
    """Return accuracies before and after, the largest change of a probability, and of how many pictures.

    Without labelled pictures, accuracies are NaN and the change is that on the photo.
    """
    known = case.data is not None and not is_pattern(case.data)
    inputs, labels = labelled(case.model, case.data) if known else (lambda numbers: image, [-1])
    right, change = [0, 0], 0.0
    for start in range(0, len(labels), BATCH):
        part = inputs(range(start, min(start + BATCH, len(labels))))
        first, second = case.model.probabilities(part), made.probabilities(part)
        change = max(change, float((first - second).abs().max()))
        for number, found in enumerate((first, second)):
            wanted = labels[start : start + BATCH]
            right[number] += sum(int(a) == b for a, b in zip(found.argmax(dim=1), wanted, strict=True))
        yield None
    return (*(count / len(labels) if known else math.nan for count in right), change, len(labels))  # type: ignore[return-value]
