"""A table of the review as it is computed, row by row."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import ipywidgets as w

from xaiwidgets.render.score_words import rows_html

if TYPE_CHECKING:
    from xaiwidgets.studio.tables import Table


class TableView:
    """What a table is, how far it has come, and its rows."""

    def __init__(self) -> None:
        self._head, self._rows = w.HTML(), w.HTML()
        self.box = w.VBox([self._head, self._rows])
        self.box.add_class("xai-labtable")

    def show(self, table: Table) -> None:
        """Bring the rows up to date."""
        done = "complete" if table.progress >= 1 else f"{table.progress:.0%} done"
        self._head.value = (
            f"<div class='xai-headline'><div><b>{escape(table.title)}</b> <span class='xai-muted'>{done}, "
            f"{len(table.rows)} rows so far</span></div><div>{escape(table.about)}</div></div>"
        )
        words = rows_html(table.header, table.rows, table.title)
        self._rows.value = words or "<p class='xai-muted'>The first row takes a few seconds.</p>"
