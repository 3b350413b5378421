"""The method picker: chips by family with a search, what each does in one line, what it costs, and who proposed it."""

from __future__ import annotations

import unicodedata
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.core.cards import FAMILIES, Card, cards
from xaiwidgets.widgets.theme import label, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: A search says in a line each what so many methods do; more than that are narrowed down first.
MOST_TOLD = 6
LONGEST_SEARCH = 100


class Picker:
    """Buttons for all methods of a kind, grouped by the review's taxonomy, and a search over names, ideas and authors.

    A family unfolds when one of its methods is chosen, or when its heading is pressed; a search looks into all.

    Args:
        chosen: called with a method's id.
        kind: ``explainer`` or ``synthesizer``.
    """

    def __init__(self, chosen: Callable[[str], None], kind: str = "explainer") -> None:
        self._chosen = chosen
        self._cards = {made.id: made for made in cards(kind)}
        self._reasons: dict[str, str] = {}
        self._chips: dict[str, w.Button] = {}
        self._families: dict[str, w.VBox] = {}
        self._open: set[str] = set()
        self._offers: dict[str, w.Button] = {}
        for family, title in FAMILIES.items():
            members = [made for made in self._cards.values() if made.family == family]
            if members:
                self._families[family] = self._family(family, title, members)
        self.search = w.Text(placeholder=f"search {len(self._cards)} methods", description="Search methods")
        self.search.tooltip = "A name, an idea, an author or a year; Enter takes the first that is found"
        self.search.add_class("xai-search")
        self.search.observe(lambda _: self._filter(), "value")
        self.search.on_msg(self._entered)
        self._found = w.HTML()
        self.list = w.VBox([*self._families.values(), self._found])
        self.list.add_class("xai-methods")
        self._about = w.HTML()
        head = w.HBox([label("Method"), self.search])
        head.add_class("xai-pickhead")
        self._filter()
        self.box = w.VBox([head, self.list, self._about])
        self.box.add_class("xai-picker")

    def _family(self, family: str, title: str, members: list[Card]) -> w.VBox:
        chips = w.Box([self._chip(made) for made in members])
        chips.add_class("xai-chips")
        heading = w.Button(description=title, tooltip=f"Show or hide these {len(members)} methods")
        heading.add_class("xai-family")
        heading.on_click(lambda _: self._fold(family))
        return w.VBox([heading, chips, w.HTML()])

    def _fold(self, family: str) -> None:
        self._open ^= {family}
        self._filter()

    def _chip(self, made: Card) -> w.Button:
        chip = w.Button(description=made.title, tooltip=_tip(made))
        chip.add_class("xai-chip")
        chip.on_click(lambda _: self._chosen(made.id))
        self._chips[made.id] = chip
        return chip

    def show(self, method: str, cost: str) -> None:
        """Mark the chosen method and say what it does and costs."""
        for name, chip in self._chips.items():
            mark(chip, name == method)
        made = self._cards[method]
        if made.family not in self._open:
            self._fold(made.family)
        link, told = escape(made.paper), f"{escape(cost)}<br>" if cost else ""
        self._about.value = (
            f"<div class='xai-about'><p><b>{escape(made.title)}.</b> {escape(made.idea)}</p>"
            f"<p class='xai-muted'>{told}{escape(made.cite)}, {link} · review {escape(made.section)}</p>"
            f"<details><summary>How it works, and when not to trust it</summary>"
            f"<p><code>{escape(made.formula)}</code></p><p>{escape(made.how)}</p>"
            f"<p><b>Caution.</b> {escape(made.caution)}</p>"
            "</details></div>"
        )

    def limit(self, reasons: Mapping[str, str]) -> None:
        """Disable the methods with a reason, and say the reason below those of their family."""
        self._reasons = dict(reasons)
        for name, reason in reasons.items():
            chip, made = self._chips[name], self._cards[name]
            chip.disabled = bool(reason)
            chip.tooltip = f"Needs {reason}; this network lacks that." if reason else _tip(made)
        for family, box in self._families.items():
            by_reason: dict[str, list[str]] = {}
            for name, made in self._cards.items():
                if made.family == family and reasons.get(name):
                    by_reason.setdefault(reasons[name], []).append(made.title)
            lines = (f"{', '.join(titles)}: not here, needs {reason}." for reason, titles in by_reason.items())
            box.children[2].value = "".join(f"<p class='xai-muted xai-limit'>{escape(line)}</p>" for line in lines)

    def offer(self, method: str, words: str, tip: str, accept: Callable[[], None] | None) -> None:
        """Offer what makes a method applicable as a button below the reasons; with ``accept=None`` no longer."""
        box = self._families[self._cards[method].family]
        old = self._offers.pop(method, None)
        if old is not None:
            box.children = tuple(child for child in box.children if child is not old)
            old.close()
        if accept is not None:
            button = self._offers[method] = w.Button(description=words, tooltip=tip)
            button.add_class("xai-plain")
            button.on_click(lambda _: accept())
            box.children = (*box.children, button)
            self._filter()

    # -- searching --------------------------------------------------------------------------------------------------

    @property
    def found(self) -> list[str]:
        """Ids of the methods that the search leaves: all words are found in title, id, family, idea, authors or year.

        Those whose name holds the words come first.
        """
        words = _plain(str(self.search.value)[:LONGEST_SEARCH]).split()
        kept = [m for m in self._cards.values() if all(word in _plain(_text(m)) for word in words)]
        if words:
            kept.sort(key=lambda m: not all(word in _plain(f"{m.title} {m.id}") for word in words))
        return [made.id for made in kept]

    def _filter(self) -> None:
        found = self.found
        searching = bool(str(self.search.value).strip())
        for name, chip in self._chips.items():
            _show(chip, name in found)
        for family, box in self._families.items():
            members = [name for name, made in self._cards.items() if made.family == family]
            opened = searching or family in self._open
            _show(box, any(name in found for name in members))
            _show(box.children[1], opened)
            for told in box.children[2:]:
                _show(told, opened and not searching)
            box.children[0].description = f"{'▾' if opened else '▸'} {FAMILIES[family]} · {len(members)}"
        if not searching:
            self._found.value = ""
        elif not found:
            self._found.value = "<p class='xai-muted' role='status'>No method is called or does that.</p>"
        else:
            told = "".join(f"<p class='xai-muted'>{self._told(name)}</p>" for name in found[:MOST_TOLD])
            more = f"<p class='xai-muted'>and {len(found) - MOST_TOLD} more</p>" if len(found) > MOST_TOLD else ""
            self._found.value = f"<div class='xai-told' role='status'>{told}{more}</div>"

    def _told(self, name: str) -> str:
        made, reason = self._cards[name], self._reasons.get(name)
        what = f"not here, needs {reason}." if reason else made.idea
        return f"<b>{escape(made.title)}</b> {escape(what)}"

    def _entered(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Take the first method that is found and can be used."""
        if not isinstance(content, dict) or content.get("event") != "submit" or not str(self.search.value).strip():
            return
        usable = [name for name in self.found if not self._reasons.get(name)]
        if usable:
            self.search.value = ""
            self._chosen(usable[0])
            self._chips[usable[0]].focus()  # once its family is unfolded


def _tip(made: Card) -> str:
    return f"{made.idea} ({made.cite})"


def _text(made: Card) -> str:
    return f"{made.title} {made.id} {FAMILIES[made.family]} {made.idea} {made.cite} {made.paper}"


def _plain(text: str) -> str:
    """Return text as it is typed on any keyboard: lower case, no accents, no hyphens or underscores."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return bare.lower().replace("-", " ").replace("_", " ")


def _show(widget: w.DOMWidget, on: bool) -> None:
    wanted = None if on else "none"
    if widget.layout.display != wanted:
        widget.layout.display = wanted
