"""The Lens: the whole question on screen as one immutable record. Equal lenses have equal answers."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from xaiwidgets.core.cards import Card, card, cards
from xaiwidgets.core.knobs import clamp_knobs, knobs_of
from xaiwidgets.errors import InvalidKnob, UnknownMethod
from xaiwidgets.model.targets import POSITIONS
from xaiwidgets.render.look import Look

#: A link longer than this was not made by us.
LONGEST_QUERY = 4000
MOST_CLASSES = 8
#: No layer has more channels than this, and no map more rows or columns.
LARGEST_INDEX = 1_000_000
LONGEST_NAME = 300


@dataclass(frozen=True)
class Unit:
    """A hidden unit that is explained in place of a class; that the model has it is checked where the model is known.

    Attributes:
        layer: name of the layer. ``channel``: one of its channels.
        position: ``mean``, ``max``, ``center`` or (row, column).
    """

    layer: str
    channel: int = 0
    position: str | tuple[int, int] = "mean"

    def to_text(self) -> str:
        """Return ``CHANNEL,POSITION,LAYER``, a position in the map as ``ROW:COLUMN``."""
        place = self.position if isinstance(self.position, str) else ":".join(map(str, self.position))
        return f"{self.channel},{place},{self.layer}"

    @classmethod
    def from_text(cls, text: str) -> Unit | None:
        """Return the unit that ``to_text`` wrote, its numbers clamped, or ``None`` where there is none."""
        channel, _, rest = text.partition(",")
        place, _, layer = rest.partition(",")
        if not layer or not channel.isdecimal():
            return None
        where = [min(int(n), LARGEST_INDEX) for n in place.split(":") if n.isdecimal()]
        position: Any = (where[0], where[1]) if len(where) == 2 else place if place in POSITIONS else "mean"
        return cls(layer[:LONGEST_NAME], min(int(channel), LARGEST_INDEX), position)


@dataclass(frozen=True)
class Lens:
    """Which picture, which target, which method with which hyper-parameters, and how it is looked at.

    Attributes:
        image: name of a sample, or the key of an uploaded picture.
        target: class indices; empty means the top-1 class. ``unit``: a hidden unit, which comes before any class.
        method: id of an explainer.
        knobs: its hyper-parameters that differ from the defaults, sorted by name.
        look: palette, opacity and so on; changing it never starts a computation.
    """

    image: str = "coffee"
    target: tuple[int, ...] = ()
    method: str = "grad_cam"
    knobs: tuple[tuple[str, Any], ...] = ()
    look: Look = field(default_factory=Look)
    unit: Unit | None = None

    @property
    def asked(self) -> tuple[int, ...] | Unit:
        """What is explained: a hidden unit, or classes."""
        return self.target if self.unit is None else self.unit

    @property
    def question(self) -> tuple[Any, ...]:
        """What a computation depends on; the key of the cache of answers."""
        return self.image, self.asked, self.method, self.knobs

    def knob(self, name: str) -> Any:
        """Return a hyper-parameter's value, its default when it was not changed."""
        found = dict(self.knobs)
        if name in found:
            return found[name]
        return next(k.default for k in card(self.method).knobs if k.name == name)

    def with_knobs(self, **values: Any) -> Lens:
        """Return this lens with other hyper-parameters, each moved into its domain; unknown names are dropped."""
        made = card(self.method)
        defaults = {k.name: k.default for k in made.knobs}
        merged = clamp_knobs(made.cls, {**dict(self.knobs), **values})
        return dataclasses.replace(self, knobs=tuple(sorted((n, v) for n, v in merged.items() if v != defaults[n])))

    def with_method(self, method: str) -> Lens:
        """Return this lens with another method; a layer that was chosen stays chosen if both have one."""
        if method == self.method:
            return self
        fresh = dataclasses.replace(self, method=explainer_card(method).id, knobs=())
        # not other names they share: 16 noisy copies are many, 16 random masks are none
        return fresh.with_knobs(**{n: v for n, v in self.knobs if n == "layer"})

    def replace(self, **changes: Any) -> Lens:
        """Return a copy with these fields changed."""
        return dataclasses.replace(self, **changes)

    def make(self) -> Any:
        """Return the method object that this lens asks for."""
        return card(self.method).make(**dict(self.knobs))

    def to_query(self) -> str:
        """Return the lens as the query part of a link."""
        plain = Look()
        look = {k.name: v for k in knobs_of(Look) if (v := getattr(self.look, k.name)) != getattr(plain, k.name)}
        parts = {"image": self.image, "method": self.method}
        if self.unit is not None:
            parts["unit"] = self.unit.to_text()
        elif self.target:
            parts["target"] = ",".join(map(str, self.target))
        parts |= {f"k.{name}": json.dumps(value) for name, value in self.knobs}
        parts |= {f"look.{name}": json.dumps(value) for name, value in look.items()}
        return urlencode(parts)

    @classmethod
    def from_query(cls, query: str) -> Lens:
        """Return the lens of a link; what is unknown or outside its domain is replaced by the default."""
        parts = dict(parse_qsl(query[:LONGEST_QUERY].lstrip("?")))
        try:
            lens = cls(method=explainer_card(parts.get("method", "grad_cam")).id)
        except UnknownMethod:
            lens = cls()
        target = tuple(int(n) for n in parts.get("target", "").split(",") if n.isdecimal())[:MOST_CLASSES]
        knobs = {n[2:]: v for n, t in parts.items() if n.startswith("k.") and (v := _value(t)) is not None}
        look = {n[5:]: v for n, t in parts.items() if n.startswith("look.") and (v := _value(t)) is not None}
        unit = Unit.from_text(parts.get("unit", ""))
        lens = lens.replace(
            image=parts.get("image", lens.image)[:100],
            target=target if unit is None else (),
            unit=unit,
            look=Look(**clamp_knobs(Look, look)),
        )
        asked = lens.with_knobs(**knobs)
        try:
            asked.make()
        except InvalidKnob:  # each is in its domain, but a method may know more, e.g. which ids there are
            return lens
        return asked


def explainer_card(method: str) -> Card:
    """Return the card of an explainer.

    Raises:
        UnknownMethod: there is none with this id, or it is of another kind.
    """
    made = card(method)
    if made.kind != "explainer":
        ids = ", ".join(c.id for c in cards("explainer"))
        raise UnknownMethod(f"method must be one of the explainers {ids}; {made.id} is a {made.kind}.")
    return made


def _value(text: str) -> Any:
    """Return the string, flag or finite number that JSON stands for, or ``None``."""
    try:
        found = json.loads(text)
        usable = isinstance(found, (str, bool)) or (isinstance(found, (int, float)) and math.isfinite(found))
    except (ValueError, OverflowError, RecursionError):  # no JSON, more digits than a float holds, brackets without end
        return None
    return found if usable else None
