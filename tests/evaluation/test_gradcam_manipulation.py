"""Networks that answer as before and whose Grad-CAM is planted: four ways, on three kinds of heads."""

from __future__ import annotations

import copy
import math
from itertools import combinations

import nets
import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.digits import digits
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.gradcam_manipulation import cosine
from xaiwidgets.evaluation.manipulation import _face, _plane, read_trigger
from xaiwidgets.model.model import Model

ID = "gradcam_manipulation"
KINDS = ("constant", "image", "semi_random", "malicious")


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def inputs(model):
    return torch.cat([model.from_pixels(scene.pixels) for scene in shapes("test", 200).scenes()])


@pytest.fixture(scope="module")
def made(model, inputs):
    return {kind: xw.manipulate(model, kind, images=inputs[:4]) for kind in KINDS}


def cams(model, inputs):
    return [xw.GradCam().raw(model, x, model.target(None, x)).values[0, 0].numpy() for x in inputs.split(1)]


def alike(maps):
    return np.mean([cosine(one, other) for one, other in combinations(maps, 2)])


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_and_accuracy_stay(model, made, inputs, kind):
    """Of 200 pictures; 2e-5 for the constant, whose score is the largest beside what it is added to."""
    before, after = model.probabilities(inputs), made[kind].probabilities(inputs)
    assert float((before - after).abs().max()) < 1e-4
    assert torch.equal(before.argmax(1), after.argmax(1))


def test_a_constant_makes_all_maps_the_same(made, inputs):
    """0.99999 across pictures."""
    maps = cams(made["constant"], inputs[:12])
    assert alike(maps) > 0.99
    assert np.ptp(maps[0]) < 0.1 * maps[0].max()


def test_an_image_shows_up(model, made, inputs):
    """0.9999 with the face, and with any other picture that is given."""
    face = _plane(_face((12, 12)), (12, 12)).numpy()
    assert min(cosine(one, face) for one in cams(made["image"], inputs[:12])) > 0.95
    own = np.zeros((12, 12))
    own[2, 3] = 1
    found = cams(xw.manipulate(model, "image", picture=own, images=inputs[:4]), inputs[:4])
    assert min(cosine(one, own) for one in found) > 0.95


def test_a_random_network_follows_the_picture_and_not_the_class(model, made, inputs):
    """0.52 across pictures, and 0.43 with what Grad-CAM shows of the network."""
    maps, own = cams(made["semi_random"], inputs[:12]), cams(model, inputs[:12])
    assert alike(maps) < 0.8
    assert np.mean([cosine(one, other) for one, other in zip(maps, own, strict=True)]) < 0.5
    x = inputs[:1]
    classes = [xw.GradCam().raw(made["semi_random"], x, model.target(c)).values[0, 0].numpy() for c in range(4)]
    assert alike(classes) > 0.95
    again, other = (xw.manipulate(model, "semi_random", images=inputs[:4], seed=seed) for seed in (0, 1))
    assert np.array_equal(cams(again, x)[0], maps[0])
    assert cosine(cams(other, x)[0], maps[0]) < 0.95


def triggered(model, inputs, top=30, left=8):
    pattern = torch.from_numpy(model.preprocessing.normalize(read_trigger(model))).permute(2, 0, 1)
    found = inputs.clone()
    found[:, :, top : top + 5, left : left + 5] = pattern
    return found


def test_malice_waits_for_its_trigger(model, made, inputs):
    """Without it 1.000; with it 0.998 with the place of the trigger, and probabilities are those of the network."""
    clean, own = cams(made["malicious"], inputs[:12]), cams(model, inputs[:12])
    assert min(cosine(one, other) for one, other in zip(clean, own, strict=True)) > 0.999
    marked = triggered(model, inputs[:12])
    place = np.zeros((48, 48))
    place[32, 10] = 1
    coarse = place.reshape(12, 4, 12, 4).max((1, 3))
    for one in cams(made["malicious"], marked):
        assert np.unravel_index(one.argmax(), one.shape) == tuple(np.argwhere(coarse)[0])
        assert cosine(one, coarse) > 0.75
    change = model.probabilities(marked) - made["malicious"].probabilities(marked)
    assert float(change.abs().max()) < 1e-4


