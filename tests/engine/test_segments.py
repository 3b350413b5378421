"""Cutting a picture into segments, and hiding some of them."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.engine.segments import (
    COUNTED,
    SEGMENTERS,
    grid_shape,
    hide,
    merged,
    number_of,
    parted,
    segments,
    spread,
)
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.samples import samples


@pytest.fixture(scope="module")
def coffee():
    model = xw.load_model("digits_gap")
    return np.repeat(model.to_pixels(model.input("coffee")), 3, axis=2)


@pytest.mark.parametrize("how", SEGMENTERS.options)
def test_numbers_have_no_gaps_and_are_kept(how, coffee):
    labels = segments(coffee, how, 12)
    assert labels.shape == coffee.shape[:2]
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    assert segments(coffee.copy(), how, 12) is labels
    assert not labels.flags.writeable
    if how in ("slic", "grid"):
        assert 6 < labels.max() + 1 <= 12
    gray = segments(coffee[..., :1], how, 12)
    np.testing.assert_array_equal(gray, segments(np.repeat(coffee[..., :1], 3, axis=2), how, 12))


@pytest.mark.parametrize(
    ("size", "count", "shape"), [((8, 8), 4, (2, 2)), ((224, 224), 49, (7, 7)), ((224, 224), 8, (2, 4))]
)
def test_a_grid_has_nearly_square_cells_and_never_too_many(size, count, shape):
    assert grid_shape(size, count) == shape
    labels = segments(np.zeros((*size, 3)), "grid", count)
    assert labels.max() + 1 == shape[0] * shape[1] <= count


@pytest.mark.parametrize("size", [(3, 200), (200, 3), (1, 1)])
def test_a_grid_of_a_narrow_picture(size):
    labels = segments(np.zeros((*size, 3)), "grid", 20)
    assert 1 <= labels.max() + 1 <= 20


def test_the_smallest_segment_joins_its_longest_border():
    labels = np.array([[0, 0, 0, 2], [0, 1, 2, 2], [3, 3, 3, 3]])
    np.testing.assert_array_equal(merged(labels, 3), [[0, 0, 0, 1], [0, 0, 1, 1], [2, 2, 2, 2]])
    assert merged(labels, 9).tolist() == labels.tolist()
    assert not merged(labels, 1).any()


def test_a_flat_picture_is_cut_all_the_same():
    assert segments(np.full((20, 20, 3), 0.5), "felzenszwalb", 5).max() == 0
    assert segments(np.full((20, 20, 3), 0.5), "slic", 5).max() < 5


@pytest.mark.parametrize("fill", ["segment_mean", "gray", "blur"])
def test_what_is_hidden_shows_its_fill_and_the_rest_the_picture(fill):
    model = xw.Model(nets.f2(), size=nets.SIZE)
    image = torch.randn(1, *model.input_shape, generator=torch.Generator().manual_seed(0))
    labels = segments(np.zeros((nets.SIZE, nets.SIZE, 3)), "grid", 4)
    write = hide(model, image, labels, fill)
    copies = torch.full((2, *image.shape[1:]), float("nan"))
    write(copies, torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]]))
    torch.testing.assert_close(copies[:1], image)
    shown = torch.tensor(np.isin(labels, [0, 2]))
    torch.testing.assert_close(copies[1][:, shown], image[0][:, shown])
    if fill == "segment_mean":
        part = torch.tensor(labels == 3)
        torch.testing.assert_close(
            copies[1][:, part], image[0][:, part].mean(dim=1, keepdim=True).expand(-1, int(part.sum()))
        )
    elif fill == "gray":
        gray = model.from_pixels(np.full((nets.SIZE, nets.SIZE, 3), 0.5, np.float32))
        torch.testing.assert_close(copies[1][:, ~shown], gray[0][:, ~shown])


def test_values_are_spread_over_their_segments():
    labels = np.array([[0, 1], [1, 2]])
    np.testing.assert_array_equal(spread([1.0, 2.0, 3.0], labels), [[[1, 2], [2, 3]]])


@pytest.mark.parametrize("how", COUNTED.options)
@pytest.mark.parametrize("count", [2, 5, 12, 50, 200])
@pytest.mark.parametrize("photo", ["coffee", "flat", "noise", "tiny"])
def test_how_many_segments_there_are_is_known_beforehand(how, count, photo, coffee):
    pixels = {
        "coffee": coffee,
        "flat": np.full((30, 40, 3), 0.5),
        "noise": np.random.default_rng(0).random((30, 40, 3)),
        "tiny": np.random.default_rng(0).random((3, 4, 3)),
    }[photo]
    labels = segments(pixels, how, count)
    assert labels.max() + 1 == number_of(how, count, pixels.shape[:2]) <= count
    assert how == "grid" or labels.max() + 1 == min(count, labels.size)


def test_the_largest_segment_is_cut_across_its_longer_side():
    labels = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(parted(labels, 3), [[0, 0, 2, 2], [0, 0, 2, 2], [1, 1, 1, 1]])
    assert parted(labels, 2).tolist() == labels.tolist()
    assert sorted(parted(labels, 12).ravel()) == list(range(12))


def test_unknown_names_are_refused(coffee):
    with pytest.raises(InvalidKnob, match=r"^segmenter must be one of slic, grid"):
        segments(coffee, "slick", 5)
    assert samples()
