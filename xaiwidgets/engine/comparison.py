"""Several methods on one photo, for several classes or layers: run side by side, and compared with numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import resolve
from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.alike import alike
from xaiwidgets.engine.cost import passes
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob, InvalidTarget, XaiError
from xaiwidgets.model.pictures import read_picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

    #: (row, column) of a cell.
    Place = tuple[int, int]

#: More panels than this are too small to be read.
MOST_CELLS = 36
#: Runs first of those that share a pass: its own is the one that serves the others, too.
FIRST = ("fullgrad",)


@dataclass(frozen=True)
class Plan:
    """What is compared: methods in columns, targets and layers in rows.

    Attributes:
        methods: one a column. ``columns``: their titles.
        targets: one a row. ``layers``: the layer of each row, empty for the method's own choice.
        rows: titles of the rows.
    """

    methods: tuple[Any, ...]
    columns: tuple[str, ...]
    targets: tuple[Target, ...]
    layers: tuple[str, ...]
    rows: tuple[str, ...]

    def cells(self) -> list[tuple[Place, Any, Target]]:
        """Return (place, method, target) of each cell."""
        return [
            ((row, column), _at(method, self.layers[row]), target)
            for row, target in enumerate(self.targets)
            for column, method in enumerate(self.methods)
        ]


def plan(model: Model, image: Tensor, methods: Sequence[Any], targets: Any = None, layers: Sequence[str] = ()) -> Plan:
    """Return what is compared, checked; see ``compare``.

    Raises:
        InvalidKnob: no methods, or more than 36 cells. UnknownMethod, InvalidTarget, InvalidLayer: as for ``explain``.
    """
    if isinstance(methods, str) or not methods:
        raise InvalidKnob("methods must be a list of at least one id or method object, such as ['saliency', 'rise'].")
    made = tuple(_method(one) for one in methods)
    wanted = [None] if targets is None else list(targets) if isinstance(targets, (list, tuple)) else [targets]
    if not wanted:
        raise InvalidTarget("targets must be a list of at least one class, or None for the top class.")
    found = [model.target(one, image) for one in wanted]
    places = [model.layer(name, spatial=True).name for name in layers] or [""]
    count = len(made) * len(found) * len(places)
    if count > MOST_CELLS:
        raise InvalidKnob(f"methods, targets and layers must make at most {MOST_CELLS} panels; these make {count}.")
    pairs = [(target, layer) for target in found for layer in places]
    several = len(found) > 1
    rows = [" at ".join(filter(None, (t.name if several or not layer else "", layer))) for t, layer in pairs]
    targets_, layers_ = zip(*pairs, strict=True)
    return Plan(made, _titles(made), targets_, layers_, tuple(rows))


def _method(wanted: Any) -> Any:
    if isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], dict):
        method = resolve(wanted[0], **wanted[1])
    else:
        method = resolve(wanted)
    if type(method).card.kind != "explainer":
        raise InvalidKnob(f"methods must be explainers; {type(method).card.id} is a {type(method).card.kind}.")
    return method


def _titles(methods: Sequence[Any]) -> tuple[str, ...]:
    """Return the methods' names, with the hyper-parameters that tell two of one name apart."""
    names = [type(method).card.title for method in methods]
    found = []
    for method, name in zip(methods, names, strict=True):
        other = [k for k in knobs_of(method) if getattr(method, k.name) != k.default]
        told = ", ".join(f"{k.label.lower()} {getattr(method, k.name)}" for k in other[:3])
        found.append(f"{name} ({told})" if told and names.count(name) > 1 else name)
    return tuple(found)


def _at(method: Any, layer: str) -> Any:
    """Return the method at a layer, or as it is if it has none."""
    if layer and any(k.name == "layer" for k in knobs_of(method)):
        return dataclasses.replace(method, layer=layer)
    return method


def run_cells(
    model: Model, image: Tensor, cells: Sequence[tuple[Place, Any, Target]], name: str = ""
) -> Iterator[tuple[Place, Attribution | XaiError]]:
    """Yield (place, result so far) of cells that advance in turn, one step each; an error ends its own cell only.

    Those that take the fewest passes begin; ordinary gradients of one picture and target are made once for all.
    """
    shared = model.sharing(whole=True)
    size = model.input_shape[1:]

    def first(cell: tuple[Place, Any, Target]) -> tuple[bool, int]:
        try:
            return type(cell[1]).card.id not in FIRST, sum(passes(cell[1], model, size))
        except XaiError:
            return True, 0

    running = [
        (place, drive(method, shared, image, target, name)) for place, method, target in sorted(cells, key=first)
    ]
    try:
        while running:
            left = []
            for place, steps in running:
                try:
                    result = next(steps)
                except StopIteration:
                    continue
                except XaiError as error:
                    yield place, error
                    continue
                left.append((place, steps))
                yield place, result
            running = left
    finally:
        for _, steps in running:
            steps.close()


