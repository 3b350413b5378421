"""CLEAR: which class each place speaks for most, and how much."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Flag, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.explainers.cam.pooled import enlarged, head_of, notes_of, only_classes
from xaiwidgets.explainers.onepass import size_of
from xaiwidgets.surgery.recipes import desalinet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target
    from xaiwidgets.surgery.recipes import Recipe

NOT_SPECIFIC = (
    "This network has no max-pooling: only the start of the way back depends on the photo, not the way itself."
)
#: More classes than this cannot be told apart by their color.
MOST_CLASSES = 10


@explainer(
    title="CLEAR",
    family="cam",
    idea="All classes in one picture: which class each place speaks for most, by color, and how strongly.",
    cite="Kumar, Wong, Taylor 2017",
    paper="arXiv:1704.04133",
    section="2.3.7",
    needs=("gap_head",),
    signed=False,
    formula="D(x) = max over classes of R(x|c);  Ĉ(x) = argmax over classes of R(x|c)",
    how="Each class has a response at each place: its class activation map. The response of a class is shown as it is, "
    "enlarged, or sent back to the pixels through transposed filters and remembered pooling places. At each place the "
    "class with the largest response gives the color, and the response itself the brightness.",
    caution="Does not depend on the class that was chosen: it compares the ten that score highest. A place always "
    "belongs to some class, so look at the brightness first. The responses of different classes share no scale that "
    "was learned for this.",
)
class Clear:
    """Dominant response and dominant class over the classes that score highest (Kumar et al. 2017).

    Yields the dominant response ``(1, H, W)``: at level ``feature`` in logits; at level ``pixel`` in squared logits
    per unit of input, after each batch of classes. Shown from 0; where it is negative, every class speaks against.
    ``details``: ``dominant``, the index of the dominant class ``(H, W)``; ``classes``, rows of (index, label, share of
    the pixels), in the order of their indices if all are compared, else of their scores.

    Raises:
        NotApplicable: the network has no head of global average pooling, a hidden unit is asked for, or an activation
            has no backward rule (level ``pixel``).
    """

    level: str = knob(
        "feature",
        Choice(("feature", "pixel")),
        label="Level",
        help="feature: class activation maps, enlarged; pixel: the paper's way back to the photo.",
    )
    rectify: bool = knob(
        True, Flag(), label="Rectify", help="At level pixel: signals are rectified at each ReLU.", advanced=True
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the most (forward, backward) passes of one image that it can take."""
        return (1, 0) if self.level == "feature" else (1 + MOST_CLASSES, MOST_CLASSES)

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: at level pixel, one of each a class."""
        count = min(model.classes, MOST_CLASSES)
        return (1, 0) if self.level == "feature" else (1 + count, count)

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the dominant response so far, after each batch of classes."""
        import torch

        from xaiwidgets.engine.batching import batch_size

        only_classes("clear", target)
        head = head_of("clear", model)
        maps, scores = model.pooled(image)
        order = scores[0].topk(min(model.classes, MOST_CLASSES)).indices
        pixels = self.level == "pixel"
        few = len(order) < model.classes
        told = f"The {len(order)} of {model.classes} classes that score highest" if few else f"All {len(order)} classes"
        result = partial(
            Attribution,
            unit="logit² per unit of input" if pixels else "logit",
            signed=False,
            size=size_of(image),
            layer=head.layer,
            score=float(scores[0].max()),
            notes=(
                f"{told} are compared; which of them was chosen plays no part.",
                *((NOT_SPECIFIC,) if pixels and "max_pool" not in model.offers else ()),
                *notes_of(model, head),
            ),
        )
        if not pixels:
            responses = enlarged(head.class_maps(maps)[:, order], size_of(image))[0]
            yield result(**_dominant(model, responses, order))
            return
        # transposed filters and un-pooling, whatever the units did in the forward pass
        recipe = dataclasses.replace(desalinet(relu_mask=False, rectify=self.rectify), name="CLEAR", needs=frozenset())
        found: list[Tensor] = []
        for some in torch.split(order, batch_size(model, gradient=True)):
            found += _sent_back(model, image, head.weight[some], recipe)
            values = _dominant(model, torch.stack(found), order[: len(found)])
            yield result(progress=len(found) / len(order), **values)


def _sent_back(model: Model, image: Tensor, kernels: Tensor, recipe: Recipe) -> Tensor:
    """Return the responses ``(n, H, W)`` of some classes, sent back to the pixels and summed over the channels.

    Raises:
        NotApplicable: an activation has no backward rule; the message names it.
    """
    from xaiwidgets.surgery.mode import check

    passed = model.responses(image.expand(len(kernels), -1, -1, -1), kernels, recipe)
    if passed.coverage is None:
        raise RuntimeError("a pass under backward rules must report what they covered")
    check(recipe, passed.coverage, "clear")
    return passed.input.sum(dim=1)


def _dominant(model: Model, responses: Tensor, order: Tensor) -> dict[str, Any]:
    """Return values and details of the largest of the responses ``(n, H, W)`` of the classes in ``order``."""
    values, which = responses.max(dim=0)
    share = which.flatten().bincount(minlength=len(order)).double() / which.numel()
    rows = list(zip(order.tolist(), share.tolist(), strict=True))
    if len(order) == model.classes:  # each keeps its color from photo to photo
        rows.sort()
    return {
        "values": values[None].float().cpu().numpy(),
        "details": {
            "dominant": order[which].cpu().numpy(),
            "classes": tuple((index, model.labels.short(index), part) for index, part in rows),
        },
    }
