"""Layer-wise relevance propagation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, LayerRules, Range, check_knobs, knob
from xaiwidgets.explainers.onepass import OnePass, Raw, receipts
from xaiwidgets.explainers.relevant import growth_note, relevance_pass
from xaiwidgets.surgery.composites import BIASES, COMPOSITES, RULE_NAMES, RuleSpec, composite, parse_layers

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    id="lrp",
    title="Layer-wise relevance propagation",
    family="relevance",
    idea="The score is shared out backwards, layer by layer, until each pixel holds its part of it.",
    cite="Bach, Binder, Montavon, Klauschen, Müller, Samek 2015; rules by Montavon et al. 2017 to 2019",
    paper="10.1371/journal.pone.0130140",
    section="2.3.4",
    needs=("gradient",),
    formula="R(j) = Σ over k of  a(j) ρ(w(jk)) / (ε + Σ over j of a(j) ρ(w(jk))) · R(k)",
    how="Each unit hands its relevance to the units that feed it, in proportion to what they contribute. Which "
    "contributions count is the rule: all (epsilon), the positive ones more (gamma) or alone (zplus), in the first "
    "layer with the range of pixel values in mind (zbox).",
    caution="Relevance that biases and the stabilizer take is missing from the map: look at the receipt. Rules with "
    "positive contributions only hardly tell classes apart.",
)
class Lrp(OnePass):
    """Relevance of each input value under a composite of rules (Bach et al. 2015; Montavon et al. 2019, section 10.2).

    Yields ``(C, H, W)`` in units of the score, signed; with ``bias="ignore"`` and small ``epsilon`` the values sum to
    the score. Relevance starts at what the target reads, at each unit with its value times the score's derivative by
    it: for a class its logit, for a sum or a difference the logits with their signs, for a mean over positions their
    shares. ``details`` has the receipt: where relevance went that did not arrive.

    Raises:
        NotApplicable: an operation has no rule; the message names it.
        InvalidKnob: ``rules`` names a layer that has no weights or does not exist.
    """

    composite: str = knob(
        "epsilon_gamma_box",
        Choice(tuple(COMPOSITES)),
        label="Rules",
        help="Rules of convolutions, fully connected layers and the first layer, by the names of Montavon et al.",
    )
    epsilon: float = knob(
        1e-6,
        Range(0.0, 100.0),
        label="Epsilon",
        help="Added to every denominator; larger values swallow weak contributions.",
        advanced=True,
    )
    gamma: float = knob(
        0.25, Range(0.0, 100.0), label="Gamma", help="How much the gamma rule favors positive weights.", advanced=True
    )
    alpha: float = knob(
        2.0,
        Range(1.0, 10.0),
        label="Alpha",
        help="Weight of positive contributions in alpha_beta; negative ones have alpha − 1.",
        advanced=True,
    )
    bias: str = knob(
        "keep",
        Choice(BIASES),
        label="Biases",
        help="keep: biases take their share of relevance; ignore: all of it goes to the inputs.",
        advanced=True,
    )
    start: str = knob(
        "value",
        Choice(("value", "one")),
        label="Start",
        help="value: relevance starts as the score; one: as 1, so that maps of strong and weak classes compare.",
        advanced=True,
    )
    rules: str = knob(
        "",
        LayerRules(RULE_NAMES),
        label="Exceptions",
        help="Rules of single layers, such as features.0=zbox, features.3=gamma(0.5); a block's name is for all in it.",
        advanced=True,
    )

    def __post_init__(self) -> None:
        check_knobs(self)
        parse_layers(self.rules, RuleSpec())

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the relevance of a batch."""
        from xaiwidgets.model.propagate import unit_start, value_start

        low, high = zip(*model.preprocessing.bounds(), strict=True)
        like = RuleSpec("epsilon", self.epsilon, self.gamma, self.alpha, self.bias)
        made = composite(
            self.composite,
            epsilon=self.epsilon,
            gamma=self.gamma,
            alpha=self.alpha,
            bias=self.bias,
            low=low,
            high=high,
            layers=parse_layers(self.rules, like),
        )
        start = value_start if self.start == "value" else unit_start
        found, used, notes = relevance_pass("lrp", model, images, target, made, start=start)
        details = receipts(found, used.ledger, found.inputs[0])
        gap = details["receipt"]["input"] - details["explained"]
        notes = (*notes, *growth_note(found, found.inputs[0]))
        return Raw(found.inputs[0], found.score, notes, gap=gap, details=details)

    def unit(self, target: Target) -> str:
        """The score's unit, or a share of it."""
        return target.unit if self.start == "value" else f"share of the {target.unit}"
