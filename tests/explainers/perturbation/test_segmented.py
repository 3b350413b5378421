"""LIME, KernelSHAP, Shapley values and feature ablation: closed forms, three libraries, and what they say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from captum import attr
from lime.lime_base import LimeBase

import xaiwidgets as xw
from xaiwidgets import Ablation, KernelShap, Lime, ShapleyExact
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.engine.segments import segments
from xaiwidgets.errors import InvalidKnob

ALL = (Lime, KernelShap, ShapleyExact, Ablation)
LOGIT = {"output": "logit"}


def shares(model, image, weights, labels, cover):
    """What each segment of a linear network adds: Σ w (x − x₀) over its pixels."""
    parts = (weights * (image - cover)[0]).sum(dim=0)
    return torch.zeros(labels.max() + 1, dtype=parts.dtype).index_add_(0, torch.tensor(labels.ravel()), parts.ravel())


@pytest.mark.parametrize("fill", ["gray", "segment_mean"])
@pytest.mark.parametrize(
    "method",
    [
        lambda **k: Lime(alpha=0.0, samples=300, segmenter="grid", segments=12, **k),
        lambda **k: KernelShap(samples=60, segments=12, **k),
        lambda **k: ShapleyExact(segments=6, **k),
        lambda **k: Ablation(segmenter="grid", segments=12, **k),
    ],
    ids=["lime", "kernel_shap", "shapley_exact", "ablation"],
)
def test_on_a_linear_network_a_segments_value_is_what_its_pixels_add(method, fill, linear, wrap, picture, run):
    module, weights = linear(12, 14)
    model = wrap(module)
    image = picture(model)
    made = method(fill=fill, **LOGIT)
    result = run(made, model, image, 3)
    labels = result.details["segments"]
    cover = baseline(model, image, "gray")
    if fill == "segment_mean":
        cover = image.clone()
        for number in range(labels.max() + 1):
            place = torch.tensor(labels == number)
            cover[0][:, place] = image[0][:, place].mean(dim=1, keepdim=True)
    wanted = shares(model, image, weights[3], labels, cover).numpy()
    np.testing.assert_allclose(result.details["weights"], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result.values[0], result.details["weights"].astype(np.float32)[labels])
    assert (result.unit, result.signed) == ("logit", True)
    if "fidelity" in result.details:
        assert result.details["fidelity"] == pytest.approx(1)


@pytest.fixture
def small(net, wrap, picture):
    """A network in float64 with functional ReLUs, an input, and a grid of 6 segments."""
    model = wrap(net("functional"))
    image = picture(model)
    return model, image, segments(model.to_pixels(image), "grid", 6)


def test_exact_values_equal_captums_and_all_of_kernel_shaps(small, run):
    model, image, labels = small
    found = run(ShapleyExact(segments=6, fill="gray"), model, image, 2)
    np.testing.assert_array_equal(found.details["segments"], labels)
    cover, mask = baseline(model, image, "gray"), torch.tensor(labels)[None, None]
    theirs = attr.ShapleyValues(model.module).attribute(image, cover, target=2, feature_mask=mask)
    wanted = [float(theirs[0, 0][torch.tensor(labels == number)][0]) for number in range(labels.max() + 1)]
    np.testing.assert_allclose(found.details["weights"], wanted, rtol=1e-4)  # captum adds up in single precision
    sampled = run(KernelShap(samples=20_000, segments=6, fill="gray", **LOGIT), model, image, 2)
    np.testing.assert_allclose(sampled.details["weights"], found.details["weights"], rtol=1e-6)
    assert sampled.provenance.passes == found.provenance.passes == (2 ** (labels.max() + 1), 0)


def test_kernel_shap_equals_shap(small, run):
    model, image, labels = small
    cover, players = baseline(model, image, "gray"), labels.max() + 1

    def score(rows):
        shown = torch.tensor(rows)[:, torch.tensor(labels.ravel())].reshape(-1, 1, *labels.shape)
        return model.module(cover + (image - cover) * shown).softmax(1)[:, 1].detach().numpy()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        explainer = shap.KernelExplainer(score, np.zeros((1, players)))
        theirs = explainer.shap_values(np.ones((1, players)), nsamples=2**players, l1_reg=False, silent=True)[0]
    found = run(KernelShap(samples=20_000, segments=6, fill="gray"), model, image, 1)
    np.testing.assert_allclose(found.details["weights"], theirs, rtol=1e-5, atol=1e-8)


def test_values_sum_to_what_the_photo_adds_at_every_step(small):
    model, image, _ = small
    model.remember(("batch size", False), lambda: 4)
    for method in (KernelShap(samples=60, segments=30), ShapleyExact(segments=6)):
        results = list(method.steps(model, image, model.target(2)))
        for result in results:
            assert result.details["weights"].sum(dtype=float) == pytest.approx(result.details["explained"], rel=1e-4)
        if isinstance(method, ShapleyExact):
            assert results[0].notes[0].startswith("An estimate: 4 of 64 coalitions")
            assert results[-1].notes == ()
            assert len(results[-1].details["coalitions"]) == 64


def test_a_segment_that_does_not_matter_gets_nothing_and_equal_ones_get_the_same(linear, wrap, run):
    module, weights = linear(8, 8)
    with torch.no_grad():
        module[1].weight.copy_(torch.ones_like(module[1].weight))
        module[1].weight.view_as(weights)[:, :, :4, :4] = 0
    model = wrap(module, (8, 8))
    image = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    gray = {"fill": "gray", "segments": 4, "segmenter": "grid", **LOGIT}
    for method in (KernelShap(**gray), ShapleyExact(**gray), Ablation(**gray)):
        found = run(method, model, image, 0).details["weights"]
        assert found[0] == pytest.approx(0, abs=1e-5)
        np.testing.assert_allclose(found[1:], found[1], rtol=1e-5)


class RightHalf(torch.nn.Module):
    """A network that sees only the right half of a picture."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x[..., x.shape[3] // 2 :])


