"""What explainers share, most of all those of one pass, so that each file holds only its own idea."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.results import Attribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.propagate import Propagation, Start
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.ledger import Ledger
    from xaiwidgets.surgery.policy import Policy
    from xaiwidgets.surgery.recipes import Recipe


@dataclass(frozen=True)
class Raw:
    """Attributions of a batch.

    Attributes:
        values: ``(N, C, h, w)``. ``scores``: ``(N,)``.
        notes: for the reader. ``layer``: the explained layer, if any.
        gap: completeness error of the first picture, where that is defined.
        details: further numbers about the first picture, by name (receipts, see ``receipts``).
    """

    values: Tensor
    scores: Tensor
    notes: tuple[str, ...] = ()
    layer: str = ""
    gap: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class OnePass:
    """Mixin: ``steps`` for explainers that define ``raw(model, images, target) -> Raw`` over a batch.

    With ``exact``, a single picture is explained on the network as it was built: a pass more or less does not matter
    then, and the numbers are those of plain PyTorch. Averages of many passes take the fast copy.
    """

    exact: ClassVar[bool] = False

    def raw(self, model: Model, images: Tensor, target: Target) -> Raw:
        """Return the attributions of a batch of inputs ``(N, C, H, W)``."""
        raise NotImplementedError

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image that a picture of this size (H, W) takes."""
        return 1, 1

    def unit(self, target: Target) -> str:
        """Return what the values are measured in."""
        return f"{target.unit} per unit of input"

    @property
    def view(self) -> dict[str, Any]:
        """Fields of the Attribution that say how to look at the values."""
        return {"reduction": "sum", "signed": True}

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the one result."""
        raw = self.raw(model.exactly() if self.exact else model, image, target)
        yield Attribution(
            values=to_numpy(raw.values),
            unit=self.unit(target),
            size=size_of(image),
            layer=raw.layer,
            score=float(raw.scores[0]),
            notes=raw.notes,
            gap=raw.gap,
            details=raw.details,
            **self.view,
        )


def size_of(image: Tensor) -> tuple[int, int]:
    """Return the height and the width of an input ``(N, C, H, W)``."""
    height, width = image.shape[-2:]
    return height, width


def to_numpy(values: Tensor) -> Any:
    """Return the first of a batch ``(N, C, h, w)`` as a float32 array ``(C, h, w)``."""
    return values[0].detach().float().cpu().contiguous().numpy()


def ruled_gradient(method: str, model: Model, images: Tensor, target: Target, recipe: Recipe) -> tuple[Gradients, str]:
    """Return the gradients under backward rules, and the receipt of what the rules covered.

    Raises:
        NotApplicable: the rules met no operation they need, or one they have no rule for.
    """
    from xaiwidgets.surgery.mode import check

    found = model.gradient(images, target, recipe=recipe)
    if found.coverage is None:
        raise RuntimeError("a pass under backward rules must report what they covered")
    check(recipe, found.coverage, method)
    return found, found.coverage.sentence()


def covered(found: Gradients | Propagation) -> dict[str, Any]:
    """Return the details of a ruled pass: which operations its rules covered, by layer."""
    return {} if found.coverage is None else {"coverage": found.coverage.rows()}


def ruled_pass(
    method: str,
    model: Model,
    images: Tensor,
    target: Target,
    policy: Callable[[], Policy],
    *,
    start: Start | None = None,
    layers: Iterable[str] = (),
    wrt_input: bool = True,
) -> tuple[Propagation, Any]:
    """Return what arrived under a policy, and the policy with what it wrote down (see ``Model.propagate``).

    Raises:
        NotApplicable: the policy has no meaning for an operation of the network, which the message names.
    """
    from xaiwidgets.model.propagate import value_start
    from xaiwidgets.surgery.mode import check

    found, used = model.propagate(
        images, target, policy, start=start or value_start, layers=layers, wrt_input=wrt_input
    )
    check(used, found.coverage, method)
    return found, used


def receipts(found: Propagation, ledger: Ledger, arrived: Tensor) -> dict[str, Any]:
    """Return the details that the app shows as receipts: coverage by layer, and where the relevance went.

    Args:
        found: what the pass gave.
        ledger: of its policy.
        arrived: relevance at the explained layer or input, ``(N, C, h, w)``; the first picture's is accounted for.
    """
    start = float(found.starts[0][0].double().sum())
    return {
        **covered(found),
        "explained": start,
        "receipt": ledger.receipt(start, float(arrived[0].double().sum())),
        "receipt_layers": ledger.layers(),
    }