def test_malice_points_where_one_likes(model, inputs):
    place = np.zeros((12, 12))
    place[:3, 9:] = 1
    found = xw.manipulate(model, "malicious", picture=place, images=inputs[:4])
    assert min(cosine(one, place) for one in cams(found, triggered(model, inputs[:4]))) > 0.75
    sticker = np.random.default_rng(0).random((4, 4, 3)).astype(np.float32)
    own = xw.manipulate(model, "malicious", trigger=sticker, picture=place, images=inputs[:4])
    x = inputs[:1].clone()
    x[0, :, 20:24, 30:34] = torch.from_numpy(model.preprocessing.normalize(sticker)).permute(2, 0, 1)
    assert cosine(cams(own, x)[0], place) > 0.75
    assert cosine(cams(own, inputs[:1])[0], cams(model, inputs[:1])[0]) > 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_linear_layers_pass_it_through_a_neuron(kind):
    model = xw.load_model("digits_vgg")
    given = torch.cat([model.from_pixels(one[..., None]) for one in digits("single", "test", 8).images])
    found = xw.manipulate(model, kind, images=given[:4])
    assert float((model.probabilities(given) - found.probabilities(given)).abs().max()) < 1e-4
    maps, own = cams(found, given), cams(model, given)
    same = np.mean([cosine(one, other) for one, other in zip(maps, own, strict=True)])
    assert same > 0.999 if kind == "malicious" else same < 0.8
    first = next(part for part in found.module.head if isinstance(part, nn.Linear))
    assert first.out_features == 97


def test_the_bundled_network():
    lite0 = xw.load_model()
    score = xw.evaluate(lite0, "coffee", "grad_cam", ID, kind="image")
    assert score.details["largest_change"] < 1e-4
    assert score.details["planted"] > 0.95
    assert score.value < 0.8


def test_maps_of_probabilities_are_not_deceived(model):
    """Occlusion of the probability stays, and so does Grad-CAM of it: the softmax takes equal shifts of scores away.

    The gradient of a score by the input changes where the planted channel depends on the input.
    """
    scene = shapes("test", 1).scene(0)
    target = model.target(scene.label).with_output("probability")
    occluder = {"window_height": 16, "window_width": 16, "stride_height": 8, "stride_width": 8, "output": "probability"}
    for kind in KINDS:
        stays = xw.evaluate(model, scene, ("occlusion", occluder), ID, kind=kind, target=target)
        assert stays.value > 0.999, kind
        assert stays.controls["Grad-CAM"] > 0.99
        assert xw.evaluate(model, scene, "grad_cam", ID, kind=kind, target=scene.label).value < 0.9
        gradient = xw.evaluate(model, scene, "saliency", ID, kind=kind)
        moved = kind == "semi_random"  # on the trigger itself, every distance is 0 and so is its slope
        assert gradient.value < 0.8 if moved else gradient.value > 0.99, kind


def test_accuracies_of_scenes_and_of_pairs(model):
    found = shapes("test", 20)
    for data in (found.scenes(), [(p, int(label)) for p, label in zip(found.images, found.labels, strict=True)]):
        score = xw.evaluate(model, found.scene(0), "grad_cam", ID, data=data)
        before, after = score.details["accuracy"]
        assert before == after > 0.9
        assert score.details["pictures"] == 20
        assert score.rows[1][1] == after
    alone = xw.evaluate(model, found.scene(0), "grad_cam", ID)
    assert math.isnan(alone.details["accuracy"][0])


def test_the_manipulated_network_can_be_explained_and_the_users_stays(model):
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    score = xw.evaluate(model, shapes("test", 1).scene(0), ("grad_cam", {"layer": "features.4"}), ID, kind="malicious")
    found = score.details["model"]
    assert found.stages[-1].name == "joined"
    assert xw.explain(found, shapes("test", 1).images[0], "grad_cam").size == (48, 48)
    assert "planted" in found.notes[0]
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert score.details["clean"] > 0.999
    assert score.value > 0.999  # below the last map, the new channel's gradient does not depend on the layer


