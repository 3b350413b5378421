from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.render.palettes import DIVERGING, PALETTES, RAINBOW, SEQUENTIAL, TABLES, palette


def lightness(table):
    """CIELAB lightness of sRGB (n, 3), from the definition."""
    coded = table / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.where(luminance > (6 / 29) ** 3, np.cbrt(luminance), luminance / (3 * (6 / 29) ** 2) + 4 / 29) - 16


@pytest.mark.parametrize("name", SEQUENTIAL + RAINBOW)
def test_shipped_tables_are_matplotlibs(name):
    matplotlib = pytest.importorskip("matplotlib")
    expected = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    np.testing.assert_array_equal(palette(name), expected)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_sequential_tables_get_lighter_all_the_way(name):
    # Neighbors of 8-bit tables may tie or fall by a rounding step.
    assert np.diff(lightness(palette(name))).min() > -0.5
    assert lightness(palette(name))[-1] - lightness(palette(name))[0] > 70


@pytest.mark.parametrize("name", DIVERGING)
def test_diverging_tables_are_neutral_in_the_middle_and_balanced(name):
    table = palette(name)
    assert table[127].tolist() == table[128].tolist()
    assert len(set(table[127].tolist())) == 1
    light = lightness(table)
    np.testing.assert_allclose(light, light[::-1], atol=0.6)
    steps = np.diff(light[128:])
    assert (steps < 0).all()
    np.testing.assert_allclose(steps, steps.mean(), atol=0.35)


def test_the_two_ends_of_blue_red_differ_for_a_deuteranope():
    # Viénot, Brettel, Mollon 1999: linear RGB as seen without the middle-wavelength cones.
    seen = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    blue, red = (np.array(palette("blue_red")[i] / 255) ** 2.2 @ seen.T for i in (0, 255))
    assert blue[2] > 5 * red[2]


def test_jet_is_not_a_default_group():
    assert "jet" in PALETTES
    assert "jet" not in SEQUENTIAL + DIVERGING


def test_tables_are_cached_and_cannot_be_changed():
    assert palette("viridis") is palette("viridis")
    with pytest.raises(ValueError, match="read-only"):
        palette("viridis")[0, 0] = 1


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(InvalidKnob, match=r"viridis, magma.*Did you mean viridis"):
        palette("virdis")


def test_importing_the_room_loads_no_matplotlib_and_no_torch():
    rooms = sorted(file.stem for file in TABLES.parent.glob("[a-z]*.py"))
    assert "compose" in rooms
    code = ";".join(f"import xaiwidgets.render.{room}" for room in rooms)
    code += ";import sys;print([m for m in ('matplotlib','torch','ipywidgets','skimage','scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
