"""Several methods side by side: what they share, in which order they run, and what they are compared by."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import xaiwidgets as xw
from xaiwidgets.engine.comparison import MOST_CELLS, plan, run_cells
from xaiwidgets.errors import InvalidKnob, InvalidLayer, InvalidTarget, NotApplicable, UnknownMethod

FOUR = ["saliency", "gradient_x_input", "grad_cam", "fullgrad"]


@pytest.fixture
def model():
    return xw.Model(nets.f3(), size=nets.SIZE)


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def test_gradients_of_one_photo_cost_one_pass_there_and_back(model, photo):
    found = xw.compare(model, photo, FOUR, targets=[1])
    assert found.passes == (1, 1)
    for column, name in enumerate(FOUR):
        alone = xw.explain(model, photo, name, target=1)
        ours = found[0, column]
        np.testing.assert_allclose(ours.values, alone.values, rtol=0, atol=1e-5 * np.abs(alone.values).max())
        assert ours.score == pytest.approx(alone.score, rel=1e-5)
        assert alone.provenance.passes == (1, 1)


def test_without_fullgrad_too_and_each_class_has_its_own(model, photo):
    found = xw.compare(model, photo, FOUR[:3], targets=[1, 3])
    assert found.passes == (2, 2)
    assert found.plan.rows == tuple(model.labels.short(n) for n in (1, 3))


def test_all_layers_come_from_one_pass(model, photo):
    layers = [stage.name for stage in model.stages]
    found = xw.compare(model, photo, ["grad_cam", "layer_cam", "saliency"], targets=[2], layers=layers)
    assert found.passes == (1, 1)
    assert found.plan.rows == tuple(layers)
    for row, layer in enumerate(layers):
        alone = xw.explain(model, photo, "grad_cam", target=2, layer=layer)
        np.testing.assert_allclose(
            found[row, 0].values, alone.values, atol=1e-5 * max(np.abs(alone.values).max(), 1e-9)
        )
        assert found[row, 0].layer == layer


def test_other_methods_share_nothing_and_are_as_alone(model, photo):
    rise = ("rise", {"samples": 20})
    found = xw.compare(model, photo, ["saliency", rise, ("rise", {"samples": 30})], targets=[0])
    assert found.passes == (1 + 21 + 31, 1)
    np.testing.assert_allclose(
        found[0, 1].values, xw.explain(model, photo, "rise", target=0, samples=20).values, rtol=1e-5
    )
    assert found.plan.columns == ("Saliency", "RISE (masks 20)", "RISE (masks 30)")


def test_panels_take_turns_and_the_cheap_ones_begin(model, photo):
    model.remember(("batch size", False), lambda: 4)
    image = model.input(photo)
    asked = plan(model, image, [("rise", {"samples": 16}), "saliency", ("rise", {"samples": 12})], [0])
    order = [place[1] for place, _ in run_cells(model, image, asked.cells())]
    assert order[0] == 1
    assert order[1:] == [2, 0, 2, 0, 2, 0, 0]


def test_an_error_stays_in_its_own_panel(photo):
    torch.manual_seed(0)
    smooth = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )
    found = xw.compare(xw.Model(smooth, size=24), photo, ["guided_backprop", "saliency"], targets=[1])
    assert isinstance(found[0, 0], NotApplicable)
    assert found[0, 1].progress == 1
    assert set(found.maps) == {(0, 1)}
    with pytest.raises(InvalidKnob, match="at least two finished panels; there are 1"):
        found.disagreement()


def test_closing_stops_all_panels(model, photo):
    image = model.input(photo)
    running = run_cells(model, image, plan(model, image, ["rise", "occlusion"], [0]).cells())
    next(running)
    running.close()
    with pytest.raises(StopIteration):
        next(running)


def test_difference_disagreement_and_agreement(model, photo):
    found = xw.compare(model, photo, FOUR[:3], targets=[1])
    shares = [np.abs(found[0, k].heatmap()) / np.abs(found[0, k].heatmap()).sum() for k in range(3)]
    np.testing.assert_allclose(found.difference((0, 0), (0, 2)), shares[0] - shares[2], atol=1e-8)
    np.testing.assert_allclose(found.disagreement(), np.std(shares, axis=0), atol=1e-8)
    wanted = spearmanr(shares[0].ravel(), shares[1].ravel()).statistic
    assert found.agreement()[(0, 0), (0, 1)] == pytest.approx(wanted, abs=1e-6)
    assert len(found.agreement()) == 3
    with pytest.raises(InvalidKnob, match="difference needs two finished panels"):
        found.difference((0, 0), (5, 5))


def test_bad_requests_are_named(model, photo):
    with pytest.raises(InvalidKnob, match=r"^methods must be a list"):
        xw.compare(model, photo, "saliency")
    with pytest.raises(InvalidKnob, match=r"^methods must be a list"):
        xw.compare(model, photo, [])
    with pytest.raises(UnknownMethod, match=r"^method must be one of.*'salency'"):
        xw.compare(model, photo, ["salency"])
    with pytest.raises(InvalidKnob, match=r"^methods must be explainers; activation_maximization"):
        xw.compare(model, photo, ["activation_maximization"])
    with pytest.raises(InvalidTarget):
        xw.compare(model, photo, ["saliency"], targets=[])
    with pytest.raises(InvalidLayer):
        xw.compare(model, photo, ["grad_cam"], layers=["nowhere"])
    with pytest.raises(InvalidKnob, match=f"at most {MOST_CELLS} panels; these make 40"):
        xw.compare(model, photo, ["saliency"] * 10, targets=[0, 1, 2, 3])