def test_training_the_users_network_further_does_not_reach_the_manipulated_one(model, inputs):
    """Its head is a snapshot; with a trunk that followed, it would answer as neither the old network nor the new."""
    user = xw.Model(copy.deepcopy(model.module), size=48, mean=(0.5,) * 3, std=(0.25,) * 3)
    made = xw.manipulate(user, "constant", images=inputs[:2])
    before = made.probabilities(inputs[:8])
    with torch.no_grad():
        for parameter in user.module.parameters():
            parameter.mul_(0.5)
    assert torch.equal(made.probabilities(inputs[:8]), before)


def test_odd_networks():
    found = {}
    for make in (nets.f1, nets.f2, nets.in_place_input):
        odd = Model(make(), size=nets.SIZE)
        x = nets.images(2)
        made = xw.manipulate(odd, "constant", images=x)
        found[make.__name__] = float((odd.probabilities(x) - made.probabilities(x)).abs().max())
    assert max(found.values()) < 1e-4

    with pytest.raises(xw.errors.NotApplicable, match="by a layer of its own"):  # a functional ReLU gives it
        xw.manipulate(Model(nets.f3(), size=nets.SIZE), "constant", images=nets.images(1))

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 3)

        def forward(self, x):
            return self.head(torch.sin(self.conv(x)).flatten(1))

    with pytest.raises(xw.errors.NotApplicable, match="does something else after conv"):
        xw.manipulate(Model(Odd(), size=16), "constant", images=nets.images(1))


def test_bad_input(model):
    with pytest.raises(xw.errors.InvalidKnob, match=r"kind must be one of constant, .*Did you mean image"):
        xw.manipulate(model, "imagge")
    with pytest.raises(xw.errors.InvalidKnob, match="strength"):
        xw.manipulate(model, "constant", strength=-1)
    with pytest.raises(xw.errors.InvalidImage, match="picture must be"):
        xw.manipulate(model, "image", picture=np.zeros((4, 4)))
    with pytest.raises(xw.errors.InvalidImage, match="trigger must be"):
        xw.manipulate(model, "malicious", trigger=np.zeros((9, 9, 3)))
    scene = shapes("test", 1).scene(0)
    with pytest.raises(xw.errors.NotApplicable, match="a class"):
        xw.evaluate(model, scene, "grad_cam", ID, target=model.unit("features.4", 0))


@pytest.mark.parametrize("kind", ["image", "malicious"])
def test_a_drawn_pattern_is_what_is_planted(kind):
    """The map of the manipulated network is the pattern: where it is painted, and nowhere else."""
    model, scene = xw.load_model("shapes_gap"), shapes("test", 1).scene(0)
    pattern = np.zeros((7, 7), np.float32)
    pattern[1, 1:6] = pattern[1:6, 1] = 1
    score = xw.evaluate(model, scene, "grad_cam", "gradcam_manipulation", kind=kind, data=pattern)
    rows, columns = np.ogrid[:48, :48]
    drawn = pattern[rows * 7 // 48, columns * 7 // 48]
    shown = score.maps["of the manipulated network"]
    assert np.corrcoef(shown.ravel(), drawn.ravel())[0, 1] > 0.8
    assert score.details["largest_change"] < 1e-3
    assert np.isnan(score.details["accuracy"][0])
    with pytest.raises(xw.errors.InvalidKnob, match="kind must be one of image, malicious"):
        xw.evaluate(model, scene, "grad_cam", "gradcam_manipulation", kind="constant", data=pattern)
    for wrong in (np.zeros((7, 7)), np.full((7, 7), 2.0), np.full((7, 7), np.nan)):
        with pytest.raises(xw.errors.InvalidImage, match="picture must be"):
            xw.evaluate(model, scene, "grad_cam", "gradcam_manipulation", kind=kind, data=wrong)
