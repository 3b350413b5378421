"""What the methods share that hide segments of a photo: words, the cut photo, and the scores of parts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.segments import hide, segments, spread
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


OUTPUTS = Choice(("probability", "logit", "log_probability"))
#: What the knobs that all have do, in words.
HELP = {
    "segmenter": "grid: even cells; the others follow the photo's edges.",
    "fill": "What a hidden segment shows: its own mean color, or a baseline.",
    "output": "Probabilities saturate, logits do not.",
}


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
