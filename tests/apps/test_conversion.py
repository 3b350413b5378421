"""The button that makes class activation maps possible, and all that is on screen afterwards."""

from __future__ import annotations

from functools import partial

import pytest

from xaiwidgets.learned import pooling_head
from xaiwidgets.model.zoo import load_model
from xaiwidgets.render.dominance import HUES
from xaiwidgets.render.look import Look


@pytest.fixture
def converted(make_explorer, monkeypatch):
    """An Explorer of the net with fully connected layers, and its button."""
    whole = pooling_head.with_pooling_head_steps
    monkeypatch.setattr(pooling_head, "with_pooling_head_steps", partial(whole, steps=60))
    explorer = make_explorer(load_model("digits_vgg"), "coffee")
    button = explorer.picker._offers["cam"]
    return explorer, button


def test_one_click_makes_a_refused_map_possible(converted):
    explorer, button = converted
    assert explorer.picker._chips["cam"].disabled
    family = explorer.picker._families["cam"]
    assert "CAM, CCAM, CLEAR: not here, needs a head of global average pooling" in family.children[2].value
    assert button is family.children[-1]
    assert button.description == "Train such a head"
    button.click()
    assert explorer.lens.method == "cam"
    assert "CAM for" in explorer.readout.twin.value
    assert "its accuracy is" in explorer.readout.twin.value
    assert "its accuracy is" in explorer.model_name.value
    assert "digits_vgg with a pooling head" in explorer.model_name.value
    assert explorer.strip._list.value == explorer.result.layer == "head.relu"
    assert not explorer.picker._chips["cam"].disabled
    assert "cam" not in explorer.picker._offers
    assert "global average pooling" not in family.children[2].value
    assert "xw.with_pooling_head(model)" in explorer._code()


def test_classes_are_shown_by_color_with_a_legend(make_explorer):
    explorer = make_explorer(None, "coffee", "clear", target=3)
    frame = explorer.studio.frame
    assert "xai-swatch" in explorer.readout.twin.value
    pixels = frame.pixels(Look(layout="map"))
    brightest = pixels.reshape(-1, 3)[pixels.reshape(-1, 3).max(axis=1).argmax()]
    assert min(abs(brightest.astype(int) - hue).max() for hue in HUES.astype(int)) <= 3
    explorer.put(look=Look(layout="map", smooth=False))
    assert (explorer.stage._pixels == frame.pixels(Look(layout="map", smooth=False))).all()
    explorer.put(method="grad_cam")
    assert "xai-swatch" not in explorer.readout.twin.value


def test_a_network_with_such_a_head_has_no_such_button(make_explorer):
    explorer = make_explorer()
    assert explorer.picker._offers == {}
    assert not explorer.picker._chips["cam"].disabled
