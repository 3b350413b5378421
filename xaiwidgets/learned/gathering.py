"""A person's pictures, however many there are, as what a decoder or a generator learns from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage
from xaiwidgets.learned.teaching import HELD_OUT, LEAST, LEAST_CUT, Pictures, find_pictures, set_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.references import ReferenceSet

#: Pictures that are cut out of photos which are too few to be taken whole. ``MOST``: pictures of a large set.
ENOUGH, MOST = 600, 3000


def gather(model: Model, wanted: Any, seed: int = 0) -> Generator[None, None, tuple[Pictures, str]]:
    """Return pictures to learn from, and what they are in words; yields between files.

    At least 300 are taken whole, at most 3000 spread evenly over the set. Fewer photos are cut into 600 random crops.

    Args:
        model: that takes them.
        wanted: a folder, a list, the name of a reference set, an array ``(N, H, W, C)``; ``None`` for the bundled ones.
        seed: of crops, and of what is held out.

    Raises:
        InvalidImage: there are fewer than 5, they do not fit, or one cannot be read.
    """
    if wanted is None or isinstance(wanted, (np.ndarray, Pictures)):
        found = yield from find_pictures(model, wanted, seed)
        return found, "the bundled pictures" if wanted is None else f"{len(found.train) + len(found.test)} pictures"
    photos = set_of(wanted)
    count = len(photos)
    if photos.baselines or count < LEAST_CUT:
        got = "plain baselines" if photos.baselines else f"{count}"
        raise InvalidImage(
            f"pictures must be at least {LEAST_CUT} photos, of which one in five is held out to see what was learned; "
            f"got {got}. A few dozen are better, and hundreds better still."
        )
    crops = 0 if count >= LEAST else -(-ENOUGH // count)
    found = yield from find_pictures(model, _spread(photos), seed, crops)
    if crops:
        held = max(1, round(HELD_OUT * count))
        return found, f"{count} photos, {crops} random crops of each, {held} of the photos held out"
    taken = f"{count} photos" if count <= MOST else f"{MOST} of {count} photos"
    return found, f"{taken}, one in five held out"


def _spread(photos: ReferenceSet) -> ReferenceSet:
    """Return the set, or of a large one a part that is spread evenly."""
    if len(photos) <= MOST:
        return photos
    chosen = photos.chosen(MOST)
    names = tuple(photos.names[number] for number in chosen)
    return replace(photos, names=names, read=lambda index: photos.picture(chosen[index]))
