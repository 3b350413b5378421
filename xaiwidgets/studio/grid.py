"""The Grid: a whole comparison on screen as one immutable record, and as the query part of a link."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from xaiwidgets.core.cards import card
from xaiwidgets.core.knobs import Choice, clamp_knobs, knobs_of
from xaiwidgets.engine.arrange import ACROSS, MOST_CELLS, Cell, arranged
from xaiwidgets.engine.comparison import check_count
from xaiwidgets.errors import InvalidKnob, UnknownMethod
from xaiwidgets.render.look import Look
from xaiwidgets.render.panels import SCALES
from xaiwidgets.studio.lens import LONGEST_NAME, Lens, _value, explainer_card

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xaiwidgets.engine.arrange import Place

#: A link longer than this was not made by us.
LONGEST_QUERY = 16_000
#: Classes that are asked for by their rank come from the first five.
LAST_RANK = 5
LARGEST_INDEX = 1_000_000


@dataclass(frozen=True)
class Rank:
    """The class that comes first (1), second (2), … for a photo; another photo has another one."""

    place: int

    def to_text(self) -> str:
        """Return it as links have it."""
        return f"top{self.place}"


@dataclass(frozen=True)
class Column:
    """A method with its hyper-parameters, those that differ from the defaults.

    The name is for the usual case of methods across; ``Grid.across`` may put them in rows.
    """

    method: str
    knobs: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, method: str, **knobs: Any) -> Column:
        """Return a method with hyper-parameters, each moved into its domain; unknown names are dropped.

        Raises:
            UnknownMethod: there is no explainer with this id.
        """
        return cls(explainer_card(method).id).with_knobs(**knobs)

    @property
    def lens(self) -> Lens:
        """The method as a question about no photo in particular."""
        return Lens(method=self.method, knobs=self.knobs)

    def knob(self, name: str) -> Any:
        """Return a hyper-parameter's value, its default when it was not changed."""
        return self.lens.knob(name)

    def with_knobs(self, **values: Any) -> Column:
        """Return this method with other hyper-parameters, each moved into its domain; unknown names are dropped."""
        return Column(self.method, self.lens.with_knobs(**values).knobs)

    def make(self) -> Any:
        """Return the method object.

        Raises:
            InvalidKnob: each value is in its domain, but together they make no sense.
        """
        return card(self.method).make(**dict(self.knobs))


#: What is compared at first: cheap methods of three families. The occluder's stride is wide, so that it takes a second.
FIRST = (
    Column("saliency"),
    Column("integrated_gradients"),
    Column("grad_cam"),
    Column("occlusion", (("stride_height", 24), ("stride_width", 24))),
)


