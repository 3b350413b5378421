"""Which cell of a grid shows which method, class and layer: two of the three share an axis."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    #: (row, column) of a cell.
    Place = tuple[int, int]

#: What may stand in columns; the other two are in rows.
ACROSS = ("methods", "classes", "layers")
#: More panels than this are too small to be read.
MOST_CELLS = 36


class Cell(NamedTuple):
    """Positions in the lists of what is compared; ``layer`` is 0 where no layers were chosen."""

    method: int
    target: int
    layer: int


def arranged(across: str, counts: tuple[int, int, int]) -> dict[Place, Cell]:
    """Return the cells by (row, column), row by row; ``counts`` are of methods, targets and layers."""
    axis = ACROSS.index(across)
    first, second = (n for n in range(3) if n != axis)
    found = {}
    for row, (one, other) in enumerate(product(range(counts[first]), range(counts[second]))):
        for column in range(counts[axis]):
            at = [0, 0, 0]
            at[first], at[second], at[axis] = one, other, column
            found[row, column] = Cell(*at)
    return found


def headings(across: str, names: tuple[Sequence[str], Sequence[str], Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return the titles of columns and of rows; ``names`` are of methods, targets and layers, of which none may be."""
    methods, targets, layers = names
    places = [f"at {layer}" for layer in layers] or [""]
    if across == "methods":
        columns, rows = list(methods), [_joined(pair) for pair in product(targets, places)]
    elif across == "classes":
        columns, rows = list(targets), [_joined(pair) for pair in product(methods, places)]
    else:
        columns = list(layers) or ["layer of the method's choice"]
        rows = [f"{method} for {target}" for method, target in product(methods, targets)]
    return columns, rows


def _joined(words: Sequence[str]) -> str:
    return " ".join(filter(None, words))
