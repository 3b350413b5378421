from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xaiwidgets.core.results import Attribution
from xaiwidgets.render.compose import compose
from xaiwidgets.render.look import Look
from xaiwidgets.render.scale import Scale
from xaiwidgets.studio.frame import Frame, Status
from xaiwidgets.studio.lens import Lens


@pytest.fixture
def frame():
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    values = np.linspace(-1, 3, 24, dtype=np.float32).reshape(1, 4, 6)
    return Frame(Lens(), photo, Attribution(values, unit="logit", signed=True, size=(4, 6)), "espresso")


def test_pixels_are_those_of_compose_on_the_scale_of_the_look(frame):
    for look in (Look(), Look(layout="side"), Look(sign="positive", opacity=1.0), Look(layout="map", smooth=False)):
        expected = compose(frame.photo, frame.result.map(), frame.scale(look), look)
        np.testing.assert_array_equal(frame.pixels(look), expected)
    assert frame.pixels(Look(layout="side")).shape[1] > 2 * 60


def test_the_scale_follows_the_sign(frame):
    assert frame.scale(Look(clip=100.0)) == Scale(-3.0, 3.0, diverging=True)
    assert frame.scale(Look(clip=100.0, sign="positive")).low == 0


def test_records_cannot_be_changed(frame):
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.target = "cup"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Status("x").text = "y"
