"""Several methods side by side: what they share, in which order they run, and what they are compared by."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import xaiwidgets as xw
from xaiwidgets.engine.comparison import MOST_CELLS, method_names, plan, run_plan
from xaiwidgets.errors import InvalidKnob, InvalidLayer, InvalidModel, InvalidTarget, NotApplicable, UnknownMethod

FOUR = ["saliency", "gradient_x_input", "grad_cam", "fullgrad"]


@pytest.fixture(params=[nets.f3, nets.f2], ids=["residual", "plain"])
def model(request):
    return xw.Model(request.param(), size=nets.SIZE)


@pytest.fixture
def residual():
    return xw.Model(nets.f3(), size=nets.SIZE)


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def same(ours, alone):
    np.testing.assert_allclose(ours.values, alone.values, rtol=0, atol=1e-5 * max(np.abs(alone.values).max(), 1e-9))
    assert ours.score == pytest.approx(alone.score, rel=1e-5)


# -- what is shared -------------------------------------------------------------------------------------------------


def test_gradients_of_one_photo_cost_one_pass_there_and_back(model, photo):
    layers = [stage.name for stage in model.stages]
    found = xw.compare(model, photo, FOUR, targets=[1], layers=layers)
    assert found.passes == (1, 1)
    for row, layer in enumerate(layers):
        for column, name in enumerate(FOUR):
            alone = xw.explain(model, photo, name, target=1, **({"layer": layer} if name == "grad_cam" else {}))
            assert alone.provenance.passes == (1, 1)
            same(found[row, column], alone)


def test_what_is_shared_on_a_real_network():
    """At the last stage the folded copy rounds as the network does; before it, only the network itself does."""
    model = xw.load_model()
    first = model.stages[4].name
    found = xw.compare(model, "coffee", FOUR, layers=[first, ""])
    assert found.passes == (1, 1)
    for column, name in enumerate(FOUR):
        same(found[1, column], xw.explain(model, "coffee", name))
    same(found[0, 2], xw.explain(model.exactly(), "coffee", "grad_cam", layer=first))


def test_each_class_has_a_pass_of_its_own_however_many_there_are(residual, photo):
    found = xw.compare(residual, photo, FOUR, targets=[0, 1, 2, 3, 4])
    assert found.passes == (5, 5)
    for row in range(5):
        same(found[row, 1], xw.explain(residual, photo, "gradient_x_input", target=row))


def test_only_the_photo_itself_is_shared(residual, photo):
    """What a method makes of the photo is explained as without a comparison, on the fast copy."""
    residual.remember(("batch size", True), lambda: 1)
    methods = ["saliency", ("integrated_gradients", {"points": 4})]
    found = xw.compare(residual, photo, methods, targets=[1])
    alone = xw.explain(residual, photo, "integrated_gradients", target=1, points=4)
    np.testing.assert_array_equal(found[0, 1].values, alone.values)
    assert found[0, 1].provenance.passes == alone.provenance.passes


def test_single_explanations_are_as_before(residual, photo):
    before = xw.explain(residual, photo, "grad_cam", target=1)
    xw.compare(residual, photo, FOUR, targets=[1])
    after = xw.explain(residual, photo, "grad_cam", target=1)
    np.testing.assert_array_equal(before.values, after.values)
    assert residual.captures is None
    assert after.provenance.passes == (1, 1)


def test_other_methods_share_nothing_and_are_as_alone(residual, photo):
    rise = ("rise", {"samples": 20})
    found = xw.compare(residual, photo, ["saliency", rise, ("rise", {"samples": 30})], targets=[0])
    assert found.passes == (1 + 21 + 31, 1)
    alone = xw.explain(residual, photo, "rise", target=0, samples=20)
    np.testing.assert_allclose(found[0, 1].values, alone.values, rtol=1e-5)


def test_a_method_without_layers_is_run_once_for_all_of_them(residual, photo):
    layers = [stage.name for stage in residual.stages]
    found = xw.compare(residual, photo, [("occlusion", {"window_height": 8, "window_width": 8})], layers=layers)
    alone = xw.explain(residual, photo, "occlusion", window_height=8, window_width=8)
    assert found.passes == alone.provenance.passes
    assert len(found.results) == len(layers)
    assert len({id(one) for one in found.results.values()}) == 1
    assert len(found.distinct) == 1


# -- order and errors -----------------------------------------------------------------------------------------------


def test_panels_take_turns_and_the_cheap_ones_begin(residual, photo):
    residual.remember(("batch size", False), lambda: 4)
    image = residual.input(photo)
    asked = plan(residual, image, [("rise", {"samples": 16}), "saliency", ("rise", {"samples": 12})], [0])
    order = [place[1] for place, _ in run_plan(residual, image, asked)]
    assert order[0] == 1
    assert order[1:] == [2, 0, 2, 0, 2, 0, 0]


def smooth():
    """A network that guided backpropagation does not apply to."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )


