"""What is compared, as lists that a person adds to and takes from: methods, classes, layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.core.cards import FAMILIES, cards
from xaiwidgets.errors import InvalidTarget
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.quiet import Quiet
from xaiwidgets.widgets.theme import label, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xaiwidgets.model.labels import Labels
    from xaiwidgets.model.model import Model
    from xaiwidgets.studio.frame import Prediction

ROWS = 5
LONGEST_SEARCH = 200


class Adder:
    """A list from which one entry at a time is taken; it shows a heading again at once.

    Args:
        words: what the list is called. ``tooltip``: what choosing does.
        chosen: called with an entry's value.
    """

    HEADING = ("add one …", "")

    def __init__(self, words: str, tooltip: str, chosen: Callable[[str], Any]) -> None:
        self._chosen = chosen
        self.widget = w.Dropdown(options=[self.HEADING], description=words)
        self.widget.tooltip = tooltip
        self.widget.add_class("xai-add")
        self.widget.style.description_width = "56px"
        self.widget.observe(self._picked, "value")

    def offer(self, options: Sequence[tuple[str, str]]) -> None:
        """Offer these (words, value) pairs."""
        self.widget.options = [self.HEADING, *options]

    def _picked(self, change: Any) -> None:
        value = change["new"]
        if value:
            self.widget.value = ""
            self._chosen(value)


class MethodList:
    """The methods that are compared, one of them chosen for its settings; and a list to add one.

    Args:
        chosen, removed, doubled: called with a position in the list.
        added: called with a method's id.
    """

    def __init__(
        self,
        chosen: Callable[[int], Any],
        removed: Callable[[int], Any],
        doubled: Callable[[int], Any],
        added: Callable[[str], Any],
    ) -> None:
        self._chosen, self._removed = chosen, removed
        self._current = 0
        self._names: tuple[str, ...] = ()
        self._rows = w.VBox()
        self.adder = Adder("Method", "Compare one more method", added)
        self.double = w.Button(
            description="Duplicate", tooltip="Compare the chosen method with itself at other settings"
        )
        self.double.add_class("xai-plain")
        self.double.on_click(lambda _: doubled(self._current))
        self.limit({})
        row = w.HBox([self.adder.widget, self.double])
        row.add_class("xai-item")
        self.box = w.VBox([label("Methods"), self._rows, row])

    def limit(self, reasons: Mapping[str, str]) -> None:
        """Offer all methods, and say of those with a reason that they do not apply."""
        ready = [made for made in cards("explainer") if not reasons.get(made.id)]
        rest = [made for made in cards("explainer") if reasons.get(made.id)]
        self.adder.offer(
            [(f"{made.title} · {FAMILIES[made.family]}", made.id) for made in ready]
            + [(f"{made.title} · not here: needs {reasons[made.id]}", made.id) for made in rest]
        )

    def show(self, names: Sequence[str], current: int) -> None:
        """Show these methods, with one of them chosen."""
        self._current = current
        if tuple(names) != self._names:
            self._names = tuple(names)
            old, self._rows.children = self._rows.children, tuple(self._row(n, name) for n, name in enumerate(names))
            close_tree(*old)
        for number, row in enumerate(self._rows.children):
            mark(row.children[0], number == current)

    def _row(self, number: int, name: str) -> w.HBox:
        button = w.Button(description=name, tooltip=f"Settings of {name}")
        button.add_class("xai-name")
        button.on_click(lambda _: self._chosen(number))
        away = w.Button(description="×", tooltip=f"Take {name} away")
        away.add_class("xai-away")
        away.on_click(lambda _: self._removed(number))
        row = w.HBox([button, away])
        row.add_class("xai-item")
        return row


class ClassList:
    """The five first classes, which are compared or not; others by search.

    Args:
        toggled: called with (index of the class, its rank from 1); the rank is 0 for a class of the list below that is
            taken away, and -1 for one that was searched for.
        failed: called with a message when a search finds nothing.
    """

    def __init__(self, toggled: Callable[[int, int], Any], failed: Callable[[str], Any]) -> None:
        self._toggled, self._failed = toggled, failed
        self._labels: Labels | None = None
        self._shown: tuple[Prediction, ...] = ()
        self._quiet = Quiet()
        self._others: tuple[int, ...] = ()
        self._buttons = [w.Button(disabled=True, tooltip="No prediction yet") for _ in range(ROWS)]
        self._bars = [w.HTML("<div></div>") for _ in range(ROWS)]
        rows = []
        for number, (button, bar) in enumerate(zip(self._buttons, self._bars, strict=True)):
            button.on_click(lambda _, number=number: self._clicked(number))
            row = w.Box([bar, button])
            row.add_class("xai-row")
            rows.append(row)
        self._chips = w.Box()
        self._chips.add_class("xai-chips")
        self.search = w.Combobox(placeholder="search all, to add one", continuous_update=False, disabled=True)
        self.search.description = "Class"
        self.search.style.description_width = "56px"
        self.search.layout.width = "100%"
        self.search.tooltip = "A label, a WordNet id or a class index: compare this class, too"
        self.search.observe(self._searched, "value")
        self.box = w.VBox([label("Classes"), *rows, self._chips, self.search])

    def set_labels(self, labels: Labels) -> None:
        """Offer these labels in the search."""
        self._labels = labels
        self.search.options = tuple(labels.short(i) for i in range(len(labels)))
        self.search.disabled = False

    def show(self, predictions: Sequence[Prediction], compared: Sequence[int]) -> None:
        """Show the five first classes, those of these indices marked; the rest of them below."""
        self._shown = tuple(predictions)
        for number, (button, bar) in enumerate(zip(self._buttons, self._bars, strict=True)):
            if number >= len(self._shown):
                button.description, button.disabled, bar.value = "", True, "<div></div>"
                mark(button, False)
                continue
            found, on = self._shown[number], self._shown[number].index in compared
            button.disabled = False
            button.description = f"{'✓' if on else ' '} {found.probability:6.1%}  {found.label}"
            button.tooltip = f"Take {found.label} away" if on else f"Compare {found.label}, too"
            bar.value = f"<div class='xai-bar' style='width:{max(0.5, 100 * found.probability):.1f}%'></div>"
            mark(button, on)
        ranked = [one.index for one in self._shown]
        others = tuple(index for index in compared if index not in ranked)
        if others != self._others and self._labels is not None:
            self._others = others
            old, self._chips.children = self._chips.children, tuple(self._chip(index) for index in others)
            close_tree(*old)

    def _chip(self, index: int) -> w.Button:
        name = self._labels.short(index) if self._labels is not None and index < len(self._labels) else str(index)
        chip = w.Button(description=f"{name} ×", tooltip=f"Take {name} away")
        chip.add_class("xai-chip")
        chip.on_click(lambda _: self._toggled(index, 0))
        return chip

    def _clicked(self, number: int) -> None:
        if number < len(self._shown):
            self._toggled(self._shown[number].index, number + 1)

    def _searched(self, change: Any) -> None:
        text = str(change["new"]).strip()[:LONGEST_SEARCH]
        if self._quiet or self._labels is None or not text:
            return
        with self._quiet:
            self.search.value = ""
        try:
            index = self._labels.index(int(text) if text.isdecimal() else text)
        except InvalidTarget as error:
            found = self._labels.search(text, 1)
            if not found:
                self._failed(str(error))
                return
            index = found[0]
        self._toggled(index, -1)


class LayerList:
    """The layers that are compared, if any; each can be taken away.

    Args:
        added: called with a layer's name. ``removed``: called with a position in the list.
    """

    def __init__(self, added: Callable[[str], Any], removed: Callable[[int], Any]) -> None:
        self._removed = removed
        self._names: tuple[str, ...] = ()
        self._chips = w.Box()
        self._chips.add_class("xai-chips")
        self._plain = w.HTML("<span class='xai-muted'>each method's own choice</span>")
        self.adder = Adder("Layer", "Compare the maps of one more layer, for methods that have one", added)
        self.box = w.VBox([label("Layers"), self._plain, self._chips, self.adder.widget])

    def set_model(self, model: Model) -> None:
        """Offer the stages of this model first, then all of its spatial layers."""
        stages = [layer.name for layer in model.stages]
        rest = [layer for layer in model.layers if layer.spatial and layer.name not in stages]
        self.adder.offer([(f"{n} · stage", n) for n in stages] + [(layer.words, layer.name) for layer in rest])

    def show(self, names: Sequence[str]) -> None:
        """Show these layers."""
        if tuple(names) != self._names:
            self._names = tuple(names)
            old, self._chips.children = self._chips.children, tuple(self._chip(n, name) for n, name in enumerate(names))
            close_tree(*old)
            self._plain.layout.display = "none" if names else ""

    def _chip(self, number: int, name: str) -> w.Button:
        chip = w.Button(description=f"{name} ×", tooltip=f"Take {name} away")
        chip.add_class("xai-chip")
        chip.on_click(lambda _: self._removed(number))
        return chip
