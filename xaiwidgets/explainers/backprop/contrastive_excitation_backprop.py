"""Contrastive excitation backpropagation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import LayerName, knob
from xaiwidgets.explainers.backprop.excitation import excite, layer_of
from xaiwidgets.explainers.onepass import OnePass, Raw, covered

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="Contrastive excitation backpropagation",
    family="backprop",
    idea="What excites the class and would not excite its opposite.",
    cite="Zhang, Bargal, Lin, Brandt, Shen, Sclaroff 2016",
    paper="arXiv:1608.00507",
    section="4",
    needs=("gradient", "relu"),
    signed=False,
    formula="max(0, P − P̄), P̄: of the class with its last weights negated",
    how="Excitation backpropagation runs from the class and from a dual unit whose weights have the other sign. What "
    "excites both cancels out, and what is left tells the class from the rest.",
    caution="Says where the class beats its opposite, not how strongly: a weak class is drawn as clearly as a strong "
    "one.",
)
class ContrastiveExcitationBackprop(OnePass):
    """Winning probability less that of the dual unit (Zhang et al. 2016, section 3.2).

    Yields ``(1, h, w)``, not negative: the difference of two maps that each sum to 1, added over channels and cut off
    at 0. The probabilities are linear in their start, so it does not matter at which layer the two are subtracted: it
    is done at the layer of the map.

    Raises:
        NotApplicable: an operation has no rule, an activation is not simply on or off, or no weights feed the target.
        InvalidLayer: no such layer, or no spatial map.
    """

    effort: ClassVar[float] = 0.65  # both signals go through one pass

    layer: str = knob(
        "",
        LayerName("by its size"),
        label="Layer",
        help="Of the map; empty: the last with at least a sixteenth of the picture's size; input: the picture.",
    )

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the maps of a batch."""
        method = "contrastive_excitation_backprop"
        layer = layer_of(method, model, target, self.layer)
        values, found, _, notes = excite(method, model, images, target, layer, dual=True)
        maps = values.sum(dim=1, keepdim=True).clamp(min=0)
        return Raw(maps, found.score, notes, layer, details=covered(found))

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """One pass forward, two signals back."""
        return 1, 2

    @property
    def view(self) -> dict[str, Any]:
        """Not negative."""
        return {"reduction": "sum", "signed": False}

    def unit(self, target: Target) -> str:
        """The target starts as 1."""
        return f"share of the {target.with_output('logit').unit}"