def test_an_error_stays_in_its_own_panel(photo):
    found = xw.compare(xw.Model(smooth(), size=24), photo, ["guided_backprop", "saliency"], targets=[1])
    assert isinstance(found[0, 0], NotApplicable)
    assert found[0, 1].progress == 1
    assert set(found.maps) == {(0, 1)}
    with pytest.raises(InvalidKnob, match="at least two panels with a map; there are 1"):
        found.disagreement()


def test_a_map_that_is_not_finite_is_an_error_of_its_panel(residual, photo, monkeypatch):
    cls = xw.GradientXInput
    plain = cls.raw
    monkeypatch.setattr(cls, "raw", lambda self, *a: type(r := plain(self, *a))(r.values * float("nan"), r.scores))
    found = xw.compare(residual, photo, FOUR[:3], targets=[1])
    assert isinstance(found[0, 1], InvalidModel)
    assert set(found.maps) == {(0, 0), (0, 2)}


def test_closing_stops_all_panels(residual, photo):
    image = residual.input(photo)
    running = run_plan(residual, image, plan(residual, image, ["rise", "occlusion"], [0]))
    next(running)
    running.close()
    with pytest.raises(StopIteration):
        next(running)


# -- where things stand ---------------------------------------------------------------------------------------------


def test_any_two_of_methods_classes_and_layers_share_the_rows(residual, photo):
    image, layers = residual.input(photo), [stage.name for stage in residual.stages][:2]
    one, other = (residual.labels.short(n) for n in (1, 3))
    methods = plan(residual, image, ["saliency", "grad_cam"], [1, 3], layers)
    assert methods.columns == ["Saliency", "Grad-CAM"]
    assert methods.rows == [f"{label} at {layer}" for label in (one, other) for layer in layers]
    classes = plan(residual, image, ["saliency", "grad_cam"], [1, 3], layers, "classes")
    assert classes.columns == [one, other]
    assert classes.rows == [f"{m} at {layer}" for m in ("Saliency", "Grad-CAM") for layer in layers]
    deep = plan(residual, image, ["saliency", "grad_cam"], [1, 3], layers, "layers")
    assert deep.columns == layers
    assert deep.rows == [f"{m} for {label}" for m in ("Saliency", "Grad-CAM") for label in (one, other)]
    for found in (methods, classes, deep):
        assert sorted(found.cells.values()) == [(m, t, k) for m in range(2) for t in range(2) for k in range(2)]
        assert max(found.cells) == (len(found.rows) - 1, len(found.columns) - 1)
        for place, (method, target) in found.asked.items():
            cell = found.cells[place]
            assert target.classes == ((1,), (3,))[cell.target]
            assert getattr(method, "layer", layers[cell.layer]) == layers[cell.layer]
    assert deep.title((2, 1)) == f"Grad-CAM for {one} at {layers[1]}"
    assert deep.title((0, 1)) == f"Saliency for {one}"
    plain = plan(residual, image, ["saliency"], [1], across="layers")
    assert plain.columns == ["layer of the method's choice"]


