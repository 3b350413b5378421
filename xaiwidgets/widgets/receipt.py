"""The receipt of a map: what it adds up to, where the relevance went, which operations were ruled; folded away."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.render.numbers import number, percent
from xaiwidgets.render.receipt import (
    COLUMNS,
    PASSED,
    balance,
    coverage_rows,
    coverage_words,
    flows,
    layer_rows,
    start,
    summary,
    warning,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xaiwidgets.core.results import Attribution

#: More rows than this are not sent to the page.
MOST_ROWS = 400
#: Headings of columns of text.
WORDS = ("", "layer", "rule", "operation")
NOTHING = "<div class='xai-muted'>This method keeps no account: its values are no shares of the score.</div>"


def line_html(result: Attribution) -> str:
    """Return the one line under the map, with a warning beside it; empty for a method without an account."""
    words, wrong = summary(result), warning(result)
    if not words:
        return ""
    pill = f" <span class='xai-warn'>{escape(wrong)}</span>" if wrong else ""
    return f"<span class='xai-sum'>{escape(words)}</span>{pill}"


def receipt_html(result: Attribution) -> str:
    """Return the whole receipt as tables."""
    parts = (_account(result), _operations(result) + _notes(result))
    found = "".join(f"<div tabindex='0'>{part}</div>" for part in parts if part)
    return f"<div class='xai-receipt' role='region' aria-label='Receipt'>{found or NOTHING}</div>"


def _account(result: Attribution) -> str:
    """Return the sum against what it should be, and the ends that relevance came to."""
    rows: list[Sequence[str]] = []
    found, begun = balance(result), start(result)
    if begun is not None:
        rows.append(("start", number(begun), "100 %"))
        rows += [(f.name, number(f.amount), percent(f.share) if f.share is not None else "") for f in flows(result)]
    if found is not None:
        if begun is None:
            rows.append(("score difference" if found.stated else "score", number(found.explained), "100 %"))
        rows.append(("sum of the map", number(found.total), _share(found.total, found.explained)))
        gap = percent(found.share) if found.share is not None else ""
        rows.append(("gap", number(found.gap), gap))
    if not rows:
        return ""
    heading = "Where the relevance went" if begun is not None else "What the map adds up to"
    return _block(heading, _table(("", "amount", "share"), rows))


def _operations(result: Attribution) -> str:
    """Return the rows by layer: with what was given and handed on where that is known, else what was ruled."""
    flown, covered = layer_rows(result), coverage_rows(result)
    blocks = []
    if flown:
        columns = [c for c in COLUMNS if any(c in row for row in flown)]
        rows = [(r["layer"], r["rule"], *(number(r[c]) if c in r else "" for c in columns), r["kind"]) for r in flown]
        table = _table(("layer", "rule", *columns, "operation"), rows)
        blocks.append(_block("Relevance by layer, from the score down", table))
    if covered:
        rows = [(r["layer"], r["rule"], str(r["count"]), r["kind"]) for r in covered]
        table = _table(("layer", "rule", "count", "operation"), rows)
        blocks.append(_block(coverage_words(result), table))
    return "".join(blocks)


def _notes(result: Attribution) -> str:
    return _block("Notes", "".join(f"<p>{escape(note)}</p>" for note in result.notes)) if result.notes else ""


def _share(amount: float, whole: float) -> str:
    return percent(amount / whole) if whole else ""


def _block(heading: str, content: str) -> str:
    return f"<section><h4>{escape(heading)}</h4>{content}</section>"


def _table(head: Sequence[str], rows: Sequence[Iterable[str]]) -> str:
    """Return a table; the columns that do not hold ``WORDS`` are set as numbers."""
    styles = ["" if name in WORDS else " class=n" for name in head]

    def cells(row: Iterable[str], tag: str) -> str:
        return "".join(f"<{tag}{style}>{escape(cell)}</{tag}>" for cell, style in zip(row, styles, strict=True))

    def line(row: Sequence[str]) -> str:
        dim = " class='xai-muted'" if PASSED in row else ""
        return f"<tr{dim}>{cells(row, 'td')}</tr>"

    body = "".join(line(tuple(row)) for row in rows[:MOST_ROWS])
    more = f"<p class='xai-muted'>and {len(rows) - MOST_ROWS} more rows</p>" if len(rows) > MOST_ROWS else ""
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table>{more}"


class Receipt:
    """A button and the panel that it unfolds; the panel stays open from map to map."""

    def __init__(self) -> None:
        self.toggle = w.ToggleButton(
            description="Receipt",
            tooltip="What the map adds up to, where relevance went, and which operations were ruled",
        )
        self.toggle.add_class("xai-plain")
        self.panel = w.HTML(layout=w.Layout(width="100%", margin="0"))
        self.panel.layout.display = "none"
        self._result: Attribution | None = None
        self.toggle.observe(self._toggled, "value")

    @property
    def open(self) -> bool:
        """Whether the panel is unfolded."""
        return bool(self.toggle.value)

    def show(self, result: Attribution | None) -> None:
        """Bring the panel up to date; it is written only while it is open."""
        self._result = result
        if self.open:
            self.panel.value = "" if result is None else receipt_html(result)

    def _toggled(self, _: Any) -> None:
        self.panel.layout.display = "" if self.open else "none"
        self.show(self._result)
