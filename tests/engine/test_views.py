"""Views of a few pictures: each as it is, then windows, the same whichever part of them is made."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.engine.references import images_of
from xaiwidgets.engine.views import Views
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.references import find_references, unnamed


@pytest.fixture
def model():
    return xw.Model(nets.f2(), size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def test_each_picture_comes_first_as_the_model_sees_it(model):
    views = Views(find_references("photos"), 20)
    assert torch.equal(views.inputs(model, range(8)), images_of(model, "photos", 8))
    assert views.sentence() == "20 views of 8 pictures of 'photos'"


def test_any_part_of_the_views_can_be_made_alone(model):
    whole = Views(find_references("photos"), 30, seed=3).inputs(model, range(6, 30))
    again = Views(find_references("photos"), 30, seed=3)
    assert torch.equal(again.inputs(model, range(17, 19)), whole[11:13])
    assert not torch.equal(Views(find_references("photos"), 30, seed=4).inputs(model, range(8, 30)), whole[2:])


def test_windows_are_parts_that_are_neither_mirrored_nor_tiny(model):
    """A picture whose pixels say where they are: rows in red, columns in green."""
    rows, columns = np.mgrid[:120, :90]
    place = np.stack([rows * 2, columns * 2, 0 * rows], axis=2).astype(np.uint8)
    views = Views(unnamed([place]), 40)
    shares = []
    for number in range(1, 40):
        seen = views._window(place, number)
        assert (np.diff(seen[:, :, 0].astype(int), axis=0) == 2).all()
        assert (np.diff(seen[:, :, 1].astype(int), axis=1) == 2).all()
        shares.append(seen.shape[0] * seen.shape[1] / place[:, :, 0].size)
    assert min(shares) > 0.25
    assert max(shares) > 0.8
    assert len(set(shares)) > 30


def test_of_more_pictures_than_views_some_are_taken(model):
    pictures = unnamed([np.full((20, 20, 3), level, np.uint8) for level in range(0, 250, 10)])
    views = Views(pictures, 5)
    levels = [float(model.to_pixels(views.inputs(model, range(n, n + 1))).mean() * 255) for n in range(5)]
    np.testing.assert_allclose(levels, [10 * index for index in pictures.chosen(5)], atol=0.5)
    assert views.sentence() == "5 pictures"


def test_baselines_are_no_pictures():
    with pytest.raises(InvalidKnob, match="patterns must be a set of pictures"):
        Views(find_references("plain"), 5)
