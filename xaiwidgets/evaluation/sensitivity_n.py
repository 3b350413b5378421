"""Sensitivity-n."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.correlation import pearson
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score, mean_known
from xaiwidgets.evaluation.case import REDUCTIONS, map_of
from xaiwidgets.evaluation.controls import sobel_map
from xaiwidgets.evaluation.parts import squares, sums
from xaiwidgets.evaluation.removal import SUBSTRATES, substrate

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case

    Floats = NDArray[np.float64]

#: Largest share of the features that are removed at once.
MOST = 0.8


@metric(
    title="Sensitivity-n",
    category="faithfulness",
    question="Do the values of any n features sum to what their removal takes from the score?",
    cite="Ancona, Ceolini, Öztireli, Gross 2018",
    paper="arXiv:1711.06104",
    section="4.5",
    direction="higher",
    range=(-1.0, 1.0),
    formula="PCC(Σ_{i in S} e_i, f(x) - f(x with S at the baseline)) over random S of n features, averaged over n",
    how="Random sets of n features are set to the baseline, and what the score loses is correlated with what the "
    "map says of them. That is done for several n, from one feature to most.",
    caution="The paper's property is equality for every set; a correlation forgives a wrong scale. Maps without signs "
    "cannot have it.",
)
class SensitivityN:
    """Mean over n of the correlation between summed values and the loss of score (Ancona et al. 2018, section 3.2).

    In [-1, 1]. ``details``: ``n``, the sizes; ``correlations``, one for each, with ``low`` and ``high``, 95 % by
    Fisher's z; ``subsets``, how many sets were drawn of each size.
    """

    features: str = knob(
        "pixels",
        Choice(("pixels", "squares")),
        label="Features",
        help="Single pixels, or squares of them, each with the sum of its values; all colors go together.",
    )
    square: int = knob(
        8, Range(2, 112), label="Square", help="Side of the squares, where these are the features.", unit="px"
    )
    sizes: int = knob(
        8, Range(1, 64), label="Sizes", help="How many values of n, on a logarithmic grid from 1 to 80 %."
    )
    subsets: int = knob(30, Range(4, 10_000), label="Sets", help="Random sets for each n. The paper takes 100.")
    baseline: str = knob("mean", SUBSTRATES, label="Baseline", help="What removed features are set to.")
    output: str = knob(
        "logit", Choice(("logit", "probability")), label="Score", help="The paper watches the logit.", advanced=True
    )
    reduction: str = knob(
        "signed", Choice(REDUCTIONS), label="Channels", help="How the colors become one number.", advanced=True
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the mean correlation with more and more sets of every size."""
        from xaiwidgets.engine.perturb import perturbed_scores

        found = yield from case.attribution()
        values = map_of(found, self.reduction)
        target = case.probability() if self.output == "probability" else case.target
        parts = squares(case.size, 1 if self.features == "pixels" else self.square)
        number = int(parts.max()) + 1
        base = substrate(case.model, case.image, self.baseline, case.rng(0))
        sizes = sizes_of(number, self.sizes)
        chance, edges = case.rng(1).random(values.shape), sobel_map(case.model.to_pixels(case.image), case.seed)
        relevance = np.stack([sums(values, parts), sums(chance, parts), sums(edges, parts)])
        count = len(sizes) * self.subsets
        claimed, lost = np.full((len(relevance), count), np.nan), np.full(count, np.nan)
        place = _index(parts, case.image)
        sets = [self._drawn(case, number, sizes, visit) for visit in range(count)] if count * number < 1e6 else None
        whole = float(case.model.scores(case.image, target)[0])

        def remove(copies: Tensor, numbers: range) -> None:
            for copy, visit in zip(copies, numbers, strict=True):
                gone = sets[visit] if sets is not None else self._drawn(case, number, sizes, visit)
                claimed[:, visit] = relevance[:, gone].sum(axis=1)
                _write(copy, case.image, base, place, gone)

        yield None
        for numbers, scores in perturbed_scores(case.model, case.image, target, count, remove, fresh=False):
            lost[numbers.start : numbers.stop] = whole - scores.double().cpu().numpy()
            done = numbers.stop // len(sizes)
            if done < 4:
                yield None
                continue
            shape = (done, len(sizes))
            table = [
                [
                    pearson(one, other)
                    for one, other in zip(side.T, lost[: done * len(sizes)].reshape(shape).T, strict=True)
                ]
                for side in claimed[:, : done * len(sizes)].reshape(-1, *shape)
            ]
            yield self._result(np.array(table), sizes, number, done, numbers.stop / count, values, found.signed)

    def _drawn(self, case: Case, number: int, sizes: NDArray[np.int64], visit: int) -> NDArray[np.intp]:
        """Return the features of one set; sizes take turns, so that an early result knows all of them."""
        size = int(sizes[visit % len(sizes)])
        return case.rng(2, visit).choice(number, size, replace=False, shuffle=False)

    def _result(
        self,
        table: Floats,
        sizes: NDArray[np.int64],
        number: int,
        done: int,
        progress: float,
        values: NDArray[np.float32],
        signed: bool,
    ) -> Score:
        names = ("map", "random", "edges")
        means = [mean_known(row) for row in table]
        low, high = _bounds(table[0], done)
        flat = bool(np.isnan(table[0]).any())
        notes = [f"{done} sets of each of {len(sizes)} sizes, of {number} {self.features}."]
        if not signed:
            notes.append("The map has no signs: it cannot say that a feature speaks against the class.")
        if flat:
            notes.append("For some n, one of the two sides is the same for every set, so that nothing correlates.")
        label = "features removed (log10)"
        curves = [
            Curve(name, np.log10(sizes), row, label, "correlation", *((low, high) if name == "map" else (None, None)))
            for name, row in zip(names, table, strict=True)
        ]
        details: dict[str, Any] = {"n": sizes, "correlations": table[0], "low": low, "high": high, "subsets": done}
        return Score(
            means[0],
            "correlation, mean over n",
            progress=progress,
            controls=dict(zip(names[1:], means[1:], strict=True)),
            curves=tuple(curves),
            maps={"map": values},
            details=details,
            items=tuple(table[0].tolist()),
            notes=tuple(notes),
            warnings=("W_OOD", "W_DEGENERATE") if flat else ("W_OOD",),
        )


def sizes_of(number: int, count: int) -> NDArray[np.int64]:
    """Return up to ``count`` different sizes on a logarithmic grid from 1 to ``MOST`` of the features."""
    most = max(1, int(MOST * number))
    return np.unique(np.round(np.geomspace(1, most, count)).astype(np.int64))


def _bounds(row: Floats, count: int) -> tuple[Floats, Floats]:
    middle = np.arctanh(np.clip(row, -1 + 1e-12, 1 - 1e-12))
    width = 1.96 / math.sqrt(max(count - 3, 1))
    return np.tanh(middle - width), np.tanh(middle + width)


def _index(parts: NDArray[np.intp], image: Tensor) -> Tensor:
    import torch

    return torch.as_tensor(parts).to(image.device)


def _write(copy: Tensor, image: Tensor, base: Tensor | None, place: Tensor, gone: NDArray[np.intp]) -> None:
    """Write a picture without some of its features into ``copy (C, H, W)``."""
    import torch

    from xaiwidgets.evaluation.removal import inpainted

    there = torch.ones(int(place.max()) + 1, dtype=torch.bool, device=image.device)
    there[torch.as_tensor(gone).to(image.device)] = False
    shown = there[place]
    if base is None:
        copy.copy_(inpainted(image, shown)[0])
    else:
        torch.where(shown, image[0], base[0], out=copy)
