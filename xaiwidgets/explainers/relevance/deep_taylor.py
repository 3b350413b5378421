"""Deep Taylor decomposition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, knob
from xaiwidgets.explainers.onepass import OnePass, Raw, receipts
from xaiwidgets.explainers.relevant import refusing, relevance_pass, signed_note, taylor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

SIGNED = "there a contribution counts by its sign, which the expansion of positive units does not provide for."


@explainer(
    title="Deep Taylor decomposition",
    family="relevance",
    idea="The score is expanded unit by unit around points where it vanishes: positive evidence only, all of it.",
    cite="Montavon, Lapuschkin, Binder, Samek, Müller 2017",
    paper="arXiv:1512.02479",
    section="2.3.4",
    needs=("gradient", "relu"),
    signed=False,
    formula="R(j) = Σ over k of  a(j) w⁺(jk) / Σ over j of a(j) w⁺(jk) · R(k);  first layer: zbox or w²",
    how="Each unit's relevance is a function of the units below; its first-order expansion around the closest point "
    "where it is zero gives their shares. For positive activations the shares are those of positive contributions, for "
    "pixels those that respect the range of pixel values. Biases are left out, so the map adds up to the score.",
    caution="In deep networks the maps of different classes look almost the same: the deeper, the less it is about the "
    "class.",
)
class DeepTaylor(OnePass):
    """Relevance of each input value by expansion of every unit (Montavon et al. 2017, sections 3 to 5).

    Yields ``(C, H, W)`` in units of the score, not negative, with the score as their sum. Of a score below zero its
    negative is explained, so the map shows what speaks against the target, and a note says so; of a sum or difference
    of classes, those logits that have the sign of the result.

    Raises:
        NotApplicable: an operation has no rule, or an activation is not simply on or off.
    """

    effort: ClassVar[float] = 0.75  # no share is booked for biases

    first: str = knob(
        "zbox",
        Choice(("zbox", "w2")),
        label="First layer",
        help="zbox: pixels lie between black and white; w2: they may have any value.",
    )

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the relevance of a batch."""
        made = replace(refusing(taylor(model, self.first)), ends="sign")
        found, used, notes = relevance_pass("deep_taylor", model, images, target, made, start=amounts)
        details = receipts(found, used.ledger, found.inputs[0])
        gap = details["receipt"]["input"] - details["explained"]
        notes = (*notes, *_about(float(found.score[0]), details["explained"]), *signed_note(used, SIGNED))
        return Raw(found.inputs[0], found.score, notes, gap=gap, details=details)

    @property
    def view(self) -> dict[str, Any]:
        """Values are not negative."""
        return {"reduction": "sum", "signed": False}

    def unit(self, target: Target) -> str:
        """The score's unit."""
        return target.unit


def amounts(source: Tensor, scores: Tensor) -> Sequence[Tensor]:
    """Start with the shares of units in the score's amount that have its sign."""
    from xaiwidgets.model.propagate import slope

    sign = scores.detach().sign().reshape(-1, *[1] * (source.ndim - 1))
    return ((slope(source, scores) * source.detach() * sign).clamp(min=0),)


def _about(score: float, explained: float) -> tuple[str, ...]:
    notes = []
    if score < 0:
        notes.append(f"The score is {score:.3g}, below zero: the map shows what speaks against the target.")
    if abs(abs(score) - explained) > 1e-4 * abs(score):
        notes.append(
            f"Only units with the sign of the score {score:.3g} are explained; they add up to {explained:.3g}."
        )
    return tuple(notes)
