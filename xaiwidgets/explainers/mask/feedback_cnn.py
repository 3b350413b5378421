"""Feedback CNN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.results import Attribution, reduce_channels
from xaiwidgets.explainers.onepass import ruled_gradient, size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.units import Units


@explainer(
    title="Feedback CNN",
    family="mask",
    idea="Shuts the hidden units that speak against the class, round after round, and shows the gradient that is left.",
    cite="Cao, Liu, Yang, Yu, Wang, Wang, Huang, Wang, Huang, Xu, Ramanan, Huang 2015",
    paper="doi:10.1109/ICCV.2015.338",
    section="2.3.10",
    needs=("gradient", "rectifier"),
    signed=False,
    formula="z ← 1[∂s/∂(z a) > 0] at every ReLU,  map = max over colors of |∂s/∂x|",
    how="Every ReLU gets a gate. The class score is sent back through the network, every gate where the signal is not "
    "positive is shut, and the photo is seen again through the gates that are left. Weights stay as they are.",
    caution="The score it raises is that of another network than yours. With all gates of one pass decided on the way "
    "down (recovering) it is guided backpropagation, edges and all. On small and light networks the pruned gradient "
    "hardly localizes, however far the score rises.",
)
class FeedbackCnn:
    """Gradient of the score by the photo after hidden gates were set to raise it (Cao et al. 2015; released code 2019).

    Yields ``(C, H, W)`` in units of score per unit of input after every round, the first with all gates open, which is
    saliency; shown by the largest absolute value over channels. ``details``: ``curves``, ``score`` and ``open`` (how
    far gates are open, on average) by round, and ``box``, the tightest around 95 % of the energy.

    ``pruning`` sets all gates at once from one backward pass and sees the photo again; ``recovering`` decides them
    within one backward pass, on the way down; ``relaxed`` moves gates in [0, 1] along the score's derivative, less
    ``penalty``.
    """

    curves: ClassVar[tuple[str, ...]] = ("score", "open")
    effort: ClassVar[float] = 2.0  # a gate at each rectifier, forward and back
    mode: str = knob(
        "pruning",
        Choice(("pruning", "recovering", "relaxed")),
        label="Gates",
        help="pruning: all at once, several rounds; recovering: within one pass; relaxed: by gradient steps.",
    )
    rounds: int = knob(4, Range(1, 200, log=True), label="Rounds", help="Passes there and back; recovering takes one.")
    rate: float = knob(0.1, Range(0.001, 10.0), label="Step", help="Of relaxed gates.", advanced=True)
    penalty: float = knob(0.0, Range(0.0, 10.0), label="Penalty", help="On open relaxed gates.", advanced=True)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one of each a round."""
        rounds = 1 if self.mode == "recovering" else self.rounds
        return rounds, rounds

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the gradient after every round."""
        if self.mode == "recovering":
            from xaiwidgets.surgery.recipes import GUIDED

            found, note = ruled_gradient("feedback_cnn", model, image, target, GUIDED)
            yield self._result(found.input, float(found.score[0]), image, target, (note,), {}, 1.0)
            return
        from xaiwidgets.surgery.units import Units

        units = Units()
        view = model.exactly().transformed(units, "with gates")
        scores, active = [], []
        for number in range(1, self.rounds + 1):
            passed = view.gradient(image, target)
            scores.append(float(passed.score[0]))
            active.append(_open(units))
            history = {
                "curves": {"score": np.array(scores, np.float32), "open": np.array(active, np.float32)},
                "curve_words": {"score": target.unit, "open": "share of gates open"},
                "step": number,
                "planned": self.rounds,
                "across": "round",
            }
            note = f"The gates are {active[-1]:.0%} open; the score went from {scores[0]:.3g} to {scores[-1]:.3g}."
            yield self._result(passed.input, scores[0], image, target, (note,), history, number / self.rounds)
            self._move(units)

    def _move(self, units: Units) -> None:
        """Set the gates from what came back to them; a unit that no signal reaches keeps its gate."""
        import torch

        gates = units.gates or [torch.ones_like(output) for output in units.outputs]
        moved = []
        for gate, output, signal in zip(gates, units.outputs, units.signals, strict=True):
            if signal is None:
                moved.append(gate)
            elif self.mode == "relaxed":
                moved.append((gate + self.rate * (output * signal - self.penalty)).clamp(0, 1))
            else:
                moved.append(torch.gt(signal, 0, out=torch.empty_like(signal)))
        units.gates = moved

    def _result(
        self,
        gradient: Tensor,
        score: float,
        image: Tensor,
        target: Target,
        notes: tuple[str, ...],
        details: dict[str, Any],
        progress: float,
    ) -> Attribution:
        from xaiwidgets.engine.boxes import energy_box

        values = to_numpy(gradient)
        box = energy_box(reduce_channels(values, "max_abs"))
        return Attribution(
            values=values,
            unit=f"{target.unit} per unit of input",
            signed=False,
            reduction="max_abs",
            size=size_of(image),
            progress=progress,
            score=score,
            notes=notes,
            details={**details, **({} if box is None else {"box": box})},
        )


def _open(units: Units) -> float:
    """Return how far the gates are open on average: the share of open ones where each is open or shut."""
    if not units.gates:
        return 1.0
    total = sum(gate.numel() for gate in units.gates)
    return sum(float(gate.double().sum()) for gate in units.gates) / total
