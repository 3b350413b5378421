"""Photos on grass: the place is that of the photo."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.data.composites import LEAST, MOST, composite, square

WHITE = np.full((60, 90, 3), 255, np.uint8)
WHITE[:, :15], WHITE[:, -15:] = 0, 0  # not in the middle square


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (700, 600)])
def test_the_box_is_where_the_photo_is(size):
    for seed in range(5):
        scene = composite(WHITE, size, np.random.default_rng(seed), label=3, name="white")
        ((top, left, bottom, right),) = scene.boxes
        assert scene.size == size
        assert bottom - top == right - left
        scale = min(size) / 224
        assert LEAST * scale - 1 <= bottom - top <= MOST * scale + 1
        assert scene.pixels[top:bottom, left:right].min() == 1
        outside = np.ones(size, bool)
        outside[top:bottom, left:right] = False
        assert (scene.pixels[outside].min(axis=1) == scene.pixels[outside].max(axis=1)).all()  # grass is gray
        assert scene.pixels[outside].mean() < 0.8
    assert (scene.label, scene.name) == (3, "white")


def test_the_same_draw_gives_the_same_scene():
    one, two = (composite(WHITE, (96, 96), np.random.default_rng(4)) for _ in range(2))
    assert one.digest == two.digest


def test_a_square_is_the_middle():
    assert square(WHITE, (10, 10)).min() == 1