def test_names_tell_one_method_with_other_settings_apart():
    small, large = xw.Occlusion(window_height=16, window_width=16), xw.Occlusion(window_height=48, window_width=48)
    names = method_names([small, large, xw.Saliency()])
    assert names[0] == "Occlusion (window height 16, window width 16)"
    assert names[1] == "Occlusion (window height 48, window width 48)"
    assert names[2] == "Saliency"
    assert method_names([xw.Saliency()] * 3) == ("Saliency", "Saliency (2)", "Saliency (3)")
    assert method_names([xw.GradCam(), xw.GradCam(layer="a")]) == ("Grad-CAM (layer default)", "Grad-CAM (layer a)")


# -- numbers --------------------------------------------------------------------------------------------------------


def test_difference_disagreement_and_agreement(residual, photo):
    layers = [stage.name for stage in residual.stages][-2:]
    found = xw.compare(residual, photo, FOUR[:3], targets=[1], layers=layers)
    maps = [found[0, 0], found[0, 1], found[0, 2], found[1, 2]]  # the two others are there twice
    sizes = [np.abs(one.heatmap()).astype(np.float64) for one in maps]
    assert sizes[2].any() != sizes[3].any()  # one of them shows no evidence, and stays 0
    shares = [one / (one.sum() or 1) for one in sizes]
    np.testing.assert_allclose(found.difference((0, 0), (0, 2)), shares[0] - shares[2], atol=1e-8)
    np.testing.assert_allclose(found.difference((1, 0), (1, 2)), shares[0] - shares[3], atol=1e-8)
    np.testing.assert_allclose(found.disagreement(), np.std(shares, axis=0), atol=1e-8)
    wanted = spearmanr(shares[0].ravel(), shares[1].ravel()).statistic
    assert found.agreement()[(0, 0), (0, 1)] == pytest.approx(wanted, abs=1e-6)
    assert found.correlation((1, 0), (0, 1)) == pytest.approx(wanted, abs=1e-6)
    assert len(found.agreement()) == 6
    assert sum(np.isnan(one) for one in found.agreement().values()) == 3
    with pytest.raises(InvalidKnob, match="difference needs two panels with a map"):
        found.difference((0, 0), (5, 5))


def test_bad_requests_are_named(residual, photo):
    with pytest.raises(InvalidKnob, match=r"^methods must be a list"):
        xw.compare(residual, photo, "saliency")
    with pytest.raises(InvalidKnob, match=r"^methods must be a list"):
        xw.compare(residual, photo, [])
    with pytest.raises(UnknownMethod, match=r"^method must be one of.*'salency'"):
        xw.compare(residual, photo, ["salency"])
    with pytest.raises(InvalidKnob, match=r"^methods must be explainers; activation_maximization"):
        xw.compare(residual, photo, ["activation_maximization"])
    with pytest.raises(InvalidTarget):
        xw.compare(residual, photo, ["saliency"], targets=[])
    with pytest.raises(InvalidLayer):
        xw.compare(residual, photo, ["grad_cam"], layers=["nowhere"])
    with pytest.raises(InvalidKnob, match=r"^layers must be a list of names, such as \['conv1'\]"):
        xw.compare(residual, photo, ["grad_cam"], layers="conv1")
    with pytest.raises(InvalidKnob, match=r"^across must be one of methods, classes, layers; got 'rows'"):
        xw.compare(residual, photo, ["grad_cam"], across="rows")
    with pytest.raises(InvalidModel, match=r"^model must be a Model"):
        xw.compare(residual.module, photo, ["grad_cam"])
    with pytest.raises(InvalidKnob, match=f"at most {MOST_CELLS} panels; 10 methods for 4 classes make 40"):
        xw.compare(residual, photo, ["saliency"] * 10, targets=[0, 1, 2, 3])
