"""A run that paints several pictures of one unit and keeps them apart."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.results import Exhibit
from xaiwidgets.model.objective_likeness import gram_cosines
from xaiwidgets.synthesis.painting import Painting, mean_reading, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.synthesis.diversity_objective import DiversityObjective
    from xaiwidgets.synthesis.reading import Reading

#: Noise that sets pictures apart which all start from one photo, in the values that they are made of.
NUDGE = 1e-3
#: Pixels of one entry of the matrix that is shown.
CELL = 32


class Penalized:
    """The unit's scores less the weighted likeness; keeps what it was made of, for what is logged of the pass."""

    def __init__(self, target: Goal, layer: str, weight: float) -> None:
        self.target, self.layer, self.weight = target, layer, weight
        self.layers = tuple(dict.fromkeys((*target.layers, layer)))
        self.whole = bool(getattr(target, "whole", not target.layers))
        self.name, self.unit = target.name, target.unit
        self.scores: Tensor
        self.cosines: Tensor

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return ``(N,)``, whose sum is the objective."""
        scores, cosines = self.target.score(outputs, records), gram_cosines((records or {})[self.layer])
        self.scores, self.cosines = scores.detach(), cosines.detach()
        return scores - self.weight * (cosines.sum(dim=1) - cosines.diagonal()) / len(scores)


class Apart(Painting):
    """A run in progress.

    Attributes:
        scores: of the unit, one a picture. ``cosines``: of their Gram matrices, ``(N, N)``.
    """

    ARRAYS = (*Painting.ARRAYS, "scores", "cosines")
    method: DiversityObjective
    scores: Tensor
    cosines: Tensor

    def __init__(self, method: DiversityObjective, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        own = next((name for name in target.layers if len(model.layer(name).shape) == 3), "")
        self.layer = model.layer(method.compared_at or own, spatial=True).name
        super().__init__(method, model, target, photo)
        self.last: Penalized

    @property
    def count(self) -> int:
        """How many pictures are painted at once."""
        return int(self.method.pictures)

    @property
    def goal(self) -> Any:
        """The unit, less the likeness."""
        self.last = Penalized(self.target, self.layer, self.method.weight)
        return self.last

    def read(self, found: Gradients) -> tuple[Reading, dict[str, float]]:
        """Return the mean of what the network said of the pictures, and how alike they are."""
        self.scores, self.cosines = (
            one.to(self.colors.mean, copy=True) for one in (self.last.scores, self.last.cosines)
        )
        reading = mean_reading(self.scores, found.outputs, self.target, self.model)
        return reading, {
            "similarity": float((self.cosines.sum() - self.cosines.trace()) / (self.count**2 - self.count))
        }

    def terms(self) -> dict[str, float]:
        """Return the score of each picture, and the cosine of each pair."""
        scores = {f"score_{i + 1}": float(score) for i, score in enumerate(self.scores)}
        pairs = {
            f"similarity_{i + 1}_{j + 1}": float(self.cosines[i, j]) for i, j in combinations(range(self.count), 2)
        }
        return super().terms() | scores | pairs

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the other pictures, and the matrix of cosines."""
        others = enumerate(self.pictures()[1:], start=2)
        found = [
            Exhibit(shown(one), f"Picture {i}: {self.target.unit} {float(self.scores[i - 1]):.2f}") for i, one in others
        ]
        matrix = self.cosines.clamp(0, 1).float().cpu().numpy()
        image = np.kron(matrix, np.ones((CELL, CELL), np.float32))[..., None].repeat(3, axis=2)
        return (
            *found,
            Exhibit(image, f"How alike pictures are to {self.layer}: white is alike, black nothing in common"),
        )

    def _start(self) -> Tensor:
        values = super()._start()
        if self.method.start == "photo":  # pictures that are the same have the same slopes, and would stay the same
            import torch

            values = values + NUDGE * values.std() * torch.randn(values.shape, generator=self.random).to(values)
        return values
