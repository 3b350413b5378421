"""What methods share that send relevance from a score back to the picture."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from xaiwidgets.errors import InvalidKnob, SurgeryError, did_you_mean
from xaiwidgets.explainers.onepass import ruled_pass
from xaiwidgets.surgery.composites import composite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.propagate import Propagation, Start
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.composites import Composite
    from xaiwidgets.surgery.propagation import RelevancePolicy

BY_SIGN = "there contributions count by their sign."
BEFORE_SOFTMAX = "The network ends in a softmax: the scores before it are explained."
TINY = 1e-12
#: Relevance that adds up, without its signs, to more than this many times its start is no share of it any more.
GROWN = 1e4
#: A message names at most so many layers.
MANY = 8
#: Activations whose units are not simply on or off, so that they cannot stand for amounts of evidence.
WITHOUT_GATE = frozenset({
    "silu", "gelu", "hardswish", "mish", "softplus", "tanh", "sigmoid", "hardsigmoid", "logsigmoid", "softsign", "glu",
})  # fmt: skip


def relevance_pass(
    method: str,
    model: Model,
    images: Tensor,
    target: Target,
    made: Composite,
    *,
    start: Start | None = None,
    layers: Iterable[str] = (),
    wrt_input: bool = True,
) -> tuple[Propagation, RelevancePolicy, tuple[str, ...]]:
    """Return what arrived under relevance rules, the policy with its ledger, and notes for the reader.

    Raises:
        NotApplicable: an operation of the network has no rule; the message names it.
        InvalidKnob: an exception of the composite names a layer that the pass has not met.
        SurgeryError: relevance has grown beyond what the number type holds.
    """
    from xaiwidgets.surgery.propagation import RelevancePolicy

    found, used = ruled_pass(
        method, model, images, target, lambda: RelevancePolicy(made), start=start, layers=layers, wrt_input=wrt_input
    )
    for name, _ in made.layers:
        if name not in used.used:
            known = list(used.weighted)
            more = f" and {len(known) - MANY} more" if len(known) > MANY else ""
            close = did_you_mean(name, known) or f" Those with weights are {', '.join(known[:MANY])}{more}."
            raise InvalidKnob(
                "rules must name layers that have weights and lie on the way to the score, or modules around them; "
                f"{name!r} is none.{close}"
            )
    for arrived in (*found.inputs, *chain(*found.layers.values())):
        if not bool(arrived.isfinite().all()):
            raise SurgeryError(
                f"under {used.name} relevance grew beyond the largest number: sums in the network almost cancel; "
                "a larger epsilon or rules for positive contributions (epsilon_plus, zplus) tame it"
            )
    return found, used, (BEFORE_SOFTMAX,) if found.before_softmax else ()


def growth_note(found: Propagation, arrived: Tensor) -> tuple[str, ...]:
    """Return a note if the first picture's relevance of both signs is out of all proportion to its start."""
    start, end = (float(values[0].double().abs().sum()) for values in (found.starts[0], arrived))
    if end <= GROWN * start:
        return ()
    times = end / start if start else end
    note = (
        f"Relevance of both signs has grown to {times:.1g} times the score, for sums in the network almost cancel. "
        "A larger epsilon, or rules for positive contributions, tame it."
    )
    return (note,)


def taylor(model: Model, first: str = "zbox") -> Composite:
    """Return the rules of deep Taylor decomposition: zplus, in the first layer zbox or w2, biases left out.

    Denominators are sums of positive numbers, so the stabilizer need only keep 0/0 from being undefined.
    """
    low, high = zip(*model.preprocessing.bounds(), strict=True)
    name = {"zbox": "zplus_box", "w2": "zplus_w2"}[first]
    return composite(name, epsilon=TINY, bias="ignore", low=low, high=high)


def refusing(made: Composite) -> Composite:
    """Return the composite for a method whose units must be on or off."""
    return replace(made, refuses=WITHOUT_GATE)


def signed_note(used: RelevancePolicy, what: str) -> tuple[str, ...]:
    """Return a note if weights met negative activations in a rule made for positive ones."""
    count = len(used.signed)
    if not count:
        return ()
    first = next(reversed(used.signed))
    places = f"in {first}" if count == 1 else f"in {count} layers, first in {first}"
    return (f"Weights meet negative activations {places}: {what}",)
