"""A trust report in words and as a table of HTML: questions, numbers, thresholds, verdicts."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from xaiwidgets.core.metric_cards import metric_card
from xaiwidgets.render.numbers import number

if TYPE_CHECKING:
    from xaiwidgets.core.scores import Score
    from xaiwidgets.evaluation.trust import TrustReport

#: What stands before a verdict, so that it can be told without color and without reading.
MARKS = {"pass": "✓", "fail": "✗", "borderline": "≈", "not applicable": "–", "unjudged": "?"}
#: What codes of dangers mean.
DANGERS = {
    "W_OOD": "the test shows the network pictures unlike those it was trained on",
    "W_DEGENERATE": "a map was constant, so there is no order to compare",
    "W_SMALL": "the picture is smaller than the test's windows; smaller ones were used",
    "W_GRAD0": "the gradient is exactly zero",
}


def short(report: TrustReport | None) -> str:
    """Return a label of a few words for a button."""
    if report is None:
        return "Trust"
    passed = report.count("pass")
    judged = passed + report.count("fail") + report.count("borderline")
    if report.progress < 1:
        return f"Trust: testing, {passed} of {judged} passed" if judged else "Trust: testing …"
    return f"Trust: {passed} of {judged} passed" if judged else "Trust: no test applies"


def verdicts(report: TrustReport) -> list[str]:
    """Return each finished test with its verdict, in words."""
    return [f"{metric_card(name).title.lower()} {score.verdict}" for name, score in report.scores.items()]


def value(score: Score) -> str:
    """Return a score's number with its interval."""
    if math.isnan(score.value):
        return "none"
    words = number(score.value)
    if score.interval is not None:
        words += f" ({number(score.interval[0])} to {number(score.interval[1])})"
    return words


def evidence_html(report: TrustReport | None) -> str:
    """Return the report as a table, with what was left out and why."""
    if report is None:
        words = "Tests begin when a map is there."
        return f"<div class='xai-evidence xai-muted' role='region' aria-label='Trust'>{words}</div>"
    rows = [_row(name, score) for name, score in report.scores.items()]
    rows += [_empty(name, "waits for its turn") for name in report.waiting if name not in report.scores]
    rows += [_empty(name, f"left out: {why}") for name, why in report.skipped.items() if name not in report.scores]
    head = "".join(f"<th>{name}</th>" for name in ("", "test", "asks whether the map", "measured", "must be", "beside"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    told = f"{escape(report.verdict)} · {report.seconds:.1f} s of {report.budget:g} s"
    warning = (
        "Passing is no proof: each test can find one fault only. Thresholds are written down in "
        "<code>xaiwidgets.thresholds()</code>."
    )
    return (
        f"<div class='xai-evidence' role='region' aria-label='Trust' tabindex='0'><p><b>{told}</b></p>{table}"
        f"<p class='xai-muted'>{warning}</p></div>"
    )


def _row(name: str, score: Score) -> str:
    card, verdict = metric_card(name), score.verdict
    running = score.progress < 1
    words = f"{MARKS[verdict]} {verdict}" if not running else f"… {score.progress:.0%}"
    limit = "" if score.limit is None else str(score.limit)
    source = "" if score.limit is None else score.limit.source
    beside = ", ".join(f"{escape(key)} {number(found)}" for key, found in score.controls.items())
    notes = [*score.notes, *(DANGERS.get(code, code) for code in score.warnings)]
    tip = escape(" ".join([card.question, card.how, *notes]), quote=True)
    # a note is read in the tooltip, unless it says why there is no verdict or only half of one
    shown = [note for note in notes if verdict in ("not applicable", "unjudged")]
    extra = f"<br><span class='xai-muted'>{escape(shown[0])}</span>" if shown else ""
    asks = "" if extra else "xai-asks"  # in one line, so that all tests are in sight; a note takes several
    return (
        f"<tr class='xai-{verdict.split()[0]}'><td class='xai-verdict'>{words}</td>"
        f'<td class=n title="{tip}">{escape(card.title)}</td><td class="{asks}">{escape(_asks(name))}{extra}</td>'
        f"<td class=n>{escape(value(score))}</td>"
        f'<td class=n title="{escape(source, quote=True)}">{escape(_limit(limit))}</td>'
        f"<td class='xai-muted n xai-beside'>{beside}</td></tr>"
    )


def _empty(name: str, why: str) -> str:
    card = metric_card(name)
    return (
        f"<tr class='xai-muted'><td>–</td><td>{escape(card.title)}</td><td>{escape(_asks(name))}</td>"
        f"<td colspan=3>{escape(why)}</td></tr>"
    )


def _limit(words: str) -> str:
    relation, _, amount = words.partition(" ")
    try:
        return f"{relation} {number(float(amount))}"
    except ValueError:
        return words


def _asks(name: str) -> str:
    from xaiwidgets.evaluation.trust import TRIALS

    return next((trial.question for trial in TRIALS if trial.metric == name), metric_card(name).question)
