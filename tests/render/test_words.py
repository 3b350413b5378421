from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.render.scale import Scale, scale_for
from xaiwidgets.render.words import describe, region

NAMES = [
    ["upper left", "upper center", "upper right"],
    ["middle left", "center", "middle right"],
    ["lower left", "lower center", "lower right"],
]


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("size", [3, 14, 224])
def test_nine_regions(row, column, size):
    share = (2 * row + 1) / 6, (2 * column + 1) / 6
    assert region(*share) == NAMES[row][column]
    values = np.zeros((size, size))
    values[int(share[0] * size), int(share[1] * size)] = 2.31
    text = describe(
        values, scale_for(values, False), method="Grad-CAM", target="espresso", layer="blocks.4", unit="logit"
    )
    assert text == f"Grad-CAM for espresso at blocks.4: strongest in the {NAMES[row][column]}, 0.00 to 2.31 logit"


def test_a_cluster_outweighs_one_noisy_pixel():
    values = np.zeros((60, 60))
    values[45:55, 5:15] = 1.0
    values[3, 55] = 3.0
    assert "strongest in the lower left, 0.00 to 3.00" in describe(values, Scale(0, 3), method="m", target="t")


def test_signed_maps_say_where_the_evidence_against_is():
    values = np.zeros((9, 9))
    values[1, 1], values[7, 7] = 1.5, -2.0
    text = describe(values, scale_for(values, True), method="Gradient", target="cup", unit="logit")
    assert text == (
        "Gradient for cup: strongest in the upper left, strongest evidence against in the lower right, "
        "−2.00 to 1.50 logit"
    )


def test_only_evidence_against():
    values = np.zeros((9, 9))
    values[7, 1] = -2.0
    text = describe(values, Scale(-2, 0), method="m", target="t")
    assert text == "m for t: strongest evidence against in the lower left, −2.00 to 0.00"


def test_one_sided_maps_above_and_below_zero():
    values = np.full((9, 9), 5.0)
    values[1, 7] = 6.0
    assert "strongest in the upper right" in describe(values, Scale(0, 6), method="m", target="t")
    values -= 7
    assert "largest in the upper right" in describe(values, Scale(-2, 1), method="m", target="t")


def test_nothing_and_the_same_everywhere():
    assert describe(np.zeros((4, 4)), Scale(0, 9), method="m", target="t") == "m for t: no evidence, all values are 0"
    text = describe(np.full((4, 4), 0.5), Scale(0, 1), method="m", target="t", unit="logit")
    assert text == "m for t: the same everywhere, 0.500 logit"


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        describe(np.array([[np.nan]]), Scale(0, 1), method="m", target="t")
