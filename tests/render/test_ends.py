from __future__ import annotations

import re

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution
from xaiwidgets.render.channels import shown
from xaiwidgets.render.compose import color_table
from xaiwidgets.render.ends import ends_html
from xaiwidgets.render.look import Look

ENDS = ("seen as it is", "hidden by <blur>")


def legend(look, top=1.0, **details):
    values = np.linspace(0, top, 16).reshape(1, 4, 4)
    result = Attribution(values, "share", False, (4, 4), details=details)
    part = shown(result, look)
    return ends_html(result, part.scale, part.look), part


def words(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_a_map_that_is_no_mask_has_no_such_legend():
    assert legend(Look())[0] == ""


@pytest.mark.parametrize("look", [Look(), Look(palette="magma"), Look(blend="even"), Look(layout="map")])
def test_what_both_ends_mean_is_said_beside_their_colors(look):
    html, part = legend(look, ends=ENDS)
    table = color_table(part.scale, part.look)
    colors = re.findall(r"background:(#\w{6})", html)
    first, last = ("#{:02x}{:02x}{:02x}".format(*table[place]) for place in (0, -1))
    assert "<blur>" not in html
    if look.layout == "overlay" and look.blend == "by value":
        assert colors == [last]
        assert words(html) == "0, without color: seen as it is 1: hidden by &lt;blur&gt;"
    else:
        assert colors == [first, last]
        assert words(html) == "0: seen as it is 1: hidden by &lt;blur&gt;"


def test_a_top_color_that_stands_for_less_than_1_is_not_called_1():
    assert "toward 1: hidden" in legend(Look(), 0.6, ends=ENDS)[0]


def test_without_a_map_on_screen_there_is_nothing_to_explain():
    assert legend(Look(layout="photo"), ends=ENDS)[0] == ""
