"""Boxes and masks that lie beside photos in a folder: a table (CSV), COCO's JSON, or masks of the same name (PNG)."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
#: Folder for masks, and the ending of a mask's name where it lies beside a photo that is itself a PNG.
MASKS, ENDING = "masks", "_mask"
#: Names that a column may have.
COLUMNS = {
    "file": ("file", "filename", "image", "path", "image_path"),
    "label": ("label", "class", "category", "name"),
    "top": ("top", "ymin", "y_min", "y1"),
    "left": ("left", "xmin", "x_min", "x1"),
    "bottom": ("bottom", "ymax", "y_max", "y2"),
    "right": ("right", "xmax", "x_max", "x2"),
    "row": ("y",),
    "column": ("x",),
    "height": ("height", "h"),
    "width": ("width", "w"),
}
WANTED = (
    "a folder of photos with a table (.csv: file, label, top, left, bottom, right in pixels), COCO annotations "
    "(.json), or a PNG mask of the same name for each photo, in a folder called masks or beside it"
)


@dataclass(frozen=True)
class Annotation:
    """The truth about one class on one photo, in the photo's own pixels.

    Attributes:
        file: of the photo. ``label``: of the class as it is written there; ``None`` if nothing is written.
        boxes: top, left, bottom, right, the last two not included; they may be fractions.
        regions: polygons or encoded runs as in COCO, or the path of a mask.
        others: classes of other objects on the photo.
        size: ``(height, width)`` that the annotations say the photo has.
    """

    file: Path
    label: str | None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    regions: tuple[Any, ...] = ()
    others: tuple[str, ...] = ()
    size: tuple[int, int] | None = None


def read_annotations(folder: Path) -> list[Annotation]:
    """Return what is known of the photos in a folder, one entry a photo and class, in the order of their names.

    Raises:
        InvalidImage: there is nothing of the kind, or it cannot be read.
    """
    if not folder.is_dir():
        raise InvalidImage(f"a folder must be {WANTED}; {str(folder)!r} is no folder.")
    tables, coco = sorted(folder.glob("*.csv")), sorted(folder.glob("*.json"))
    if len(tables) + len(coco) > 1:
        names = ", ".join(path.name for path in (*tables, *coco))
        raise InvalidImage(f"a folder must hold one table or one file of COCO annotations; {folder.name} has {names}.")
    found = list(_table(tables[0]) if tables else _coco(coco[0]) if coco else _masks(folder))
    if not found:
        raise InvalidImage(f"a folder must be {WANTED}; {folder.name} holds no photo with any of these.")
    for one in found:
        if not one.file.is_file():
            raise InvalidImage(f"{one.file.name} is in the annotations, and {folder.name} does not hold it.")
    return sorted(found, key=lambda one: (str(one.file), one.label or ""))


def _grouped(
    entries: Iterator[tuple[Path, str | None, Any, Any]], sizes: Mapping[Path, tuple[int, int]]
) -> Iterator[Annotation]:
    """Bring together the objects of one class on one photo, and say which other classes it shows."""
    boxes: dict[tuple[Path, str | None], list[Any]] = {}
    regions: dict[tuple[Path, str | None], list[Any]] = {}
    for file, label, box, region in entries:
        boxes.setdefault((file, label), []).extend([] if box is None else [box])
        regions.setdefault((file, label), []).extend([] if region is None else [region])
    for file, label in boxes:
        others = tuple(sorted({other for there, other in boxes if there == file and other not in (label, None)}))  # type: ignore[misc]
        key = file, label
        whole = len(regions[key]) == len(boxes[key]) or not boxes[key]
        yield Annotation(file, label, tuple(boxes[key]), tuple(regions[key]) if whole else (), others, sizes.get(file))


def _table(path: Path) -> Iterator[Annotation]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {name: _column(rows[0] if rows else {}, name) for name in COLUMNS}
    corners = all(names[name] for name in ("top", "left", "bottom", "right"))
    sides = all(names[name] for name in ("row", "column", "height", "width"))
    if not names["file"] or not (corners or sides):
        raise InvalidImage(f"{path.name} must have the columns file, label, top, left, bottom, right (or x, y, width, "
                           f"height); it has {', '.join(rows[0]) if rows else 'none'}.")  # fmt: skip

    def entries() -> Iterator[tuple[Path, str | None, Any, Any]]:
        for number, row in enumerate(rows):
            wanted = ("top", "left", "bottom", "right") if corners else ("row", "column", "height", "width")
            try:
                box = tuple(float(row[names[name] or ""]) for name in wanted)
            except (TypeError, ValueError) as error:
                raise InvalidImage(f"line {number + 2} of {path.name} must hold four numbers; got {row}.") from error
            if not corners:
                box = box[0], box[1], box[0] + box[2], box[1] + box[3]
            label = row[names["label"]] if names["label"] else None
            yield path.parent / row[names["file"] or ""], label or None, box, None

    yield from _grouped(entries(), {})


def _column(row: Mapping[str, Any], name: str) -> str | None:
    return next((given for given in row if given.strip().lower() in COLUMNS[name]), None)


def _coco(path: Path) -> Iterator[Annotation]:
    try:
        found = json.loads(path.read_text("utf-8"))
        files = {one["id"]: path.parent / one["file_name"] for one in found["images"]}
        sizes = {
            files[one["id"]]: (int(one["height"]), int(one["width"])) for one in found["images"] if "height" in one
        }
        names = {one["id"]: str(one["name"]) for one in found["categories"]}
        entries = [
            (files[one["image_id"]], names[one["category_id"]], _corners(one), one.get("segmentation") or None)
            for one in found["annotations"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidImage(
            f"{path.name} must hold COCO annotations: images, annotations and categories; got {error!r}."
        ) from error
    yield from _grouped(iter(entries), sizes)


def _corners(one: Mapping[str, Any]) -> tuple[float, ...]:
    left, top, width, height = map(float, one["bbox"])
    return top, left, top + height, left + width


def _masks(folder: Path) -> Iterator[Annotation]:
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in PHOTOS or file.stem.endswith(ENDING) or file.parent.name == MASKS:
            continue
        places = [file.parent / MASKS / f"{file.stem}.png", file.with_name(f"{file.stem}{ENDING}.png")]
        if file.suffix.lower() != ".png":
            places.append(file.with_suffix(".png"))
        elif any(file.with_suffix(end).is_file() for end in PHOTOS if end != ".png"):
            continue  # it is itself the mask of a photo
        mask = next((place for place in places if place.is_file()), None)
        if mask is not None:
            yield Annotation(file, None if file.parent == folder else file.parent.name, regions=(mask,))


def region_mask(region: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a region as a mask ``(height, width)`` of its photo.

    Args:
        region: the path of a mask, whose pixels above 0 count; polygons as lists of x, y, x, y, …; or runs as in COCO,
            ``{"size": [h, w], "counts": …}``, as numbers or as COCO's text.
        size: of the photo.

    Raises:
        InvalidImage: it is something else, or of another size.
    """
    from PIL import Image
    from skimage.draw import polygon2mask

    if isinstance(region, Path):
        with Image.open(region) as image:
            values = np.asarray(image.convert("L") if image.mode not in ("1", "P", "I", "L") else image)
        found = values > 0
        if found.shape != size:
            raise InvalidImage(f"{region.name} must have the size of its photo, {size}; it has {found.shape}.")
        return np.asarray(found, dtype=bool)
    if isinstance(region, dict) and "counts" in region:
        if tuple(region.get("size", ())) != size:
            raise InvalidImage(f"runs must have the size of their photo, {size}; they have {region.get('size')}.")
        counts = region["counts"]
        runs = _decoded(counts) if isinstance(counts, str) else [int(n) for n in counts]
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        if len(values) != size[0] * size[1]:
            raise InvalidImage(f"runs must cover their photo of {size}; they cover {len(values)} pixels.")
        return np.asarray(values.reshape(size[1], size[0]).T)
    if isinstance(region, (list, tuple)) and region and all(isinstance(one, (list, tuple)) for one in region):
        found = np.zeros(size, dtype=bool)
        for polygon in region:  # corners are measured from the edge of the first pixel, pixels from their middles
            corners = np.array(polygon, dtype=np.float64).reshape(-1, 2)[:, ::-1] - 0.5
            found |= polygon2mask(size, corners)
        return found
    raise InvalidImage(f"a region must be polygons or runs as in COCO; got {str(region)[:80]}.")


def _decoded(text: str) -> list[int]:
    """Return the runs of COCO's text: six bits a character, the highest of which says that more follow; differences."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value |= -1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs
