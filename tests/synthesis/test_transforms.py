"""Random views of a picture: what none is, what each is, and that they repeat."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from xaiwidgets.synthesis import transforms
from xaiwidgets.synthesis.transforms import PRESETS, Transforms, View, chosen, look


@pytest.fixture
def pictures():
    return torch.rand(2, 3, 32, 41, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_no_strength_is_the_picture_itself(pictures):
    assert look(pictures, Transforms().draw(generator()), 12) is pictures
    assert transforms.scale(pictures, 1.0) is pictures
    assert transforms.rotate(pictures, 0.0) is pictures
    assert torch.equal(transforms.crop(pictures, (0, 0), (32, 41)), pictures)
    assert torch.equal(transforms.crop(transforms.pad(pictures, 5), (0, 0), (32, 41)), pictures)
    assert torch.allclose(transforms.warp(pictures, View(), (32, 41)), pictures, atol=1e-12)
    for name in PRESETS:
        assert chosen(name, 0.0, Transforms()) == Transforms()


def test_the_same_seed_gives_the_same_views():
    for strength in PRESETS.values():
        one, other = generator(3), generator(3)
        assert [strength.draw(one) for _ in range(20)] == [strength.draw(other) for _ in range(20)]
    assert PRESETS["standard"].draw(generator(3)) != PRESETS["standard"].draw(generator(4))


def test_the_standard_views_are_drawn_as_in_lucid():
    random = generator()
    views = [PRESETS["standard"].draw(random) for _ in range(4000)]
    assert {round(v.scale, 2) for v in views} == {round(0.9 + 0.02 * i, 2) for i in range(11)}
    degrees = [v.degrees for v in views]
    assert {round(d) for d in degrees} == set(range(-10, 11))
    assert degrees.count(0.0) / len(degrees) == pytest.approx(6 / 26, abs=0.03)
    assert {v.shift[0] for v in views} == set(range(-6, 7))
    assert np.mean([v.shift for v in views]) == pytest.approx(0, abs=0.1)


def test_a_moved_window_sees_gray_paper_and_then_black(pictures):
    found = look(pictures, View(shift=(3, -5)), paper=4)
    assert torch.equal(found[..., :29, 5:], pictures[..., 3:, :36])
    assert (found[..., 29:, 5:] == 0.5).all()
    assert (found[..., :, 0] == 0).all()
    assert (found[..., :29, 1:5] == 0.5).all()


@pytest.mark.parametrize(
    ("factor", "degrees", "shift"),
    [(1.1, 0, (0, 0)), (0.9, 0, (2, -3)), (1, 7, (0, 0)), (1.2, -10, (1, 4))],
)
def test_a_warp_is_the_one_of_scipy(pictures, factor, degrees, shift):
    found = transforms.warp(pictures, View(shift, factor, degrees), (32, 41))
    turn = np.deg2rad(degrees)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / factor
    center = np.array([31, 40]) / 2
    expected = ndimage.affine_transform(
        pictures[0, 0].numpy(), matrix, center + shift - matrix @ center, order=1, mode="grid-constant"
    )
    assert np.abs(found[0, 0].numpy() - expected).max() < 1e-9


def test_a_turn_is_counterclockwise():
    picture = torch.zeros(1, 1, 21, 21)
    picture[0, 0, 10, 18] = 1
    found = transforms.rotate(picture, 90.0)
    assert found[0, 0, 2, 10] == pytest.approx(1, abs=1e-5)
    far = transforms.scale(picture, 0.5)
    assert int(far[0, 0, 10].argmax()) == 14


def test_turns_are_those_of_lucent():
    """Of a smooth picture, away from the border: its warp is scaled by (side - 1) / side, ours is not."""
    lucent = pytest.importorskip("lucent.optvis.transform", exc_type=ImportError)
    rows, columns = np.mgrid[0:96, 0:96] / 96
    smooth = torch.tensor(0.5 + 0.4 * np.sin(3 * rows + 2 * columns), dtype=torch.float32)[None, None]
    for degrees in (5, -8):
        theirs, mine = lucent.random_rotate([degrees])(smooth), transforms.rotate(smooth, degrees)
        assert (theirs - mine)[..., 16:-16, 16:-16].abs().max() < 0.02
        wrong = transforms.rotate(smooth, -degrees)
        assert (theirs - wrong)[..., 16:-16, 16:-16].abs().max() > 0.04
    padded = lucent.pad(12, mode="constant", constant_value=0.5)(smooth)
    assert torch.equal(padded, transforms.pad(smooth, 12))


@pytest.mark.parametrize("name", ["jitter", "light", "standard"])
def test_every_pixel_is_seen_within_fifty_views(name):
    picture = torch.rand(1, 1, 48, 48, generator=generator()).requires_grad_()
    random, seen = generator(1), torch.zeros(48, 48)
    for _ in range(50):
        view = look(picture, PRESETS[name].draw(random), PRESETS[name].pad)
        seen += torch.autograd.grad(view.sum(), picture)[0][0, 0].abs()
    assert (seen > 0).all()
    assert view.shape == picture.shape


def test_strengths_can_be_turned_up():
    assert PRESETS["standard"].times(2) == Transforms(24, 16, 0.2, 20.0, 8)
    assert chosen("custom", 1.0, Transforms(jitter=3)) == Transforms(jitter=3)
    assert Transforms(scale=0.5).times(3).scale == 0.9
