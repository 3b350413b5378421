"""Recipes: which operation kind gets which backward rule. Names only, so no torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SMOOTH_ACTIVATIONS = frozenset({
    "silu", "gelu", "hardswish", "mish", "softplus", "tanh", "sigmoid", "hardsigmoid", "hardtanh", "threshold",
    "logsigmoid", "softsign", "shrink", "glu",
})  # fmt: skip
"""Activations without an on/off gate at zero."""


@dataclass(frozen=True)
class Recipe:
    """A table from operation kinds to backward rules; hashable, so that it can be part of a cache key.

    Attributes:
        name: what errors and captions call it.
        rules: pairs (kind, rule name), sorted; the names are keys of `surgery.rules.RULES`.
        needs: kinds of which a model must use at least one.
        refuses: kinds for which the recipe declares no meaning: meeting one is an error.
        extras: pairs (name, number) that rules read, for instance a stabilizer.
    """

    name: str
    rules: tuple[tuple[str, str], ...]
    needs: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    extras: tuple[tuple[str, float], ...] = field(default=())

    def rule_of(self, kind: str) -> str | None:
        """Return the name of the rule for an operation kind, or None where the plain gradient holds."""
        return dict(self.rules).get(kind)


def recipe(
    name: str,
    rules: Mapping[str, str],
    needs: Iterable[str] = (),
    refuses: Iterable[str] = (),
    extras: Mapping[str, float] | None = None,
) -> Recipe:
    """Build a `Recipe` from plain mappings and iterables."""
    ordered = tuple(sorted(rules.items()))
    return Recipe(name, ordered, frozenset(needs), frozenset(refuses), tuple(sorted((extras or {}).items())))


RELU_LIKE = ("relu", "relu6", "leaky_relu", "prelu", "elu")

GUIDED = recipe("guided backpropagation", dict.fromkeys(RELU_LIKE, "guided"), RELU_LIKE, SMOOTH_ACTIVATIONS)
"""Springenberg et al. 2015: upstream · [upstream > 0] · f'(x). For ReLU, f' is the gate [x > 0]."""

DECONV = recipe("DeconvNet", dict.fromkeys(RELU_LIKE, "deconv"), RELU_LIKE, SMOOTH_ACTIVATIONS)
"""Zeiler & Fergus 2014: upstream · [upstream > 0]; the forward mask is ignored."""

LEAKY = recipe("leaky backward", dict.fromkeys(RELU_LIKE, "leaky"), RELU_LIKE)
"""Mahendran & Vedaldi 2016: upstream · f'(x) where a ReLU is on, 5 % of upstream where it is off."""


MAX_POOLS = ("max_pool", "adaptive_max_pool")


def desalinet(*, relu_mask: bool = True, switches: bool = True, rectify: bool = True) -> Recipe:
    """Build the recipe of one of the reversed architectures of Mahendran & Vedaldi 2016, section 2.

    Args:
        relu_mask: units that were off in the forward pass let nothing through.
        switches: unpooling puts a value where the maximum was; otherwise at the center of the window.
        rectify: the backward signal is rectified at each ReLU.
    """
    at_relu = {(True, True): "guided", (True, False): "plain", (False, True): "deconv", (False, False): "identity"}
    rules = dict.fromkeys(RELU_LIKE, at_relu[relu_mask, rectify]) | {"local_response_norm": "identity"}
    if not switches:
        rules |= dict.fromkeys(MAX_POOLS, "center")
    return recipe("DeSaliNet", rules, RELU_LIKE, SMOOTH_ACTIVATIONS)
