"""Cluttered canvases made of real handwritten digits, whose explanation is known: three kinds, with boxes and masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from xaiwidgets.data.scenes import Scene
from xaiwidgets.errors import InvalidKnob, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Kind = Literal["single", "pairs", "parts"]
Split = Literal["train", "test"]

SIDE = 48
DIGIT, HEAD, BODY = 24, 14, 22  # pixels
TRAINING_DIGITS = 1400  # of 1,797; the other 397 are held out
COUNTS = {"train": 2500, "test": 400}
MAX_COUNT = 50_000
PATCHES = 8
BODY_AGREES = 0.6
NOISE = 0.05
INK = 0.2  # a digit's mask is where it is brighter than this


@dataclass(frozen=True, eq=False)
class DigitSet:
    """Canvases with their ground truth; all arrays are read-only.

    Attributes:
        images: float32 ``(N, 48, 48)`` in [0, 1], before normalization.
        labels: int64 ``(N,)``, or ``(N, 2)`` for ``pairs``: the upper and the lower digit.
        boxes: int64 ``(N, K, 4)``: top, left, bottom, right in pixels, bottom and right not included.
        masks: bool ``(N, K, 48, 48)``: the pixels of each object.
    """

    images: NDArray[np.float32]
    labels: Ints
    boxes: Ints
    masks: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for array in (self.images, self.labels, self.boxes, self.masks):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.images)

    def scene(self, number: int, which: int = 0) -> Scene:
        """Return one of them with the truth about one of its objects; the class of another one is a fact, ``others``.

        Args:
            number: of the canvas.
            which: of ``pairs``, 0 asks about the upper digit and 1 about the lower one.
        """
        classes = np.atleast_1d(self.labels[number])
        label = str(classes[which])
        others = tuple(str(c) for k, c in enumerate(classes) if k != which)
        truth = slice(which, which + 1)
        return Scene(
            self.images[number][..., None],
            label,
            self.boxes[number][truth],
            self.masks[number][truth],
            f"digit {label} {number}",
            {"others": others} if others else {},
        )

    def scenes(self, count: int | None = None) -> list[Scene]:
        """Return the first of them with their truth, each asking about its first object."""
        return [self.scene(number) for number in range(len(self) if count is None else min(count, len(self)))]


class _Pool(NamedTuple):
    """The base digits of one split at one size: ``glyphs`` is ``(n, side, side)`` in [0, 1]."""

    glyphs: Floats
    classes: Ints


def digits(kind: Kind, split: Split, count: int | None = None, seed: int = 0) -> DigitSet:
    """Return canvases made of scikit-learn's 8×8 digits (Alpaydin and Kaynak 1998), the same bits for the same seed.

    ``single`` (K = 1): one 24 px digit among eight clutter patches, crops of other digits; the label is its class and
    the box is tight. ``pairs`` (K = 2): two digits of different classes, one in the upper and one in the lower half, no
    clutter; labels, tight boxes and masks are in that order. ``parts`` (K = 1): a 14 px head centered on top of a 22 px
    body, no clutter; the label is the head's class, which the body shares with probability 0.6, else it is random;
    the box is the whole 36×22 object. Training and test canvases share no base digit, not even in the clutter.

    Raises:
        InvalidKnob: unknown kind or split, or a count or seed out of range.
    """
    _choice("kind", kind, get_args(Kind))
    _choice("split", split, get_args(Split))
    count = _whole("count", COUNTS[split] if count is None else count, 1, MAX_COUNT)
    key = [_whole("seed", seed, 0, 2**32 - 1), get_args(Kind).index(kind), get_args(Split).index(split)]
    rng = np.random.default_rng(key)
    images = resize(rng.uniform(0, 0.25, (count, 8, 8)), SIDE)
    labels, boxes, masks = {"single": _single, "pairs": _pairs, "parts": _parts}[kind](rng, split, images)
    images = np.clip(images + rng.normal(0, NOISE, images.shape), 0, 1)
    return DigitSet(images.astype(np.float32), labels, boxes, masks)


def resize(images: Floats, side: int) -> Floats:
    """Return ``(n, side, side)``, linear between pixel centers; elementwise only, so the bits depend on no BLAS."""
    old = images.shape[-1]
    at = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
    part = at - (low := np.minimum(at.astype(int), old - 2))
    rows = images[:, low] * (1 - part)[:, None] + images[:, low + 1] * part[:, None]
    result: Floats = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    return result


@cache
def _scans() -> tuple[Floats, Ints]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images / 16.0, found.target.astype(np.int64)


def base_digits(split: Split) -> Ints:
    """Return the indices into scikit-learn's digits that a split may use."""
    order = np.random.default_rng(0).permutation(len(_scans()[0]))
    return order[:TRAINING_DIGITS] if split == "train" else order[TRAINING_DIGITS:]


def _pool(split: Split, side: int) -> _Pool:
    scans, classes = _scans()
    chosen = base_digits(split)
    return _Pool(resize(scans[chosen], side), classes[chosen])


