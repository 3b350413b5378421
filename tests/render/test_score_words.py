"""A score in words: never a bare number, never a bare color."""

from __future__ import annotations

import math

from xaiwidgets.core.metric_cards import metric_card
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.render.score_words import (
    UNJUDGED,
    cell,
    evidence_html,
    evidence_lines,
    headline_html,
    rows_html,
    verdict_words,
)


def score(value=0.3, **more):
    return Score(value, "probability", metric="deletion", direction="lower", **more)


def test_a_list_says_verdict_number_and_threshold():
    assert verdict_words(None) == "not run yet"
    assert verdict_words(None, "ZeroDivisionError") == "could not be run"
    assert verdict_words(score(limit=Limit("<", 0.5))) == "✓ pass · 0.300 · must be < 0.5"
    assert verdict_words(score(limit=Limit("<", 0.107254))) == "✗ fail · 0.300 · must be < 0.107"
    assert verdict_words(score()) == "? unjudged · 0.300 · no threshold"
    assert verdict_words(score(progress=0.5)) == "running, 50%"
    assert verdict_words(score(progress=0.5), stopped=True) == "stopped at 50%"
    assert verdict_words(score(math.nan, details={"refused": True})) == "– not applicable"


def test_the_headline_has_title_question_and_why_there_is_no_number():
    card = metric_card("deletion")
    html = headline_html(card, score(limit=Limit("<", 0.5), interval=(0.2, 0.4)))
    for words in ("Deletion", "fall fast", "✓ pass", "0.300 (0.200 to 0.400)", "lower is better"):
        assert words in html
    assert "<script>" not in headline_html(card, None, "<script>")
    assert "role='alert'" in headline_html(card, None, "broken")
    assert "no class here" in headline_html(card, score(math.nan, notes=("no class here",)))


def test_controls_notes_and_codes_are_explained():
    found = score(
        limit=Limit("<", 0.5, "Someone said so."),
        controls={"random": 0.2, "edges": 0.4},
        notes=("Missing pixels: mean.",),
        warnings=("W_OOD",),
    )
    lines = evidence_lines(found)
    assert lines[0] == "The same number for what knows nothing: random 0.200, edges 0.400."
    assert lines[1] == "Threshold < 0.5: Someone said so."
    assert "The test shows the network pictures unlike those it was trained on." in lines
    assert evidence_html(found).count("<li>") == 4
    assert UNJUDGED in evidence_lines(score())
    assert evidence_html(None) == ""


def test_tables_are_escaped_and_numbers_are_read():
    html = rows_html(("a", "b"), [("<b>", 0.123456), ("x", math.nan)])
    assert "&lt;b&gt;" in html
    assert "<td>0.123</td>" in html
    assert "<td>–</td>" in html
    assert rows_html(("a",), []) == ""
    assert "and 5 more rows" in rows_html(("a",), [(n,) for n in range(205)])
    assert [cell(True), cell(-3), cell("–")] == ["yes", "\N{MINUS SIGN}3", "–"]
