"""A forward pass under rules must give what the plain one gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xaiwidgets.errors import SurgeryError

if TYPE_CHECKING:
    from torch import Tensor

    from .policy import Policy
    from .recipes import Recipe


def require_same(ruled: Tensor, plain: Tensor, recipe: Recipe | Policy) -> None:
    """Raise SurgeryError unless the ruled forward pass gave, bit for bit, what the plain one gives."""
    if not torch.equal(ruled, plain):
        gap = float((ruled.detach() - plain.detach()).abs().max()) if ruled.shape == plain.shape else float("nan")
        raise SurgeryError(
            f"the forward pass under {recipe.name} differs from the plain one by {gap:.3g}; expected equal scores. "
            "Put the model into eval mode; if it stays so, its forward is random or has a state: explain it by "
            "gradients without rules, such as saliency"
        )
