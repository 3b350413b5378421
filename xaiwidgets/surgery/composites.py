"""Which relevance rule each layer gets. Names and numbers only, so no torch is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from xaiwidgets.errors import InvalidKnob, did_you_mean

PARAMETER = {"epsilon": "epsilon", "gamma": "gamma", "alpha_beta": "alpha"}
"""Rules that take a number, and what the number is."""
RULE_NAMES = ("epsilon", "gamma", "alpha_beta", "zplus", "zbox", "w2", "flat")
BIASES = ("keep", "ignore")
ENDS = ("plain", "dual", "sign")
"""As they are; with the other sign for signals after the first; with the sign of the unit that they feed."""


@dataclass(frozen=True)
class RuleSpec:
    """A rule for weighted operations (Bach et al. 2015; Montavon et al. 2019, section 10.2).

    Attributes:
        name: one of ``RULE_NAMES``.
        epsilon: stabilizer, added to denominators away from zero.
        gamma: how much the gamma rule favors positive weights.
        alpha: weight of positive contributions; beta is alpha − 1.
        bias: ``keep``: biases take their share; ``ignore``: they are left out of the denominators.
    """

    name: str = "epsilon"
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    bias: str = "keep"

    @property
    def label(self) -> str:
        """What receipts call it."""
        if self.name == "gamma":
            return f"gamma({self.gamma:g})"
        if self.name == "alpha_beta":
            return f"alpha_beta({self.alpha:g})"
        return self.name


@dataclass(frozen=True)
class Composite:
    """A rule for each weighted operation; what has no weights follows fixed rules (see ``relevance``).

    Attributes:
        name: what captions call it.
        conv: convolutions. ``dense``: fully connected layers.
        first: weighted operations that read the picture, or ``None`` for no exception.
        layers: exceptions by name of the module that runs, or of one that holds it, as (name, rule).
        epsilon: stabilizer of everything without weights.
        bias: whether shifts of normalization layers and added constants take their share.
        low, high: bounds of the picture in the network's units, one number a channel, for ``zbox``.
        positive: sums and averages share only among what has the result's own sign, so that no relevance changes sign.
        ends: how the weights that feed what is explained are taken: one of ``ENDS``.
        refuses: kinds of operations for which the method has no meaning though its rules have one.
    """

    name: str
    conv: RuleSpec = RuleSpec()
    dense: RuleSpec = RuleSpec()
    first: RuleSpec | None = None
    layers: tuple[tuple[str, RuleSpec], ...] = ()
    epsilon: float = 1e-6
    bias: str = "keep"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    positive: bool = False
    ends: str = "plain"
    refuses: frozenset[str] = frozenset()


COMPOSITES: dict[str, tuple[str, str, str]] = {
    "epsilon": ("epsilon", "epsilon", ""),
    "epsilon_plus": ("zplus", "epsilon", ""),
    "epsilon_alpha2_beta1": ("alpha_beta", "epsilon", ""),
    "epsilon_gamma_box": ("gamma", "epsilon", "zbox"),
    "epsilon_plus_flat": ("zplus", "epsilon", "flat"),
    "epsilon_alpha2_beta1_flat": ("alpha_beta", "epsilon", "flat"),
    "gamma": ("gamma", "gamma", ""),
    "zplus": ("zplus", "zplus", ""),
    "zplus_box": ("zplus", "zplus", "zbox"),
    "zplus_w2": ("zplus", "zplus", "w2"),
    "w2": ("w2", "w2", ""),
    "flat": ("flat", "flat", ""),
}
"""Rules of convolutions, dense layers and the first layer, by name (names of Montavon et al. and of Zennit)."""
POSITIVE = frozenset({"zplus", "zplus_box", "zplus_w2"})
"""Composites of deep Taylor decomposition, which keep relevance positive through sums, too."""


def composite(
    name: str,
    *,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    alpha: float = 2.0,
    bias: str = "keep",
    low: tuple[float, ...] = (),
    high: tuple[float, ...] = (),
    layers: tuple[tuple[str, RuleSpec], ...] = (),
) -> Composite:
    """Return the named composite with these numbers for all its rules."""
    conv, dense, first = (RuleSpec(rule, epsilon, gamma, alpha, bias) if rule else None for rule in COMPOSITES[name])
    return Composite(
        name, conv or RuleSpec(), dense or RuleSpec(), first, layers, epsilon, bias, low, high, name in POSITIVE
    )


def parse_rule(text: str, like: RuleSpec) -> RuleSpec:
    """Return the rule written as ``zplus`` or ``gamma(0.3)``; what is not written is taken from ``like``.

    Raises:
        InvalidKnob: no such rule, or a number that it does not take.
    """
    found = re.fullmatch(r"\s*([a-z0-9_]+)\s*(?:\(\s*([^()]*?)\s*\))?\s*", text)
    name = found.group(1) if found else text
    if found is None or name not in RULE_NAMES:
        raise InvalidKnob(f"rule must be one of {', '.join(RULE_NAMES)}; got {text!r}.{did_you_mean(name, RULE_NAMES)}")
    written = found.group(2)
    if written is None:
        return replace(like, name=name)
    if name not in PARAMETER:
        raise InvalidKnob(f"rule {name} takes no number; got {text!r}.")
    try:
        number = float(written)
    except ValueError:
        number = float("nan")
    least = 1.0 if name == "alpha_beta" else 0.0
    if not least <= number < 1e9:
        raise InvalidKnob(
            f"rule {name} takes a number of at least {least:g}, as in {name}({least + 1:g}); got {text!r}."
        )
    if name == "epsilon":
        return replace(like, name=name, epsilon=number)
    if name == "gamma":
        return replace(like, name=name, gamma=number)
    return replace(like, name=name, alpha=number)


def parse_layers(text: str, like: RuleSpec) -> tuple[tuple[str, RuleSpec], ...]:
    """Return the table written as ``features.0=zbox, features.3=gamma(0.3)``.

    Raises:
        InvalidKnob: an entry that is not ``layer=rule``, or a layer named twice.
    """
    rows: dict[str, RuleSpec] = {}
    for entry in filter(str.strip, text.split(",")):
        layer, equals, rule = entry.partition("=")
        layer = layer.strip()
        if not equals or not layer:
            raise InvalidKnob(f"rules must read 'layer=rule, layer=rule'; got {entry.strip()!r}.")
        if layer in rows:
            raise InvalidKnob(f"rules must name each layer once; got {layer!r} twice.")
        rows[layer] = parse_rule(rule, like)
    return tuple(rows.items())
