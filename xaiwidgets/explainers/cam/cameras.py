"""CAMERAS: a class activation map at the photo's resolution, from several sizes of the photo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from xaiwidgets.core.cards import cards, explainer
from xaiwidgets.core.knobs import Choice, Flag, LayerName, Range, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.errors import NotApplicable
from xaiwidgets.explainers.cam.weighting import layer_for
from xaiwidgets.explainers.onepass import size_of, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from xaiwidgets.model.layers import Layer
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Target

#: A pass that ends at the layer, and what each further picture's worth of pixels adds to it with all that enlarges the
#: photo and the maps, in whole gradient passes.
PASS, PIXELS = 0.5, 0.45
#: Numbers that are enlarged at a time: a layer of 1,280 channels at the photo's size would fill half a gigabyte.
AT_ONCE = 2**20


@explainer(
    title="CAMERAS",
    family="cam",
    idea="A class activation map as fine as the photo: the network looks at it in several sizes.",
    cite="Jalwana, Akhtar, Bennamoun, Mian 2021",
    paper="arXiv:2106.10649",
    section="2.3.3",
    needs=("gradient", "spatial", "sizes"),
    signed=False,
    formula="ReLU( Σₖ Āᵏ ⊙ Ḡᵏ ),  Ā and Ḡ: means over sizes of the enlarged Aᵏ and ∂y/∂Aᵏ",
    how="The photo is enlarged step by step. At each size the layer's activations and gradients are enlarged to the "
    "photo and averaged; the map is the positive part of their product, summed over the channels.",
    caution="Larger photos are not what the network was trained on: its answer may change with the size, see the "
    "scores. Detail comes from where the maps of several sizes agree, not from more resolution in any of them.",
)
class Cameras:
    """Product of mean activation and mean gradient over input sizes (Jalwana et al. 2021, section 4).

    Yields ``(1, H, W)`` at the picture's size, in the unit of the score and at least 0; the authors stretch it to [0,
    1], which is left to the display. ``details``: ``sizes`` (height, width), ``scores`` and ``used`` of each pass.
    Every size counts as one pass of one image, though its time grows with its area.

    Raises:
        NotApplicable: the network does not take pictures of other sizes.
        InvalidLayer: no such layer, or no spatial map.
    """

    alone: ClassVar[bool] = True  # each pass has a size of its own

    layer: str = knob("", LayerName(), label="Layer", help="Empty: the last spatial stage.")
    scales: int = knob(4, Range(1, 8), label="Sizes", help="How many, the network's own among them.")
    largest: float = knob(
        2.0, Range(1.0, 4.5, step=0.25), label="Largest size", help="As a multiple of the network's own.", unit="×"
    )
    agreeing: bool = knob(
        False,
        Flag(),
        label="Only where the answer stays",
        help="Leave out sizes at which another class comes first, as the authors do when no class is asked for.",
    )
    upsampling: str = knob(
        "bilinear",
        Choice(("bilinear", "nearest")),
        label="Enlarged",
        help="How maps are brought to the photo's size.",
        advanced=True,
    )

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: one of each a size, whatever the size."""
        return self.scales, self.scales

    def effort_on(self, model: Model, size: tuple[int, int]) -> float:
        """Return how heavy its passes are on the mean, against one at the network's own size: by their pixels."""
        if not model.stages:
            return 1.0
        areas = [height * width / (size[0] * size[1]) for height, width in self.sizes(size, model.layer(self.layer))]
        return PASS + PIXELS * (sum(areas) / len(areas) - 1)

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the map over the sizes so far, after each of them."""
        layer = layer_for("cameras", model, target, self.layer)
        kept: list[tuple[Tensor, Tensor]] = []
        answers: list[int] = []
        used: list[bool] = []
        scores: list[float] = []
        sizes = self.sizes(size_of(image), layer)
        for size in sizes:
            found = _at(model, image, target, layer, size)
            answers.append(int(found.outputs.argmax()))
            used.append(not self.agreeing or answers[-1] == answers[0])
            scores.append(float(found.score[0]))
            kept += [found.layers[layer.name]] if used[-1] else []
            left_out = used.count(False)
            notes = (f"{left_out} of {len(used)} sizes left out: another class comes first there.",)
            yield Attribution(
                values=to_numpy(fused(kept, size_of(image), self.upsampling)),
                unit=target.unit,
                signed=False,
                size=size_of(image),
                progress=len(used) / self.scales,
                layer=layer.name,
                score=scores[0],
                notes=notes if left_out else (),
                details={"sizes": sizes[: len(used)], "scores": tuple(scores), "used": tuple(used)},
            )

    def sizes(self, own: tuple[int, int], layer: Layer) -> tuple[tuple[int, int], ...]:
        """Return the sizes (H, W), evenly spread up to the largest, whole numbers of the layer's positions apart."""
        sides = []
        for side, positions in zip(own, layer.shape[1:], strict=True):
            stride = max(1, round(side / positions))
            room = (self.largest - 1) * side / stride / max(1, self.scales - 1)
            # maps whose positions do not lie on whole strides would be shifted against the photo
            sides.append([side + stride * max(number, int(number * room + 1e-9)) for number in range(self.scales)])
        return tuple(zip(*sides, strict=True))


