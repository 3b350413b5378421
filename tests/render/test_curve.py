from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from xaiwidgets.render.curve import HEIGHT, MOST_POINTS, WIDTH, curve_svg


def parse(*args, **kwargs):
    return ElementTree.fromstring(curve_svg(*args, **kwargs))


def spoken(root):
    """Return what a screen reader says."""
    return root.find("svg").get("aria-label")


def labels(root):
    return [span.text for span in root.iter("span")]


def points(svg):
    """Return the line's points ``(n, 2)``."""
    (line,) = svg.iter("polyline")
    return np.array([tuple(map(float, pair.split(","))) for pair in line.get("points").split()])


def test_line_runs_from_the_first_step_to_the_planned_last_one_and_fills_the_height():
    values = np.array([0.0, 5.0, 2.5, 10.0])
    found = points(parse(values, 4))
    np.testing.assert_allclose(found[:, 0], WIDTH * np.arange(4) / 3, atol=0.05)
    np.testing.assert_allclose(found[:, 1], HEIGHT * (1 - values / 10), atol=0.05)


def test_line_grows_and_nothing_jumps():
    values = np.linspace(0, 1, 50)
    short, long = points(parse(values[:20], 50)), points(parse(values, 50))
    np.testing.assert_allclose(short[:, 0], long[:20, 0])
    assert long[-1, 0] == WIDTH


def test_zero_is_in_sight_unless_values_lie_under_it():
    assert points(parse(np.array([8.0, 10.0]), 2))[0, 1] == pytest.approx(HEIGHT * 0.2, abs=0.05)
    below = points(parse(np.array([-4.0, -2.0]), 2))
    np.testing.assert_allclose(below[:, 1], [HEIGHT, 0], atol=0.05)
    assert labels(parse(np.array([-4.0, -2.0]), 2))[:2] == ["−2.00", "−4.00"]


def test_what_is_not_finite_is_left_out_and_the_rest_keeps_its_step():
    values = np.array([1.0, np.nan, 3.0, np.inf, 5.0, -np.inf])
    svg = parse(values, 6)
    plain = points(parse(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 0.0]), 6))
    np.testing.assert_allclose(points(svg), plain[[0, 2, 4]])
    assert "now 5.00" in spoken(svg)
    assert "nan" not in curve_svg(values, 6).lower()
    assert "inf" not in curve_svg(values, 6).lower()


@pytest.mark.parametrize("values", [np.array([]), np.array([np.nan, np.nan])])
def test_nothing_to_show(values):
    svg = parse(values, 128, label="logit")
    assert list(svg.iter("polyline")) == []
    assert spoken(svg) == f"logit over {len(values)} of 128 steps, now –"


@pytest.mark.parametrize("planned", [0, 1, 5])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e30])
def test_one_point(value, planned):
    found = points(parse(np.array([value]), planned))
    assert found.shape == (1, 2)
    assert np.isfinite(found).all()
    assert found[0, 0] == 0
    assert 0 <= found[0, 1] <= HEIGHT


def test_all_points_lie_inside_and_are_as_many_as_can_be_seen():
    values = np.random.default_rng(0).normal(size=2000)
    found = points(parse(values, 2000))
    assert len(found) == MOST_POINTS
    assert found[:, 0].min() == 0
    assert found[:, 0].max() == WIDTH
    assert 0 <= found[:, 1].min() <= found[:, 1].max() <= HEIGHT
    assert len(points(parse(values[:100], 2000))) == 100


def test_changes_are_ticks_at_their_step_with_words():
    svg = parse(np.arange(11.0), 11, [(1, "decay: 0.1 → 0.2"), (6, "<b>&'\"")])
    ticks = [line for line in svg.iter("line") if line.find("title") is not None]
    assert [t.find("title").text for t in ticks] == ["decay: 0.1 → 0.2", "<b>&'\""]
    at = [float(t.get("x1")) for t in ticks]
    assert at == [t.get("x2") and float(t.get("x2")) for t in ticks]
    np.testing.assert_allclose(at, points(svg)[[0, 5], 0], atol=0.05)


def test_labels_are_escaped():
    hostile = "</svg><script>alert('1')</script>\"&"
    text = curve_svg(np.arange(3.0), 3, [(2, hostile)], hostile)
    assert "<script>" not in text
    svg = ElementTree.fromstring(text)
    assert hostile in labels(svg)
    assert spoken(svg).startswith(hostile)


def test_it_is_a_picture_with_words_for_screen_readers():
    svg = parse(np.array([1.0, 2.0]), 128, label="logit")
    assert svg.find("svg").get("role") == "img"
    assert spoken(svg) == "logit over 2 of 128 steps, now 2.00"
    assert labels(svg) == ["2.00", "0", "step 1", "logit", "128"]
    assert all(span.get("aria-hidden") == "true" for span in svg.iter("span"))


def test_a_long_label_leaves_room_for_the_first_and_the_last_step():
    words = "pixel error, relative to the mean picture's"
    drawn = curve_svg(np.array([1.0, 0.5]), 12_000, (), words)
    place = drawn[: drawn.rindex(f">{words.replace(chr(39), '&#x27;')}</span>")].rpartition("style='")[2]
    assert "left:88px" in place, "as far as 'step 1' goes"
    assert "right:48px" in place, "five digits"
    assert "text-overflow:ellipsis" in place