def test_lime_gives_a_segment_that_does_not_matter_nearly_nothing(net, wrap, picture, run):
    model = wrap(RightHalf(net("inplace")))
    found = run(Lime(samples=600, segmenter="grid", segments=12, fill="gray", alpha=0.0), model, picture(model), 1)
    labels, errors = found.details["segments"], found.details["standard_error"][0]
    left = np.unique(labels[:, : labels.shape[1] // 2])
    assert len(left) == 6
    for number, weight in enumerate(found.details["weights"]):
        error = errors[labels == number][0]
        assert abs(weight) < 3 * error if number in left else abs(weight) > 3 * error


def test_ablation_equals_captum(small, run):
    model, image, labels = small
    cover, mask = baseline(model, image, "gray"), torch.tensor(labels)[None, None]
    theirs = attr.FeatureAblation(model.module).attribute(image, cover, target=2, feature_mask=mask)
    found = run(Ablation(segmenter="grid", segments=6, fill="gray"), model, image, 2)
    np.testing.assert_allclose(found.values[0], theirs[0, 0].numpy(), rtol=1e-5)


def test_lime_equals_its_authors_fit_on_the_same_samples(small, run):
    model, image, _ = small
    method = Lime(samples=60, segmenter="grid", segments=6, fill="gray")
    found = run(method, model, image, 1)
    labels = found.details["segments"]
    shown = method._drawn(labels.max() + 1)
    assert (shown[0] == 1).all()
    masks = torch.tensor(shown[:, labels], dtype=torch.float64)[:, None]
    cover = baseline(model, image, "gray")
    scores = model.module(cover + (image - cover) * masks).softmax(1).detach().numpy()
    distances = 1 - np.sqrt(shown.sum(axis=1) / shown.shape[1])
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=0)
    intercept, pairs, score, _ = base.explain_instance_with_data(
        shown.astype(float), scores, distances, 1, shown.shape[1], feature_selection="none"
    )
    np.testing.assert_allclose(found.details["weights"], [value for _, value in sorted(pairs)], rtol=1e-5)
    assert found.details["intercept"] == pytest.approx(intercept, rel=1e-6)
    assert found.details["fidelity"] == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("how", ["forward_selection", "highest_weights", "lasso_path"])
def test_sparse_lime_equals_its_authors_on_a_network(how, count, small, run):
    model, image, _ = small
    method = Lime(samples=60, segmenter="grid", segments=6, fill="gray", features=count, selection=how)
    found = run(method, model, image, 1)
    labels = found.details["segments"]
    shown = method._drawn(labels.max() + 1)
    cover = baseline(model, image, "gray")
    masks = torch.tensor(shown[:, labels], dtype=torch.float64)[:, None]
    scores = model.module(cover + (image - cover) * masks).softmax(1).detach().numpy()
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=0)
    distances = 1 - np.sqrt(shown.sum(axis=1) / shown.shape[1])
    intercept, pairs, score, _ = base.explain_instance_with_data(
        shown.astype(float), scores, distances, 1, count, feature_selection=how
    )
    wanted = np.zeros(shown.shape[1])
    wanted[[which for which, _ in pairs]] = [value for _, value in pairs]
    assert 0 < np.count_nonzero(wanted) <= count
    np.testing.assert_allclose(found.details["weights"], wanted, rtol=1e-5)
    assert found.details["intercept"] == pytest.approx(intercept, rel=1e-6)
    assert found.details["fidelity"] == pytest.approx(score, rel=1e-5)


