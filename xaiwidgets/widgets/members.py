"""Choosing several methods: their names on view, and chips by family that are folded away until they are wanted."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import traitlets

from xaiwidgets.core.cards import FAMILIES, cards
from xaiwidgets.widgets.theme import mark

if TYPE_CHECKING:
    from xaiwidgets.core.cards import Card
    from xaiwidgets.core.knobs import MethodNames


class MembersEditor(w.VBox):
    """Edits a text of method ids such as ``saliency,grad_cam``; a chip takes its method in or out.

    ``value`` is the text, ``description`` and ``tooltip`` are as on other controls. None of them can be set by a page.
    The chips are made when they are first asked for: there are dozens.

    Args:
        domain: which methods there are to choose from, and how many may be.
        default: what is chosen at first.
    """

    value = traitlets.Unicode("")
    description = traitlets.Unicode("")
    #: Not sent to the page: the view of a box breaks on a tooltip. The button bears it.
    tooltip = traitlets.Unicode("")

    def __init__(self, domain: MethodNames, default: str) -> None:
        super().__init__()
        self._domain, self._default = domain, default
        self._cards = {made.id: made for made in cards("explainer") if made.id not in domain.exclude}
        self._chips: dict[str, w.Button] = {}
        self._open = w.ToggleButton(description="Members", tooltip="Choose methods")
        self._reset = w.Button(description="reset", tooltip="The methods that are chosen by default")
        for button in (self._open, self._reset):
            button.add_class("xai-plain")
        self._told, self._names, self._panel = w.HTML(), w.HTML(), w.VBox()
        self._panel.add_class("xai-rules")
        self._panel.layout.display = "none"
        head = w.HBox([self._open, self._told, self._reset])
        head.add_class("xai-rulehead")
        self.add_class("xai-members")
        self.children = (head, self._names, self._panel)
        self._open.observe(self._opened, "value")
        self._reset.on_click(lambda _: self.set_trait("value", self._default))
        self.observe(lambda _: self._show(), "value")
        for name in ("description", "tooltip"):
            traitlets.dlink((self, name), (self._open, name))
        self.value = default

    def toggle(self, name: str) -> None:
        """Take a method in or out; too few or too many are refused, and that is said."""
        chosen = self.value.split(",")
        changed = [one for one in chosen if one != name] if name in chosen else [*chosen, name]
        if len(changed) < self._domain.least:
            self._tell(f"at least {self._domain.least}")
        elif len(changed) > self._domain.most:
            self._tell(f"at most {self._domain.most}")
        else:  # the default's methods in another order would be another question for nothing
            self.value = self._default if set(changed) == set(self._default.split(",")) else ",".join(changed)

    def _opened(self, change: Any) -> None:
        if change["new"] and not self._chips:
            self._fill()
            self._show()
        self._panel.layout.display = "" if change["new"] else "none"

    def _fill(self) -> None:
        children: list[w.Widget] = []
        for family, title in FAMILIES.items():
            chips = [self._chip(made) for made in self._cards.values() if made.family == family]
            if chips:
                row = w.Box(chips)
                row.add_class("xai-chips")
                children += [w.HTML(f"<span class='xai-muted'>{escape(title)}</span>"), row]
        self._panel.children = tuple(children)

    def _chip(self, made: Card) -> w.Button:
        chip = w.Button(description=made.title, tooltip=f"{made.idea} ({made.cite})")
        chip.add_class("xai-chip")
        chip.on_click(lambda _: self.toggle(made.id))
        self._chips[made.id] = chip
        return chip

    def _show(self) -> None:
        chosen = self.value.split(",")
        for name, chip in self._chips.items():
            mark(chip, name in chosen)
        # a link may name what is not there; whoever makes the method refuses it
        titles = ", ".join(self._cards[name].title for name in chosen if name in self._cards)
        self._names.value = f"<span class='xai-muted xai-memberlist'>{escape(titles)}</span>"
        self._tell(f"{len(chosen)} of {len(self._cards)}")

    def _tell(self, words: str) -> None:
        self._told.value = f"<span class='xai-muted' role='status'>{escape(words)}</span>"
        self._reset.layout.display = "none" if self.value == self._default else ""
