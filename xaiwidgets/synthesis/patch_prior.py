"""One run of patch prior visualization: an ascent whose picture is pulled to what its patches look like in photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.synthesis import regularizers
from xaiwidgets.synthesis.ascent import Ascent
from xaiwidgets.synthesis.climb import direction, follow
from xaiwidgets.synthesis.patch_library import make_library, make_places
from xaiwidgets.synthesis.poses import Pose, draw_pose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.synthesis.patch_library import PatchLibrary, Places
    from xaiwidgets.synthesis.reading import Reading

#: How far a pixel is from its patches, in gray levels, where a weight of 1 pulls as much as the network does.
BALANCE = 1000.0
#: Pictures that a library is made of at most, and at least: of fewer, all patches would be of one scene.
MOST, LEAST = 64, 3
#: Share of the steps that are made at half the size where the rest is at full size.
COARSE = 2 / 3


@dataclass(frozen=True)
class Enlarged(Pose):
    """How a picture that is made at the size ``work`` is shown to a network whose input has the size ``full``."""

    work: tuple[int, int] = (0, 0)
    full: tuple[int, int] = (0, 0)

    def show(self, picture: Tensor) -> Tensor:
        """Return the view of a picture ``(N, C, *work)``."""
        return super().show(_resized(picture, self.full))

    def back(self, gradient: Tensor) -> Tensor:
        """Return the derivative with respect to the picture, from that with respect to the view."""
        import torch

        moved = super().back(gradient)
        if self.work == self.full:
            return moved
        with torch.inference_mode(False), torch.enable_grad():
            leaf = moved.new_zeros((*moved.shape[:2], *self.work)).requires_grad_()
            (found,) = torch.autograd.grad(_resized(leaf, self.full), leaf, moved.clone())
        return found


class PatchPrior(Ascent):
    """A run in progress; see ``Ascent``. ``picture``, ``gradient`` and ``motion`` have the size that is worked at.

    Attributes:
        nearest: for every patch of the picture the index of the one in the library that it is pulled to.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = (*Ascent.ARRAYS, "nearest")
    nearest: Tensor

    def __init__(self, method: Any, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        from xaiwidgets.model.references import find_references

        super().__init__(method, model, target, photo)
        self.set = find_references(method.references)
        if len(self.set) < LEAST:
            raise InvalidKnob(
                f"references must have at least {LEAST} pictures to take patches from; {method.references!r} has "
                f"{len(self.set)}. Register a folder with xaiwidgets.reference_set(name, folder)."
            )
        self._work = self._full
        self._places: dict[tuple[int, int], Places] = {}
        for step in {1, self.planned}:
            self.places(*self.size_at(step))

    def begin(self) -> None:
        """Start from the canvas' picture at the size of the first step."""
        picture = self.canvas.start(self.method.start, self.photo, self.random)
        self.picture = _resized(picture, self.size_at(1))
        self.motion = self.picture.new_zeros(self.picture.shape)
        self.nearest = self._search()
        self.gradient, _, finite = self._pass(self.picture)
        if not finite:
            self.stop("the score or its gradient is not finite on the start picture; choose another start")

    def advance(self) -> None:
        """Do one step, at full size from the one on that is due, with patches looked up again when they are due."""
        size = self.size_at(self.step + 1)
        if tuple(self.picture.shape[2:]) != size:
            self.picture, self.motion = _resized(self.picture, size), _resized(self.motion, size)
            self.nearest = self._search()
            self.gradient, _, _ = self._pass(self.picture)
        elif self.step and self.step % self.method.refresh == 0:
            self.nearest = self._search()
        super().advance()

    def moved(self) -> tuple[Tensor, Tensor]:
        """Return the picture after ascent and pull, and the running mean of directions.

        The pull is implicit, at where the picture will be: it stays stable however strong it is.
        """
        method = self.method
        motion = follow(self.motion, direction(self.gradient, "rms", 0.0), method.momentum)
        ascent = motion
        if method.total_variation:
            ascent = ascent - method.total_variation * regularizers.tv_gradient(self.picture)
        pull = method.step_size * method.patch_weight / BALANCE
        if not pull:
            return self.picture + method.step_size * ascent, motion
        return (self.picture + method.step_size * ascent + pull * self.quilt()) / (1 + pull), motion

    def bounded(self, picture: Tensor) -> Tensor:
        """Return the picture with colors that can be shown."""
        return self.canvas.clip(picture)

    def pose(self) -> Pose:
        """Return how the network is shown the picture: at its own size, moved at random."""
        shift = draw_pose(self.random, self.method.jitter).shift
        return Enlarged(shift, work=self._work, full=self._full)

    def _pass(self, picture: Tensor) -> tuple[Tensor, Reading, bool]:
        self._work = (int(picture.shape[2]), int(picture.shape[3]))
        return super()._pass(picture)

    def measured(self, reading: Reading) -> dict[str, float]:
        """Return the mean distance between the picture's patches and those it is pulled to, colors from 0 to 1."""
        return {"patch distance": self._distance()}

    def pixels(self) -> NDArray[np.float32]:
        """Return the picture as the network is shown it."""
        return self.canvas.pixels(_resized(self.picture, self._full))

    def terms(self) -> dict[str, float]:
        """Return norm, total variation, and the share of the patches that each photo gives."""
        return {**super().terms(), **{f"patches of {name}": share for name, share in self._shares().items()}}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the picture put together of the patches that this one is pulled to."""
        shares = sorted(self._shares().items(), key=lambda pair: -pair[1])[:3]
        words = ", ".join(f"{name} {share:.0%}" for name, share in shares)
        return (Exhibit(self.canvas.pixels(_resized(self.quilt(), self._full)), f"nearest patches of photos: {words}"),)

    @property
    def _full(self) -> tuple[int, int]:
        return int(self.canvas.shape[2]), int(self.canvas.shape[3])

    def size_at(self, step: int) -> tuple[int, int]:
        """Return the height and width that a step is made at."""
        height, width = self._full
        detail = self.method.detail
        if detail == "full" or (detail == "half, then full" and step > COARSE * self.planned):
            return height, width
        return max(1, height // 2), max(1, width // 2)

    def places(self, height: int, width: int) -> Places:
        """Return where the patches of a picture of this size lie."""
        if (height, width) not in self._places:
            made = make_places(height, width, self.method.patch, self.method.stride, self.canvas.like)
            self._places[height, width] = made
        return self._places[height, width]

    def library(self, height: int, width: int) -> PatchLibrary:
        """Return the patches of the photos at this size; made once a network."""
        from xaiwidgets.engine.references import images_of

        method = self.method
        chosen = self.set.chosen(MOST)

        def make() -> PatchLibrary:
            photos = images_of(self.model, method.references, MOST) * self.canvas.std
            small = _resized(self.canvas.clip(photos), (height, width))
            return make_library(small, method.patch, method.patches, method.components, method.seed)

        settings = (method.patch, method.patches, method.components, method.seed)
        key = ("patches", self.set.content or self.set.names, chosen, height, width, *settings)
        return self.model.remember(key, make)  # type: ignore[no-any-return]

    def quilt(self) -> Tensor:
        """Return the picture put together of the nearest patches."""
        places, library = self._here()
        return places.put(library.patches[self.nearest])

    def _here(self) -> tuple[Places, PatchLibrary]:
        size = int(self.picture.shape[2]), int(self.picture.shape[3])
        return self.places(*size), self.library(*size)

    def _search(self) -> Tensor:
        places, library = self._here()
        return library.nearest(places.cut(self.picture))

    def _distance(self) -> float:
        places, library = self._here()
        return float((places.cut(self.picture) - library.patches[self.nearest]).norm(dim=1).mean() / 255)

    def _shares(self) -> dict[str, float]:
        library = self._here()[1]
        names = [self.set.names[index] for index in self.set.chosen(MOST)]
        counts = library.source[self.nearest.cpu()].bincount(minlength=len(names)) / len(self.nearest)
        shares: dict[str, float] = {}
        for name, share in zip(names, counts.tolist(), strict=True):  # pictures may share a name
            if share:
                shares[name] = shares.get(name, 0.0) + share
        return shares


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pictures ``(N, C, H, W)`` at another size, bilinear; smoothed first where they get smaller."""
    if tuple(picture.shape[2:]) == size:
        return picture
    from torch.nn import functional

    smaller = size[0] < picture.shape[2]
    return functional.interpolate(picture, size, mode="bilinear", align_corners=False, antialias=smaller)
