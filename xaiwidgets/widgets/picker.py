"""The method picker: chips by family, what each does in one line, what it costs, and who proposed it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import ipywidgets as w

from xaiwidgets.core.cards import FAMILIES, Card, cards
from xaiwidgets.widgets.theme import label, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Picker:
    """Buttons for all explainers, grouped by the review's taxonomy.

    Args:
        chosen: called with a method's id.
    """

    def __init__(self, chosen: Callable[[str], None]) -> None:
        self._cards = {made.id: made for made in cards("explainer")}
        self._chips: dict[str, w.Button] = {}
        groups: list[w.Widget] = [label("Method")]
        for family, title in FAMILIES.items():
            members = [made for made in self._cards.values() if made.family == family]
            if not members:
                continue
            chips = w.Box([self._chip(made, chosen) for made in members])
            chips.add_class("xai-chips")
            groups += [w.HTML(f"<span class='xai-muted' style='font-size:12px'>{title}</span>"), chips]
        self._about = w.HTML()
        self._limits = w.HTML()
        self.box = w.VBox([*groups, self._limits, self._about])

    def _chip(self, made: Card, chosen: Callable[[str], None]) -> w.Button:
        chip = w.Button(description=made.title, tooltip=f"{made.idea} ({made.cite})")
        chip.add_class("xai-chip")
        chip.on_click(lambda _: chosen(made.id))
        self._chips[made.id] = chip
        return chip

    def show(self, method: str, cost: str) -> None:
        """Mark the chosen method and say what it does and costs."""
        for name, chip in self._chips.items():
            mark(chip, name == method)
        made = self._cards[method]
        link = escape(made.paper)
        self._about.value = (
            f"<div class='xai-about'><p>{escape(made.idea)}</p>"
            f"<p class='xai-muted'>{escape(cost)}<br>{escape(made.cite)}, {link} · review {escape(made.section)}</p>"
            f"<details><summary>How it works, and when not to trust it</summary>"
            f"<p><code>{escape(made.formula)}</code></p><p>{escape(made.how)}</p>"
            f"<p><b>Caution.</b> {escape(made.caution)}</p>"
            "</details></div>"
        )

    def limit(self, reasons: Mapping[str, str]) -> None:
        """Disable the methods with a reason, and say the reason below them."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            chip, made = self._chips[name], self._cards[name]
            chip.disabled = bool(reason)
            chip.tooltip = f"Needs {reason}; this network lacks that." if reason else f"{made.idea} ({made.cite})"
            if reason:
                by_reason.setdefault(reason, []).append(made.title)
        lines = (f"{', '.join(titles)}: not here, needs {reason}." for reason, titles in by_reason.items())
        self._limits.value = "".join(f"<p class='xai-muted xai-limit'>{escape(line)}</p>" for line in lines)
