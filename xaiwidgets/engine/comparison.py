"""Several methods on one photo, for several classes or layers: run side by side, and compared with numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import resolve
from xaiwidgets.core.correlation import pearson, ranks, spearman
from xaiwidgets.core.knobs import Choice, knobs_of
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.alike import alike
from xaiwidgets.engine.arrange import ACROSS, MOST_CELLS, Cell, arranged, headings
from xaiwidgets.engine.run import _check_model, drive
from xaiwidgets.engine.turns import begins, in_order, in_turn
from xaiwidgets.errors import InvalidKnob, InvalidTarget
from xaiwidgets.model.pictures import read_picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.engine.arrange import Place
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Pixels of the longer side of the photo in a figure.
VIEW = 720
#: What is asked in one cell.
Asked = tuple[Any, "Target"]


@dataclass(frozen=True)
class Plan:
    """What is compared, and where it stands.

    Attributes:
        methods, targets: at least one of each. ``layers``: none for each method's own choice.
        across: which of ``methods``, ``classes`` and ``layers`` is in columns; the other two are in rows.
    """

    methods: tuple[Any, ...]
    targets: tuple[Target, ...]
    layers: tuple[str, ...] = ()
    across: str = "methods"

    @cached_property
    def cells(self) -> dict[Place, Cell]:
        """Which method, target and layer stands at each (row, column)."""
        return arranged(self.across, (len(self.methods), len(self.targets), max(1, len(self.layers))))

    @cached_property
    def asked(self) -> dict[Place, Asked]:
        """The method, at its layer, and the target of each cell; a method without layers is the same in all of them."""
        return {place: (self._at(cell), self.targets[cell.target]) for place, cell in self.cells.items()}

    @cached_property
    def groups(self) -> dict[Asked, list[Place]]:
        """The cells that ask the same, by what they ask."""
        found: dict[Asked, list[Place]] = {}
        for place, asked in self.asked.items():
            found.setdefault(asked, []).append(place)
        return found

    @property
    def columns(self) -> list[str]:
        """Titles of the columns."""
        return self._headings[0]

    @property
    def rows(self) -> list[str]:
        """Titles of the rows."""
        return self._headings[1]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Titles of the methods, with the hyper-parameters that tell two of one name apart."""
        return method_names(self.methods)

    @cached_property
    def _headings(self) -> tuple[list[str], list[str]]:
        return headings(self.across, (self.names, [target.name for target in self.targets], self.layers))

    def title(self, place: Place) -> str:
        """Return what a cell shows, in words."""
        cell = self.cells[place]
        layer = f" at {self.layers[cell.layer]}" if self.layers and _layered(self.methods[cell.method]) else ""
        return f"{self.names[cell.method]} for {self.targets[cell.target].name}{layer}"

    def _at(self, cell: Cell) -> Any:
        method = self.methods[cell.method]
        layered = self.layers and _layered(method)
        return dataclasses.replace(method, layer=self.layers[cell.layer]) if layered else method


def _layered(method: Any) -> bool:
    return any(k.name == "layer" for k in knobs_of(method))


def plan(
    model: Model,
    image: Tensor,
    methods: Sequence[Any],
    targets: Any = None,
    layers: Sequence[str] | None = None,
    across: str = "methods",
) -> Plan:
    """Return what is compared, checked; see ``compare``.

    Raises:
        InvalidKnob: no methods, or more than 36 cells. UnknownMethod, InvalidTarget, InvalidLayer: as for ``explain``.
    """
    if isinstance(methods, str) or not methods:
        raise InvalidKnob("methods must be a list of at least one id or method object, such as ['saliency', 'rise'].")
    if isinstance(layers, str):
        raise InvalidKnob(f"layers must be a list of names, such as [{layers!r}]; got a text.")
    Choice(ACROSS).check("across", across)
    made = tuple(_method(one) for one in methods)
    wanted = [None] if targets is None else list(targets) if isinstance(targets, (list, tuple)) else [targets]
    if not wanted:
        raise InvalidTarget("targets must be a list of at least one class, or None for the top class.")
    check_count(len(made), len(wanted), len(layers or ()))
    found = tuple(model.target(one, image) for one in wanted)
    places = tuple(model.layer(name, spatial=True).name for name in layers or ())
    return Plan(made, found, places, across)


