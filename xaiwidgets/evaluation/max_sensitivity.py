"""Max-sensitivity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Limit, Score
from xaiwidgets.evaluation.case import map_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.evaluation.case import Case


@metric(
    title="Max-sensitivity",
    category="behavior",
    question="Does the map stay nearly the same under noise that nobody would see?",
    cite="Yeh et al. 2019",
    paper="arXiv:1901.09392",
    section="4.6",
    direction="lower",
    range=(0.0, math.inf),
    limit=Limit(
        "<",
        1.0,
        "From 1 on, invisible noise changes the map by as much as the map is worth; the paper gives no number.",
    ),
    formula="max over d, ‖d‖∞ ≤ r, of ‖e(x + d) − e(x)‖₂ / ‖e(x)‖₂",
    how="The picture gets a little uniform noise, too faint to be seen, and is explained again for the same class, "
    "several times. The largest relative change of the map counts.",
    caution="The true maximum over all noise is larger than that of a few draws. A map that never changes, whatever is "
    "on the picture, is the least sensitive of all.",
)
class MaxSensitivity:
    """Largest relative change of a map under faint noise (Yeh et al. 2019, section 4 and their code).

    Of ``samples`` draws from the uniform distribution on the ball of radius ``r`` in the maximum norm; a map that is 0
    is divided by 1. Reduction: none, values are compared channel by channel. ``details``: ``mean``, the average
    sensitivity (Bhatt et al. 2020), ``changed``, how many draws change the network's first class. ``maps``: the map,
    the one that differs most, and its noise. ``items``: of each draw; more draws only add to them. Methods
    of one pass explain a batch at a time, all of it on the network's fast copy, also the picture without noise.
    """

    radius: float = knob(
        2.0,
        Range(0.0, 64.0, step=0.5),
        label="Radius",
        help="Largest change of a pixel, of 255 levels.",
        unit="levels",
    )
    samples: int = knob(10, Range(1, 1000, log=True), label="Draws", help="More find larger changes.")
    norm: str = knob(
        "l2",
        Choice(("l2", "l1", "max")),
        label="Norm",
        help="Of the map's change and of the map.",
        advanced=True,
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the largest change so far after each draw or batch of draws."""
        found = yield from case.attribution()
        changes: list[float] = []
        moved = 0
        size, first = 1.0, -1
        worst, at = found.values, 0
        # the first is the picture itself, explained in the same way as the others
        for numbers, maps, answers in self.explained(case):
            if maps is None:
                yield None
                continue
            for number, values, answer in zip(numbers, maps, answers, strict=True):
                if number == 0:
                    base, size, first = values, self._size(values) or 1.0, answer
                    continue
                changes.append(self._size(values - base) / size)
                moved += answer != first
                if changes[-1] >= max(changes):
                    worst, at = values, number - 1
            if changes:
                yield self.made(case, found, changes, moved, found.replace(values=worst), at)

    def explained(self, case: Case) -> Iterator[tuple[range, Any, list[int]]]:
        """Yield (numbers, their maps or ``None`` while they take, classes); number 0 is the picture without noise."""
        from xaiwidgets.evaluation.batched import batches, maps_of

        def picture(number: int) -> Tensor:
            return case.image if number == 0 else case.image + self.noise(case, number - 1)

        if batches(case):
            for numbers, values, logits in maps_of(case, self.samples + 1, picture):
                yield range(0), None, []
                yield numbers, values.detach().float().cpu().numpy(), logits.argmax(dim=1).tolist()
            return
        for number in range(self.samples + 1):
            steps = case.attribution() if number == 0 else case.explaining(image=picture(number))
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    found = end.value
                    break
                yield range(0), None, []
            answer = int(case.model.logits(picture(number))[0].argmax())
            yield range(0), None, []
            yield range(number, number + 1), found.values[None], [answer]

    def made(
        self, case: Case, found: Attribution, changes: list[float], moved: int, worst: Attribution, at: int
    ) -> Score:
        """Return the score of the draws so far, the worst of which is number ``at``."""
        done = np.arange(1.0, len(changes) + 1)
        largest = Curve("largest so far", done, np.maximum.accumulate(changes), "draws", "relative change")
        return Score(
            max(changes),
            "relative change",
            progress=len(changes) / self.samples,
            curves=(largest, Curve("of each draw", done, np.array(changes), "draws", "relative change")),
            maps={
                "map": map_of(found, "signed"),
                "the one that differs most": map_of(worst, "signed"),
                "its noise": self.noise(case, at)[0].mean(dim=0).float().cpu().numpy(),
            },
            items=tuple(changes),
            details={"mean": float(np.mean(changes)), "changed": moved},
            notes=(f"{moved} of {len(changes)} draws change the network's first class.",) if moved else (),
        )

    def noise(self, case: Case, draw: int) -> Tensor:
        """Return the noise of a draw ``(1, C, H, W)`` in units of the input; the same whatever number of draws."""
        import torch

        generator = torch.Generator().manual_seed(case.seed * 100_003 + draw)
        uniform = 2 * torch.rand(case.image.shape, generator=generator, dtype=torch.float64) - 1
        std = torch.tensor(case.model.preprocessing.std, dtype=torch.float64).reshape(1, -1, 1, 1)
        return (uniform * (self.radius / 255) / std).to(case.image)

    def _size(self, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
        flat = values.astype(np.float64).ravel()
        if self.norm == "max":
            return float(np.abs(flat).max())
        return float(np.abs(flat).sum() if self.norm == "l1" else math.sqrt(float(flat @ flat)))
