"""How strong waves are in photos: the mean amplitude by frequency of many crops of the photos that come along."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.errors import InvalidImage
from xaiwidgets.synthesis.colors import correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many crops are measured, at which size in pixels, and in how many rings of frequency.
CROPS, SIDE, RINGS = 240, 224, 48
#: Fewer photos say more about themselves than about photos.
LEAST = 3


def magnitude(rows: int, columns: int, channels: int) -> NDArray[np.float64]:
    """Return the amplitudes ``(C, rows, columns // 2 + 1)`` of a picture like a photo; that of the mean color is 0.

    In decorrelated colors, the same in all directions, between the measured frequencies by a straight line in
    logarithms, and beyond the lowest by the line of the last two.
    """
    down, right = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    radius = np.hypot(down, right)
    radius[0, 0] = 1.0
    centers, profile = measured(channels)
    at = np.log(radius)
    found = np.stack([np.exp(_line(at, centers, one)) for one in profile])
    found[:, 0, 0] = 0.0
    return found


@lru_cache(maxsize=2)
def measured(channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return logarithms of frequencies, in cycles a pixel, and of mean amplitudes ``(C, rings)``.

    Raises:
        InvalidImage: fewer than three photos come with the installed packages.
    """
    from scipy import fft

    from xaiwidgets.model.pictures import read_picture
    from xaiwidgets.model.samples import samples

    found = samples()
    if len(found) < LEAST:
        raise InvalidImage(
            f"at least {LEAST} of the sample photos are needed to measure how strong waves are in photos; the "
            f"installed packages have {len(found)}. Install scikit-image and scikit-learn."
        )
    photos = [np.asarray(read_picture(one.name).pixels) for one in found]
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    edges = np.geomspace(0.7 / SIDE, 0.5 * 2**0.5 + 1e-9, RINGS + 1)
    ring = np.digitize(radius, edges) - 1
    kept = [k for k in range(RINGS) if (ring == k).any()]
    total = np.zeros((channels, *radius.shape))
    random = np.random.default_rng(0)
    # a window, since the edges of a crop would be waves of their own
    taper = np.hanning(SIDE + 2)[1:-1]
    window = (np.outer(taper, taper) / np.mean(taper**2)).astype(np.float32)
    inverse = np.linalg.inv(correlation()).astype(np.complex64)
    for index in range(CROPS):
        crop = _crop(photos[index % len(photos)], random)
        planes = crop if channels == len(inverse) else crop.mean(axis=0, keepdims=True)
        planes = (planes - planes.mean(axis=(1, 2), keepdims=True)) * window
        waves = fft.rfft2(planes)
        total += np.abs(np.tensordot(inverse, waves, 1) if channels == len(inverse) else waves) / CROPS
    centers = np.array([np.log(radius[ring == k]).mean() for k in kept])
    return centers, np.log([[one[ring == k].mean() for k in kept] for one in total])


def _crop(photo: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    """Return a random square ``(3, SIDE, SIDE)`` of a photo, from its short side down to SIDE, in [0, 1]."""
    from PIL import Image

    short = min(photo.shape[:2])
    side = int(random.integers(min(SIDE, short), short + 1))
    top, left = (int(random.integers(0, length - side + 1)) for length in photo.shape[:2])
    square = Image.fromarray(photo[top : top + side, left : left + side])
    scaled = square.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.moveaxis(np.asarray(np.asarray(scaled) / 255, np.float32), 2, 0)


def _line(at: NDArray[np.float64], centers: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    slope = (values[1] - values[0]) / (centers[1] - centers[0])
    below = values[0] + slope * (at - centers[0])
    found: NDArray[np.float64] = np.where(at < centers[0], below, np.interp(at, centers, values))
    return found
