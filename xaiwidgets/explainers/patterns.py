"""What PatternNet and PatternAttribution share: patterns that are fitted in sight, then one pass back through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, ReferenceName, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.onepass import ruled_pass, size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.core.cards import Card
    from xaiwidgets.engine.bank import PatternBank
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.propagate import Propagation
    from xaiwidgets.model.targets import Target

#: Share of the progress bar that is the fit's, where there is one.
FIT = 0.95
#: Where a signal starts at 2^-power once it has outgrown the range of numbers.
SMALLER = (100,)


def estimators() -> Any:
    """Return the knob for the estimator."""
    return knob(
        "relu",
        Choice(("relu", "linear")),
        label="Estimator",
        help="relu: from samples on which a unit before a ReLU fires (two-component); linear: from all samples.",
        advanced=True,
    )


def fitted_on() -> Any:
    """Return the knob for the pictures of the fit."""
    return knob(
        "photos",
        ReferenceName(),
        label="Fitted on",
        help="Pictures on which the signal directions are fitted, once a model; patterns given in Python come first.",
    )


def view_count() -> Any:
    """Return the knob for the number of pictures of the fit."""
    return knob(
        256,
        Range(8, 512, log=True),
        label="Views",
        help="How many pictures the fit looks at; of a smaller set, windows of its pictures.",
        advanced=True,
    )


class Patterned:
    """Mixin: ``steps`` for explainers with the knobs above."""

    card: ClassVar[Card]
    #: Send back what units contribute, starting with the score, in place of signals, starting with 1.
    attribution: ClassVar[bool]

    estimator: str
    patterns: str
    views: int

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image, without the fit, which a model needs once."""
        return 1, 1

    def unit(self, target: Target) -> str:
        """Return what the values are measured in."""
        raise NotImplementedError

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Fit patterns if the model has none, showing the map that they give so far; then yield the result.

        Passes of the fit, and of the maps meanwhile, are on nobody's account: what they give is kept for the model.
        """
        from xaiwidgets.engine.patterns import fit_for, held_by
        from xaiwidgets.model.meter import uncounted

        bank = held_by(model).given
        if bank is not None:
            bank.check(model)
            yield self._explained(model, image, target, bank)
            return
        with uncounted():
            fit = fit_for(model, self.patterns, self.views)
        shown: Attribution | None = None
        known = 0
        while not fit.finished:
            with uncounted():
                fit.advance(model)
                if fit.finished:
                    break
                if shown is None or fit.done >= 2 * known:
                    shown, known = self._explained(model, image, target, fit.bank()), fit.done
            yield shown.replace(progress=FIT * fit.progress)
        yield self._explained(model, image, target, fit.bank())

    def _explained(self, model: Model, image: Tensor, target: Target, bank: PatternBank) -> Attribution:
        """Run the pass; patterns lengthen a signal layer by layer, so it may have to start smaller."""
        from xaiwidgets.errors import SurgeryError

        for power in (0, *SMALLER):
            found, values = self._sent(model, image, target, bank, 2.0**-power)
            if np.isfinite(values).all():
                break
        else:
            raise SurgeryError(
                f"{self.card.id}: the signal outgrows the range of numbers even if it starts at 2^-{SMALLER[-1]}; "
                "expected patterns of moderate length. Fit them on more pictures, or take the linear estimator"
            )
        less = (f"The values outgrow float32: they are given in units of 2^{power}.",) if power else ()
        return Attribution(
            values=values,
            unit=self.unit(target),
            signed=True,
            size=size_of(image),
            score=float(found.score[0]),
            notes=(bank.sentence(self.estimator), *less),
            details={"coverage": found.coverage.rows()},
        )

    def _sent(
        self, model: Model, image: Tensor, target: Target, bank: PatternBank, factor: float
    ) -> tuple[Propagation, NDArray[np.float32]]:
        from xaiwidgets.model.propagate import unit_start, value_start
        from xaiwidgets.surgery.patterns import PatternPolicy

        patterns = bank.patterns(self.estimator)
        first = value_start if self.attribution else unit_start

        def start(source: Tensor, scores: Tensor) -> Sequence[Tensor]:
            return [signal * factor for signal in first(source, scores)]

        def policy() -> PatternPolicy:
            return PatternPolicy(patterns, attribution=self.attribution)

        found, _ = ruled_pass(self.card.id, model, image, target, policy, start=start)
        with np.errstate(over="ignore"):
            return found, to_numpy(found.inputs[0])
