"""Common components of a set of pictures: which classes they share by the network's account, and where those are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.results import Attribution, Provenance
from xaiwidgets.errors import InvalidImage
from xaiwidgets.explainers.cam.pooled import box_of, head_of, notes_of
from xaiwidgets.explainers.onepass import size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from xaiwidgets.model.head import Head
    from xaiwidgets.model.model import Model

#: What describes a picture: probabilities of the classes, their logits, or the means of the pooled maps.
VECTORS = ("softmax", "logit", "gap_feature")
UNITS = {"softmax": "logit", "logit": "logit²", "gap_feature": "activation²"}
ALONE = "A single picture has nothing in common with others: this is the sum of its own first components."


@dataclass(frozen=True)
class Group:
    """Pictures that have been looked at, as far as they have come.

    Attributes:
        components: how many of the group's first components make the map.
        vector: what describes a picture, see ``VECTORS``. ``threshold``: of the box.
    """

    head: Head
    components: int
    vector: str
    threshold: float

    def describe(self, maps: Tensor, scores: Tensor) -> Tensor:
        """Return the component vector of each picture, ``(N, K)`` or ``(N, C)``."""
        if self.vector == "gap_feature":
            return maps.mean(dim=(2, 3))
        return scores.softmax(dim=1) if self.vector == "softmax" else scores

    def result(self, model: Model, image: Tensor, maps: Tensor, shared: Tensor, count: int) -> Attribution:
        """Return the map of one picture.

        Args:
            model: under study.
            image: its input.
            maps: its pooled maps ``(1, C, h, w)``.
            shared: the group vector.
            count: how many pictures it is the mean over.
        """
        first = shared.topk(min(self.components, len(shared)))
        weights, chosen = first.values, first.indices
        if self.vector == "gap_feature":
            found, bias = (maps[:, chosen] * weights[:, None, None]).sum(dim=1, keepdim=True), 0.0
        else:
            found = (maps * (weights @ self.head.weight[chosen])[:, None, None]).sum(dim=1, keepdim=True)
            bias = float(weights @ self.head.bias[chosen])
        names = [
            f"channel {index}" if self.vector == "gap_feature" else model.labels.short(index)
            for index in chosen.tolist()
        ]
        flat = found[0, 0]
        size = size_of(image)
        table = tuple(zip(chosen.tolist(), names, map(float, weights), strict=True))
        told = ", ".join(f"{name} ({weight:.2g})" for _, name, weight in table)
        notes = (f"Components of {count} picture{'s' * (count != 1)}: {told}.", *((ALONE,) if count == 1 else ()))
        return Attribution(
            values=to_numpy(found),
            unit=UNITS[self.vector],
            signed=True,
            size=size,
            layer=self.head.layer,
            score=float(flat.mean()) + bias,
            notes=(*notes, *notes_of(model, self.head)),
            details={
                "group": shared.float().cpu().numpy(),
                "components": table,
                "pictures": count,
                "box": box_of(flat, size, self.threshold, low=max(0.0, float(flat.min()))),
            },
        )


def common_components(
    model: Model,
    images: Iterable[Any],
    *,
    components: int = 5,
    vector: str = "softmax",
    threshold: float = 0.2,
) -> list[Attribution]:
    """Return, for each of several pictures, the map of the components that they have in common.

    Args:
        model: with a head of global average pooling.
        images: pictures, each anything that ``read_picture`` takes. Their order does not matter.
        components: how many of the group's first components are added.
        vector: what describes a picture: ``softmax``, ``logit`` or ``gap_feature``.
        threshold: of the boxes, as a share of the range of each map's positive part.

    Returns:
        One attribution a picture, in order; all have the same ``details["group"]`` and ``details["components"]``. See
        ``Ccam``.

    Raises:
        NotApplicable: the network has no such head. InvalidImage: there is no picture. InvalidKnob: an option.
    """
    from xaiwidgets.core.cards import card
    from xaiwidgets.engine.run import check_applicable, versions
    from xaiwidgets.model.pictures import read_picture

    made = card("ccam").make(components=components, vector=vector, threshold=threshold)
    check_applicable(made, model)
    if isinstance(images, (str, bytes)) or not hasattr(images, "__iter__"):
        raise InvalidImage(f"images must be several pictures; got one {type(images).__name__}. Give a list.")
    pictures = [read_picture(image) for image in images]
    if not pictures:
        raise InvalidImage("images must hold at least one picture; got none.")
    group = Group(head_of("ccam", model), components, vector, threshold)
    inputs = [model.input(picture) for picture in pictures]
    seen = [model.pooled(image) for image in inputs]
    shared = mean_of([group.describe(maps, scores) for maps, scores in seen])
    knobs = {"components": components, "vector": vector, "threshold": threshold}
    base = Provenance(
        "ccam", knobs, "common components", model.name, versions=versions(), preprocessing=model.preprocessing
    )
    found = []
    for picture, image, (maps, _) in zip(pictures, inputs, seen, strict=True):
        result = group.result(model, image, maps, shared, len(pictures))
        own = {**vars(base), "image": picture.name, "passes": (len(pictures), 0)}
        found.append(result.replace(provenance=Provenance(**own)))
    return found


def mean_of(vectors: Sequence[Tensor]) -> Tensor:
    """Return the mean of vectors ``(1, K)``, ``(K,)``, in double precision, so that their order does not matter."""
    import torch

    return torch.cat(list(vectors)).double().mean(dim=0).to(vectors[0])