@dataclass(frozen=True, eq=False)
class Comparison:
    """Finished maps of one photo, by row and column.

    Attributes:
        plan: what was compared.
        results: by (row, column), the attribution, or the error that says why there is none.
        photo: pixels ``(H, W, 3)`` as the network saw them.
        model: its name.
    """

    plan: Plan
    results: Mapping[Place, Attribution | XaiError]
    photo: NDArray[np.uint8]
    model: str = ""

    def __getitem__(self, place: Place) -> Attribution | XaiError:
        return self.results[place]

    @property
    def maps(self) -> dict[Place, NDArray[np.float64]]:
        """The finished maps ``(H, W)``, each divided by the sum of its absolute values, by place."""
        return {p: alike(a.heatmap(), "mass") for p, a in self.results.items() if isinstance(a, Attribution)}

    @property
    def passes(self) -> tuple[int, int]:
        """(forward, backward) passes that all cells together have cost; shared ones count once."""
        spent = [a.provenance.passes for a in self.results.values() if isinstance(a, Attribution)]
        return sum(forward for forward, _ in spent), sum(backward for _, backward in spent)

    def difference(self, one: Place, other: Place) -> NDArray[np.float64]:
        """Return how much larger a share of the evidence one map has than another at each pixel, ``(H, W)``, signed."""
        maps = self.maps
        for place in (one, other):
            if place not in maps:
                raise InvalidKnob(f"difference needs two finished panels; {place} is none of {sorted(maps)}.")
        return maps[one] - maps[other]

    def disagreement(self) -> NDArray[np.float64]:
        """Return the standard deviation over all finished maps of the share of evidence at each pixel, ``(H, W)``."""
        maps = list(self.maps.values())
        if len(maps) < 2:
            raise InvalidKnob(f"disagreement needs at least two finished panels; there are {len(maps)}.")
        deviation: NDArray[np.float64] = np.std(maps, axis=0)
        return deviation

    def agreement(self) -> dict[tuple[Place, Place], float]:
        """Return Spearman's rank correlation of each pair of maps, of absolute values; NaN for a constant one."""
        from scipy.stats import rankdata

        ranks = {place: rankdata(np.abs(found).ravel()) for place, found in self.maps.items()}
        return {(one, other): _correlation(ranks[one], ranks[other]) for one, other in combinations(sorted(ranks), 2)}

    def plot(self, *, scale: str = "panel", look: Any = None, extra: bool = True) -> Any:
        """Return a matplotlib figure of the grid; see ``render.grid.comparison_figure``."""
        from xaiwidgets.render.grid import comparison_figure

        return comparison_figure(self, scale=scale, look=look, extra=extra)

    def save(self, path: str | PathLike[str], *, scale: str = "panel", look: Any = None, extra: bool = True) -> None:
        """Write the figure as PNG, SVG or PDF, by the ending of ``path``."""
        from xaiwidgets.render.grid import save_comparison

        save_comparison(self, path, scale=scale, look=look, extra=extra)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if one.std() == 0 or other.std() == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def compare(
    model: Model, image: Any, methods: Sequence[Any], *, targets: Any = None, layers: Sequence[str] = ()
) -> Comparison:
    """Explain a photo with several methods, for several classes and layers, and return all maps.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        image: as for ``explain``.
        methods: ids, method objects, or (id, hyper-parameters) pairs; one a column.
        targets: classes, one a row; ``None`` is the top class.
        layers: rows for methods that look at a layer, each with every target; others show the same map in each.

    Raises:
        InvalidKnob: no methods, or more than 36 panels. Others as for ``explain``. What goes wrong in one panel is in
        the results and stops no other.
    """
    picture = read_picture(image)
    pixels = model.input(picture)
    asked = plan(model, pixels, methods, targets, layers)
    results: dict[Place, Attribution | XaiError] = {}
    for place, found in run_cells(model, pixels, asked.cells(), picture.name):
        results[place] = found
    seen = (model.to_pixels(pixels).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    photo = np.repeat(seen, 3, axis=2) if seen.shape[2] == 1 else seen
    return Comparison(asked, results, photo, model.name)
