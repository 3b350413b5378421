"""Curves as one drawing: where its corners are, what is said of it, and what is never told by color alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

from xaiwidgets.core.scores import Curve, Limit
from xaiwidgets.render.lines import HEIGHT, WIDTH, Frame, by_axes, line_styles, lines_html, marker_html


def curve(name, y, x=None, **more):
    y = np.asarray(y, float)
    return Curve(
        name, np.arange(len(y), dtype=float) if x is None else np.asarray(x, float), y, "steps", "share", **more
    )


def points(html):
    return [
        [tuple(map(float, point.split(","))) for point in line.split()]
        for line in re.findall(r"<polyline points='([^']*)'", html)
    ]


def test_values_are_where_they_belong():
    html = lines_html([curve("map", [0, 1, 0.5])])
    (line,) = points(html)
    assert line == [(0, HEIGHT), (WIDTH / 2, 0), (WIDTH, HEIGHT / 2)]


def test_the_frame_holds_negative_values_bounds_and_room_for_what_is_to_come():
    frame = Frame([curve("map", [-0.2, 0.4], low=[-0.4, 0], high=[0, 0.5])], None, -1.0, 9.0)
    assert (frame.bottom, frame.top, frame.left, frame.right) == (-0.4, 1.0, -1.0, 9.0)
    assert frame.across(4.0) == 0.5
    assert frame.up(0.3) == pytest.approx(0.5)
    assert Frame([curve("flat", [0, 0])]).up(0.0) == 0
    assert Frame([curve("one", [3.0])]).across(0.0) == 0.5


def test_a_threshold_is_drawn_where_it_can_be_and_told_where_it_cannot():
    near, far = (lines_html([curve("map", [0.2, 0.3])], Limit("<", value)) for value in (0.5, 100.0))
    assert "stroke-dasharray='14 4'" in near
    assert "threshold 0.5<" in near
    assert "threshold 100, far from here" in far
    (line,) = points(far)
    assert line[1][1] < HEIGHT / 2  # not flat


def test_gaps_and_single_points_are_seen():
    assert len(points(lines_html([curve("map", [1, np.nan, 0.5, 0.25])]))) == 2
    assert "h12" in lines_html([curve("map", [0.5])])
    assert points(lines_html([curve("map", [np.nan, np.nan])])) == []


def test_lines_differ_in_dashes_and_controls_are_gray():
    every = [curve(name, [0, 1]) for name in ("map", "SSIM", "HOG", "edges of the photo", "random map")]
    styles = line_styles(every)
    assert len({dashes for _, dashes, _ in styles}) == len(styles)
    assert [color == "currentColor" for color, *_ in styles] == [False, False, False, True, True]
    html = lines_html(every)
    assert all(name in html.partition("xai-key")[2] for name in ("map", "SSIM", "HOG", "edges of the photo"))


def test_long_names_of_places_are_cut_and_keep_apart_and_are_escaped():
    ticks = tuple(f"<b>block.{n}.a.long.name" for n in range(40))
    html = lines_html([curve("map", np.linspace(0, 1, 40), ticks=ticks)])
    shown = re.findall(r"translateX\((-?\d+)%\)'>([^<]*)<", html)
    assert 3 <= len(shown) <= 10
    assert all(len(text) <= 12 for _, text in shown)
    assert "<b>" not in html
    assert "&lt;i&gt;" in lines_html([curve("<i>", [0, 1])])


def test_it_is_told_to_a_screen_reader():
    assert "share by steps: map from 0 to 0.500" in lines_html([curve("map", [0, 0.5])])
    assert "map without values" in lines_html([curve("map", [np.nan])])


def test_the_mark_stays_inside():
    assert "0.2500 *" in marker_html(0.25)
    assert "1.0000 *" in marker_html(7.0)
    assert marker_html(None) == marker_html(float("nan")) == ""


def test_curves_with_other_axes_are_other_plots():
    one, two = curve("a", [1]), Curve("b", [0.0], [1.0], "draws", "px")
    assert by_axes([one, two, one]) == [[one, one], [two]]
