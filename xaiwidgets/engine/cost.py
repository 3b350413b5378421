"""What a method costs before it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaiwidgets.model.model import Model


def passes(method: Any, model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (forward, backward) passes of one image that ``method`` takes on a picture of this size (H, W).

    A method whose number of passes depends on the network, such as one for each channel of a layer, says so in
    ``cost_on(model, size)``; its ``cost(size)`` is then the most it can take.
    """
    on = getattr(method, "cost_on", None)
    found: tuple[int, int] = method.cost(size) if on is None else on(model, size)
    return found
