"""What the uses share: their explanations, answers for many scenes, and patches that are put in or taken out."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from xaiwidgets.engine.run import versions
from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.model.meter import CURRENT, Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.core.scores import Score
    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

    Pixels = NDArray[np.float32]

BATCH = 32
P = ParamSpec("P")


def report(function: Callable[P, Iterator[Score | None]]) -> Callable[P, Iterator[Score | None]]:
    """Make a generator of reports fill in what they have cost, and with which versions; closing it leaves nothing."""

    @functools.wraps(function)
    def metered(*args: P.args, **kwargs: P.kwargs) -> Iterator[Score | None]:
        meter, seconds = Meter(steady=set()), 0.0
        steps = function(*args, **kwargs)
        try:
            while True:
                token, start = CURRENT.set(meter), time.perf_counter()
                try:
                    score = next(steps)
                except StopIteration:
                    return
                finally:
                    CURRENT.reset(token)
                    seconds += time.perf_counter() - start
                if score is not None:
                    known = score.provenance  # of what has its own account
                    forward, backward = (a + b for a, b in zip(meter.passes, known.passes, strict=True))
                    told = replace(known, passes=(forward, backward), seconds=seconds, versions=versions())
                    score = score.replace(provenance=told)
                yield score
        finally:
            steps.close()  # type: ignore[attr-defined]

    return metered


def last_of(steps: Iterator[Any]) -> Any:
    """Return the last item of a generator that is not ``None``."""
    found = None
    for item in steps:
        found = item if item is not None else found
    if found is None:
        raise RuntimeError("a report must be given")
    return found


def labelled(name: str, scenes: Any, model: Model) -> NDArray[np.int64]:
    """Return the class of each scene as an index.

    Raises:
        InvalidImage: they are no scenes, or one has no class. InvalidTarget: a class is none of the network.
    """
    found = list(scenes) if hasattr(scenes, "__iter__") else []
    if not found or not all(hasattr(one, "fitted") for one in found):
        raise InvalidImage(f"{name} must be a list of at least one Scene (see xaiwidgets.scenes).")
    for one in found:
        if one.label is None:
            raise InvalidImage(f"{name} must have classes; {one.name!r} has none.")
    return np.array([model.labels.index(one.label) for one in found], dtype=np.int64)


def pixels_of(scenes: Sequence[Scene], model: Model) -> Pixels:
    """Return the pixels of scenes, ``(N, H, W, C)``."""
    return np.stack([scene.fitted(model.preprocessing) for scene in scenes])


def probabilities(model: Model, pixels: Pixels) -> Generator[None, None, NDArray[np.float64]]:
    """Return the class probabilities ``(N, K)`` of pictures ``(N, H, W, C)``; yields between batches."""
    import torch

    found = []
    size = min(BATCH, model.inspection.largest_batch or BATCH)
    for start in range(0, len(pixels), size):
        part = torch.cat([model.from_pixels(one) for one in pixels[start : start + size]])
        found.append(model.probabilities(part).double().cpu().numpy())
        yield
    return np.concatenate(found) if found else np.zeros((0, model.classes))


def explained(
    model: Model, scene: Scene, method: Any, *, target: Any = None, how: str = "abs"
) -> Generator[None, None, Pixels]:
    """Return a method's map ``(H, W)`` of a scene; yields while it is computed."""
    found = yield from case_of(model, scene, method, target=target).attribution()
    return map_of(found, how)


def region_of(given: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a region ``(H, W)`` from a box (top, left, bottom, right) or from a mask.

    Raises:
        InvalidKnob: it is neither, is empty, or is the whole picture.
    """
    region = np.asarray(given)
    if region.shape == (4,):
        mask = np.zeros(size, dtype=bool)
        top, left, bottom, right = (int(n) for n in region)
        mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    else:
        mask = region.astype(bool) if region.shape == size else np.zeros(size, dtype=bool)
    if not mask.any() or mask.all():
        raise InvalidKnob(
            f"region must be a box (top, left, bottom, right) or a mask inside pictures of {size}; got "
            f"{region.tolist() if region.size <= 4 else region.shape}."
        )
    return mask


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the half-open box around a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def without(pixels: Pixels, mask: NDArray[np.bool_], fill: str) -> Pixels:
    """Return pictures ``(N, H, W, C)`` with a region filled.

    ``near``: by what lies right beside it, right, left, above or below, wherever there is room; ``mean``: by the mean
    color of the rest of each picture.
    """
    found = pixels.copy()
    if fill == "near":
        top, left, bottom, right = bounds(mask)
        height, width = bottom - top, right - left
        for down, across in ((0, width), (0, -width), (-height, 0), (height, 0)):
            row, column = top + down, left + across
            if 0 <= row <= mask.shape[0] - height and 0 <= column <= mask.shape[1] - width:
                inside = mask[top:bottom, left:right]
                found[:, top:bottom, left:right][:, inside] = pixels[
                    :, row : row + height, column : column + width
                ][:, inside]  # fmt: skip
                return found
    means = pixels[:, ~mask].mean(axis=1, keepdims=True)
    found[:, mask] = means
    return found


def pasted(pixels: Pixels, mask: NDArray[np.bool_], source: Pixels) -> Pixels:
    """Return pictures ``(N, H, W, C)`` with a region taken from others ``(N, H, W, C)``."""
    found = pixels.copy()
    found[:, mask] = source[:, mask]
    return found
