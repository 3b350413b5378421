"""What may stand in a window of a picture, given what is around it: Gaussian and drawn patches of pictures.

The conditional sampler of Zintgraf, Cohen, Adel, Welling 2017 (arXiv:1702.04595), section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    #: (top, left, bottom, right) in pixels, the last two not included.
    Box = tuple[int, int, int, int]

#: What every variance gets added, as a share of the mean variance: photos are smooth, so covariances are near singular.
RIDGE = 1e-3
#: Patches that are held at once while sums are made.
CHUNK = 500


@dataclass(frozen=True, eq=False)
class Conditional:
    """Pixels of a window given the pixels around it, for each channel on its own.

    Attributes:
        window, known: mean of either, ``(C, k)`` and ``(C, r)``.
        gain: ``Σ12 Σ22⁻¹``, ``(C, k, r)``.
        root: lower Cholesky factor of the covariance ``Σ11 - Σ12 Σ22⁻¹ Σ21``, ``(C, k, k)``.
    """

    window: NDArray[np.float64]
    known: NDArray[np.float64]
    gain: NDArray[np.float64]
    root: NDArray[np.float64]

    def mean(self, around: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean ``(C, k)`` where the pixels around are ``(C, r)``."""
        found: NDArray[np.float64] = self.window + (self.gain @ (around - self.known)[..., None])[..., 0]
        return found

    def draw(self, around: NDArray[Any], noise: NDArray[Any]) -> NDArray[np.float64]:
        """Return a sample ``(C, k)`` made of standard normal numbers ``(C, k)``."""
        drawn: NDArray[np.float64] = self.mean(around) + (self.root @ noise[..., None])[..., 0]
        return drawn


@dataclass(frozen=True, eq=False)
class PatchModel:
    """A Gaussian over patches ``(height, width)``, for each channel on its own, the same anywhere in a picture.

    Attributes:
        mean: ``(C, d)`` with ``d = height * width``. ``covariance``: ``(C, d, d)``, with the ridge.
        side: (height, width) of a patch. ``count``: patches it was fitted on.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    side: tuple[int, int]
    count: int = 0
    _known: dict[Any, Conditional] = field(default_factory=dict, repr=False)

    @classmethod
    def fit(cls, images: NDArray[Any], side: tuple[int, int], count: int, seed: int = 0) -> PatchModel:
        """Fit mean and covariance to ``count`` patches at random places of ``images (N, C, H, W)``, or all there are.

        The covariance gets a ridge of ``RIDGE`` times its mean variance on the diagonal.
        """
        number, channels, rows, columns = images.shape
        down, across = rows - side[0] + 1, columns - side[1] + 1
        places = number * down * across
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(places, size=min(count, places), replace=False))
        views = np.lib.stride_tricks.sliding_window_view(images, side, axis=(2, 3))
        size = side[0] * side[1]
        total, squares = np.zeros((channels, size)), np.zeros((channels, size, size))
        shift = images.mean(axis=(0, 2, 3), dtype=np.float64)[:, None, None]  # so that the sums do not cancel
        for start in range(0, len(chosen), CHUNK):
            picture, place = np.divmod(chosen[start : start + CHUNK], down * across)
            row, column = np.divmod(place, across)
            patches = views[picture, :, row, column].astype(np.float64).transpose(1, 0, 2, 3)
            patches = patches.reshape(channels, -1, size) - shift
            total += patches.sum(axis=1)
            squares += patches.transpose(0, 2, 1) @ patches
        mean = total / len(chosen)
        covariance = squares / len(chosen) - mean[:, :, None] * mean[:, None, :]
        variance = np.trace(covariance, axis1=1, axis2=2) / size
        ridge = np.maximum(RIDGE * variance, 1e-12)  # pictures of one color have no variance at all
        covariance += ridge[:, None, None] * np.eye(size)
        return cls(mean + shift[..., 0], covariance, side, len(chosen))

    def given(self, window: Box, patch: tuple[int, int]) -> Conditional:
        """Return the window's distribution given the rest of a patch; both lie in the upper left of the model's own.

        Made once for each position.

        Args:
            window: of the window in the patch.
            patch: (height, width), at most the model's own: at the picture's border it is cut off.
        """
        key = (window, patch)
        if key not in self._known:
            self._known[key] = self._given(window, patch)
        return self._known[key]

    def _given(self, window: Box, patch: tuple[int, int]) -> Conditional:
        top, left, bottom, right = window
        numbers = np.arange(self.side[0] * self.side[1]).reshape(self.side)
        hidden = np.zeros(self.side, dtype=bool)
        hidden[top:bottom, left:right] = True
        inside = np.zeros(self.side, dtype=bool)
        inside[: patch[0], : patch[1]] = True
        one, two = numbers[hidden], numbers[inside & ~hidden]
        across = self.covariance[:, one[:, None], two[None]]
        solved = np.linalg.solve(self.covariance[:, two[:, None], two[None]], across.transpose(0, 2, 1))
        gain: NDArray[np.float64] = np.ascontiguousarray(solved.transpose(0, 2, 1), dtype=np.float64)
        rest = self.covariance[:, one[:, None], one[None]] - gain @ across.transpose(0, 2, 1)
        root: NDArray[np.float64] = np.linalg.cholesky((rest + rest.transpose(0, 2, 1)) / 2).astype(np.float64)
        return Conditional(self.mean[:, one], self.mean[:, two], gain, root)


def color_axes(images: NDArray[Any]) -> NDArray[np.float64]:
    """Return an orthogonal matrix ``(C, C)`` whose rows are the axes along which colors of pixels do not correlate."""
    pixels = images.transpose(1, 0, 2, 3).reshape(images.shape[1], -1).astype(np.float64)
    axes: NDArray[np.float64] = np.linalg.eigh(np.atleast_2d(np.cov(pixels, bias=True)))[1].T
    return axes


def turned(images: NDArray[Any], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the colors of ``images (..., C, H, W)`` along these axes; with the transpose, turned back."""
    return np.einsum("dc,...chw->...dhw", axes, images)  # type: ignore[no-any-return]


