"""The list of tests by the review's groups, each with what it said: a verdict in words, its number and threshold."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import ipywidgets as w

from xaiwidgets.core.metric_cards import CATEGORIES, NEEDS, MetricCard, metric_cards
from xaiwidgets.render.score_words import verdict_words
from xaiwidgets.studio.experiment import beyond
from xaiwidgets.widgets.theme import label, mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.core.scores import Score


class TestList:
    """Buttons for all tests of one map of one photo; a group unfolds when its heading is pressed.

    Args:
        chosen: called with a metric's id.
    """

    __test__ = False  # it is no test of pytest's

    def __init__(self, chosen: Callable[[str], None]) -> None:
        self._chosen = chosen
        self._cards = {made.id: made for made in metric_cards()}
        self.buttons: dict[str, w.Button] = {}
        self._said: dict[str, w.HTML] = {}
        self._groups: dict[str, w.VBox] = {}
        self._open: set[str] = set()
        self._verdicts: dict[str, str] = {}
        for category, title in CATEGORIES.items():
            members = [made for made in self._cards.values() if made.category == category]
            if members:
                self._groups[category] = self._group(category, title, members)
        self.list = w.VBox(list(self._groups.values()))
        self.list.add_class("xai-tests")
        self.box = w.VBox([label("Tests"), self.list])
        self.box.add_class("xai-testbox")
        self._fold()

    def _group(self, category: str, title: str, members: list[MetricCard]) -> w.VBox:
        heading = w.Button(description=title, tooltip=f"Show or hide these {len(members)} tests")
        heading.add_class("xai-family")
        heading.on_click(lambda _: self._toggle(category))
        return w.VBox([heading, *(self._row(made) for made in members)])

    def _row(self, made: MetricCard) -> w.VBox:
        button = w.Button(description=made.title, tooltip=made.question)
        button.add_class("xai-test")
        button.on_click(lambda _: self._chosen(made.id))
        said = w.HTML()
        needed = beyond(made)
        if needed:
            button.disabled = True
            button.tooltip = f"Needs {', '.join(NEEDS[need] for need in needed)}: xaiwidgets.evaluate has it"
        self.buttons[made.id], self._said[made.id] = button, said
        row = w.VBox([button, said])
        row.add_class("xai-testrow")
        self.show(made.id, None)
        return row

    def show(self, metric: str, score: Score | None, failure: str = "", stopped: bool = False) -> None:
        """Say what a test has said."""
        made = self._cards[metric]
        needed = beyond(made)
        if needed:
            words = f"not on one photo: needs {', '.join(NEEDS[need] for need in needed)}"
        else:
            words = verdict_words(score, failure, stopped)
        verdict = score.verdict.split()[0] if score is not None and score.progress >= 1 else "none"
        self._verdicts[metric] = verdict
        text = (
            f"<div class='xai-testsaid xai-{verdict}'>{escape(made.question)}"
            f"<br><span class='xai-verdict'>{escape(words)}</span></div>"
        )
        if self._said[metric].value != text:
            self._said[metric].value = text

    def choose(self, metric: str) -> None:
        """Mark the chosen test, in a group that is unfolded."""
        for name, button in self.buttons.items():
            mark(button, name == metric)
        self._open.add(self._cards[metric].category)
        self._fold()

    def summarize(self) -> None:
        """Bring the headings up to date."""
        self._fold()

    def _toggle(self, category: str) -> None:
        self._open ^= {category}
        self._fold()

    def _fold(self) -> None:
        for category, group in self._groups.items():
            opened = category in self._open
            members = [name for name, made in self._cards.items() if made.category == category]
            words = f"{'▾' if opened else '▸'} {CATEGORIES[category]} · {len(members)}"
            told = [self._verdicts[name] for name in members]
            for verdict, said in (("pass", "pass"), ("fail", "fail"), ("borderline", "borderline")):
                if verdict in told:
                    words += f" · {told.count(verdict)} {said}"
            if group.children[0].description != words:
                group.children[0].description = words
            for row in group.children[1:]:
                wanted = None if opened else "none"
                if row.layout.display != wanted:
                    row.layout.display = wanted
