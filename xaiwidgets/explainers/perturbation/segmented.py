"""What the methods share that hide segments of a photo: their knobs, the cut photo, and the scores of parts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.segments import FILLS, SEGMENTERS, grid_shape, hide, segments, spread
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: The cuts that keep to a number of segments, so that passes can be counted before the photo is seen.
COUNTED = Choice(("grid", "slic"))


def segmenter(default: str, domain: Choice = SEGMENTERS) -> Any:
    """Return the knob for how the photo is cut."""
    return knob(default, domain, label="Segments by", help="grid: even cells; the others follow the photo's edges.")


def how_many(default: int, most: int = 200) -> Any:
    """Return the knob for the number of segments."""
    return knob(default, Range(2, most, log=True), label="Segments", help="At most; a cut by color may find fewer.")


def fill(default: str = "segment_mean") -> Any:
    """Return the knob for what a hidden segment shows."""
    return knob(default, FILLS, label="Fill", help="What a hidden segment shows: its own mean color, or a baseline.")


def output(default: str) -> Any:
    """Return the knob for the score that is watched."""
    return knob(
        default,
        Choice(("probability", "logit", "log_probability")),
        label="Score",
        help="Probabilities saturate, logits do not.",
        advanced=True,
    )


def players_of(how: str, count: int, size: tuple[int, int]) -> int:
    """Return the number of segments, the most there can be where that depends on the photo."""
    rows, columns = grid_shape(size, count)
    return rows * columns if how == "grid" else count


class Cut:
    """A photo in segments, ready to be scored with some of them hidden.

    Attributes:
        labels: the segment of each pixel ``(H, W)``. ``players``: how many segments.
        target: with the output that is watched.
    """

    def __init__(
        self, model: Model, image: Tensor, target: Target, how: tuple[str, int], fill: str, output: str
    ) -> None:
        self.model, self.image, self.target = model, image, target.with_output(output)
        self.labels = segments(model.to_pixels(image), *how)
        self.players = int(self.labels.max()) + 1
        self._hide = hide(model, image, self.labels, fill)

    def scores(self, shown: NDArray[Any]) -> Iterator[tuple[range, NDArray[np.float64]]]:
        """Yield (numbers, scores) of the photo with the segments of each row ``(n, M)`` shown, batch after batch."""
        import torch

        from xaiwidgets.engine.perturb import perturbed_scores

        rows = torch.as_tensor(np.asarray(shown, dtype=np.float32)).to(self.image)

        def alter(copies: Tensor, numbers: range) -> None:
            self._hide(copies, rows[numbers.start : numbers.stop])

        for numbers, found in perturbed_scores(self.model, self.image, self.target, len(rows), alter, fresh=False):
            yield numbers, found.double().cpu().numpy()

    def result(self, values: NDArray[Any], score: float, progress: float, **more: Any) -> Attribution:
        """Return the attribution with each segment's value at its pixels, and the values by segment in its details."""
        details = {"segments": self.labels, "weights": np.asarray(values, dtype=np.float32), **more.pop("details", {})}
        errors = details.pop("errors", None)
        if errors is not None:
            details["standard_error"] = spread(errors, self.labels)
        return Attribution(
            values=spread(values, self.labels),
            unit=self.target.unit,
            signed=True,
            size=size_of(self.image),
            progress=progress,
            score=score,
            details=details,
            **more,
        )

    def strongest(self, values: NDArray[Any], count: int) -> NDArray[np.bool_]:
        """Return the pixels ``(H, W)`` of the segments with the largest positive values, at most ``count``."""
        order = [number for number in np.argsort(-values, kind="stable")[:count] if values[number] > 0]
        return np.isin(self.labels, order)
