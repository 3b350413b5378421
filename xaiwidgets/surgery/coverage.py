"""The receipt of a ruled pass: what was met, what was ruled, what passed as plain gradient. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import NotApplicable, SurgeryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .policy import Policy
    from .recipes import Recipe

LABELS = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "prelu": "PReLU", "elu": "ELU", "silu": "SiLU",
    "gelu": "GELU", "mish": "Mish", "hardswish": "hard swish", "hardsigmoid": "hard sigmoid", "hardtanh": "hardtanh",
    "log_softmax": "log-softmax", "threshold": "shifted threshold", "logsigmoid": "log-sigmoid",
}  # fmt: skip
"""How people write the kinds; others are written as they are."""

ALTERNATIVES = ("saliency", "integrated_gradients", "grad_cam")
"""Methods that work with every activation."""

PLACES = 6
"""A sentence names at most so many module paths."""


@dataclass(frozen=True)
class Coverage:
    """What one forward pass under a recipe met.

    Attributes:
        met: number of operations by kind that carry the picture's signal.
        ruled: how many of them got a rule.
        plain: (kind, module path) of each activation or unknown operation that keeps its ordinary gradient.
        unruled: (kind, module path) of operations the recipe rules but autograd did not see, for instance inside a
            checkpoint or somebody's own ``autograd.Function``.
        places: how many operations of each (module path, kind, rule) there were, in execution order; the rule is
            ``gradient`` where the ordinary derivative holds.
        refused: (kind, module path) of operations for which the policy has no meaning.
    """

    met: Mapping[str, int] = field(default_factory=dict)
    ruled: Mapping[str, int] = field(default_factory=dict)
    plain: tuple[tuple[str, str], ...] = ()
    unruled: tuple[tuple[str, str], ...] = ()
    places: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    refused: tuple[tuple[str, str], ...] = ()

    def rows(self) -> tuple[dict[str, Any], ...]:
        """Return the receipt by layer: ``layer``, ``kind`` of operation, ``rule`` and ``count``."""
        return tuple(
            {"layer": path, "kind": label(kind), "rule": rule, "count": count}
            for (path, kind, rule), count in self.places.items()
        )

    def sentence(self) -> str:
        """Return the receipt in words, such as ``31 of 31 ReLU ruled; 1 sigmoid gate as plain gradient at se``."""
        parts = [f"{count} of {self.met[kind]} {label(kind)} ruled" for kind, count in self.ruled.items()]
        parts += [f"{len(where)} {_plural(kind, len(where))} as plain gradient at {_places(where)}"
                  for kind, where in _grouped(self.plain).items()]  # fmt: skip
        parts += [f"{len(where)} {label(kind)} out of reach at {_places(where)}"
                  for kind, where in _grouped(self.unruled).items()]  # fmt: skip
        return "; ".join(parts) if parts else "no operation ruled"


def check(recipe: Recipe | Policy, coverage: Coverage, method: str) -> None:
    """Raise an error unless the recipe has a meaning for everything that the pass met.

    Errors:
        NotApplicable: a refused activation, one that a rule cannot reach, or none that the recipe needs.
        SurgeryError: no operation depended on a picture that requires a gradient.
    """
    if coverage.refused:
        found = "; ".join(f"{label(kind)} at {_places(where)}" for kind, where in _grouped(coverage.refused).items())
        needs = f"a rule for every operation under {recipe.name}"
        raise NotApplicable(method, needs, f"there is none for {found}", ALTERNATIVES)
    if not coverage.met and not coverage.unruled:
        raise SurgeryError(
            f"{method} ran a forward pass in which nothing depends on a tensor that requires a gradient; "
            "give the model a picture with requires_grad=True and leave gradients enabled"
        )
    wanted = " or ".join(sorted(label(kind) for kind in recipe.needs)) or "operations with a rule"
    refused = [(kind, path) for kind, path in coverage.plain if kind in recipe.refuses]
    if refused:
        found = "; ".join(f"{label(kind)} at {_places(where)}" for kind, where in _grouped(refused).items())
        raise NotApplicable(
            method, f"activations with an on/off gate ({wanted})", f"the model uses {found}", ALTERNATIVES
        )
    if coverage.unruled:
        found = "; ".join(f"{label(kind)} at {_places(where)}" for kind, where in _grouped(coverage.unruled).items())
        needs = "every activation in the open: no checkpointing, no own autograd.Function, no scripted function"
        raise NotApplicable(method, needs, f"the model hides {found}", ALTERNATIVES)
    if recipe.needs and not any(coverage.ruled.get(kind) for kind in recipe.needs):
        raise NotApplicable(method, f"at least one {wanted}", "the model has none", ALTERNATIVES)


def label(kind: str) -> str:
    """Return the kind as people write it."""
    return LABELS.get(kind, kind.replace("_", " "))


def _plural(kind: str, count: int) -> str:
    word = label(kind)
    return f"{word}s" if count > 1 and word.endswith("gate") else word


def _grouped(pairs: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for kind, path in pairs:
        groups.setdefault(kind, []).append(path)
    return groups


def _places(paths: list[str]) -> str:
    counts = Counter(path or "the model itself" for path in paths)
    named = [f"{path} (×{count})" if count > 1 else path for path, count in counts.items()]
    more = f" and {len(named) - PLACES} more places" if len(named) > PLACES else ""
    return ", ".join(named[:PLACES]) + more
