"""What explainers share, most of all those of one pass, so that each file holds only its own idea."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.results import Attribution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.recipes import Recipe


@dataclass(frozen=True)
class Raw:
    """Attributions of a batch: values ``(N, C, h, w)``, scores ``(N,)``, notes for the reader, the layer if any."""

    values: Tensor
    scores: Tensor
    notes: tuple[str, ...] = ()
    layer: str = ""


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
