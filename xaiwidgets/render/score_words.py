"""A score in words: its verdict, its number and threshold, what knows nothing gets, and every danger explained."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from xaiwidgets.render.evidence import DANGERS, MARKS, value
from xaiwidgets.render.lines import limit_number
from xaiwidgets.render.numbers import MINUS, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xaiwidgets.core.metric_cards import MetricCard
    from xaiwidgets.core.scores import Limit, Score

#: What a verdict means where it is none.
UNJUDGED = "Nobody has argued for a threshold of this number: compare it with the numbers beside it, or set one."
#: Rows of a score's table that are shown.
MOST_ROWS = 200


def limit_words(limit: Limit | None) -> str:
    """Return ``must be < 0.46``, or that there is no threshold."""
    return "no threshold" if limit is None else f"must be {limit.relation} {limit_number(limit)}"


def verdict_words(score: Score | None, failure: str = "", stopped: bool = False) -> str:
    """Return a line for a list: mark, verdict, number and threshold; never a color alone."""
    if failure:
        return "could not be run"
    if score is None:
        return "not run yet"
    if score.progress < 1:
        return f"{'stopped at' if stopped else 'running,'} {score.progress:.0%}"
    verdict = score.verdict
    if math.isnan(score.value):
        return f"{MARKS[verdict]} {verdict}"
    return f"{MARKS[verdict]} {verdict} · {number(score.value)} · {limit_words(score.limit)}"


def headline_html(card: MetricCard, score: Score | None, failure: str = "", stopped: bool = False) -> str:
    """Return the title, the question, and what the test says so far, in two lines of fixed height."""
    if failure:
        told = f"<span class='xai-error' role='alert'>{escape(failure)}</span>"
    elif score is None:
        told = "<span class='xai-muted'>no number yet</span>"
    else:
        told = _told(score, stopped)
    verdict = "" if score is None else f" xai-{score.verdict.split()[0]}"
    return (
        f"<div class='xai-headline{verdict}'><div><b>{escape(card.title)}</b> {escape(card.question)}</div>"
        f"<div role='status' aria-live='polite'>{told}</div></div>"
    )


def _told(score: Score, stopped: bool) -> str:
    verdict, running = score.verdict, score.progress < 1
    so_far = f"{'stopped at' if stopped else '…'} {score.progress:.0%}"
    mark = so_far if running else f"{MARKS[verdict]} {verdict}"
    if math.isnan(score.value):
        why = score.notes[0] if score.notes else "this number is not defined here"
        return f"<b class='xai-verdict'>{escape(mark)}</b> {escape(why)}"
    better = {"higher": "higher is better", "lower": "lower is better"}.get(score.direction, "")
    unit = f"{score.unit}, {better}" if better and score.unit else score.unit or better
    limit = f"<span class='xai-nowrap'>{escape(limit_words(score.limit))}</span>"
    return (
        f"<b class='xai-verdict'>{escape(mark)}</b> <b>{escape(value(score))}</b> "
        f"<span class='xai-muted'>{escape(unit)} · {limit}</span>"
    )


def evidence_lines(score: Score | None) -> list[str]:
    """Return what a reader should know beside the number, one sentence each."""
    if score is None:
        return []
    lines = []
    if score.controls:
        beside = ", ".join(f"{name} {number(found)}" for name, found in score.controls.items())
        lines.append(f"The same number for what knows nothing: {beside}.")
    if score.limit is not None and score.limit.source:
        lines.append(f"Threshold {score.limit.relation} {limit_number(score.limit)}: {score.limit.source}")
    elif score.limit is None and score.progress >= 1 and not score.details.get("refused"):
        lines.append(UNJUDGED)
    lines += [note for note in score.notes if not (math.isnan(score.value) and note == score.notes[0])]
    lines += [f"{DANGERS.get(code, code)[:1].upper()}{DANGERS.get(code, code)[1:]}." for code in score.warnings]
    return lines


def evidence_html(score: Score | None) -> str:
    """Return these sentences as a list."""
    items = "".join(f"<li>{escape(line)}</li>" for line in evidence_lines(score))
    return f"<ul class='xai-known' aria-label='What to know beside the number'>{items}</ul>" if items else ""


def rows_html(header: Sequence[str], rows: Sequence[Sequence[Any]], label: str = "Table") -> str:
    """Return a table of texts and numbers."""
    if not rows:
        return ""
    head = "".join(f"<th scope='col'>{escape(str(name))}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell(one))}</td>" for one in row) + "</tr>" for row in rows[:MOST_ROWS]
    )
    more = f"<p class='xai-muted'>and {len(rows) - MOST_ROWS} more rows</p>" if len(rows) > MOST_ROWS else ""
    return (
        f"<div class='xai-table' role='region' aria-label='{escape(label, quote=True)}' tabindex='0'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}</div>"
    )


def cell(found: Any) -> str:
    """Return what a cell says."""
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, float):
        return "–" if math.isnan(found) else number(found)
    return str(found).replace("-", MINUS, 1) if isinstance(found, int) and found < 0 else str(found)
