"""Mosaics of pictures of several classes, each of which is known to lie in its own cells."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.data.scenes import Scene
from xaiwidgets.errors import InvalidImage, NotApplicable
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.references import find_references

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model

#: Evidence whose sum is below this is none.
NOTHING = 1e-7
#: Bundled scenes that fill the cells for a network which knows them.
BUNDLED_COUNT = 60
SMALL = (
    "The cells are shrunk to fit the network's input (it, or what the method compares with, has one size), so that "
    "objects in them are smaller than those it knows."
)


@dataclass(frozen=True, eq=False)
class Piece:
    """A picture for a cell.

    Attributes:
        image: input ``(1, C, H, W)``. ``label``: index of its class. ``name``: of the picture.
        probability: that the network gives the class on the picture alone. ``top``: whether it is the top class.
    """

    image: Tensor
    label: int
    name: str
    probability: float
    top: bool


def own_piece(case: Case, metric: str) -> Piece:
    """Return the picture in question as a piece of the class that is asked about.

    Raises:
        NotApplicable: what is asked about is not one class.
    """
    target = case.target
    if target.layer or len(target.classes) != 1 or target.minus is not None:
        raise NotApplicable(metric, "one class as its target", f"{target.name} is not one")
    return _piece(case.model, case.image, target.classes[0], case.name)


def pieces(case: Case, least: float) -> Generator[None, None, list[Piece]]:
    """Return the pictures that may fill cells: their class is on top, with at least this probability.

    They are those given as ``data``: pictures, pairs (picture, class) or scenes. Without data, they are bundled: shapes
    or digits for a network that knows them, else photos with the network's own class. Yields between pictures.
    """
    found = []
    for image, label, name in _given(case.model, case.data):
        wanted = int(case.model.logits(image)[0].argmax()) if label is None else label
        one = _piece(case.model, image, wanted, name)
        if one.top and one.probability >= least:
            found.append(one)
        yield
    return found


def _piece(model: Model, image: Tensor, label: int, name: str) -> Piece:
    probabilities = model.probabilities(image)[0]
    return Piece(image, label, name, float(probabilities[label]), int(probabilities.argmax()) == label)


def _given(model: Model, data: Any) -> Generator[tuple[Tensor, int | None, str], None, None]:
    for item in _bundled(model) if data is None else data:
        picture, label = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        if isinstance(picture, Scene):
            label = picture.label if label is None else label
            image, name = model.from_pixels(picture.fitted(model.preprocessing)), picture.name
        else:
            read = read_picture(picture)
            image, name = model.input(read), read.name
        yield image, None if label is None else model.labels.index(label), name


def _bundled(model: Model) -> Sequence[Any]:
    from xaiwidgets.data.digits import digits
    from xaiwidgets.data.shapes import SHAPES, SIDE, shapes
    from xaiwidgets.learned.labelled import takes_digits
    from xaiwidgets.model.samples import samples

    if takes_digits(model):
        return digits("single", "test", BUNDLED_COUNT).scenes()
    names = tuple(model.labels.short(index) for index in range(model.classes))
    if names == SHAPES and model.input_shape == (3, SIDE, SIDE):
        return shapes("test", BUNDLED_COUNT).scenes()
    found = [sample.name for sample in samples()]
    if not found:
        raise InvalidImage("data must be a list of pictures: those that come with scikit-image are not installed.")
    return found


def must_shrink(case: Case) -> bool:
    """Return whether cells must be shrunk: the network, or what the method compares with, has one size."""
    if "sizes" not in case.model.offers:
        return True
    references = getattr(case.method, "references", None)
    return references is not None and not find_references(references).baselines


def mosaic(cells: Sequence[Tensor], n: int, *, small: bool = False) -> Tensor:
    """Return ``n * n`` inputs ``(1, C, H, W)`` beside one another, row by row: ``(1, C, nH, nW)``.

    ``small``: each is shrunk by area first, so that the mosaic has the size of one of them.
    """
    import torch

    if small:
        cells = [_shrunk(cell, n) for cell in cells]
    rows = [torch.cat(list(cells[n * row : n * row + n]), dim=3) for row in range(n)]
    return torch.cat(rows, dim=2)


def _shrunk(cell: Tensor, n: int) -> Tensor:
    import torch

    height, width = cell.shape[2:]
    if height % n or width % n:
        raise InvalidImage(f"cells of {height} × {width} px must be divisible by {n} to be shrunk.")
    return torch.nn.functional.avg_pool2d(cell, n)


def shares(map: NDArray[Any], n: int) -> NDArray[np.float64] | None:
    """Return each cell's share ``(n, n)`` of the positive evidence of a map, or ``None`` if there is none.

    Colors are summed before, so that a place counts with what all its colors say together.
    """
    height, width = map.shape
    positive = np.maximum(np.asarray(map, np.float64), 0)
    rows, columns = (np.rint(np.arange(n + 1) * side / n).astype(int) for side in (height, width))
    found = np.array(
        [
            [positive[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].sum() for j in range(n)]
            for i in range(n)
        ]
    )  # fmt: skip
    total = found.sum()
    return None if total < NOTHING else found / total


def shown(model: Model, image: Tensor) -> NDArray[np.uint8]:
    """Return a mosaic as a picture ``(H, W, 3)``."""
    pixels = model.to_pixels(image)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def of_class(piece: Piece, case: Case) -> Any:
    """Return the question of the case about a piece's class."""
    return dataclasses.replace(case.model.target(piece.label), output=case.target.output)
