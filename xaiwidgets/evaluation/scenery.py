"""Scenes for a network: bundled pictures whose truth is known, or a folder of one's own with boxes or masks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.data.scenes import Scene
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidTarget, did_you_mean
from xaiwidgets.model.pictures import read_picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from numpy.typing import NDArray

    from xaiwidgets.data.annotations import Annotation
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.preprocess import Preprocessing

#: Bundled scenes, and how many there are by default.
BUNDLED = {"shapes": 40, "tagged shapes": 40, "parts": 40, "digits": 40, "digit pairs": 40, "composites": 12}
#: Photos with one object in the middle.
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower")
#: Composites that are tried for each that is wanted; about a third keep the class of their photo.
TRIES = 20
#: A pixel of the resized mask belongs to the object if at least this share of it does.
HALF = 0.5


def scenes(
    source: str | PathLike[str],
    model: Model,
    count: int | None = None,
    *,
    seed: int = 0,
    rename: Mapping[str, Any] | None = None,
) -> list[Scene]:
    """Return pictures with the place of their objects, at the size that a network sees.

    ``shapes``, ``tagged shapes``, ``parts``, ``digits`` and ``digit pairs`` are made for networks that know them.
    ``composites`` are bundled photos of 96 to 150 px on grass; the class is the network's own for the photo, and only
    those are kept whose top class is still that one. A folder holds photos with a table of boxes (CSV), COCO
    annotations (JSON) or masks of the same name (PNG); classes come from there, or from the names of subfolders.

    Args:
        source: the name of a bundled set, or a folder.
        model: whose size, colors and classes the scenes are for.
        count: at most so many; of a folder, by default all.
        seed: of what is drawn.
        rename: classes of a folder by their names there: to the network's name or index, or to ``None`` to leave a
            class out.

    Raises:
        InvalidImage: no such set or folder, it cannot be read, or it does not fit the network.
        InvalidTarget: a class of a folder is none of the network.
        InvalidKnob: a count below 1.
    """
    if count is not None and (isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1):
        raise InvalidKnob(f"count must be a whole number of at least 1; got {count!r}.")
    if isinstance(source, str) and source in BUNDLED:
        return _bundled(source, model, BUNDLED[source] if count is None else int(count), seed)
    folder = Path(source)
    if not folder.is_dir():
        hint = did_you_mean(str(source), BUNDLED)
        raise InvalidImage(f"source must be a folder or one of {', '.join(BUNDLED)}; got {str(source)!r}.{hint}")
    return _of_folder(folder, model, count, rename or {})


def _bundled(name: str, model: Model, count: int, seed: int) -> list[Scene]:
    if name == "composites":
        return composites(model, count, seed=seed)
    from xaiwidgets.data.digits import digits
    from xaiwidgets.data.parts import parts
    from xaiwidgets.data.shapes import shapes

    found: list[Scene]
    if name in ("digits", "digit pairs"):
        found = digits("single" if name == "digits" else "pairs", "test", count, seed).scenes()
    elif name == "parts":
        found = parts("test", count, seed).scenes()
    else:
        found = shapes("test", count, seed, tags="none" if name == "shapes" else "random").scenes()
    found[0].fitted(model.preprocessing)
    for label in sorted({str(scene.label) for scene in found}):
        model.labels.index(label)
    return found


def composites(model: Model, count: int = 12, *, seed: int = 0) -> list[Scene]:
    """Return photos on grass whose top class is that of the photo alone; see ``scenes``.

    Raises:
        InvalidImage: the network sees no colors, or recognizes hardly any of them.
    """
    from xaiwidgets.data.composites import composite, square
    from xaiwidgets.model.samples import samples

    if model.preprocessing.channels != 3:
        raise InvalidImage(f"composites are in color, and {model.name} sees gray pictures.")
    there = {sample.name for sample in samples()}
    pictures = [read_picture(name) for name in PHOTOS if name in there]
    if not pictures:
        raise InvalidImage("composites need the photos that come with scikit-image or scikit-learn; none is installed.")
    size = model.preprocessing.size
    classes = [int(model.logits(model.from_pixels(square(one.pixels, size)))[0].argmax()) for one in pictures]
    rng = np.random.default_rng([seed, 11])
    found: list[Scene] = []
    for number in range(TRIES * count):
        which = int(rng.integers(len(pictures)))
        picture, label = pictures[which], classes[which]
        title = model.labels.short(label)
        scene = composite(
            picture.pixels, size, rng,
            label=label, name=f"{picture.name} on grass {number}", facts={"photo": picture.name, "class": title},
        )  # fmt: skip
        if int(model.logits(model.from_pixels(scene.pixels))[0].argmax()) == label:
            found.append(scene)
            if len(found) == count:
                return found
    raise InvalidImage(
        f"of {TRIES * count} photos on grass, {model.name} recognizes {len(found)}, and {count} were wanted. "
        "Ask for fewer, or give a folder with boxes."
    )


def _of_folder(folder: Path, model: Model, count: int | None, rename: Mapping[str, Any]) -> list[Scene]:
    from xaiwidgets.data.annotations import read_annotations

    found = []
    for one in read_annotations(folder):
        if one.label is not None and rename.get(one.label, "") is None:
            continue
        scene = _scene(one, folder, model, rename)
        if scene is not None:
            found.append(scene)
        if len(found) == count:
            break
    if not found:
        raise InvalidImage(
            f"{folder.name} must hold an object that {model.name} sees: all are cropped away or left out."
        )
    return found


def _scene(one: Annotation, folder: Path, model: Model, rename: Mapping[str, Any]) -> Scene | None:
    """Return an annotated photo at the network's size; ``None`` if the crop leaves nothing of the object."""
    from xaiwidgets.data.annotations import region_mask

    picture = read_picture(one.file)
    size = picture.height, picture.width
    if one.size is not None and one.size != size:
        raise InvalidImage(f"{picture.name} must have the size that its annotations say, {one.size}; it has {size}.")
    masks = [fit_mask(region_mask(region, size), model.preprocessing) for region in one.regions]
    boxes = [fit_box(box, size, model.preprocessing) for box in one.boxes]
    kept = [k for k in range(max(len(masks), len(boxes))) if (not masks or masks[k].any()) and (not boxes or boxes[k])]
    if not kept:
        return None
    return Scene(
        model.preprocessing.pixels(picture),
        None if one.label is None else _label(one.label, rename, model),
        np.array([boxes[k] for k in kept]) if boxes else None,
        np.stack([masks[k] for k in kept]) if masks else None,
        one.file.relative_to(folder).as_posix() + (f" {one.label}" if one.label else ""),
        {"others": one.others} if one.others else {},
    )


def _label(name: str, rename: Mapping[str, Any], model: Model) -> Any:
    wanted = rename.get(name, name)
    try:
        model.labels.index(wanted)
    except InvalidTarget as error:
        raise InvalidTarget(
            f"{error} Give rename={{{name!r}: …}} with the network's class, or with None to leave it out."
        ) from error
    return wanted


def fit_box(
    box: tuple[float, float, float, float], size: tuple[int, int], preprocessing: Preprocessing
) -> tuple[int, int, int, int] | None:
    """Return a box of a photo in pixels of the network's input, rounded outward, or ``None`` if it is cropped away."""
    top, left, height, width = preprocessing.crop_box(*size)
    down, across = preprocessing.size[0] / height, preprocessing.size[1] / width
    low = max(0, math.floor((box[0] - top) * down + 1e-6)), max(0, math.floor((box[1] - left) * across + 1e-6))
    high = (
        min(preprocessing.size[0], math.ceil((box[2] - top) * down - 1e-6)),
        min(preprocessing.size[1], math.ceil((box[3] - left) * across - 1e-6)),
    )
    return (*low, *high) if low[0] < high[0] and low[1] < high[1] else None


def fit_mask(mask: NDArray[np.bool_], preprocessing: Preprocessing) -> NDArray[np.bool_]:
    """Return a mask of a photo as the network's input shows it: a pixel counts if at least half of it does."""
    from PIL import Image

    height, width = mask.shape
    top, left, rows, columns = preprocessing.crop_box(height, width)
    box = left, top, min(left + columns, width), min(top + rows, height)
    image = Image.fromarray(mask.astype(np.float32))
    seen = image.resize(preprocessing.size[::-1], Image.Resampling.BOX, box=box)
    return np.asarray(np.asarray(seen) >= HALF)
