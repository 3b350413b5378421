"""How large a target's score gets on photos, and how much of a picture it sees: what its weight is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal

#: With fewer photos than this, the largest score is not known well enough to divide by; more are not looked at.
ENOUGH, MOST = 16, 64


def pixels_seen(model: Model, goal: Goal) -> float:
    """Return how many pixels of a picture a target sees: all, unless it is at one place of a layer."""
    _, height, width = model.input_shape
    names = goal.layers
    field = model.layer(names[0]).field if names else None
    if field is None or getattr(goal, "position", "mean") in {"mean", "max"}:
        return float(height * width)
    rows, columns = field.size
    return float(min(rows, height) * min(columns, width))


def largest_score(model: Model, goal: Goal, references: str, photo: Tensor | None = None) -> tuple[float, str]:
    """Return the target's largest score on a set of photos, 0 if it cannot be told, and why not.

    Args:
        model: the network.
        goal: the target.
        references: name of the set.
        photo: network input for sets that are made of a photo.
    """
    import torch

    from xaiwidgets.engine.references import images_of

    found = images_of(model, references, MOST, photo)
    if len(found) < ENOUGH:
        return 0.0, (
            f"The {len(found)} photos of {references!r} are too few to tell how large the score gets ({ENOUGH} are "
            "needed), so it is weighed as if that were 1. Register more with xaiwidgets.reference_set, or move the "
            "weight."
        )
    best = float(torch.cat([_score(model, goal, one[None]) for one in found]).max())
    if best <= 0:
        return 0.0, f"No photo of {references!r} excites the target, so it is weighed as if the largest score were 1."
    return best, ""


def _score(model: Model, goal: Goal, image: Tensor) -> Tensor:
    from xaiwidgets.model.targets import Target

    if isinstance(goal, Target):
        return model.scores(image, goal)
    return goal.score(model.logits(image), model.activations(image, goal.layers) if goal.layers else {})
