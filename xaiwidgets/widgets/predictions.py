"""What the network says: five rows with bars; a click explains that class. Any class or hidden unit can be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.errors import InvalidTarget
from xaiwidgets.widgets.quiet import Quiet
from xaiwidgets.widgets.theme import label, mark
from xaiwidgets.widgets.unit import UnitChooser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xaiwidgets.model.labels import Labels
    from xaiwidgets.model.model import Model
    from xaiwidgets.studio.frame import Prediction
    from xaiwidgets.studio.lens import Unit

ROWS = 5


class Predictions:
    """Five rows of (label, probability) over bars; below them a search over all labels, or the choice of a unit.

    Args:
        chosen: called with a class index, or ``None`` for "whatever is first".
        failed: called with a message when a search finds nothing.
        unit: called with (layer, channel, position) of a hidden unit.
        strongest: called with (layer, position) to have the unit found that the photo excites most.
    """

    def __init__(
        self,
        chosen: Callable[[int | None], None],
        failed: Callable[[str], None],
        unit: Callable[[str, int, str], None],
        strongest: Callable[[str, str], None],
    ) -> None:
        self._chosen, self._failed, self._ask_unit, self._ask_strongest = chosen, failed, unit, strongest
        self._labels: Labels | None = None
        self._shown: tuple[Prediction, ...] = ()
        self._quiet = Quiet()
        self._buttons = [w.Button(disabled=True, tooltip="No prediction yet") for _ in range(ROWS)]
        self._bars = [w.HTML("<div></div>") for _ in range(ROWS)]
        rows = []
        for number, (button, bar) in enumerate(zip(self._buttons, self._bars, strict=True)):
            button.on_click(lambda _, number=number: self._clicked(number))
            row = w.Box([bar, button])
            row.add_class("xai-row")
            rows.append(row)
        self._search = w.Combobox(placeholder="search all classes", continuous_update=False, disabled=True)
        self._search.description = "Explain"
        self._search.style.description_width = "56px"
        self._search.layout.width = "100%"
        self._search.tooltip = "A label, a WordNet id or a class index"
        self._search.observe(self._searched, "value")
        self.kind = w.ToggleButtons(
            options=[("Class", "class"), ("Hidden unit", "unit")],
            tooltips=("Explain one class score", "Explain one channel of a layer"),
            disabled=True,
        )
        self.kind.style.button_width = "auto"
        self.kind.add_class("xai-switch")
        self.kind.observe(self._switched, "value")
        self.unit = UnitChooser(self._unit_changed)
        self._find = w.Button(description="strongest", tooltip="The channel of this layer that the photo excites most")
        self._find.add_class("xai-plain")
        self._find.on_click(lambda _: self._strongest())
        for control in (self.unit.channel, self.unit.position):
            control.layout.width = "auto"
        self.unit.layer.description = "In layer"  # the strip below the photo has a layer of its own
        self.unit.position.description = ""
        self.unit.layer.style.description_width = self.unit.channel.style.description_width = "56px"
        row = w.HBox([self.unit.channel, self.unit.position, self._find])
        row.add_class("xai-unit")
        self._units = w.VBox([self.unit.layer, row])
        self._units.layout.display = "none"
        self.box = w.VBox([label("Predictions"), *rows, self.kind, self._search, self._units])

    def set_model(self, model: Model) -> None:
        """Offer the classes and the hidden units of this model."""
        self.set_labels(model.labels)
        self.unit.set_model(model)
        self.kind.disabled = False

    def set_labels(self, labels: Labels) -> None:
        """Offer these labels in the search."""
        self._labels = labels
        self._search.options = tuple(labels.short(i) for i in range(len(labels)))
        self._search.disabled = False

    def show(
        self,
        predictions: Sequence[Prediction],
        target: Sequence[int] = (),
        explained: int | None = None,
        unit: Unit | None = None,
    ) -> None:
        """Show the five first classes; the explained one is marked, none if that is a hidden unit.

        ``explained`` is what an empty target stands for where that is not the first row: with a region hidden.
        """
        self._shown = tuple(predictions)
        for number, (button, bar) in enumerate(zip(self._buttons, self._bars, strict=True)):
            if number >= len(self._shown):
                button.description, button.disabled, bar.value = "", True, "<div></div>"
                continue
            found = self._shown[number]
            button.disabled = False
            button.description = f"{found.probability:6.1%}  {found.label}"
            button.tooltip = f"Explain {found.label} (probability {found.probability:.4f}, logit {found.logit:.2f})"
            width = max(0.5, 100 * found.probability)
            bar.value = f"<div class='xai-bar' style='width:{width:.1f}%'></div>"
        self.mark(target, explained, unit)

    def mark(self, target: Sequence[int], explained: int | None = None, unit: Unit | None = None) -> None:
        """Mark the explained class; an empty target is ``explained``, or the first row. A ``unit`` is shown below."""
        self._show_kind(unit)
        if unit is not None:
            for button in self._buttons:
                mark(button, False)
            return
        wanted = target or (() if explained is None else (explained,))
        for number, button in enumerate(self._buttons):
            found = self._shown[number].index if number < len(self._shown) else None
            mark(button, found in wanted if wanted else number == 0 and found is not None)
        if self._labels is not None and target:
            known = [i for i in target if isinstance(i, int) and 0 <= i < len(self._labels)]
            self._write(" + ".join(self._labels.short(i) for i in known))
        else:
            self._write("")

    def _show_kind(self, unit: Unit | None) -> None:
        with self._quiet:
            self.kind.value = "class" if unit is None else "unit"
        self._search.layout.display = "" if unit is None else "none"
        self._units.layout.display = "none" if unit is None else ""
        if unit is not None:
            self.unit.show(unit.layer, unit.channel, str(unit.position))

    def _switched(self, change: Any) -> None:
        if self._quiet:
            return
        if change["new"] == "unit":
            self._strongest()
        else:
            self._chosen(None)

    def _strongest(self) -> None:
        if self.unit.chosen is not None:
            layer, _, position = self.unit.chosen
            self._ask_strongest(layer, position)

    def _unit_changed(self) -> None:
        if self.unit.chosen is not None:
            self._ask_unit(*self.unit.chosen)

    def _write(self, text: str) -> None:
        with self._quiet:
            self._search.value = text

    def _clicked(self, number: int) -> None:
        if number < len(self._shown):
            self._chosen(self._shown[number].index)

    def _searched(self, change: Any) -> None:
        text = str(change["new"]).strip()[:200]
        if self._quiet or self._labels is None:
            return
        if not text:
            self._chosen(None)
            return
        try:
            self._chosen(self._labels.index(int(text) if text.isdecimal() else text))
        except InvalidTarget as error:
            found = self._labels.search(text, 1)
            if found:
                self._chosen(found[0])
            else:
                self._failed(str(error))