def check_count(methods: int, targets: int, layers: int) -> None:
    """Raise ``InvalidKnob`` if so many methods, classes and layers make too many panels."""
    count = methods * targets * max(1, layers)
    if count > MOST_CELLS:
        at = f" at {layers} layers" if layers > 1 else ""
        raise InvalidKnob(
            f"methods, classes and layers must make at most {MOST_CELLS} panels; {methods} methods for {targets} "
            f"{'classes' if targets > 1 else 'class'}{at} make {count}. Leave some of them out."
        )


def _method(wanted: Any) -> Any:
    if isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], dict):
        method = resolve(wanted[0], **wanted[1])
    else:
        method = resolve(wanted)
    if type(method).card.kind != "explainer":
        raise InvalidKnob(f"methods must be explainers; {type(method).card.id} is a {type(method).card.kind}.")
    return method


def method_names(methods: Sequence[Any]) -> tuple[str, ...]:
    """Return the methods' titles, with the hyper-parameters that tell two of one title apart, or a number."""
    titles: list[str] = []
    found: list[str] = []
    for method in methods:
        same = [other for other in methods if type(other) is type(method)]
        apart = [k for k in knobs_of(method) if len({getattr(other, k.name) for other in same}) > 1]
        told = ", ".join(f"{k.label.lower()} {_value(getattr(method, k.name))}" for k in apart[:3])
        name = type(method).card.title
        title = f"{name} ({told})" if told else name
        again = titles.count(title)
        titles.append(title)
        found.append(f"{title} ({again + 1})" if again else title)
    return tuple(found)