def conditional(model: PatchModel, image: NDArray[Any], pad: int, seed: int) -> Callable[[Box, int], NDArray[Any]]:
    """Return what draws a window's pixels ``(C, h, w)``, given ``pad`` pixels of ``image (C, H, W)`` on every side.

    A sample is made of its window's place and its number alone.
    """

    def draw(box: Box, number: int) -> NDArray[Any]:
        top, left, bottom, right = box
        above, before = max(top - pad, 0), max(left - pad, 0)
        patch = image[:, above : bottom + pad, before : right + pad]
        window = (top - above, left - before, bottom - above, right - before)
        known = np.ones(patch.shape[1:], dtype=bool)
        known[window[0] : window[2], window[1] : window[3]] = False
        noise = np.random.default_rng((seed, top, left, number)).standard_normal(
            (len(image), (bottom - top) * (right - left))
        )
        drawn = model.given(window, (patch.shape[1], patch.shape[2])).draw(patch[:, known], noise)
        return drawn.reshape(len(image), bottom - top, right - left)

    return draw


def marginal(images: NDArray[Any], seed: int, *, anywhere: bool = False) -> Callable[[Box, int], NDArray[Any]]:
    """Return what draws a window's pixels ``(C, h, w)``: those of ``images (N, C, H, W)`` at the same place.

    The pictures take turns, in another order for every window and round. With ``anywhere``, each sample comes from a
    random place of the pictures, for when there is but one.
    """
    number, _, rows, columns = images.shape

    def draw(box: Box, turn: int) -> NDArray[Any]:
        top, left, bottom, right = box
        if anywhere:
            rng = np.random.default_rng((seed, top, left, turn))
            picture = rng.integers(number)
            down, across = rng.integers(rows - (bottom - top) + 1), rng.integers(columns - (right - left) + 1)
            return images[picture, :, down : down + bottom - top, across : across + right - left]
        order = np.random.default_rng((seed, top, left, turn // number)).permutation(number)
        return images[order[turn % number], :, top:bottom, left:right]

    return draw