def test_lime_says_how_faithful_it_is_and_what_stands_out(small, run, constant):
    model, image, _ = small
    found = run(Lime(samples=200, segments=20, top=2), model, image, 1)
    assert found.notes[0].startswith(f"Fidelity {found.details['fidelity']:.2f}: the linear model explains")
    best = np.argsort(-found.details["weights"])[:2]
    kept = [number for number in best if found.details["weights"][number] > 0]
    np.testing.assert_array_equal(found.details["top"], np.isin(found.details["segments"], kept))
    only = run(Lime(samples=200, segments=20, top=2, show="top"), model, image, 1)
    np.testing.assert_array_equal(only.values[0], np.where(found.details["top"], found.values[0], 0))
    np.testing.assert_array_equal(only.details["weights"], found.details["weights"])
    sparse = run(Lime(samples=200, segments=20, features=3), model, image, 1)
    assert (sparse.details["weights"] != 0).sum() == 3
    nothing = run(Lime(samples=40), constant(model), image, 1)
    assert nothing.notes == ("The score does not change with what is hidden: there is nothing to explain.",)


def test_a_poor_fit_is_pointed_out(small, run):
    model, image, _ = small
    from xaiwidgets.explainers.perturbation.lime import _fidelity

    model.remember(("batch size", False), lambda: 10)
    method = Lime(samples=60, segmenter="grid", segments=20)
    notes = [result.notes[0] for result in method.steps(model, image, model.target(1))]
    assert notes[:3] == ["Too few samples to tell how well the linear model fits."] * 3
    assert all(note.startswith("Fidelity 0.") for note in notes[3:])

    assert _fidelity(0.2).endswith("20% of the scores' variance. That is too little to rely on its coefficients.")
    assert "too little" not in _fidelity(0.3)
    assert run(Lime(samples=30), model, image, 1).details["standard_error"].shape == (1, 12, 14)


@pytest.fixture
def constant():
    """Return a model whose scores are constant."""

    def make(model):
        return model.with_weights(lambda name, value: torch.zeros_like(value) if name.startswith("head") else value)

    return make


def test_standard_errors_fall_with_samples(small, run):
    model, image, _ = small
    for method in (Lime, KernelShap):
        few, many = (run(method(samples=n, segmenter="grid", segments=30), model, image, 1) for n in (80, 2000))
        assert many.details["standard_error"].mean() < 0.6 * few.details["standard_error"].mean()


def test_the_cat_is_found_on_a_real_photo():
    """On the bundled network: the segments that speak for the class lie on the cat's face, which fills the middle."""
    model = xw.load_model()
    for method in (Lime(samples=150), KernelShap(samples=150)):
        found = xw.explain(model, "chelsea", method, target="tiger cat")
        heat = found.heatmap()
        middle = heat[40:190, 40:190].mean()
        assert middle > heat.mean()
        assert found.provenance.passes[0] <= 152


@pytest.mark.parametrize("method", ALL)
def test_bad_input_is_named(method):
    with pytest.raises(InvalidKnob, match=r"^segments must be a whole number from 2"):
        method(segments=1)
    with pytest.raises(InvalidKnob, match=r"^fill must be one of segment_mean, gray"):
        method(fill="pink")
    with pytest.raises(InvalidKnob, match=r"^selection must be one of auto, forward_selection"):
        Lime(selection="ridge")
    with pytest.raises(InvalidKnob, match=r"^segmenter must be one of"):
        method(segmenter="hexagons")


def test_too_many_players_are_refused_with_what_works():
    with pytest.raises(InvalidKnob, match=r"^segments must be a whole number from 2 to 12"):
        ShapleyExact(segments=13)
