"""Patch prior visualization: exact search, the two limits that are known, and what the weight does."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model import references
from xaiwidgets.model.references import reference_set
from xaiwidgets.synthesis import patch_prior
from xaiwidgets.synthesis.patch_library import make_library, make_places
from xaiwidgets.synthesis.patch_prior import Enlarged, PatchPrior
from xaiwidgets.synthesis.patch_prior_visualization import PatchPriorVisualization


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test has a registry of its own."""
    monkeypatch.setattr(references, "_SETS", {})


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(model, target, **knobs):
    small = {"patches": 800, "iterations": 12, **knobs}
    return list(PatchPriorVisualization(**small).steps(model, None, model.target(target)))


def scene(seed=0, side=40):
    """A colored picture with shapes of all sizes, as 8-bit pixels."""
    values = np.random.default_rng(seed).uniform(0, 255, (side // 4, side // 4, 3))
    return np.kron(values, np.ones((4, 4, 1))).astype(np.uint8)


# -- the library ----------------------------------------------------------------------------------------------------


def test_patches_are_cut_from_the_photos_that_they_name():
    photos = drawn(3, 3, 20, 24) * 50
    library = make_library(photos, 5, 60, 8, seed=1)
    windows = photos.unfold(2, 5, 1).unfold(3, 5, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)
    for patch, source in zip(library.patches, library.source, strict=True):
        assert (windows[source] == patch).all(dim=-1).any()
    assert library.source.bincount().tolist() == [20, 20, 20]
    again = make_library(photos, 5, 60, 8, seed=1)
    assert torch.equal(again.patches, library.patches)
    assert not torch.equal(make_library(photos, 5, 60, 8, seed=2).patches, library.patches)


def test_the_search_is_exact_and_the_components_are_the_principal_ones():
    library = make_library(drawn(3, 3, 20, 24) * 50, 4, 300, 48, seed=0)
    wanted = drawn(70, 48, seed=3) * 50
    everything = torch.cdist(wanted, library.patches)
    assert torch.equal(library.nearest(wanted), everything.argmin(dim=1)), "all components: the plain distance"
    few = make_library(drawn(3, 3, 20, 24) * 50, 4, 300, 6, seed=0)
    centered = (few.patches - few.patches.mean(dim=0)).numpy()
    principal = np.linalg.svd(centered, full_matrices=False)[2][:6]
    np.testing.assert_allclose(np.abs(principal @ few.basis.numpy()), np.eye(6), atol=1e-8)
    projected = torch.cdist(wanted @ few.basis, few.patches @ few.basis)
    assert torch.equal(few.nearest(wanted), projected.argmin(dim=1))


def test_a_search_in_parts_finds_the_same(monkeypatch):
    library = make_library(drawn(3, 3, 20, 24), 4, 100, 8, seed=0)
    wanted = drawn(31, 48, seed=3)
    whole = library.nearest(wanted)
    monkeypatch.setattr("xaiwidgets.synthesis.patch_library.HELD", 700)
    assert torch.equal(library.nearest(wanted), whole)


@pytest.mark.parametrize(("height", "width", "side", "stride"), [(16, 20, 8, 4), (17, 22, 8, 3), (8, 9, 8, 8)])
def test_places_cover_every_pixel_and_put_back_what_they_cut(height, width, side, stride):
    picture = drawn(1, 3, height, width)
    places = make_places(height, width, side, stride, picture)
    assert places.times.min() >= 1
    torch.testing.assert_close(places.put(places.cut(picture)), picture)
    top = picture[0, :, :side, :side].flatten()
    assert torch.equal(places.cut(picture)[0], top)
    assert torch.equal(places.cut(picture)[-1], picture[0, :, -side:, -side:].flatten())


def test_the_way_back_from_the_enlarged_picture_is_the_adjoint():
    pose = Enlarged((2, -3), work=(9, 11), full=(18, 22))
    one, other = drawn(1, 3, 9, 11), drawn(1, 3, 18, 22, seed=1)
    assert float((pose.show(one) * other).sum()) == pytest.approx(float((one * pose.back(other)).sum()), rel=1e-10)
    still = Enlarged(work=(9, 11), full=(9, 11))
    assert torch.equal(still.back(one), one)


# -- the run --------------------------------------------------------------------------------------------------------


def test_a_library_of_one_color_gives_a_picture_of_that_color(conv_net, monkeypatch):
    monkeypatch.setattr(patch_prior, "BALANCE", 1e-9)  # the limit of a large weight
    color = np.array([200, 30, 120], np.uint8)
    reference_set("red", [np.broadcast_to(color, (16, 16, 3)).copy() for _ in range(3)])
    found = run(conv_net, 1, references="red", detail="full", patch=4, stride=2)[-1]
    np.testing.assert_allclose(found.image, np.broadcast_to(color / 255, (16, 16, 3)), atol=1e-4)
    assert found.terms["patch distance"] < 1e-3


@pytest.mark.parametrize("detail", ["full", "half"])
def test_in_the_limit_every_patch_is_one_of_the_photo(conv_net, monkeypatch, detail):
    monkeypatch.setattr(patch_prior, "BALANCE", 1e-9)
    reference_set("scene", [scene(), scene(), scene()])
    found = run(conv_net, 1, references="scene", detail=detail, patch=4, stride=4, jitter=0)[-1]
    method = PatchPriorVisualization(references="scene", detail=detail, patch=4, stride=4, patches=800)
    frame = PatchPrior(method, conv_net, conv_net.target(1))
    picture = torch.from_numpy(found.state.arrays["picture"].copy())
    size = tuple(picture.shape[2:])
    assert size == ((16, 16) if detail == "full" else (8, 8))
    patches, library = frame.places(*size).cut(picture), frame.library(*size)
    gaps = torch.cdist(patches, library.patches).min(dim=1).values / 255
    assert float(gaps.max()) < 1e-2


def test_patches_that_overlap_come_nearer_to_those_of_the_photo(conv_net, monkeypatch):
    reference_set("scene", [scene(), scene(), scene()])
    free = run(conv_net, 1, references="scene", detail="full", patch=4, stride=2, patch_weight=0.0, refresh=1)[-1]
    monkeypatch.setattr(patch_prior, "BALANCE", 1e-9)
    held = run(conv_net, 1, references="scene", detail="full", patch=4, stride=2, refresh=1)[-1]
    # the mean of patches that overlap is no patch: 1.01 against 1.72 on this scene of hard edges
    assert held.terms["patch distance"] < 0.7 * free.terms["patch distance"]


@pytest.mark.parametrize("make", [nets.reused, nets.f2, nets.f3], ids=["reused", "f2", "f3"])
def test_a_stronger_prior_brings_patches_nearer(make):
    model = xw.Model(make(), size=nets.SIZE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), name="net")
    reference_set("scenes", [scene(seed) for seed in range(4)])
    far = [
        run(model, 1, references="scenes", patch=4, stride=2, patch_weight=w, jitter=0, iterations=30)[-1].terms
        for w in (0.0, 3.0, 10.0)
    ]
    distances = [terms["patch distance"] for terms in far]
    assert distances[0] > distances[1] > distances[2]


def test_one_step_is_its_formula(conv_net):
    reference_set("scenes", [scene(seed) for seed in range(3)])
    knobs = {"references": "scenes", "detail": "full", "patch": 4, "stride": 2, "momentum": 0.0, "jitter": 0}
    method = PatchPriorVisualization(**knobs, patches=800, step_size=5.0, patch_weight=8.0, iterations=2)
    first, second = method.steps(conv_net, None, conv_net.target(2))
    x, g = (torch.from_numpy(first.state.arrays[name].copy()) for name in ("picture", "gradient"))
    frame = PatchPrior(method, conv_net, conv_net.target(2))
    places, library = frame.places(16, 16), frame.library(16, 16)
    quilt = places.put(library.patches[torch.from_numpy(first.state.arrays["nearest"].copy())])
    moved = x + 5.0 * g / g.square().mean().sqrt()
    # x' = x + η ĝ + η λ (A − x') / 1000
    wanted = frame.canvas.clip((moved + 0.04 * quilt) / 1.04)
    np.testing.assert_allclose(second.state.arrays["picture"], wanted, atol=1e-4)


def test_detail_grows_at_the_last_third_and_goes_on_bit_for_bit(conv_net):
    reference_set("scenes", [scene(seed) for seed in range(3)])
    knobs = {"references": "scenes", "detail": "half, then full", "patch": 4, "stride": 2, "iterations": 9}
    whole = run(conv_net, 1, **knobs)
    assert [one.state.arrays["picture"].shape[-1] for one in whole] == [8] * 6 + [16] * 3
    assert {one.image.shape for one in whole} == {(16, 16, 3)}
    for number in (4, 5, 6):
        method = PatchPriorVisualization(patches=800, **knobs).resume(whole[number].state)
        rest = list(method.steps(conv_net, None, conv_net.target(1)))
        assert np.array_equal(rest[-1].image, whole[-1].image)


def test_shares_of_the_photos_are_told(conv_net):
    reference_set("scenes", [scene(seed) for seed in range(3)])
    found = run(conv_net, 1, references="scenes", patch=4, stride=2)[-1]
    shares = {name: value for name, value in found.terms.items() if name.startswith("patches of ")}
    assert shares and sum(shares.values()) == pytest.approx(1.0)
    assert found.beside[0].caption.startswith("nearest patches of photos: ") and "%" in found.beside[0].caption
    assert found.beside[0].image.shape == found.image.shape


def test_a_folder_gives_the_patches(conv_net, tmp_path):
    from PIL import Image

    for seed in range(3):
        Image.fromarray(scene(seed)).save(tmp_path / f"{seed}.png")
    reference_set("mine", tmp_path)
    found = run(conv_net, 1, references="mine", patch=4, stride=2, iterations=2)[-1]
    assert {name for name in found.terms if name.startswith("patches of")} <= {f"patches of {s}.png" for s in range(3)}


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"references": "two"}, "at least 3 pictures to take patches from; 'two' has 2"),
        ({"references": "nowhere"}, "references must be one of"),
        ({"patch": 12}, "patch must fit the picture, which is made at 8×8 pixels; got 12"),
        ({"patch": 4, "stride": 5}, "stride must be at most the patch, 4 pixels"),
    ],
)
def test_what_cannot_be_is_said(conv_net, knobs, words):
    reference_set("two", [scene(0), scene(1)])
    with pytest.raises(InvalidKnob, match=words):
        run(conv_net, 1, **knobs)


@pytest.mark.lab
def test_on_the_bundled_network_patches_come_nearer_at_little_cost():
    """Mean patch distance 4.15, 3.33, 1.81 at a weight of 0, 1, 5, and a logit of 26, 30, 27 (espresso)."""
    model = xw.load_model()
    found = [
        list(PatchPriorVisualization(patch_weight=w).steps(model, None, model.target("espresso")))[-1]
        for w in (0.0, 1.0, 5.0)
    ]
    distances = [one.terms["patch distance"] for one in found]
    scores = [float(one.curve[-16:].mean()) for one in found]
    print(distances, scores)
    assert distances[0] > distances[1] > distances[2] and distances[2] < 0.5 * distances[0]
    assert min(scores[1:]) > 0.85 * scores[0]
    assert all(one.terms["probability"] > 0.9 for one in found)
