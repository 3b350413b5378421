from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from xaiwidgets.render.curve import HEIGHT, WIDTH
from xaiwidgets.render.terms import terms_html


def steps(values):
    return np.arange(1, len(values) + 1), np.array(values, dtype=float)


def lines(panel):
    return [
        [tuple(map(float, pair.split(","))) for pair in line.get("points").split()] for line in panel.iter("polyline")
    ]


def panels(html):
    return list(ElementTree.fromstring(html))


def test_a_probability_has_its_own_axis_from_0_to_1():
    chance, rest = panels(terms_html({"norm": steps([0, 5, 10]), "probability": steps([0.5, 0.25, 0.5])}, 5))
    assert [y / HEIGHT for _, y in lines(chance)[0]] == pytest.approx([0.5, 0.75, 0.5])
    assert [x / WIDTH for x, _ in lines(chance)[0]] == pytest.approx([0, 0.25, 0.5])
    assert [y / HEIGHT for _, y in lines(rest)[0]] == pytest.approx([1, 0.5, 0])
    assert chance.get("aria-label") == "probability now 50 % over 5 steps"
    assert "norm now 10.0" in rest.get("aria-label")


def test_all_probabilities_share_their_axis_and_logarithms_do_not():
    curves = {name: steps([0.2, 0.4]) for name in ("probability", "probability_first", "log_probability")}
    chances, rest = panels(terms_html(curves, 2))
    assert (len(lines(chances)), len(lines(rest))) == (2, 1)


def test_terms_of_other_sizes_are_all_seen_and_told_apart():
    (panel,) = panels(terms_html({"norm": steps([0, 1e4]), "total_variation": steps([-0.001, 0.001])}, 2))
    assert [line[-1][1] for line in lines(panel)] == [0, 0]
    drawn = list(panel.iter("polyline"))
    assert drawn[0].get("stroke") != drawn[1].get("stroke")
    assert drawn[0].get("stroke-dasharray") != drawn[1].get("stroke-dasharray")
    legend = panel.find("div[@class='xai-termkey']")
    assert [span.get("title") for span in legend] == ["from 0 to 10000", "from −0.00100 to 0.00100"]
    assert "total variation" in "".join(legend.itertext())


def test_moments_are_marked_and_what_is_not_finite_is_left_out():
    (panel,) = panels(terms_html({"a": steps([1, np.nan, 3, np.inf])}, 4, [2, 4]))
    assert len(lines(panel)[0]) == 2
    marks = [line for line in panel.iter("line") if line.get("stroke-dasharray")]
    assert [float(mark.get("x1")) / WIDTH for mark in marks] == pytest.approx([1 / 3, 1], abs=1e-3)


def test_flat_short_and_missing_curves():
    assert terms_html({}, 5) == ""
    assert terms_html({"a": steps([])}, 5) == ""
    for values in ([0.0], [2.0, 2.0], [np.nan]):
        assert panels(terms_html({"<b>": steps(values)}, 1))
    assert "<b>" not in terms_html({"<b>": steps([1.0])}, 1).replace("<b>1.00</b>", "")