def _at(model: Model, image: Tensor, target: Target, layer: Layer, size: tuple[int, int]) -> Gradients:
    """Return the pass at this size.

    Raises:
        NotApplicable: the network refuses the size, though it has taken its own.
    """
    from torch.nn import functional

    from xaiwidgets.engine.batching import is_out_of_memory
    from xaiwidgets.engine.run import missing

    own = size_of(image)
    if size == own:
        return model.gradient(image, target, layers=[layer.name], wrt_input=False)
    larger = functional.interpolate(image, size=size, mode="bicubic", align_corners=False)
    shape = model.layer(target.layer).shape if target.layer else ()
    moved = moved_target(target, shape, (size[0] / own[0], size[1] / own[1]))
    try:
        return model.gradient(larger, moved, layers=[layer.name], wrt_input=False)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        works = [
            c.id for c in cards("explainer") if c.family == "cam" and c.cls is not Cameras and not missing(c, model)
        ]
        needs = f"a network that takes pictures of {size[0]} × {size[1]}"
        raise NotApplicable("cameras", needs, f"{model.name} raised {type(error).__name__}: {error}", works) from error


def moved_target(target: Target, shape: tuple[int, ...], factor: tuple[float, float]) -> Target:
    """Return a hidden unit's target at the same place of a map that is larger by ``factor`` (rows, columns)."""
    if isinstance(target.position, str) or len(shape) != 3:
        return target
    place = []
    for index, length, grown in zip(target.position, shape[1:], factor, strict=True):
        # counted from the nearer border, since the number of positions there need not be a whole multiple
        near = int((index + 0.5) * grown) if 2 * index < length else -1 - int((length - index - 0.5) * grown)
        place.append(near)
    return dataclasses.replace(target, position=(place[0], place[1]))


def fused(pairs: Sequence[tuple[Tensor, Tensor]], size: tuple[int, int], upsampling: str) -> Tensor:
    """Return ``(1, 1, H, W)``: the positive part of the product of the mean activation and the mean gradient.

    Args:
        pairs: (activation, gradient), ``(1, K, h, w)`` each, of the sizes so far.
        size: of the map.
        upsampling: ``bilinear`` (corners not aligned) or ``nearest``.
    """
    import torch

    like = pairs[0][0]
    # enlarging is linear along each axis: all maps of a kind at once, side by side, by products of matrices
    rows = [_enlarging(a.shape[2], size[0], upsampling, like).T / len(pairs) for a, _ in pairs]
    columns = [_enlarging(a.shape[3], size[1], upsampling, like) for a, _ in pairs]
    total, channels = like.new_zeros(size), like.shape[1]
    if sum(a.shape[2] * a.shape[3] for a, _ in pairs) ** 2 <= 4 * AT_ONCE:
        # few positions: the channels are summed first, for each pair of positions, and nothing else is enlarged
        for (one, _), down, along in zip(pairs, rows, columns, strict=True):
            for (_, other), down_too, along_too in zip(pairs, rows, columns, strict=True):
                products = one[0].flatten(1).T @ other[0].flatten(1)
                between = (down @ products.reshape(one.shape[2], -1)).reshape(size[0], one.shape[3], *other.shape[2:])
                between = torch.einsum("xi,xaib->xab", down_too, between)
                total += ((between @ along_too) * along).sum(dim=1)
        return total.clamp_min(0)[None, None]
    down = torch.cat(rows, dim=1)
    count = max(1, AT_ONCE // (size[0] * size[1]))
    for start in range(0, channels, count):
        part = slice(start, start + count)
        activation, gradient = (
            down @ torch.cat([maps[0, part] @ along for maps, along in zip(kind, columns, strict=True)], dim=1)
            for kind in zip(*pairs, strict=True)
        )
        total += (activation * gradient).sum(dim=0)
    return total.clamp_min(0)[None, None]


def _enlarging(length: int, size: int, upsampling: str, like: Tensor) -> Tensor:
    """Return the matrix ``(length, size)`` that enlarges a row of a map."""
    import torch
    from torch.nn import functional

    unit = torch.eye(length, dtype=like.dtype, device=like.device)[None]
    if upsampling == "nearest":
        return functional.interpolate(unit, size=size, mode="nearest")[0]
    return functional.interpolate(unit, size=size, mode="linear", align_corners=False)[0]
