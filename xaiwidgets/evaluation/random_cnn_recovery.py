"""Recovery of the picture by random networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Flag, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Score
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.evaluation.controls import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.evaluation.case import Case

GUIDED = "guided backpropagation"
PLAIN, POOLED = "no pooling", "max-pooling"
HEAD = ("rule", "pooling", "with closed form", "with the picture", "between two logits")


@metric(
    title="Recovery by random networks",
    category="weights",
    question="Do reversed pictures show the photo even if nothing was learned?",
    cite="Nie, Zhang, Patel 2018",
    paper="arXiv:1805.07039",
    section="4.1",
    range=(-1.0, 1.0),
    formula="cos(GBP, Σ_j C_jᵀ y_j/‖y_j‖), y_j the photo's patches, of a random net: convolution, ReLU, dense",
    how="A network of three layers with random weights is reversed by three rules. With many filters, guided "
    "backpropagation of any logit tends to the photo with each patch divided by its norm; the gradient tends to noise; "
    "DeconvNet shows the photo only behind max-pooling. Then the network in question is asked the same: how far do its "
    "maps move when another class is forced, or when an attack changes its answer?",
    caution="It tests rules, not the map in question: the method asked about plays no part. What is recovered is not "
    "the photo itself but its patches of equal strength, so that flat regions become as bright as edges.",
)
class RandomCnnRecovery:
    """Cosine of guided backpropagation and its closed form in a random network (Nie et al. 2018), in [-1, 1].

    ``curves``: that cosine, the one between two logits, and the correlation of each rule's picture with the photo, by
    number of filters; the mean of each channel is taken off for the latter, because DeconvNet adds a constant of its
    own. ``rows``: the same at the end; ``maps``: the photo, the closed form, and two logits of each rule, summed over
    channels, with pooling under ``… pooled``. ``details``: ``forced`` and ``attacked``, distances between maps of the
    network in question by rule, divided by the mean of their norms (0 for equal maps, √2 for unrelated ones);
    ``scale``, how long guided backpropagation is relative to the closed form.
    """

    side: int = knob(64, Range(16, 224), label="Side", help="Of the photo, which is made so small.", unit="px")
    kernel: int = knob(7, Range(3, 15, step=2), label="Filter side", help="Of the random filters.", unit="px")
    filters: int = knob(256, Range(16, 4096, step=16, log=True), label="Filters", help="How many there are at the end.")
    pool: int = knob(
        4, Range(2, 12), label="Pooling", help="Windows of the second network's max-pooling, at every place.", unit="px"
    )
    trained: bool = knob(
        True, Flag(), label="Trained network", help="Also force a class on the network in question, and attack it."
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield the cosine of wider and wider networks."""
        from torch.nn import functional

        from xaiwidgets.evaluation.insensitivity import Moved, moved
        from xaiwidgets.evaluation.random_cnn import PIECE, RULES, RandomCnn

        if self.side < self.kernel + self.pool:
            raise InvalidKnob(f"side must be at least kernel + pool, {self.kernel + self.pool}; got {self.side}.")
        trained = self.trained and case.model.classes > 1
        size = (self.side, self.side)
        image = functional.interpolate(case.image.float().cpu(), size, mode="bilinear", antialias=True).contiguous()
        shape: Any = tuple(image.shape[1:])
        nets = {}
        for name, pool in ((PLAIN, 0), (POOLED, self.pool)):
            nets[name] = RandomCnn(shape, self.kernel, pool, case.seed)
            yield None
        found, pieces = _Found(image, self.kernel), -(-self.filters // PIECE)
        work = pieces + (3 if trained else 0)
        for piece in range(1, pieces + 1):
            for name, net in nets.items():
                net.draw()
                for rule in RULES:
                    for logit in (0, 1):
                        found.add((rule, name, logit), net.reversed(image, rule, logit))
                    yield None
            found.measure(piece * PIECE)
            if trained or piece < pieces:
                yield self._report(case, found, piece / work)
        moves: Moved | None = None
        if trained:
            moves = yield from moved(case)
        yield self._report(case, found, 1.0, moves)

    def _report(self, case: Case, found: _Found, progress: float, moves: Any = None) -> Score:
        import torch

        from xaiwidgets.evaluation.random_cnn import cosine

        wide = found.image[0].permute(1, 2, 0).numpy()
        pixels = (wide - wide.min()) / max(float(np.ptp(wide)), 1e-12)
        knowing = {"random": CONTROLS["random"](pixels, case.seed) - 0.5, "edges": CONTROLS["edges"](pixels, case.seed)}
        spread = found.closed.sum(0)
        controls = {name: cosine(torch.from_numpy(map), spread) for name, map in knowing.items()}
        controls["the picture"] = cosine(found.image[0], found.closed)
        details: dict[str, Any] = {"scale": found.scale, "filters": found.widths[-1]}
        notes: tuple[str, ...] = ()
        if moves is not None:
            names = [case.model.labels.short(c) for c in moves.classes]
            details |= {"forced": moves.forced, "attacked": moves.attacked, "classes": names, "levels": moves.levels}
            if len(moves.forced) == 1:
                notes = (f"{case.model.name} has other activations than ReLUs: only its gradient was looked at.",)
            if not moves.levels:
                notes = (*notes, "The attack did not change the answer.")
        value = found.values[GUIDED, PLAIN, "closed"][-1]
        return Score(
            value,
            "cosine of guided backpropagation and its closed form",
            progress=progress,
            controls=controls,
            curves=found.curves(),
            header=HEAD,
            rows=found.rows(),
            maps=found.maps(),
            notes=("The photo is black everywhere.", *notes) if math.isnan(value) else notes,
            warnings=("W_DEGENERATE",) if math.isnan(value) else (),
            details=details,
        )


class _Found:
    """Reversed pictures so far, and how alike they are, by (rule, pooling, what they are compared with)."""

    def __init__(self, image: Tensor, kernel: int) -> None:
        from xaiwidgets.evaluation.random_cnn import closed_form

        self.image, self.closed = image, closed_form(image, kernel)
        self.sums: dict[tuple[str, str, int], Tensor] = {}
        self.values: dict[tuple[str, str, str], list[float]] = {}
        self.widths: list[int] = []
        self.scale = math.nan

    def add(self, key: tuple[str, str, int], part: Tensor) -> None:
        self.sums[key] = self.sums[key] + part if key in self.sums else part

    def measure(self, filters: int) -> None:
        from xaiwidgets.evaluation.random_cnn import cosine

        self.widths.append(filters)
        for (rule, name, logit), one in self.sums.items():
            if logit:
                continue
            alike = {
                "closed": cosine(one, self.closed),
                "picture": cosine(_centered(one), _centered(self.image[0])),
                "logits": cosine(one, self.sums[rule, name, 1]),
            }
            for what, value in alike.items():
                self.values.setdefault((rule, name, what), []).append(value)
        length = float((self.closed * self.closed).sum()) * filters
        guided = self.sums[GUIDED, PLAIN, 0]
        self.scale = float((guided * self.closed).sum()) / length if length else math.nan

    def curves(self) -> tuple[Curve, ...]:
        x = np.array(self.widths, np.float64)
        lines = [
            ("guided backpropagation and closed form", (GUIDED, PLAIN, "closed"), "cosine"),
            ("guided backpropagation of two logits", (GUIDED, PLAIN, "logits"), "cosine"),
        ]
        for rule, name, what in self.values:
            if what == "picture":
                lines.append((f"{rule}, {name}", (rule, name, what), "correlation with the photo"))
        return tuple(Curve(title, x, np.array(self.values[key]), "filters", unit) for title, key, unit in lines)

    def rows(self) -> tuple[tuple[Any, ...], ...]:
        keys = dict.fromkeys((rule, name) for rule, name, _ in self.values)
        kinds = ("closed", "picture", "logits")
        return tuple((*key, *(self.values[*key, kind][-1] for kind in kinds)) for key in keys)

    def maps(self) -> dict[str, Any]:
        maps = {"photo": self.image[0], "closed form": self.closed}
        for (rule, name, logit), one in self.sums.items():
            maps[f"{rule} {'AB'[logit]}" + (" pooled" if name == POOLED else "")] = one
        return {name: one.sum(0).numpy() for name, one in maps.items()}


def _centered(values: Tensor) -> Tensor:
    return values - values.mean(dim=(1, 2), keepdim=True)
