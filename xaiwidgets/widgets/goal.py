"""Choosing what a picture is made for: a class, one channel of any layer, or an objective written as text."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.errors import XaiError
from xaiwidgets.widgets.quiet import Quiet
from xaiwidgets.widgets.theme import label
from xaiwidgets.widgets.unit import UnitChooser

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal as Wanted

#: Characters of an objective that are taken from a page.
LONGEST = 2000
KINDS = ("class", "unit", "objective")


@dataclass(frozen=True)
class Wish:
    """What was chosen, kept apart from the controls, which may show another one by the time it is looked up.

    Attributes:
        kind: one of ``KINDS``. ``category``: a class in words, or its index.
        layer, channel, position: of a unit. ``text``: an objective, as ``parse_objective`` reads it.
        exact: a target that the controls cannot show, such as that of a record; it wins.
    """

    kind: str = "class"
    category: str = ""
    layer: str = ""
    channel: int = 0
    position: str = "mean"
    text: str = ""
    exact: Wanted | None = None

    def target(self, model: Model) -> Wanted:
        """Return the target on a model.

        Raises:
            InvalidTarget, InvalidLayer: no such class, layer, channel or position, or no objective.
        """
        if self.exact is not None:
            return self.exact
        if self.kind == "objective":
            from xaiwidgets.model.objectives import parse_objective

            return model.objective(parse_objective(self.text, model))
        if self.kind == "unit":
            return model.unit(self.layer, self.channel, self.position)
        known = {model.labels.short(i) for i in range(len(model.labels))}
        return model.target(
            int(self.category) if self.category.isdecimal() and self.category not in known else self.category
        )


class Goal:
    """Controls for a class by search, for layer, channel and position, or for an objective as text.

    Args:
        changed: called when a person chose something else.
        first: the class that is offered first.
    """

    def __init__(self, changed: Callable[[], None], first: str) -> None:
        self._changed = changed
        self._quiet = Quiet()
        self.kind = w.ToggleButtons(
            options=[("Class", "class"), ("Channel of a layer", "unit"), ("Objective", "objective")],
            tooltips=(
                "One class score",
                "A hidden unit",
                "Sums, differences and products of classes, units and layers",
            ),
        )
        self.kind.style.button_width = "auto"
        self.category = w.Combobox(
            value=first, description="Class", continuous_update=False, placeholder="search all classes"
        )
        self.category.style.description_width = "64px"
        self.category.layout.width = "100%"
        self.category.tooltip = self.category.description
        self.category.observe(self._observed, "value")
        unit = UnitChooser(changed)
        self.layer, self.channel, self.position = unit.layer, unit.channel, unit.position
        self._chooser, self._unit = unit, w.VBox(list(unit.controls.values()))
        self._model: Model | None = None
        self.text = w.Textarea(
            description="Objective", continuous_update=False, rows=2, placeholder="espresso + 0.5 * blocks.4:12"
        )
        self.text.style.description_width = "64px"
        self.text.layout.width = "100%"
        self.text.tooltip = "Classes, layer:channel, dream(layer), norm(layer), probability(class) …, with + - * ( )"
        self.text.observe(self._written, "value")
        self.wrong = w.HTML()
        self._objective = w.VBox([self.text, self.wrong])
        self._parts = {"class": self.category, "unit": self._unit, "objective": self._objective}
        self.kind.observe(self._switched, "value")
        self.box = w.VBox([label("Target"), self.kind, *self._parts.values()])
        self._arrange()

    def set_model(self, model: Model) -> None:
        """Offer the classes and layers of this model."""
        self._model = model
        with self._quiet:
            self.category.options = tuple(model.labels.short(i) for i in range(len(model.labels)))
            if self.category.value not in self.category.options:
                self.category.value = model.labels.short(0)
        self._chooser.set_model(model)

    @property
    def wish(self) -> Wish:
        """What is chosen by now."""
        return Wish(
            self.kind.value if self.kind.value in KINDS else "class",
            str(self.category.value).strip()[:200],
            str(self.layer.value),
            int(self.channel.value),
            str(self.position.value),
            str(self.text.value).strip()[:LONGEST],
        )

    @property
    def words(self) -> str:
        """What is chosen, in words."""
        if self.kind.value == "class":
            return str(self.category.value)
        if self.kind.value == "objective":
            return str(self.text.value).strip()
        return f"{self.layer.value} channel {self.channel.value}"

    def target(self, model: Model) -> Wanted:
        """Return the target on a model.

        Raises:
            InvalidTarget: no such class, channel or position.
        """
        return self.wish.target(model)

    def show(self, wish: Wish) -> None:
        """Show what was chosen before, without calling back."""
        with self._quiet:
            self.kind.value = wish.kind
            self.category.value = wish.category
            self._chooser.show(wish.layer, wish.channel, wish.position)
            self.text.value, self.wrong.value = wish.text, ""
            self._arrange()

    def _observed(self, _: Any) -> None:
        if not self._quiet:
            self._changed()

    def _switched(self, _: Any) -> None:
        if self._quiet:
            return
        self._arrange()
        if self.kind.value == "objective":
            if str(self.text.value).strip():
                self._written(None)
        else:
            self._changed()

    def _written(self, _: Any) -> None:
        """Take an objective over if it is one, and say in its place what is wrong with it if not."""
        if self._quiet:
            return
        try:
            if self._model is not None:
                self.wish.target(self._model)
        except XaiError as error:
            self.wrong.value = f"<div class='xai-error' role='alert'>{escape(str(error))}</div>"
        else:
            self.wrong.value = ""
            self._changed()

    def _arrange(self) -> None:
        for kind, part in self._parts.items():
            part.layout.display = "" if kind == self.kind.value else "none"
