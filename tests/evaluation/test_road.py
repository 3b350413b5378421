"""ROAD: what the imputation gives back exactly, the published imputer, and shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADLeastRelevantFirst, ROADMostRelevantFirst
from scenes import fixed

import xaiwidgets as xw
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.imputing import imputed, system
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.evaluation.road import removed


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


# -- imputation -------------------------------------------------------------------------------------------------------


def test_a_ramp_with_its_border_is_given_back_exactly():
    ramp = np.add.outer(np.arange(20.0), 3 * np.arange(25.0))[None]
    missing = np.zeros((20, 25), bool)
    missing[1:-1, 1:-1] = np.random.default_rng(0).random((18, 23)) < 0.9
    assert np.abs(imputed(ramp, missing) - ramp).max() < 1e-10


def test_nothing_removed_is_the_picture():
    image = np.random.default_rng(0).random((3, 9, 9))
    assert np.array_equal(imputed(image, np.zeros((9, 9), bool)), image)


def test_one_pixel_that_is_left_colors_everything():
    image = np.random.default_rng(0).random((3, 9, 12))
    missing = np.ones((9, 12), bool)
    missing[4, 7] = False
    assert np.abs(imputed(image, missing) - image[:, 4, 7][:, None, None]).max() < 1e-10


def test_the_equations_are_symmetric_and_known_pixels_stay():
    image = np.random.default_rng(0).random((3, 16, 16))
    missing = np.random.default_rng(1).random((16, 16)) < 0.7
    matrix, _ = system(image, missing)
    assert abs(matrix - matrix.T).max() == 0
    assert np.linalg.eigvalsh(matrix.toarray()).min() > 0
    assert np.array_equal(imputed(image, missing)[:, ~missing], image[:, ~missing])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its use of NumPy
def test_the_same_as_the_published_imputer():
    image = np.random.default_rng(0).normal(size=(3, 24, 30)).astype(np.float32)
    missing = np.random.default_rng(1).random((24, 30)) < 0.6
    wanted = NoisyLinearImputer(noise=0)(torch.from_numpy(image), torch.from_numpy((~missing).astype(np.float32)))
    assert np.abs(imputed(image, missing) - wanted.numpy()).max() < 1e-5


# -- one picture ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its use of NumPy
def test_the_same_changes_as_pytorch_grad_cam(model, monkeypatch):
    """Its percentile p keeps pixels below the p-th, so that 90 removes a tenth; noise is off on both sides."""
    picture = shapes("test").scene(1)
    values = np.random.default_rng(0).random((48, 48)).astype(np.float32)
    made = xw.evaluate(model, picture, fixed(values), "road", noise=0)
    image = model.from_pixels(picture.pixels).contiguous()
    answer = model.target(picture.label).classes[0]
    monkeypatch.setattr(NoisyLinearImputer.__init__, "__defaults__", (0.0, NoisyLinearImputer.__init__.__defaults__[1]))
    target = [lambda output: output.softmax(-1)[answer]]
    for level, most, least in zip(*(made.details[name] for name in ("levels", "morf", "lerf")), strict=True):
        for metric, ours in ((ROADMostRelevantFirst(100 - level), most), (ROADLeastRelevantFirst(100 - level), least)):
            theirs = float(metric(image, values[None], target, model.module, return_diff=False)[0])
            assert ours == pytest.approx(theirs, abs=0.02), (level, metric)


def test_removed_shares_are_of_the_ranking():
    rank = np.arange(200, dtype=np.int32).reshape(10, 20)
    assert np.flatnonzero(removed(rank, 10, least=False)).tolist() == list(range(20))
    assert np.flatnonzero(removed(rank, 10, least=True)).tolist() == list(range(180, 200))


def test_the_true_mask_counts_and_its_complement_counts_against(model):
    picture = shapes("test").scene(1)
    good, bad = (
        xw.evaluate(model, picture, fixed(np.random.default_rng(0).random((48, 48)) + m), "road").value
        for m in (picture.mask, ~picture.mask)
    )
    assert good > 0.1 > bad


def test_one_picture_is_streamed_by_level(model):
    scores = [s for s in xw.evaluate_steps(model, shapes("test").scene(1), "grad_cam", "road") if s is not None]
    assert [score.progress for score in scores] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert scores[-1].details["levels"].tolist() == [10, 30, 50, 70, 90]
    assert scores[-1].pictures


def test_the_score_is_half_the_difference_of_what_its_curves_show(model):
    scene = shapes("test").scene(0)
    one = xw.evaluate(model, scene, "integrated_gradients", "road")
    assert one.value == pytest.approx((one.details["lerf"].mean() - one.details["morf"].mean()) / 2)
    assert abs(one.value) > 0.05
    curves = {curve.name: curve.y.mean() for curve in one.curves}
    for name in ("random", "edges"):
        wanted = (curves[f"{name}, least first"] - curves[f"{name}, most first"]) / 2
        assert one.controls[name] == pytest.approx(wanted)
    many = xw.evaluate(model, scene, "saliency", "road", data=shapes("test").scenes()[:4], levels="few")
    assert many.value == pytest.approx((many.details["lerf"].mean() - many.details["morf"].mean()) / 2)
    assert many.value == pytest.approx(np.mean(many.items))


def test_the_accuracy_on_whole_pictures_is_that_of_all_of_them(model):
    scenes = shapes("test").scenes()[:4]
    names = [model.labels.short(number) for number in range(4)]
    first = [scenes[0], *(Scene(s.pixels, names[(names.index(s.label) + 1) % 4]) for s in scenes[1:])]
    for data, whole in ((scenes, 1.0), (first, 0.25)):
        score = xw.evaluate(model, scenes[0], fixed(np.eye(48)), "road", data=data, levels="few")
        assert score.details["whole"] == whole
        assert score.details["pictures"] == 4


def test_noise_is_added_to_what_was_removed_and_to_nothing_else(model):
    scene = shapes("test").scene(0)
    case = case_of(model, scene, "saliency")
    rank = np.random.default_rng(0).permutation(48 * 48).reshape(48, 48).astype(np.int32)
    metrics = [xw.Road(noise=noise) for noise in (0.0, 0.5)]
    still, noisy = (metric._without(case, case.image, rank, 50, False)[0].numpy() for metric in metrics)
    missing = removed(rank, 50, least=False)
    assert np.array_equal(noisy[:, ~missing], case.image[0].numpy()[:, ~missing])
    added = (noisy - still)[:, missing]
    assert added.std() == pytest.approx(0.5, rel=0.05)
    assert abs(added.mean()) < 4 * 0.5 / np.sqrt(added.size)


def test_another_architecture_is_judged_by_the_same_code():
    model = xw.load_model()
    found = xw.evaluate(model, "coffee", "grad_cam", "road", levels="few", target="espresso")
    assert found.value > found.controls["random"]
    assert found.unit == "probability, half the difference"


# -- labelled pictures ------------------------------------------------------------------------------------------------


def test_accuracy_falls_without_what_integrated_gradients_rank_highest(model):
    """On 20 shapes at 5, 10 and 30 %; measured: 0.80, 0.50, 0.40, random 1.00, 1.00, 1.00, edges 1.00, 1.00, 0.95."""
    found = xw.evaluate(
        model, shapes("test").scene(0), "integrated_gradients", "road",
        levels="few", most=20, data=shapes("test").scenes(20),
    )  # fmt: skip
    five, ten, thirty = found.details["morf"]
    assert found.details["whole"] >= 0.95
    assert ten < found.details["random"][1] - 0.3
    assert five >= ten >= thirty
    assert found.details["lerf"].min() >= 0.9
    assert len(found.items) == 20
    assert found.interval[0] < found.value < found.interval[1]


def test_removing_the_least_relevant_70_percent_leaves_the_answer(model):
    """Measured on 6 shapes: integrated gradients 1.00."""
    found = xw.evaluate(
        model, shapes("test").scene(0), "integrated_gradients", "road", most=6, data=shapes("test").scenes(6)
    )
    at = found.details["levels"].tolist().index(70)
    assert found.details["lerf"][at] >= 0.9


def test_pictures_without_labels_are_held_against_the_networks_own_answers(model):
    pictures = [(one.pixels * 255).astype(np.uint8) for one in shapes("test").scenes(3)]
    found = xw.evaluate(model, shapes("test").scene(0), "saliency", "road", levels="few", data=pictures)
    assert found.unit.startswith("agreement with itself")
    assert found.details["whole"] == 1
    assert any("fewer than ten" in note for note in found.notes)


def test_bad_input_is_named(model):
    picture = shapes("test").scene(0)
    with pytest.raises(xw.errors.InvalidImage, match="pairs"):
        xw.evaluate(model, picture, "saliency", "road", data=3)
    with pytest.raises(xw.errors.InvalidImage, match="size"):
        xw.evaluate(model, picture, "saliency", "road", data=[Scene(np.zeros((16, 16, 3)), 0)] * 2)
    with pytest.raises(xw.errors.InvalidTarget, match="0 to 3"):
        xw.evaluate(model, picture, "saliency", "road", data=[(picture.pixels, 7)] * 2)
    with pytest.raises(xw.errors.InvalidKnob, match="levels"):
        xw.evaluate(model, picture, "saliency", "road", levels="ten")
