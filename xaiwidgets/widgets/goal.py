"""Choosing what a picture is made for: a class, or one channel of any layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.widgets.theme import label
from xaiwidgets.widgets.unit import UnitChooser

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal as Wanted


@dataclass(frozen=True)
class Wish:
    """What was chosen, kept apart from the controls, which may show another one by the time it is looked up.

    Attributes:
        kind: ``class`` or ``unit``. ``category``: a class in words, or its index.
        layer, channel, position: of a unit.
        exact: a target that the controls cannot show, such as that of a record; it wins.
    """

    kind: str = "class"
    category: str = ""
    layer: str = ""
    channel: int = 0
    position: str = "mean"
    exact: Wanted | None = None

    def target(self, model: Model) -> Wanted:
        """Return the target on a model.

        Raises:
            InvalidTarget: no such class, channel or position.
        """
        if self.exact is not None:
            return self.exact
        if self.kind == "unit":
            return model.unit(self.layer, self.channel, self.position)
        known = {model.labels.short(i) for i in range(len(model.labels))}
        return model.target(
            int(self.category) if self.category.isdecimal() and self.category not in known else self.category
        )


class Goal:
    """Controls for a class by search, or for layer, channel and position.

    Args:
        changed: called when a person chose something else.
        first: the class that is offered first.
    """

    def __init__(self, changed: Callable[[], None], first: str) -> None:
        self._changed = changed
        self._quiet = False
        self.kind = w.ToggleButtons(
            options=[("Class", "class"), ("Channel of a layer", "unit")], tooltips=("One class score", "A hidden unit")
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
        self._unit.layout.display = "none"
        self.kind.observe(self._switched, "value")
        self.box = w.VBox([label("Target"), self.kind, self.category, self._unit])

    def set_model(self, model: Model) -> None:
        """Offer the classes and layers of this model."""
        self._quiet = True
        try:
            self.category.options = tuple(model.labels.short(i) for i in range(len(model.labels)))
            if self.category.value not in self.category.options:
                self.category.value = model.labels.short(0)
        finally:
            self._quiet = False
        self._chooser.set_model(model)

    @property
    def wish(self) -> Wish:
        """What is chosen by now."""
        kind = "unit" if self.kind.value == "unit" else "class"
        return Wish(
            kind,
            str(self.category.value).strip()[:200],
            str(self.layer.value),
            int(self.channel.value),
            str(self.position.value),
        )

    @property
    def words(self) -> str:
        """What is chosen, in words."""
        if self.kind.value == "class":
            return str(self.category.value)
        return f"{self.layer.value} channel {self.channel.value}"

    def target(self, model: Model) -> Wanted:
        """Return the target on a model.

        Raises:
            InvalidTarget: no such class, channel or position.
        """
        return self.wish.target(model)

    def show(self, wish: Wish) -> None:
        """Show what was chosen before, without calling back."""
        self._quiet = True
        try:
            self.kind.value = wish.kind
            self.category.value = wish.category
            self._chooser.show(wish.layer, wish.channel, wish.position)
            self._arrange()
        finally:
            self._quiet = False

    def _observed(self, _: Any) -> None:
        if not self._quiet:
            self._changed()

    def _switched(self, _: Any) -> None:
        if not self._quiet:
            self._arrange()
            self._changed()

    def _arrange(self) -> None:
        unit = self.kind.value == "unit"
        self._unit.layout.display = "" if unit else "none"
        self.category.layout.display = "none" if unit else ""
