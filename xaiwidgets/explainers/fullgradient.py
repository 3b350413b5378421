"""The full-gradient representation of a score, and how its terms become a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xaiwidgets.explainers.onepass import ruled_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.fullgrad import Term

#: Added to what a layer's terms are divided by.
TINY = 1e-6


@dataclass(frozen=True)
class Parts:
    """The full-gradient representation of the scores of a batch.

    Attributes:
        scores: ``(N,)``. ``input``: gradient times input, ``(N, C, H, W)``.
        terms: of all operations. ``rest``: ``(N,)``, the implicit bias of the target, such as of a probability.
        coverage: what each operation was, for the receipt.
    """

    scores: Tensor
    input: Tensor
    terms: tuple[Term, ...]
    rest: Tensor
    coverage: tuple[dict[str, Any], ...]

    def sums(self) -> tuple[Tensor, Tensor]:
        """Return what the input explains, and what the biases do, ``(N,)`` each."""
        given = self.input.flatten(1).double().sum(dim=1)
        return given, sum((term.total for term in self.terms), self.rest.double())

    def gap(self) -> float:
        """Return by how much all terms of the first picture miss its score."""
        given, biases = self.sums()
        return float((given + biases - self.scores.double())[0])

    def receipt(self) -> dict[str, Any]:
        """Return the details about the first picture."""
        given, biases = (float(part[0]) for part in self.sums())
        rows = [{"layer": t.layer, "kind": t.kind, "rule": t.rule, "bias": float(t.total[0])} for t in self.terms]
        return {
            "bias_layers": len(self.terms),
            "accounted": given + biases,
            "receipt": {"start": float(self.scores[0]), "input": given, "bias": biases, "dropped": -self.gap()},
            "receipt_layers": tuple(reversed(rows)),
            "coverage": self.coverage,
        }

    def note(self) -> str:
        """Return in words what is in the picture."""
        shown = sum(term.map is not None for term in self.terms)
        implicit = sum(term.rule == "implicit bias" for term in self.terms)
        more = f", {implicit} of them implicit" if implicit else ""
        return f"{len(self.terms)} bias terms{more}; the {shown} with places are in the map."


def decomposed(
    model: Model,
    images: Tensor,
    target: Target,
    take: Callable[[Tensor], Tensor],
    *,
    simple: bool = False,
) -> Parts:
    """Return the full gradients of a batch.

    Args:
        model: under study.
        images: inputs ``(N, C, H, W)``.
        target: what is explained.
        take: what to keep of the terms ``(N, C, h, w)`` of each layer.
        simple: gradients at layers with a bias in place of bias terms.

    Raises:
        NotApplicable: an operation hides from interception; the message names it.
    """
    from xaiwidgets.model.propagate import slope
    from xaiwidgets.surgery.fullgrad import FullGradPolicy

    rest: list[Tensor] = []

    def start(source: Tensor, scores: Tensor) -> Sequence[Tensor]:
        signal = slope(source, scores)
        rest.append(scores.detach() - (signal * source.detach()).flatten(1).sum(dim=1))
        return (signal,)

    def policy() -> FullGradPolicy:
        return FullGradPolicy(take, simple=simple)

    found, used = ruled_pass("fullgrad", model, images, target, policy, start=start)
    return Parts(found.score, found.inputs[0] * images, tuple(used.terms), rest[0], found.coverage.rows())


def rescaled(terms: Tensor) -> Tensor:
    """Return the sizes of a layer's terms ``(N, C, h, w)``, stretched to [0, 1] and added over channels."""
    sizes = terms.abs()
    low, high = sizes.amin(dim=(1, 2, 3), keepdim=True), sizes.amax(dim=(1, 2, 3), keepdim=True)
    return (sizes.sum(dim=1, keepdim=True) - sizes.shape[1] * low) / (high - low + TINY)


def pile(layers: Sequence[Tensor], size: Sequence[int] = ()) -> Tensor:
    """Return the sum of maps ``(N, 1, h, w)``, enlarged to ``size`` or to that of the first."""
    from torch.nn import functional

    wanted = tuple(size or layers[0].shape[-2:])
    sums: dict[tuple[int, ...], Tensor] = {}
    for layer in layers:  # enlarging is linear: maps of one size are added first
        shape = tuple(layer.shape[-2:])
        sums[shape] = sums[shape] + layer if shape in sums else layer
    found = [functional.interpolate(one, wanted, mode="bilinear", align_corners=True) for one in sums.values()]
    return sum(found[1:], found[0])


def summed(terms: Tensor) -> Tensor:
    """Return the sum of a layer's terms over the batch."""
    return terms.sum(dim=0, keepdim=True)
