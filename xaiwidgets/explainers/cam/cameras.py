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
PASS, PIXELS = 0.55, 0.45
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
        kept = Fusion(size_of(image), self.upsampling)
        answers: list[int] = []
        used: list[bool] = []
        scores: list[float] = []
        sizes = self.sizes(size_of(image), layer)
        for size in sizes:
            found = _at(model, image, target, layer, size)
            answers.append(int(found.outputs.argmax()))
            used.append(not self.agreeing or answers[-1] == answers[0])
            scores.append(float(found.score[0]))
            if used[-1]:
                kept.add(found.layers[layer.name])
            left_out = used.count(False)
            notes = (f"{left_out} of {len(used)} sizes left out: another class comes first there.",)
            yield Attribution(
                values=to_numpy(kept.map()),
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
    made = Fusion(size, upsampling)
    for pair in pairs:
        made.add(pair)
    return made.map()


class Fusion:
    """What ``fused`` returns, of one size after another: what is known of those before is not done again."""

    def __init__(self, size: tuple[int, int], upsampling: str) -> None:
        self.size, self.upsampling = size, upsampling
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.ways: list[tuple[Tensor, Tensor]] = []  # matrices that enlarge along rows, (H, h), and columns, (w, W)
        self.total: Tensor | None = None  # of the products of all activations with all gradients; unless too large

    def add(self, pair: tuple[Tensor, Tensor]) -> None:
        """Take a size in."""
        new = len(self.pairs)
        activation = pair[0]
        rows = _enlarging(activation.shape[2], self.size[0], self.upsampling, activation).T
        self.pairs.append(pair)
        self.ways.append((rows, _enlarging(activation.shape[3], self.size[1], self.upsampling, activation)))
        if new == 0:
            self.total = activation.new_zeros(self.size)
        if sum(a.shape[2] * a.shape[3] for a, _ in self.pairs) ** 2 > 4 * AT_ONCE:
            self.total = None
        if self.total is not None:  # few positions: the channels are summed first, for each pair of positions
            for old in range(new):
                self.total += self._product(old, new)
                self.total += self._product(new, old)
            self.total += self._product(new, new)

    def map(self) -> Tensor:
        """Return the map over the sizes so far, ``(1, 1, H, W)``."""
        total = self._enlarged() if self.total is None else self.total / len(self.pairs) ** 2
        return total.clamp_min(0)[None, None]

    def _product(self, first: int, second: int) -> Tensor:
        """Return the sum over channels of one size's activations, enlarged, times another's gradients, enlarged."""
        import torch

        one, other = self.pairs[first][0], self.pairs[second][1]
        (down, along), (down_too, along_too) = self.ways[first], self.ways[second]
        products = one[0].flatten(1).T @ other[0].flatten(1)
        between = (down @ products.reshape(one.shape[2], -1)).reshape(self.size[0], one.shape[3], *other.shape[2:])
        between = torch.einsum("xi,xaib->xab", down_too, between)
        return ((between @ along_too) * along).sum(dim=1)

    def _enlarged(self) -> Tensor:
        """Return the product of the mean maps at the size of the photo, some channels at a time."""
        import torch

        # enlarging is linear along each axis: all maps of a kind at once, side by side, by products of matrices
        down = torch.cat([rows for rows, _ in self.ways], dim=1) / len(self.pairs)
        total, channels = down.new_zeros(self.size), self.pairs[0][0].shape[1]
        count = max(1, AT_ONCE // (self.size[0] * self.size[1]))
        for start in range(0, channels, count):
            part = slice(start, start + count)
            activation, gradient = (
                down @ torch.cat([maps[0, part] @ way[1] for maps, way in zip(kind, self.ways, strict=True)], dim=1)
                for kind in zip(*self.pairs, strict=True)
            )
            total += (activation * gradient).sum(dim=0)
        return total


def _enlarging(length: int, size: int, upsampling: str, like: Tensor) -> Tensor:
    """Return the matrix ``(length, size)`` that enlarges a row of a map."""
    import torch
    from torch.nn import functional

    unit = torch.eye(length, dtype=like.dtype, device=like.device)[None]
    if upsampling == "nearest":
        return functional.interpolate(unit, size=size, mode="nearest")[0]
    return functional.interpolate(unit, size=size, mode="linear", align_corners=False)[0]
