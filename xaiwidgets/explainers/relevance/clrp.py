"""Contrastive layer-wise relevance propagation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Flag, knob
from xaiwidgets.errors import NotApplicable
from xaiwidgets.explainers.onepass import OnePass, Raw, covered
from xaiwidgets.explainers.relevant import BY_SIGN, relevance_pass, signed_note, taylor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    id="clrp",
    title="Contrastive LRP",
    family="relevance",
    idea="Relevance of the class less that of its opposite: only what tells the class from the others stays.",
    cite="Gu, Yang, Tresp 2018",
    paper="arXiv:1812.02100",
    section="2.3.4",
    needs=("gradient",),
    formula="max(0, R − R_dual)",
    how="Relevance is propagated twice: from the class, and from its dual. The dual of CLRP1 is all other classes, "
    "that of CLRP2 the class with its last weights negated. The difference removes what any class would mark.",
    caution="What is left after the subtraction may be little of the whole; the picture does not show how little.",
)
class Clrp(OnePass):
    """Difference of the relevance of a target and of its dual (Gu et al. 2018, section 4).

    Yields ``(C, H, W)``, not negative if ``clip``. Rules: zbox in the first layer, zplus in all others, biases left
    out. With ``normalize_sums`` each map is divided by its sum, so that the values are shares, and those before
    clipping sum to 0; without, they are in units of the score. The start is the logit, whatever of the class is asked
    for. For a hidden unit the others are the channels of its layer at the same positions.

    Raises:
        NotApplicable: an operation has no rule; there is no other class for CLRP1, or no weights feed the target for
            CLRP2.
    """

    effort: ClassVar[float] = 0.62  # both signals go through one pass

    type: str = knob(
        "clrp1",
        Choice(("clrp1", "clrp2")),
        label="Dual",
        help="clrp1: all other classes; clrp2: the class itself with its last weights negated.",
    )
    start: str = knob(
        "uniform",
        Choice(("uniform", "logits")),
        label="Other classes",
        help="For CLRP1: all count the same (the paper), or by the size of their logits (the authors' program).",
        advanced=True,
    )
    normalize_sums: bool = knob(
        True, Flag(), label="Equal sums", help="Divide both maps by their sums before the subtraction.", advanced=True
    )
    clip: bool = knob(True, Flag(), label="Clip at 0", help="Drop what speaks more for the dual.", advanced=True)

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the contrasts of a batch."""
        target = target.with_output("logit")
        made = taylor(model)
        if self.type == "clrp2":
            made = replace(made, ends="dual")
        found, used, notes = relevance_pass("clrp", model, images, target, made, start=self._starts)
        if self.type == "clrp2" and not used.ends:
            raise NotApplicable("clrp", "weights that feed the target", f"none feed {target.name}", ("lrp",))
        if self.type == "clrp1" and not found.starts[1].any() and found.starts[0].any():
            raise NotApplicable("clrp", "classes besides the target, for the dual of CLRP1", "there are none", ("lrp",))
        values = self._unit_sum(found.inputs[0]) - self._unit_sum(found.inputs[1])
        notes = (*notes, *signed_note(used, BY_SIGN))
        return Raw(values.clamp(min=0) if self.clip else values, found.score, notes, details=covered(found))

    def _starts(self, source: Tensor, scores: Tensor) -> Sequence[Tensor]:
        from xaiwidgets.model.propagate import slope

        derivative, value = slope(source, scores), source.detach()
        own = derivative * value
        if self.type == "clrp2":
            return own, own
        # a unit's rivals are the other channels at the positions that it is read from
        asked = derivative != 0
        others = (~asked & asked.any(dim=1, keepdim=True)).to(value)
        weight = others if self.start == "uniform" else others * value.abs()
        part = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-30)
        return own, own.sum(dim=1, keepdim=True) * part

    def _unit_sum(self, relevance: Tensor) -> Tensor:
        if not self.normalize_sums:
            return relevance
        total = relevance.sum(dim=(1, 2, 3), keepdim=True)
        return relevance / total.where(total != 0, 1)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """One pass forward, two signals back."""
        return 1, 2

    @property
    def view(self) -> dict[str, Any]:
        """Signed only if it is not clipped."""
        return {"reduction": "sum", "signed": not self.clip}

    def unit(self, target: Target) -> str:
        """The score's unit, or a share of it."""
        return f"share of the {target.with_output('logit').unit}" if self.normalize_sums else target.unit
