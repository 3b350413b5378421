"""Patches: the fitted Gaussian, its conditional formulas, and draws that depend on their place and number alone."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.engine.patches import RIDGE, PatchModel, color_axes, conditional, marginal, turned


def gaussian(side=(5, 4), channels=2, seed=0):
    """Return a PatchModel of a random, well-conditioned Gaussian."""
    rng = np.random.default_rng(seed)
    size = side[0] * side[1]
    root = rng.normal(size=(channels, size, 3 * size))
    return PatchModel(rng.normal(size=(channels, size)), root @ root.transpose(0, 2, 1) / (3 * size), side)


def slow(model, channel, window, patch, around):
    """Mean and covariance of a window given the rest of a patch, by inverting, pixel by pixel."""
    top, left, bottom, right = window
    place = lambda r, c: r * model.side[1] + c
    one = [place(r, c) for r in range(top, bottom) for c in range(left, right)]
    two = [place(r, c) for r in range(patch[0]) for c in range(patch[1]) if place(r, c) not in one]
    covariance = model.covariance[channel]
    block = lambda p, q: np.array([[covariance[i, j] for j in q] for i in p]).reshape(len(p), len(q))
    gain = block(one, two) @ np.linalg.inv(block(two, two))
    mean = model.mean[channel][one] + gain @ (around[channel] - model.mean[channel][two])
    return mean, block(one, one) - gain @ block(two, one)


@pytest.mark.parametrize("count", [10_000, 40])
def test_mean_and_covariance_are_those_of_patches(count):
    images = np.random.default_rng(0).normal(3, 1, size=(2, 3, 9, 8)).cumsum(axis=2)
    model = PatchModel.fit(images, (3, 4), count, seed=5)
    places = [(n, r, c) for n in range(2) for r in range(7) for c in range(5)]
    if count < len(places):
        places = [places[i] for i in np.random.default_rng(5).choice(len(places), count, replace=False)]
    assert model.count == len(places)
    for channel in range(3):
        patches = np.array([images[n, channel, r : r + 3, c : c + 4].ravel() for n, r, c in places])
        wanted = np.cov(patches.T, bias=True)
        wanted += RIDGE * np.trace(wanted) / 12 * np.eye(12)
        np.testing.assert_allclose(model.mean[channel], patches.mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(model.covariance[channel], wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("window", "patch"),
    [((1, 1, 4, 3), (5, 4)), ((0, 0, 3, 2), (4, 3)), ((2, 0, 5, 4), (5, 4)), ((0, 0, 5, 4), (5, 4))],
)
def test_conditional_mean_and_covariance_are_the_formulas(window, patch):
    """Zintgraf et al. 2017, section 3.1; at the border only a part of the patch is there, or none but the window."""
    model = gaussian()
    found = model.given(window, patch)
    around = np.random.default_rng(1).normal(size=found.known.shape)
    for channel in range(2):
        mean, covariance = slow(model, channel, window, patch, around)
        np.testing.assert_allclose(found.mean(around)[channel], mean, rtol=1e-9, atol=1e-12)
        root = found.root[channel]
        np.testing.assert_allclose(root @ root.T, covariance, rtol=0, atol=1e-10 * covariance.max())


def test_draws_have_the_conditional_moments():
    model = gaussian((4, 4), 1)
    image = np.random.default_rng(2).normal(size=(1, 9, 9))
    draw = conditional(model, image, pad=1, seed=0)
    box = (3, 4, 5, 6)
    count = 20_000
    drawn = np.array([draw(box, number).ravel() for number in range(count)])
    around = image[:, 2:6, 3:7][:, ~np.pad(np.ones((2, 2), bool), 1)]
    mean, covariance = slow(model, 0, (1, 1, 3, 3), (4, 4), around)
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(drawn.mean(axis=0) - mean) < 3 * deviation / count**0.5).all()
    error = np.sqrt((np.outer(deviation**2, deviation**2) + covariance**2) / count)
    assert (np.abs(np.cov(drawn.T) - covariance) < 3 * error).all()


def test_of_independent_pixels_what_is_around_tells_nothing():
    rng = np.random.default_rng(3)
    variance = rng.uniform(0.5, 2, size=(2, 16))
    model = PatchModel(rng.normal(size=(2, 16)), np.stack([np.diag(v) for v in variance]), (4, 4))
    found = model.given((1, 1, 3, 3), (4, 4))
    inside = np.arange(16).reshape(4, 4)[1:3, 1:3].ravel()
    for around in rng.normal(size=(2, *found.known.shape)):
        np.testing.assert_allclose(found.mean(around), model.mean[:, inside], rtol=1e-12)
    noise = rng.normal(size=(2, 4))
    wanted = model.mean[:, inside] + np.sqrt(variance[:, inside]) * noise
    np.testing.assert_allclose(found.draw(around, noise), wanted, rtol=1e-12)


def test_a_draw_depends_on_its_place_and_number_alone():
    model, image = gaussian((6, 6)), np.random.default_rng(4).normal(size=(2, 12, 13))
    draw = conditional(model, image.copy(), pad=2, seed=0)
    boxes = [(r, c, min(r + 2, 12), min(c + 2, 13)) for r in range(0, 12, 2) for c in range(0, 13, 2)]
    first = {(box, n): draw(box, n) for box in boxes for n in range(2)}
    again = {(box, n): draw(box, n) for box in reversed(boxes) for n in (1, 0)}
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert len({found.tobytes() for found in first.values()}) == len(first)
    assert all(found.shape == (2, box[2] - box[0], box[3] - box[1]) for (box, _), found in first.items())
    box = (4, 4, 6, 6)
    image[:, 4:6, 4:6] = 99
    assert np.array_equal(conditional(model, image, 2, 0)(box, 0), first[box, 0]), "the window's own pixels are hidden"
    image[:, 3, 4] = 99
    assert not np.array_equal(conditional(model, image, 2, 0)(box, 0), first[box, 0])
    assert not np.array_equal(conditional(model, image, 2, 1)(box, 0), first[box, 0])


def test_pictures_take_turns_at_the_same_place():
    images = np.arange(3.0)[:, None, None, None] * 1000 + np.arange(2 * 6 * 7.0).reshape(2, 6, 7)
    draw = marginal(images, seed=0)
    orders = set()
    for box in ((0, 0, 2, 3), (4, 5, 6, 7), (2, 2, 4, 5)):
        top, left, bottom, right = box
        pictures = []
        for number in range(6):
            found = draw(box, number)
            picture = int(found.flat[0] // 1000)
            assert np.array_equal(found, images[picture, :, top:bottom, left:right])
            pictures.append(picture)
        assert sorted(pictures[:3]) == sorted(pictures[3:]) == [0, 1, 2]
        orders |= {tuple(pictures[:3]), tuple(pictures[3:])}
    assert len(orders) > 1


def test_one_picture_gives_patches_of_other_places():
    image = np.random.default_rng(0).normal(size=(1, 2, 8, 9))
    draw = marginal(image, seed=0, anywhere=True)
    places = [(row, column) for row in range(6) for column in range(8)]
    views = {image[0, :, row : row + 3, column : column + 2].tobytes() for row, column in places}
    found = {draw((0, 0, 3, 2), number).tobytes() for number in range(50)}
    assert len(found) > 20
    assert found <= views


def test_colors_are_turned_to_axes_without_correlation_and_back():
    rng = np.random.default_rng(0)
    images = np.einsum("dc,nchw->ndhw", rng.normal(size=(3, 3)), rng.normal(size=(4, 3, 8, 8)))
    axes = color_axes(images)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    flat = turned(images, axes).transpose(1, 0, 2, 3).reshape(3, -1)
    covariance = np.cov(flat)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-10 * covariance.max()
    np.testing.assert_allclose(turned(turned(images, axes), axes.T), images, atol=1e-12)
    assert color_axes(images[:, :1]).shape == (1, 1)


def test_pictures_of_one_color_have_a_model_too():
    model = PatchModel.fit(np.full((2, 1, 8, 8), 0.3), (4, 4), 100)
    drawn = conditional(model, np.full((1, 8, 8), 0.3), 1, 0)((2, 2, 4, 4), 0)
    np.testing.assert_allclose(drawn, 0.3, atol=1e-4)
