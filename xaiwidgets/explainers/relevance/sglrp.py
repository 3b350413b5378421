"""Softmax-gradient layer-wise relevance propagation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Flag, knob
from xaiwidgets.explainers.onepass import OnePass, Raw, covered, receipts
from xaiwidgets.explainers.relevant import BY_SIGN, relevance_pass, signed_note, taylor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

HIDDEN = "A hidden unit has no softmax: its plain relevance is shown."


@explainer(
    id="sglrp",
    title="Softmax-gradient LRP",
    family="relevance",
    idea="Relevance of the class less that of its rivals, each rival as far as it competes for the probability.",
    cite="Iwana, Kuroki, Uchida 2019",
    paper="arXiv:1908.04351",
    section="2.3.4",
    needs=("gradient",),
    formula="start:  p(t)(1 − p(t)) at the target t,  −p(t) p(n) at every other class n",
    how="Relevance starts at all logits at once, with the derivative of the class's probability: positive at the "
    "class, negative at the others in proportion to their probabilities. The rules then share it as in LRP.",
    caution="The less doubt the network has, the smaller the start; with rescaling the picture does not show it.",
)
class Sglrp(OnePass):
    """Relevance that starts as the gradient of the softmax (Iwana et al. 2019, section 3).

    Yields ``(C, H, W)``, signed. Rules: zbox in the first layer, zplus in all others, biases left out. With ``rescale``
    the negative part is propagated by itself and scaled to the sum of the positive one, so that the values sum to 0;
    ``relu`` shows positive values only. Sums of classes and differences start with the derivative of their probability.
    A hidden unit, which has no softmax, gets its plain relevance, and a note says so.

    Raises:
        NotApplicable: an operation has no rule; the message names it.
    """

    effort: ClassVar[float] = 0.62  # both signals go through one pass

    rescale: bool = knob(
        True, Flag(), label="Equal sums", help="Scale the rivals' map to the sum of the class's.", advanced=True
    )
    relu: bool = knob(False, Flag(), label="Positive only", help="Drop what speaks for the rivals.")

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the relevance of a batch."""
        made, start = taylor(model), self._starts(target)
        found, used, notes = relevance_pass("sglrp", model, images, target, made, start=start)
        notes = (*notes, *signed_note(used, BY_SIGN), *([HIDDEN] if target.layer else []))
        gap, details = None, covered(found)
        values = found.inputs[0]
        if self.rescale:
            theirs = found.inputs[1]
            own, other = (part.sum(dim=(1, 2, 3), keepdim=True) for part in (values, theirs))
            factor = 1 if target.layer else own / other.where(other != 0, 1)
            values = values - theirs * factor
        else:
            details = receipts(found, used.ledger, values)
            gap = None if self.relu else details["receipt"]["input"] - details["explained"]
        return Raw(values.clamp(min=0) if self.relu else values, found.score, notes, gap=gap, details=details)

    def _starts(self, target: Target) -> Callable[[Tensor, Tensor], Sequence[Tensor]]:
        from xaiwidgets.model.propagate import value_start

        def start(source: Tensor, scores: Tensor) -> Sequence[Tensor]:
            if target.layer:
                (whole,) = value_start(source, scores)
            else:
                whole = softmax_slope(source, target.classes)
                whole = whole if target.minus is None else whole - softmax_slope(source, (target.minus,))
            return (whole.clamp(min=0), -whole.clamp(max=0)) if self.rescale else (whole,)

        return start

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """One pass forward; two signals back if the parts are scaled."""
        return 1, 2 if self.rescale else 1

    @property
    def view(self) -> dict[str, Any]:
        """Signed unless only positive values are shown."""
        return {"reduction": "sum", "signed": not self.relu}

    def unit(self, target: Target) -> str:
        """The start is a derivative of the probability by logits."""
        return target.unit if target.layer else "probability per logit"


def softmax_slope(logits: Tensor, classes: tuple[int, ...]) -> Tensor:
    """Return the derivative ``(N, K)`` of the classes' probability by the logits, with an exact sum of 0.

    The share of the other classes is added up rather than taken from 1, which a confident network leaves nothing of.
    """
    chances = logits.detach().double().softmax(dim=1)
    inside = chances.new_zeros(chances.shape[1]).bool()
    inside[list(classes)] = True
    own, others = (chances[:, side].sum(dim=1, keepdim=True) for side in (inside, ~inside))
    return (chances * others.where(inside, -own)).to(logits)