@dataclass(frozen=True)
class Grid:
    """Which methods, for which classes, at which layers, of which picture; how it is arranged and looked at.

    Attributes:
        image: name of a sample, or the key of an uploaded picture.
        methods: at least one. ``targets``: at least one class index or ``Rank``.
        layers: for methods that look at a layer; empty for each method's own choice.
        across: which of ``methods``, ``classes`` and ``layers`` is in columns.
        scale: ``panel``, ``shared`` or ``rank``. ``look``: palette, opacity and so on.
        pair: the two cells whose difference is shown.

    Raises:
        InvalidKnob: an empty list, or more than 36 panels.
    """

    image: str = "coffee"
    methods: tuple[Column, ...] = FIRST
    targets: tuple[int | Rank, ...] = (Rank(1), Rank(2))
    layers: tuple[str, ...] = ()
    across: str = "methods"
    scale: str = "panel"
    look: Look = field(default_factory=Look)
    pair: tuple[Cell, Cell] = (Cell(0, 0, 0), Cell(1, 0, 0))

    def __post_init__(self) -> None:
        if not self.methods:
            raise InvalidKnob("a comparison needs at least one method; add another one before you take this one away.")
        if not self.targets:
            raise InvalidKnob("a comparison needs at least one class; add another one before you take this one away.")
        check_count(*self.counts[:2], len(self.layers))
        Choice(ACROSS).check("across", self.across)
        Choice(SCALES).check("scale", self.scale)
        inside = tuple(
            Cell(*(min(max(0, n), count - 1) for n, count in zip(cell, self.counts, strict=True))) for cell in self.pair
        )
        object.__setattr__(self, "pair", inside)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many methods, classes and layers there are; without layers, 1."""
        return len(self.methods), len(self.targets), max(1, len(self.layers))

    @property
    def cells(self) -> dict[Place, Cell]:
        """What stands at each (row, column)."""
        return arranged(self.across, self.counts)

    @property
    def question(self) -> tuple[Any, ...]:
        """What computations depend on."""
        return self.image, self.methods, self.targets, self.layers

    def replace(self, **changes: Any) -> Grid:
        """Return a copy with these fields changed."""
        return dataclasses.replace(self, **changes)

    # -- what a person does to it -----------------------------------------------------------------------------------

    def with_method(self, column: Column) -> Grid:
        """Return the grid with one more method."""
        return self.replace(methods=(*self.methods, column)).apart()

    def changed(self, number: int, **knobs: Any) -> Grid:
        """Return the grid with other hyper-parameters of one of its methods."""
        made = list(self.methods)
        made[number] = made[number].with_knobs(**knobs)
        return self.replace(methods=tuple(made))

    def with_target(self, target: int | Rank) -> Grid:
        """Return the grid with one more class; one that is there already changes nothing."""
        return self if target in self.targets else self.replace(targets=(*self.targets, target)).apart()

    def with_layer(self, layer: str) -> Grid:
        """Return the grid with one more layer; one that is there already changes nothing."""
        return self if layer in self.layers else self.replace(layers=(*self.layers, layer)).apart()

    def without(self, axis: str, number: int) -> Grid:
        """Return the grid without one of its ``methods``, ``targets`` or ``layers``.

        The pair stays where it was, unless that makes it one cell.
        """
        kept = tuple(one for n, one in enumerate(getattr(self, axis)) if n != number)
        name = axis.removesuffix("s")

        def moved(cell: Cell) -> Cell:
            at = getattr(cell, name)
            return cell._replace(**{name: at - 1 if at > number else at})

        return self.replace(**{axis: kept}, pair=tuple(map(moved, self.pair))).apart()

    def apart(self) -> Grid:
        """Return the grid with a pair of two cells, if it has as many: a change of the lists may have made them one."""
        first, second = self.pair
        if first != second:
            return self
        for name, count in zip(Cell._fields, self.counts, strict=True):
            if count > 1:
                return self.replace(pair=(first, first._replace(**{name: (getattr(first, name) + 1) % count})))
        return self

    # -- as a link --------------------------------------------------------------------------------------------------

    def to_query(self) -> str:
        """Return the grid as the query part of a link."""
        plain = Grid()
        parts: dict[str, str] = {"image": self.image}
        for number, column in enumerate(self.methods):
            parts[f"m{number}"] = column.method
            parts |= {f"m{number}.{name}": json.dumps(value) for name, value in column.knobs}
        parts["targets"] = ",".join(t.to_text() if isinstance(t, Rank) else str(t) for t in self.targets)
        parts |= {f"l{number}": layer for number, layer in enumerate(self.layers)}
        parts |= {name: value for name in ("across", "scale") if (value := getattr(self, name)) != getattr(plain, name)}
        if self.pair != plain.pair:
            parts["pair"] = "-".join(".".join(map(str, cell)) for cell in self.pair)
        look = {k.name: getattr(self.look, k.name) for k in knobs_of(Look)}
        parts |= {f"look.{n}": json.dumps(v) for n, v in look.items() if v != getattr(plain.look, n)}
        return urlencode(parts)

    @classmethod
    def from_query(cls, query: str) -> Grid:
        """Return the grid of a link; what is unknown, too much or outside its domain is left out."""
        parts = dict(parse_qsl(query[:LONGEST_QUERY].lstrip("?")))
        plain = cls()
        methods = tuple(_columns(parts)) or plain.methods
        targets = tuple(_targets(parts.get("targets", ""))) or plain.targets
        layers = tuple(dict.fromkeys(parts[k][:LONGEST_NAME] for k in _numbered("l", parts)))
        targets = targets[: MOST_CELLS // len(methods)]
        layers = layers[: MOST_CELLS // (len(methods) * len(targets))]
        look = {n[5:]: v for n, t in parts.items() if n.startswith("look.") and (v := _value(t)) is not None}
        across, scale = parts.get("across", ""), parts.get("scale", "")
        return cls(
            image=parts.get("image", plain.image)[:100],
            methods=methods,
            targets=targets,
            layers=layers,
            across=across if across in ACROSS else plain.across,
            scale=scale if scale in SCALES else plain.scale,
            look=Look(**clamp_knobs(Look, look)),
            pair=_pair(parts.get("pair", "")) or plain.pair,
        )


def _numbered(letter: str, parts: Mapping[str, str]) -> list[str]:
    return [name for number in range(MOST_CELLS) if (name := f"{letter}{number}") in parts]


def _columns(parts: Mapping[str, str]) -> Iterable[Column]:
    for name in _numbered("m", parts):
        start = f"{name}."
        given = {n.removeprefix(start): _value(text) for n, text in parts.items() if n.startswith(start)}
        try:
            plain = Column.of(parts[name])
            column = plain.with_knobs(**{n: value for n, value in given.items() if value is not None})
        except UnknownMethod:
            continue
        try:
            column.make()
        except InvalidKnob:  # each value is in its domain, but a method may know more, e.g. which ids there are
            column = plain
        yield column


def _targets(text: str) -> Iterable[int | Rank]:
    found: list[int | Rank] = []
    for word in text.split(",")[:MOST_CELLS]:
        rank = word.removeprefix("top")
        if rank != word and rank.isdecimal() and 1 <= int(rank[:3]) <= LAST_RANK:
            found.append(Rank(int(rank[:3])))
        elif word.isdecimal() and len(word) <= 7:
            found.append(min(int(word), LARGEST_INDEX))
    return dict.fromkeys(found)


def _pair(text: str) -> tuple[Cell, Cell] | None:
    cells = [[min(int(n[:4]), MOST_CELLS) for n in part.split(".") if n.isdecimal()] for part in text[:60].split("-")]
    if len(cells) != 2 or any(len(cell) != 3 for cell in cells):
        return None
    return Cell(*cells[0]), Cell(*cells[1])
