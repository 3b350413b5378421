from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.render.resize import _taps, bilinear, nearest

SIZES = [
    ((14, 14), (640, 640)),
    ((224, 224), (640, 480)),
    ((640, 480), (100, 33)),
    ((1, 5), (7, 7)),
    ((13, 7), (13, 20)),
]


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize(("function", "mode"), [(bilinear, "bilinear"), (nearest, "nearest-exact")])
def test_equal_to_torch(source, target, function, mode):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=source).astype(np.float32)
    corners = {"align_corners": False} if mode == "bilinear" else {}
    # in double precision: in single, torch rounds positions by an amount that depends on the processor
    exact = torch.from_numpy(values).double()[None, None]
    expected = torch.nn.functional.interpolate(exact, size=target, mode=mode, **corners)
    result = function(values, target)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected[0, 0].numpy(), atol=1e-6, rtol=0)


def test_bilinear_by_hand():
    np.testing.assert_allclose(bilinear(np.array([[0.0, 4.0]]), (1, 4)), [[0, 1, 3, 4]])


def test_nearest_shows_the_cells():
    np.testing.assert_array_equal(nearest(np.array([[1, 2], [3, 4]]), (2, 4)), [[1, 1, 2, 2], [3, 3, 4, 4]])


def test_the_same_size_is_a_copy_and_the_input_is_kept():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    same = bilinear(values, (2, 3))
    same[0, 0] = 9
    bilinear(values, (5, 5))
    np.testing.assert_array_equal(values.ravel(), np.arange(6))


def test_the_cache_is_bounded():
    assert _taps.cache_info().maxsize == 64


@pytest.mark.parametrize("function", [bilinear, nearest])
def test_bad_input_says_what_came(function):
    with pytest.raises(ValueError, match=r"\(3, 2, 2\)"):
        function(np.zeros((3, 2, 2)), (4, 4))
    with pytest.raises(ValueError, match="size must be"):
        function(np.zeros((2, 2)), (0, 4))
