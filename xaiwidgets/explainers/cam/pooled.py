"""What the maps of a head of global average pooling share: the linear map of a target, boxes, and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.errors import NotApplicable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.head import Head
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

    #: (top, left, bottom, right) in pixels, the last two not included.
    Box = tuple[int, int, int, int]

BEFORE_SOFTMAX = "The network ends in a softmax: the scores before it are explained."


def threshold_knob(of: str) -> Any:
    """Return the knob for where a box is cut out; ``of``: of what it is a share."""
    return knob(
        0.2,
        Range(0.05, 0.95, step=0.05),
        label="Box from",
        help=f"The box holds the largest connected part of the map above this share of {of}.",
        advanced=True,
    )


def head_of(method: str, model: Model) -> Head:
    """Return the head of a model.

    Raises:
        NotApplicable: it has none, though an earlier look had found one: its weights have changed.
    """
    head = model.gap_head()
    if head is None:
        needs = "a head of global average pooling and one linear map"
        raise NotApplicable(method, needs, f"{model.name} does not have that", ["grad_cam"])
    return head


def notes_of(model: Model, head: Head | None) -> tuple[str, ...]:
    """Return what a reader of these maps should know about the network."""
    return model.remarks + ((BEFORE_SOFTMAX,) if head is not None and head.before_softmax else ())


def kernel(head: Head, target: Target) -> tuple[Tensor, float]:
    """Return the weights ``(C,)`` and the bias with which a target's score is made of the pooled map."""
    chosen = list(target.classes)
    weight, bias = head.weight[chosen].sum(dim=0), head.bias[chosen].sum()
    if target.minus is not None:
        weight, bias = weight - head.weight[target.minus], bias - head.bias[target.minus]
    return weight, float(bias)


def only_classes(method: str, target: Target) -> None:
    """Raise ``NotApplicable`` for a hidden unit: these maps are about the network's classes."""
    if target.layer:
        raise NotApplicable(
            method, "classes", f"{target.name} is a hidden unit, and the map does not depend on it", ["cam", "grad_cam"]
        )


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps ``(N, K, h, w)`` at a size (H, W), bilinearly, corners not aligned."""
    from torch.nn import functional

    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def box_of(values: Tensor, size: tuple[int, int], share: float, *, low: float = 0.0) -> Box | None:
    """Return the tight box of the largest connected part of a map above a share of its range.

    Args:
        values: the map ``(h, w)``; it is enlarged bilinearly.
        size: (H, W) of the picture.
        share: of the way from ``low`` to the maximum.
        low: where the range starts.

    Returns:
        (top, left, bottom, right) in pixels of ``size``, the last two not included; ``None`` for a map that has nothing
        above ``low``.
    """
    from skimage.measure import label, regionprops

    found: NDArray[Any] = enlarged(values[None, None], size)[0, 0].cpu().numpy()
    top = float(found.max())
    if not top > low:
        return None
    parts = regionprops(label(found >= low + share * (top - low), connectivity=1))
    first, start, last, end = max(parts, key=lambda part: part.area).bbox
    return int(first), int(start), int(last), int(end)
