"""The results of a study as a page: in words, as a table, and to take along."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from xaiwidgets.widgets.export import download

if TYPE_CHECKING:
    from xaiwidgets.evaluation.study.outcome import StudyResults, Summary

MEANT = {
    "class": "Share of answers that name the class whose map it is.",
    "model": "Toward the more accurate network: 2 is clearly, 1 slightly, 0 neither, below 0 toward the other one.",
    "recognition": "Share of answers that name the class that was painted.",
}


def results_html(found: StudyResults) -> str:
    """Return what the answers add up to, with the tables and the links that save them."""
    rows = "".join(_row(one) for one in found.summaries)
    head = "".join(
        f"<th scope='col'>{name}</th>"
        for name in ("Method", "Items", "Answers", "Mean", "95 % interval", "Chance", "p", "Median time")
    )
    notes = [MEANT[found.mode], *_notes(found)]
    facts = "; ".join(f"{name}: {_word(value)}" for name, value in found.facts.items())
    links = (
        download(found.csv().encode(), "study.csv", "text/csv", "Download the answers (CSV)"),
        download(found.json().encode(), "study.json", "application/json", "Download everything (JSON)"),
    )
    names = ("Rater", "Question", "Picture", "Method", "Answer", "Counts", "Time")
    items = "".join(
        f"<tr><td>{line.rater}</td><td>{line.place + 1}</td><td>{escape(line.picture)}</td>"
        f"<td>{'attention check' if line.check else escape(line.group)}</td><td>{escape(line.answer)}</td>"
        f"<td>{line.score:+g}</td><td>{line.seconds:.1f} s</td></tr>"
        for line in found.lines
    )
    heads = "".join(f"<th scope='col'>{name}</th>" for name in names)
    return (
        f"<div class='xai-study-results'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        + "".join(f"<p>{escape(note)}</p>" for note in notes)
        + f"<p class='xai-muted'>{escape(facts)}</p><p>{' &nbsp; '.join(links)}</p>"
        + f"<details><summary>Each answer</summary><div class='xai-study-items' tabindex='0'><table><thead><tr>{heads}"
        + f"</tr></thead><tbody>{items}</tbody></table></div></details></div>"
    )


def _notes(found: StudyResults) -> list[str]:
    raters = {line.rater for line in found.lines}
    notes = [f"p: two-sided {found.overall.test} test of whether guessing gives as much."]
    if len(raters) > 1:
        told = "not defined" if math.isnan(found.alpha) else f"{found.alpha:.2f}"
        notes.append(f"Krippendorff's alpha of {len(raters)} raters: {told} (1 is full agreement, 0 that of chance).")
    for rater, share in found.attention.items():
        failed = "" if share >= 0.5 else " Leave these answers out: most checks were failed."
        notes.append(f"Rater {rater} has passed {share:.0%} of the attention checks.{failed}")
    return notes


def _row(one: Summary) -> str:
    interval = "–" if math.isnan(one.low) else f"{one.low:.2f} to {one.high:.2f}"
    cells = (one.group, one.items, one.answers, _word(one.mean), interval, _word(one.chance), _word(one.p))
    time = "–" if math.isnan(one.seconds) else f"{one.seconds:.1f} s"
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in (*cells, time)) + "</tr>"


def _word(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3g}"
    return str(value)
