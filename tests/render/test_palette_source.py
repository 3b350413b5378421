from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.render.palette_source import build_tables, srgb
from xaiwidgets.render.palettes import TABLES


def test_the_shipped_file_is_what_the_source_builds():
    pytest.importorskip("matplotlib")
    np.testing.assert_array_equal(np.load(TABLES), build_tables())


def test_cielab_to_srgb_agrees_with_scikit_image():
    color = pytest.importorskip("skimage.color")
    lab = np.array([[96, 0, 0], [40, 10, -45], [40, 48, 32], [60, -30, 20], [5, 0, 0]], dtype=float)
    np.testing.assert_allclose(srgb(lab), color.lab2rgb(lab), atol=1e-3)
