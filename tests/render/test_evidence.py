"""A report in words: every verdict is told without color, and nothing of it is markup."""

from __future__ import annotations

import math

from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.evaluation.trust import TrustReport
from xaiwidgets.render.evidence import DANGERS, evidence_html, short

PASSED = Score(0.2, "correlation", limit=Limit("<", 0.46, "argued"), controls={"random": 0.0}, metric="deletion")
REPORT = TrustReport(
    scores={
        "input_dominance": PASSED,
        "model_parameter_randomization": PASSED.replace(value=0.9, interval=(0.8, 1.0)),
        "max_sensitivity": PASSED.replace(value=0.4, interval=(0.3, 0.5)),
        "insertion": Score(math.nan, "", notes=("<b>no class</b>",), details={"refused": True}),
    },
    skipped={"deletion": "the time is up"},
    progress=1.0,
    seconds=3.2,
)


def test_the_button_says_how_it_went():
    assert short(None) == "Trust"
    assert short(TrustReport()) == "Trust: testing …"
    assert short(REPORT) == "Trust: 1 of 3 passed"
    running = TrustReport(scores={"input_dominance": PASSED}, progress=0.2)
    assert short(running) == "Trust: testing, 1 of 1 passed"
    assert short(TrustReport(progress=1.0)) == "Trust: no test applies"


def test_every_verdict_has_its_word_and_mark():
    html = evidence_html(REPORT)
    for words in ("✓ pass", "✗ fail", "≈ borderline", "– not applicable"):
        assert words in html
    assert "0.900 (0.800 to 1.00)" in html
    assert "left out: the time is up" in html
    assert "failed: model randomization" in html
    assert 'title="argued"' in html
    assert "&lt;b&gt;no class&lt;/b&gt;" in html
    assert "<b>no class" not in html


def test_what_waits_and_what_runs_is_told():
    html = evidence_html(TrustReport(scores={"deletion": PASSED.replace(progress=0.5)}, waiting=("insertion",)))
    assert "… 50%" in html
    assert "waits for its turn" in html
    assert "Tests begin" in evidence_html(None)


def test_dangers_are_in_words():
    html = evidence_html(TrustReport(scores={"deletion": PASSED.replace(warnings=("W_OOD",))}, progress=1.0))
    assert DANGERS["W_OOD"] in html
