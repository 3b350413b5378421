from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution
from xaiwidgets.render.curve import HEIGHT, WIDTH
from xaiwidgets.render.curves import MOST_TOLD, course, curves_html, told_marks

LABELS = {"sparsity": "Sparsity λ₁"}


def result(**details):
    return Attribution(np.zeros((1, 4, 4)), "share", False, (4, 4), details=details)


def drawn(found):
    """Return the drawings by what a screen reader says of them first."""
    root = ElementTree.fromstring(curves_html(found))
    return {svg.get("aria-label"): svg for svg in root.iter("svg")}


def text(found):
    return " ".join(" ".join(ElementTree.fromstring(curves_html(found)).itertext()).split())


def points(svg):
    (line,) = svg.iter("polyline")
    return np.array([tuple(map(float, pair.split(","))) for pair in line.get("points").split()])


STEPS = {
    "curves": {"score": np.array([0.8, 0.4, 0.2]), "area": np.array([0.0, 0.5, 0.25])},
    "curve_words": {"score": "probability"},
    "step": 3,
    "planned": 5,
}


def test_a_method_without_curves_has_no_course():
    assert course(result()) is None
    assert course(result(curves={})) is None


def test_each_curve_has_its_own_scale_its_name_and_its_newest_number():
    found = course(result(**STEPS))
    score, area = drawn(found).items()
    assert score[0] == "probability over 3 of 5 steps, now 0.200"
    assert area[0] == "area over 3 of 5 steps, now 0.250"
    np.testing.assert_allclose(points(score[1])[:, 0], WIDTH * np.array([0, 1, 2]) / 4, atol=0.06)
    np.testing.assert_allclose(points(score[1])[:, 1], HEIGHT * np.array([0, 0.5, 0.75]), atol=0.06)
    np.testing.assert_allclose(points(area[1])[:, 1], HEIGHT * np.array([1, 0, 0.5]), atol=0.06)
    assert text(found) == "probability 0.200 0.800 0 step 1 5 area 0.250 0.500 0 step 1 5"


def test_what_was_moved_is_marked_on_every_curve_and_told():
    events = ((2, "sparsity", 3e-4, 0.01), (4, "power", 3.0, 1.5))
    found = course(result(**STEPS, events=events), LABELS)
    for svg in drawn(found).values():
        marks = [line for line in svg.iter("line") if line.get("class") == "xai-mark"]
        assert [float(mark.get("x1")) for mark in marks] == pytest.approx([WIDTH / 4, WIDTH * 3 / 4], abs=0.06)
        assert [mark.find("title").text for mark in marks] == [
            "step 2: Sparsity λ₁ 0.0003 → 0.01",
            "step 4: power 3 → 1.5",
        ]
    assert all("marked: step 2: Sparsity λ₁ 0.0003 → 0.01; step 4" in spoken for spoken in drawn(found))
    assert told_marks(found) == "step 2: Sparsity λ₁ 0.0003 → 0.01 · step 4: power 3 → 1.5"


def test_of_many_changes_the_last_are_told():
    events = tuple((step, "sparsity", 0.1 * step, 0.1 * step + 0.1) for step in range(1, 6))
    words = told_marks(course(result(**STEPS, events=events)))
    assert words.startswith(f"{5 - MOST_TOLD} before · ")
    assert words.count("→") == MOST_TOLD
    assert "step 5: " in words


def test_over_shares_the_chosen_level_is_marked():
    score = np.array([0.0, np.nan, 0.4, np.nan, 0.8])
    found = course(result(curves={"score": score}, across="share kept", level=2))
    ((spoken, svg),) = drawn(found).items()
    assert spoken == "score over share kept; marked: 50 %"
    np.testing.assert_allclose(points(svg)[:, 0], WIDTH * np.array([0, 0.5, 1]), atol=0.06)
    (mark,) = [line for line in svg.iter("line") if line.get("class") == "xai-mark"]
    assert float(mark.get("x1")) == WIDTH / 2
    assert text(course(result(curves={"score": score}, across="share kept"))) == "score 0.800 0 0 % share kept 100 %"


def test_nothing_yet_and_nothing_finite_can_be_drawn():
    for values in ([], [np.nan, np.inf]):
        html = curves_html(course(result(curves={"score": np.array(values)}, step=len(values), planned=3)))
        assert "polyline" not in html
        assert "nan" not in html.lower()
    assert "now –" in html


def test_words_of_a_method_cannot_become_markup():
    odd = "<script>'\"&"
    found = course(result(curves={odd: np.ones(2)}, step=2, planned=2, across=odd, events=((1, odd, odd, odd),)))
    ElementTree.fromstring(curves_html(found))
    assert "<script" not in curves_html(found)
