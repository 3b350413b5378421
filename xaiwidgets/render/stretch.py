"""Contrast for the eye: a view of a picture, never the picture itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Fainter pictures than this are not made stronger still, so that noise stays noise.
LARGEST_GAIN = 6.0
PERCENTILE = 99.5


def stretch(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return ``image`` (H, W, 3) in [0, 1] with its distance from middle gray enlarged until 0.5 % of values clip.

    Contrast is only ever raised, by at most ``LARGEST_GAIN``.
    """
    distance = np.asarray(image, dtype=np.float32) - 0.5
    reach = float(np.percentile(np.abs(distance), PERCENTILE))
    gain = min(max(0.5 / max(reach, 1e-6), 1.0), LARGEST_GAIN)
    return np.clip(0.5 + gain * distance, 0.0, 1.0).astype(np.float32)  # type: ignore[no-any-return]
