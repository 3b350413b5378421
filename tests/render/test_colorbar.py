from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from xaiwidgets.render.colorbar import HEIGHT, colorbar_html
from xaiwidgets.render.look import Look
from xaiwidgets.render.palettes import palette
from xaiwidgets.render.scale import Scale


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.texts, self.root, self.open = [], None, 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.root = self.root or dict(attributes)
        self.open += 1

    def handle_endtag(self, tag):
        self.open -= 1

    def handle_data(self, data):
        self.texts.append(data)


def stops(html):
    return re.findall(r"#[0-9a-f]{6}", html)


def test_numbers_unit_and_words():
    read = Reader(colorbar_html(Scale(0, 2.31), Look(), "logit"))
    assert read.open == 0
    assert read.texts == ["0", "0.5", "1.0", "1.5", "2.0", "logit"]
    assert read.root["aria-label"] == "Color scale from 0.00 to 2.31 logit, viridis"
    assert read.root["role"] == "img"


def test_clipped_values_are_mentioned_to_eyes_and_ears():
    read = Reader(colorbar_html(Scale(0, 1, clipped=True), Look(clip=98), "logit"))
    assert read.texts[-1] == "logit · clipped at 98 %"
    assert read.root["aria-label"].endswith("clipped at 98 %")


def test_no_evidence_instead_of_made_up_numbers():
    assert Reader(colorbar_html(Scale(0, 1, empty=True), Look(), "logit")).texts == ["no evidence"]


def test_the_gradient_is_the_palette_with_its_neutral_center():
    colors = stops(colorbar_html(Scale(-1, 1, diverging=True), Look(), ""))
    ends = ["#" + bytes(palette("blue_red")[i]).hex() for i in (0, 128, 255)]
    assert [colors[0], colors[16], colors[32]] == ends


def test_evidence_against_grows_to_the_left():
    colors = stops(colorbar_html(Scale(-1, 0), Look(), ""))
    assert colors[0] == "#" + bytes(palette("viridis")[255]).hex()
    assert colors[-1] == "#" + bytes(palette("viridis")[0]).hex()


@pytest.mark.parametrize("layout", ["overlay", "photo"])
@pytest.mark.parametrize("scale", [Scale(0, 1), Scale(0, 1, empty=True), Scale(0, 1, clipped=True)])
def test_the_height_never_changes(layout, scale):
    html = colorbar_html(scale, Look(layout=layout), "logit")
    assert f"height:{HEIGHT}px" in Reader(html).root["style"]
    assert ("visibility:hidden" in html) == (layout == "photo")


def test_a_unit_cannot_carry_markup():
    html = colorbar_html(Scale(0, 1), Look(), '"><script>alert(1)</script>')
    assert "<script" not in html
    assert Reader(html).texts[-1] == '"><script>alert(1)</script>'
