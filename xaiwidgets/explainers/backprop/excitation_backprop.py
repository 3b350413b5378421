"""Excitation backpropagation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import LayerName, knob
from xaiwidgets.explainers.backprop.excitation import excite, layer_of
from xaiwidgets.explainers.onepass import OnePass, Raw, receipts

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Excitation backpropagation",
    family="backprop",
    idea="Where would a winner-take-all walk, from the class down through excitatory connections, end up?",
    cite="Zhang, Bargal, Lin, Brandt, Shen, Sclaroff 2016",
    paper="arXiv:1608.00507",
    section="4",
    needs=("gradient", "relu"),
    signed=False,
    formula="P(j) = Σ over i of  a(j) w⁺(ji) / Σ over k of a(k) w⁺(ki) · P(i)",
    how="The class wins with probability 1. Each winner hands its probability to the units below that excite it, in "
    "proportion to their activation and positive weight. The map shows the probabilities at a layer, added over "
    "channels.",
    caution="Inhibition plays no part, so maps of different classes look alike; the contrastive form tells them apart.",
)
class ExcitationBackprop(OnePass):
    """Marginal winning probability of the units of a layer (Zhang et al. 2016, section 3.1).

    Yields ``(1, h, w)``, not negative, with a sum of 1 unless units without excitation lost some (see the receipt).
    Weights that meet negative values, such as those of the picture, follow contributions by their sign, and a note
    says so. A sum of classes shares the start; a difference starts the class that is subtracted with −1, and what falls
    below zero is cut off.

    Raises:
        NotApplicable: an operation has no rule, or an activation is not simply on or off.
        InvalidLayer: no such layer, or no spatial map.
    """

    layer: str = knob(
        "",
        LayerName("by its size"),
        label="Layer",
        help="Of the map; empty: the last with at least a sixteenth of the picture's size; input: the picture.",
    )

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the maps of a batch."""
        layer = layer_of("excitation_backprop", model, target, self.layer)
        values, found, used, notes = excite("excitation_backprop", model, images, target, layer)
        details = receipts(found, used.ledger, values)
        gap = details["receipt"]["input"] - details["explained"]
        maps = values.sum(dim=1, keepdim=True).clamp(min=0)
        return Raw(maps, found.score, notes, layer, gap, details)

    @property
    def view(self) -> dict[str, Any]:
        """Probabilities."""
        return {"reduction": "sum", "signed": False}

    def unit(self, target: Target) -> str:
        """The target starts as 1."""
        return f"share of the {target.with_output('logit').unit}"
