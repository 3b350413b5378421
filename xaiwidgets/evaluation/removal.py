"""Pictures that lose or gain their pixels in an order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Choice
from xaiwidgets.data.scenes import Scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.core.scores import Score
    from xaiwidgets.model.model import Model

#: What stands where a pixel was.
SUBSTRATES = Choice(("mean", "blur", "noise", "gray", "black", "invert", "inpaint"))
#: The blurred picture of Petsiuk et al. 2018: the side of its kernel and its standard deviation, in pixels.
KERNEL, SIGMA = 11, 5.0


def substrate(model: Model, image: Tensor, name: str, rng: np.random.Generator) -> Tensor | None:
    """Return what a picture ``(1, C, H, W)`` becomes in the end; ``None`` for ``inpaint``, which depends on the rest.

    ``mean``: the data set's mean color; ``blur``: as for RISE, with the mean color around the picture; ``noise``:
    independent uniform numbers from black to white; ``invert``: black for white (Bach et al. 2015).
    """
    import torch

    from xaiwidgets.engine.baselines import baseline

    name = SUBSTRATES.check("substrate", name)
    if name == "inpaint":
        return None
    if name == "blur":
        return _blurred(image)
    if name == "noise":
        drawn = rng.random((*image.shape[2:], image.shape[1]), dtype=np.float32)
        return model.from_pixels(drawn).to(image)
    if name == "invert":
        black, white = (baseline(model, image, one) for one in ("black", "white"))
        return black + white - image
    return baseline(model, image, name).to(memory_format=torch.channels_last)


def _blurred(image: Tensor) -> Tensor:
    import torch
    from scipy.ndimage import gaussian_filter1d
    from torch.nn import functional

    point = np.zeros(KERNEL)
    point[KERNEL // 2] = 1
    line = torch.as_tensor(gaussian_filter1d(point, SIGMA)).to(image)
    channels = image.shape[1]
    down = line.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
    half = functional.conv2d(image, down, padding=(KERNEL // 2, 0), groups=channels)
    return functional.conv2d(half, down.transpose(2, 3), padding=(0, KERNEL // 2), groups=channels)


def inpainted(image: Tensor, shown: Tensor) -> Tensor:
    """Return ``image (1, C, H, W)`` with pixels that are not ``shown (H, W)`` filled from those around them.

    The nearest known pixels are averaged, from fine to coarse and back (pull and push, Gortler et al. 1996). Where
    nothing is known, the picture's mean color stands.
    """
    import torch
    from torch.nn import functional

    weight = shown.to(image.dtype)[None, None]
    levels = [(image * weight, weight)]
    while max(levels[-1][0].shape[2:]) > 1:
        color, weight = (functional.avg_pool2d(part, 2, ceil_mode=True) for part in levels[-1])
        known = weight.clamp_min(torch.finfo(image.dtype).tiny)
        weight = (4 * weight).clamp_max(1)
        levels.append((color / known * weight, weight))
    color, weight = levels.pop()
    found = color + (1 - weight) * image.mean(dim=(2, 3), keepdim=True)
    for color, weight in reversed(levels):
        size = (color.shape[2], color.shape[3])
        found = color + (1 - weight) * functional.interpolate(found, size, mode="bilinear", align_corners=False)
    return found


@dataclass(frozen=True, eq=False)
class Path:
    """A picture that is taken away, or built up, part by part.

    Attributes:
        name: of the ranking.
        rank: ``(H, W)``, when a pixel's turn is, from 0; pixels of one part share theirs.
        image: input ``(1, C, H, W)``. ``base``: what stands where it is not shown; ``None`` is inpainted.
        insert: whether pixels appear, in place of vanishing.
    """

    name: str
    rank: Tensor
    image: Tensor
    base: Tensor | None
    insert: bool = False
    length: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", int(self.rank.max()) + 1)

    def write(self, out: Tensor, count: int) -> None:
        """Write the picture after ``count`` parts into ``out (C, H, W)``."""
        import torch

        shown = self.rank < count if self.insert else self.rank >= count
        if self.base is None:
            out.copy_(inpainted(self.image, shown)[0])
        else:
            torch.where(shown, self.image[0], self.base[0], out=out)

    def key(self, count: int) -> tuple[int, ...]:
        """Return what two paths have in common at ``count`` if their pictures are the same."""
        if count <= 0 or count >= self.length:
            whole = self.insert == (count > 0)
            return (id(self.image),) if whole else (id(self.image), id(self.base))
        return (id(self), count)


def path(name: str, rank: NDArray[Any], image: Tensor, base: Tensor | None, *, insert: bool = False) -> Path:
    """Return a path for ranks given as an array ``(H, W)``."""
    import torch

    return Path(name, torch.as_tensor(np.asarray(rank, np.int32)).to(image.device), image, base, insert)


def at(score: Score, model: Model, image: Any, count: int) -> NDArray[np.uint8]:
    """Return the picture ``(H, W, 3)`` of a finished score after ``count`` pixels, as the network saw it.

    For scores whose ``details`` hold an ``order``, such as deletion and insertion. ``reel`` is faster for many counts.

    Args:
        score: of this picture.
        model: that was evaluated.
        image: as it was given to ``evaluate``.
        count: pixels that are gone, or there; clipped to those of the picture.
    """
    fitted = isinstance(image, Scene)
    return reel(score, model, model.from_pixels(image.fitted(model.preprocessing)) if fitted else model.input(image))(
        count
    )


def reel(score: Score, model: Model, pixels: Tensor) -> Callable[[int], NDArray[np.uint8]]:
    """Return what makes the picture of a score after a count of pixels, without any pass; see ``at``.

    Args:
        score: as for ``at``.
        model: that was evaluated.
        pixels: the model's input ``(1, C, H, W)``.
    """
    import torch

    order = np.asarray(score.details["order"])
    rank = np.empty(order.size, np.int32)
    rank[order] = np.arange(order.size, dtype=np.int32)
    base = substrate(model, pixels, str(score.details["substrate"]), np.random.default_rng([score.seed, 0]))
    along = path("", rank.reshape(pixels.shape[2:]), pixels, base, insert=bool(score.details["insert"]))

    def made(count: int) -> NDArray[np.uint8]:
        out = torch.empty_like(pixels)
        along.write(out[0], int(np.clip(count, 0, order.size)))
        return picture(model, out)

    return made


def picture(model: Model, image: Tensor) -> NDArray[np.uint8]:
    """Return an input ``(1, C, H, W)`` as a picture ``(H, W, 3)``."""
    pixels = np.clip(model.to_pixels(image), 0, 1)
    found: NDArray[np.uint8] = np.round(np.repeat(pixels, 3 // pixels.shape[2], axis=2) * 255).astype(np.uint8)
    return found