def _value(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return (text if len(text) <= 24 else f"{text[:23]}…") or "default"


def run_plan(
    model: Model, image: Tensor, asked: Plan, name: str = ""
) -> Iterator[tuple[Place, Attribution | Exception]]:
    """Yield (place, result so far) of a plan's cells, which advance in turn; an error ends its own cell only.

    What two cells ask alike is run once, and ordinary gradients of one target are taken once for all.
    """
    shared = sharing(model, image)
    jobs = [(one, drive(one[0], shared, image, one[1], name)) for one in run_order(shared, asked)]
    try:
        for one, result in in_turn(jobs):
            for place in asked.groups[one]:
                yield place, result
    finally:
        for _, steps in jobs:
            steps.close()


def sharing(model: Model, image: Tensor) -> Model:
    """Return the view of a model in which all gradients of this picture and one target are one pass."""
    shared = model if model.captures is not None and model.captures.whole else model.sharing(whole=True)
    if shared.captures is not None:
        shared.captures.admit(image)
    return shared


def run_order(model: Model, asked: Plan) -> list[Asked]:
    """Return what is asked, each once, in the order in which it is to begin."""
    by_target = sorted(asked.groups, key=lambda one: (asked.targets.index(one[1]), not begins(one[0])))
    return in_order(model, by_target, lambda one: one[0])


@dataclass(frozen=True, eq=False)
class Comparison:
    """Maps of one photo, by row and column.

    Attributes:
        plan: what was compared.
        results: by (row, column), the attribution, or the error that says why there is none.
        photo: what the network saw, uint8 ``(H, W, 3)``.
        model: its name.
    """

    plan: Plan
    results: Mapping[Place, Attribution | Exception]
    photo: NDArray[np.uint8]
    model: str = ""

    def __getitem__(self, place: Place) -> Attribution | Exception:
        return self.results[place]

    @cached_property
    def distinct(self) -> dict[Place, Attribution]:
        """The maps that differ in what was asked: one place of each."""
        firsts = [places[0] for places in self.plan.groups.values()]
        return {p: found for p in sorted(firsts) if isinstance(found := self.results.get(p), Attribution)}

    @cached_property
    def maps(self) -> dict[Place, NDArray[np.float64]]:
        """All maps ``(H, W)``, each of absolute values that are divided by their sum, by place."""
        made = {id(a): alike(a.heatmap(), "mass") for a in self.results.values() if isinstance(a, Attribution)}
        return {place: made[id(a)] for place, a in self.results.items() if id(a) in made}

    @property
    def passes(self) -> tuple[int, int]:
        """(forward, backward) passes that all cells together have cost; shared ones count once."""
        spent = [found.provenance.passes for found in self.distinct.values()]
        return sum(forward for forward, _ in spent), sum(backward for _, backward in spent)

    def difference(self, one: Place, other: Place) -> NDArray[np.float64]:
        """Return how much larger a share of its evidence one map has at each pixel than another, ``(H, W)``, signed.

        Raises:
            InvalidKnob: one of them is no place with a map.
        """
        for place in (one, other):
            if place not in self.maps:
                raise InvalidKnob(f"difference needs two panels with a map; {place} is none of {sorted(self.maps)}.")
        return self.maps[one] - self.maps[other]

    def disagreement(self) -> NDArray[np.float64]:
        """Return the standard deviation over all distinct maps of the share of evidence at each pixel, ``(H, W)``.

        Raises:
            InvalidKnob: there are fewer than two.
        """
        if len(self.distinct) < 2:
            raise InvalidKnob(f"disagreement needs at least two panels with a map; there are {len(self.distinct)}.")
        deviation: NDArray[np.float64] = np.std([self.maps[place] for place in self.distinct], axis=0)
        return deviation

    def correlation(self, one: Place, other: Place) -> float:
        """Return Spearman's rank correlation of two maps, of absolute values; NaN if one is constant."""
        return spearman(self.maps[one], self.maps[other])

    def agreement(self) -> dict[tuple[Place, Place], float]:
        """Return Spearman's rank correlation of each two distinct maps, of absolute values; NaN for a constant one."""
        known = {place: ranks(self.maps[place]) for place in self.distinct}
        return {(one, other): pearson(known[one], known[other]) for one, other in combinations(sorted(known), 2)}

    def plot(
        self, *, scale: str = "panel", difference: tuple[Place, Place] | None = None, extra: bool = True, **look: Any
    ) -> Any:
        """Return a matplotlib figure of the grid; see ``render.grid.comparison_figure``."""
        from xaiwidgets.render.grid import comparison_figure

        return comparison_figure(self, scale=scale, difference=difference, extra=extra, **look)

    def save(
        self,
        path: str | PathLike[str],
        *,
        scale: str = "panel",
        difference: tuple[Place, Place] | None = None,
        extra: bool = True,
        **look: Any,
    ) -> None:
        """Write the figure of ``plot`` as PNG, SVG or PDF, by the ending of ``path``."""
        from xaiwidgets.render.grid import save_comparison

        save_comparison(self, path, scale=scale, difference=difference, extra=extra, **look)


def compare(
    model: Model,
    image: Any,
    methods: Sequence[Any],
    *,
    targets: Any = None,
    layers: Sequence[str] | None = None,
    across: str = "methods",
) -> Comparison:
    """Explain a photo with several methods, for several classes and layers, and return all maps.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        image: as for ``explain``.
        methods: ids, method objects, or (id, hyper-parameters) pairs.
        targets: classes; ``None`` is the top class.
        layers: for methods that look at a layer; others show one map in all of them. None is each method's own choice.
        across: which of ``methods``, ``classes`` and ``layers`` is in columns; the other two are in rows.

    Raises:
        InvalidKnob: no methods, or more than 36 panels. Others as for ``explain``. What goes wrong in one panel is in
        the results and stops no other.
    """
    _check_model(model)
    picture = read_picture(image)
    pixels = model.input(picture)
    asked = plan(model, pixels, methods, targets, layers, across)
    results: dict[Place, Attribution | Exception] = {}
    for place, found in run_plan(model, pixels, asked, picture.name):
        results[place] = found
    return Comparison(asked, results, model.preprocessing.view(picture, VIEW), model.name)