def _single(rng: np.random.Generator, split: Split, images: Floats) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    pool = _pool(split, DIGIT)
    chosen = rng.integers(len(pool.classes), size=len(images))
    _clutter(rng, images, pool, chosen)
    corners = rng.integers(SIDE - DIGIT + 1, size=(len(images), 2))
    masks = _draw(images, pool.glyphs[chosen], corners)[:, None]
    return pool.classes[chosen], _tight(masks), masks


def _pairs(rng: np.random.Generator, split: Split, images: Floats) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    pool = _pool(split, DIGIT)
    upper = rng.integers(len(pool.classes), size=len(images))
    other = (pool.classes[upper] + rng.integers(1, 10, size=len(images))) % 10
    lower = _of_class(rng, pool, other)
    masks = []
    for chosen, top in ((upper, 0), (lower, SIDE - DIGIT)):
        left = rng.integers(SIDE - DIGIT + 1, size=len(images))
        masks.append(_draw(images, pool.glyphs[chosen], np.stack([np.full_like(left, top), left], axis=1)))
    both = np.stack(masks, axis=1)
    return np.stack([pool.classes[upper], other], axis=1), _tight(both), both


def _parts(rng: np.random.Generator, split: Split, images: Floats) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    heads, bodies = _pool(split, HEAD), _pool(split, BODY)
    head = rng.integers(len(heads.classes), size=len(images))
    agrees = rng.random(len(images)) < BODY_AGREES
    body = _of_class(rng, bodies, np.where(agrees, heads.classes[head], rng.integers(10, size=len(images))))
    corners = rng.integers([SIDE - HEAD - BODY + 1, SIDE - BODY + 1], size=(len(images), 2))
    mask = _draw(images, heads.glyphs[head], np.add(corners, (0, (BODY - HEAD) // 2)))
    mask |= _draw(images, bodies.glyphs[body], np.add(corners, (HEAD, 0)))
    boxes = np.concatenate([corners, np.add(corners, (HEAD + BODY, BODY))], axis=1)[:, None]
    return heads.classes[head], boxes, mask[:, None]


def _of_class(rng: np.random.Generator, pool: _Pool, classes: Ints) -> Ints:
    """Pick one base digit of each wanted class."""
    members = [np.flatnonzero(pool.classes == c) for c in range(10)]
    picks = rng.integers(np.array([len(m) for m in members])[classes])
    return np.array([members[c][k] for c, k in zip(classes, picks, strict=True)], dtype=np.int64)


def _clutter(rng: np.random.Generator, images: Floats, pool: _Pool, own: Ints) -> None:
    """Draw crops of other digits, 6 to 9 px wide, at a contrast from 0.5 to 1, in place."""
    sizes = rng.integers(6, 10, size=(shape := (len(images), PATCHES)))
    # an offset that is never zero modulo the pool keeps a digit out of its own clutter
    digit = (own[:, None] + rng.integers(1, len(pool.classes), size=shape)) % len(pool.classes)
    contrast = rng.uniform(0.5, 1, size=shape)
    source = rng.integers((DIGIT - sizes + 1)[..., None], size=(*shape, 2))
    target = rng.integers((SIDE - sizes + 1)[..., None], size=(*shape, 2))
    for n, k in np.ndindex(shape):
        size, (top, left), (row, column) = sizes[n, k], source[n, k], target[n, k]
        crop = pool.glyphs[digit[n, k], top : top + size, left : left + size]
        view = images[n, row : row + size, column : column + size]
        np.maximum(view, crop * contrast[n, k], out=view)


def _draw(images: Floats, glyphs: Floats, corners: Ints) -> NDArray[np.bool_]:
    """Draw one glyph on each image, in place, and return the masks of their ink."""
    masks = np.zeros(images.shape, dtype=bool)
    side = glyphs.shape[-1]
    for image, mask, glyph, (top, left) in zip(images, masks, glyphs, corners, strict=True):
        view = image[top : top + side, left : left + side]
        np.maximum(view, glyph, out=view)
        mask[top : top + side, left : left + side] = glyph > INK
    return masks


def _tight(masks: NDArray[np.bool_]) -> Ints:
    """Return ``(N, K, 4)`` half-open boxes around ``(N, K, H, W)`` masks, none of which is empty."""
    rows, columns = np.asarray(masks.any(axis=-1)), np.asarray(masks.any(axis=-2))
    last = (SIDE - rows[..., ::-1].argmax(-1), SIDE - columns[..., ::-1].argmax(-1))
    return np.stack([rows.argmax(-1), columns.argmax(-1), *last], axis=-1).astype(np.int64)


def _choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidKnob(f"{name} must be one of {', '.join(known)}; got {value!r}.{did_you_mean(str(value), known)}")


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise InvalidKnob(f"{name} must be a whole number from {low} to {high}; got {value!r}.")
    return int(value)
