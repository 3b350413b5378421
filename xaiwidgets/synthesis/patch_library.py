"""Patches of photos, and which of them are nearest to those of a picture: principal components and exact search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    from torch import Tensor

#: Squared distances that are held at once, so that a search stays below a hundred megabytes.
HELD = 8_000_000


@dataclass(frozen=True, eq=False)
class PatchLibrary:
    """Square patches of pictures, in gray levels less the mean color.

    Attributes:
        patches: ``(M, C * side * side)``. ``source``: which picture each is from, ``(M,)``.
        mean: of the patches. ``basis``: principal components, in columns. ``codes``: the patches' coordinates.
    """

    patches: Tensor
    source: Tensor
    mean: Tensor
    basis: Tensor
    codes: Tensor

    def nearest(self, wanted: Tensor) -> Tensor:
        """Return for patches ``(L, C * side * side)`` the index of the nearest one here, ``(L,)``; of equals the first.

        Nearest in the span of the principal components.
        """
        import torch

        coordinates = (wanted - self.mean) @ self.basis
        lengths = self.codes.square().sum(dim=1)
        rows = max(1, HELD // len(self.codes))
        found = [(lengths - 2 * part @ self.codes.T).argmin(dim=1) for part in torch.split(coordinates, rows)]
        return torch.cat(found)


def make_library(photos: Tensor, side: int, count: int, components: int, seed: int) -> PatchLibrary:
    """Return ``count`` patches drawn at random places of photos ``(N, C, H, W)``, as many of each.

    The draws are its own, so that a library that was kept is the one that would be made again.
    """
    import torch

    random = torch.Generator().manual_seed(seed)
    number, _, height, width = photos.shape
    source = torch.arange(count) % number
    tops = torch.randint(0, height - side + 1, (count,), generator=random)
    lefts = torch.randint(0, width - side + 1, (count,), generator=random)
    rows = tops[:, None, None] + torch.arange(side)[None, :, None]
    columns = lefts[:, None, None] + torch.arange(side)[None, None, :]
    patches = photos.permute(0, 2, 3, 1)[source[:, None, None], rows, columns].permute(0, 3, 1, 2).flatten(1)
    mean = patches.mean(dim=0)
    centered = (patches - mean).double()
    # in double precision: photos of one color have a covariance of rounding errors otherwise
    _, vectors = torch.linalg.eigh(centered.T @ centered)
    basis = vectors.flip(1)[:, : min(components, vectors.shape[1])].to(patches.dtype)
    return PatchLibrary(patches, source, mean, basis, (patches - mean) @ basis)


@dataclass(frozen=True, eq=False)
class Places:
    """Where the patches of a picture ``(1, C, H, W)`` lie: every ``stride`` pixels, and at the far borders.

    Attributes:
        pixels: indices into ``H * W``, ``(L, side * side)``. ``times``: in how many patches each pixel is, ``(H, W)``.
    """

    pixels: Tensor
    times: Tensor

    def cut(self, picture: Tensor) -> Tensor:
        """Return the patches ``(L, C * side * side)``."""
        return picture[0].flatten(1)[:, self.pixels].permute(1, 0, 2).flatten(1)

    def put(self, patches: Tensor) -> Tensor:
        """Return the picture whose pixels are the mean over the patches they are in."""
        height, width = self.times.shape
        count, inside = self.pixels.shape
        values = patches.reshape(count, -1, inside).permute(1, 0, 2).flatten(1)
        total = values.new_zeros((values.shape[0], height * width)).index_add_(1, self.pixels.flatten(), values)
        return total.reshape(1, -1, height, width) / self.times


def make_places(height: int, width: int, side: int, stride: int, like: Tensor) -> Places:
    """Return the places of all patches in a picture of this size.

    Raises:
        InvalidKnob: a patch is larger than the picture, or the stride leaves gaps.
    """
    import torch

    if side > min(height, width):
        raise InvalidKnob(
            f"patch must fit the picture, which is made at {height}×{width} pixels; got {side}. "
            "Take a smaller patch, or detail='full'."
        )
    if stride > side:
        raise InvalidKnob(f"stride must be at most the patch, {side} pixels, so that no gaps are left; got {stride}.")

    def starts(length: int) -> list[int]:
        return sorted({*range(0, length - side + 1, stride), length - side})

    corner = torch.tensor([row * width + column for row in starts(height) for column in starts(width)])
    inside = (torch.arange(side)[:, None] * width + torch.arange(side)).flatten()
    pixels = (corner[:, None] + inside).to(like.device)
    times = torch.bincount(pixels.flatten(), minlength=height * width).reshape(height, width)
    return Places(pixels, times.to(like))
