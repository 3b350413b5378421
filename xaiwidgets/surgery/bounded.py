"""The gradient filter as a policy: no signal reaches a unit that is more active than it is for a reference picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import SurgeryError

from .differences import slope
from .gates import GATES
from .ops import ACTIVATIONS
from .policy import Choice, Policy
from .recipes import RELU_LIKE
from .rules import Rule, slope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from torch import Tensor

    from .ops import Op

    #: Least value of each unit, or ``None`` where it is never below 0, and the largest one.
    Bounds = tuple[Tensor | None, Tensor]

FILTERED = ACTIVATIONS - GATES - {"softmax", "log_softmax", "glu"}
"""Activations whose results are features: what is a gate or an attention weight keeps its gradient."""
NOT_BELOW_ZERO = frozenset({"relu", "relu6"})


class BoundsWatch(Policy):
    """Notes what each activation gives for a picture, as bounds for others (Wagner et al. 2019, eq. 9).

    Attributes:
        bounds: ``min(0, h)`` and ``max(0, h)`` of each activation, in the order in which they run.
    """

    name = "the gradient filter"
    refuses = GATES | {"glu"}

    def __init__(self) -> None:
        super().__init__()
        self.bounds: list[Bounds] = []

    @property
    def key(self) -> Hashable:
        """There are no settings."""
        return "bounds"

    def choose(self, op: Op, path: str) -> Choice:
        """Return the ordinary gradient."""
        return Choice(None if op.kind == "glu" else "gradient")

    def seen(self, op: Op, outputs: list[Tensor], again: Callable[[dict[int, Tensor]], Any]) -> None:
        """Note the results of an activation."""
        super().seen(op, outputs, again)
        if op.kind in FILTERED:
            values = outputs[0].detach()
            low = None if op.kind in NOT_BELOW_ZERO else values.clamp(max=0)
            self.bounds.append((low, values.clamp(min=0)))


class FilterPolicy(Policy):
    """The ordinary gradient, but 0 at each unit that lies outside its bounds (Wagner et al. 2019, eqs. 7 to 9).

    Args:
        bounds: of each activation, in the order in which they run; from a ``BoundsWatch``.
    """

    name = "the gradient filter"
    refuses = GATES | {"glu"}

    def __init__(self, bounds: Sequence[Bounds]) -> None:
        super().__init__()
        self._bounds = bounds
        self._count = 0

    @property
    def key(self) -> Hashable:
        """The bounds change no forward pass."""
        return "gradient filter"

    def choose(self, op: Op, path: str) -> Choice:
        """Return the filter of an activation, and the ordinary gradient of all else."""
        if op.kind == "glu":
            return Choice(None)
        if op.kind not in FILTERED:
            return Choice("gradient")
        bounds = self._next(op)
        if bounds is None:
            return Choice("gradient")
        low, high = bounds

        def inside(output: Tensor) -> Tensor:
            return output <= high if low is None else (output >= low) & (output <= high)

        if op.kind in RELU_LIKE:

            def passing(o: Op, output: Tensor) -> Tensor:
                return slope_of(o, output) * inside(output)  # of the result: in place, no input is left

            return Choice("filter", Rule(_through, passing, inputs=False))
        call = self.again
        if call is None:
            raise RuntimeError("a policy is asked about an operation by a SurgeryMode only")

        def backward(o: Op, kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
            return _through(o, kept, signal * slope(call, o.inputs[0]))

        return Choice("filter", Rule(backward, lambda _op, output: inside(output), inputs=True))

    def _next(self, op: Op) -> Bounds | None:
        """Return the bounds of an activation, or ``None`` behind what is explained, where none were noted."""
        number, self._count = self._count, self._count + 1
        if number >= len(self._bounds):
            return None
        if self._bounds[number][1].shape != op.inputs[0].shape:
            self._refuse()
        return self._bounds[number]

    def aim(self, source: Tensor) -> None:
        """Make sure that as many activations have run as there are bounds."""
        if self._count != len(self._bounds):
            self._refuse()

    def _refuse(self) -> None:
        raise SurgeryError(
            f"{self.name} compares each activation with the one at the same place in the pass that gave the bounds, "
            "and the network has run others; does its forward depend on the picture?"
        )


def _through(_op: Op, kept: Tensor | None, signal: Tensor) -> tuple[Tensor | None, ...]:
    if kept is None:
        raise TypeError("the filter needs what it has kept of the output")
    return (signal * kept,)
