"""A table of rules by layer: one drop-down for each convolution and dense layer, folded away until it is wanted."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import traitlets

from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT = "by composite"
KINDS = {"conv": "convolution", "linear": "dense"}


def parse(text: str) -> dict[str, str]:
    """Return the rules by layer of ``layer=rule, layer=rule``; what does not read so is left out."""
    pairs = (entry.partition("=") for entry in text.split(","))
    return {layer.strip(): rule.strip() for layer, equals, rule in pairs if equals and layer.strip() and rule.strip()}


class RulesEditor(w.VBox):
    """Edits a text such as ``features.0=zbox, features.3=gamma(0.3)``.

    ``value`` is the text, ``description`` and ``tooltip`` are as on other controls. The drop-downs are made when the
    table is first opened: a deep network has a hundred layers.

    Args:
        rules: names that may be chosen.
    """

    value = traitlets.Unicode("")
    description = traitlets.Unicode("")
    #: Not sent to the page: the view of a box breaks on a tooltip. The button bears it.
    tooltip = traitlets.Unicode("")

    def __init__(self, rules: Sequence[str], value: str = "") -> None:
        super().__init__()
        self._rules = tuple(rules)
        self._layers: tuple[tuple[str, str], ...] = ()
        self._rows: dict[str, w.Dropdown] = {}
        self._quiet = Quiet()
        self._open = w.ToggleButton(description="Rules by layer", tooltip="Choose a rule for single layers")
        self._reset = w.Button(description="reset", tooltip="All layers as the composite has them")
        for button in (self._open, self._reset):
            button.add_class("xai-plain")
        self._told = w.HTML()
        self._table = w.VBox()
        self._table.add_class("xai-rules")
        self._table.layout.display = "none"
        head = w.HBox([self._open, self._told, self._reset])
        head.add_class("xai-rulehead")
        self.children = (head, self._table)
        self._open.observe(self._opened, "value")
        self._reset.on_click(lambda _: self.set_trait("value", ""))
        self.observe(self._changed, "value")
        for name in ("description", "tooltip"):
            traitlets.dlink((self, name), (self._open, name))
        self.value = value
        self._tell()

    def set_layers(self, layers: Sequence[tuple[str, str]]) -> None:
        """Offer these layers, each a (name, kind), in execution order."""
        if tuple(layers) == self._layers:
            return
        self._layers = tuple(layers)
        close_tree(*self._rows.values())
        self._rows, self._table.children = {}, ()
        if self._open.value:
            self._fill()
        self._tell()

    def _opened(self, change: Any) -> None:
        if change["new"] and not self._rows:
            self._fill()
        self._table.layout.display = "" if change["new"] else "none"

    def _fill(self) -> None:
        chosen = parse(self.value)
        self._rows = {name: self._row(name, kind, chosen.get(name, "")) for name, kind in self._layers}
        for row in self._rows.values():
            row.observe(self._picked, "value")
        self._table.children = tuple(self._rows.values())

    @property
    def _others(self) -> dict[str, str]:
        """Entries that have no row: a block's name stands for all in it, and a link may name what is not there."""
        names = {name for name, _ in self._layers}
        return {name: rule for name, rule in parse(self.value).items() if name not in names}

    def _row(self, name: str, kind: str, rule: str) -> w.Dropdown:
        row = w.Dropdown(options=self._options(rule), value=rule, description=name)
        row.tooltip = f"Rule of {name}, a {KINDS.get(kind, kind)} layer"
        row.style.description_width = "150px"
        row.layout.width = "100%"
        return row

    def _options(self, rule: str) -> list[tuple[str, str]]:
        more = [] if rule in ("", *self._rules) else [rule]  # with a number, as code can write it
        return [(DEFAULT, ""), *((name.replace("_", " "), name) for name in (*self._rules, *more))]

    def _picked(self, _: Any) -> None:
        if not self._quiet:
            rows = {name: row.value for name, row in self._rows.items() if row.value}
            self.value = ", ".join(f"{name}={rule}" for name, rule in {**self._others, **rows}.items())

    def _changed(self, change: Any) -> None:
        chosen = parse(change["new"])
        with self._quiet:
            for name, row in self._rows.items():
                rule = chosen.get(name, "")
                if rule not in [value for _, value in row.options]:
                    row.options = self._options(rule)
                if row.value != rule:
                    row.value = rule
        self._tell()

    def _tell(self) -> None:
        count = len(parse(self.value))
        others = ", ".join(f"{name}: {rule}" for name, rule in self._others.items()) if self._layers else ""
        words = f"{count} changed" if count else DEFAULT
        self._told.value = f"<span class='xai-muted' title='{escape(others)}'>{escape(others or words)}</span>"
        self._reset.layout.display = "" if count else "none"
