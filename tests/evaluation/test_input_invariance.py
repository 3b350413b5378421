"""Input invariance: two networks that are the same but for a shift, and which methods see that they are."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.shifting import first_layer, shifted
from xaiwidgets.model.model import Model


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def lite0():
    return xw.load_model()


def change(model, image, method, **knobs):
    return xw.evaluate(model, image, method, "input_invariance", **knobs).value


class Padded(nn.Module):
    """First layers of many kinds."""

    def __init__(self, first):
        super().__init__()
        self.first, self.head = first, nn.Linear(5, 4)

    def forward(self, x):
        return self.head(torch.relu(self.first(x)).mean((2, 3)))


FIRST = {
    "padding": lambda: nn.Conv2d(3, 5, 5, padding=2),
    "uneven": lambda: nn.Conv2d(3, 5, (3, 5), padding=(0, 2), stride=(2, 1)),
    "same": lambda: nn.Conv2d(3, 5, 4, padding="same"),
    "valid": lambda: nn.Conv2d(3, 5, 3, padding="valid"),
    "dilated, no bias": lambda: nn.Conv2d(3, 5, 3, padding=2, dilation=2, bias=False),
    "groups": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.Conv2d(6, 5, 1)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("pattern", ["constant", "stripes", "spot"])
@pytest.mark.parametrize("name", FIRST)
def test_both_networks_answer_alike_everywhere(name, pattern):
    torch.manual_seed(0)
    model = Model(Padded(FIRST[name]()), size=20)
    image = torch.randn(1, 3, 20, 20)
    shift = xw.InputInvariance(pattern=pattern, shift=1.5).picture(image)
    other, _ = shifted(model, image, shift)
    torch.testing.assert_close(other.logits(image + shift), model.logits(image), rtol=1e-4, atol=1e-5)
    layer = "first.1" if name == "groups" else "first"
    one, two = model.activations(image, [layer])[layer], other.activations(image + shift, [layer])[layer]
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)  # at the border, too


def test_the_bundled_network_answers_alike(lite0):
    image = lite0.input("coffee")
    other, _ = shifted(lite0, image, torch.full((1, 3, 1, 1), -1.0))
    assert float((other.logits(image - 1) - lite0.logits(image)).abs().max()) < 1e-4 * float(lite0.logits(image).max())
    assert other.preprocessing.mean == pytest.approx((1.0, 1.0, 1.0))
    torch.testing.assert_close(other.input("coffee"), image - 1, rtol=0, atol=1e-5)


def test_a_linear_first_layer():
    torch.manual_seed(0)
    model = Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 8), nn.ReLU(), nn.Linear(8, 3)), size=16)
    picture = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
    assert first_layer(model, model.input(picture)) == "1"
    assert change(model, picture, "saliency") < 1e-5
    assert change(model, picture, "gradient_x_input") > 0.1


def test_a_network_that_reads_the_picture_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 4)

        def forward(self, x):
            return self.head((x + torch.relu(self.conv(x))).mean((2, 3)))

    with pytest.raises(xw.errors.NotApplicable, match="reads the picture elsewhere"):
        change(Model(Twice(), size=16), np.full((16, 16, 3), 0.5), "saliency")

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3), nn.Linear(3, 4)

        def forward(self, x):
            return self.head(torch.relu(self.conv(2 * x)).mean((2, 3)))

    with pytest.raises(xw.errors.NotApplicable, match="no such layer reads it"):
        change(Model(Scaled(), size=16), np.full((16, 16, 3), 0.5), "saliency")


#: Method, and whether its map stays.
METHODS = [
    ("saliency", True),
    ("guided_backprop", True),
    ("deconvnet", True),
    ("grad_cam", True),
    (("smoothgrad", {"samples": 4}), True),
    (("integrated_gradients", {"baseline": "black", "points": 16}), True),
    (("integrated_gradients", {"baseline": "mean", "points": 16}), False),
    ("gradient_x_input", False),
]


@pytest.mark.parametrize(("method", "stays"), METHODS, ids=str)
@pytest.mark.parametrize("name", ["shapes_gap", "digits_vgg"])
def test_who_stays(name, method, stays):
    model = xw.load_model(name)
    size = model.preprocessing.size
    picture = shapes("test", 1).images[0] if name == "shapes_gap" else np.random.default_rng(1).random((*size, 1))
    score = xw.evaluate(model, picture.astype(np.float32), method, "input_invariance")
    assert score.verdict == ("pass" if stays else "fail"), score
    assert score.value < 1e-4 if stays else score.value > 0.3
    assert score.details["answers"] < 1e-4


@pytest.mark.parametrize(("method", "stays"), [METHODS[0], METHODS[3], METHODS[-1]], ids=str)
def test_who_stays_on_the_bundled_network(lite0, method, stays):
    score = xw.evaluate(lite0, "coffee", method, "input_invariance")
    assert score.verdict == ("pass" if stays else "fail"), score


def test_a_picture_that_is_added_shows_up_in_what_reads_the_input(model):
    scene = shapes("test", 1).scene(0)
    found = xw.evaluate(model, scene, "gradient_x_input", "input_invariance", pattern="stripes", shift=2)
    assert found.verdict == "fail"
    assert set(found.maps) == {"map", "of the shifted network", "shift"}
    assert xw.evaluate(model, scene, "saliency", "input_invariance", pattern="stripes", shift=2).verdict == "pass"


@pytest.mark.parametrize("make", [nets.f3, nets.in_place_input], ids=lambda f: f.__name__)
def test_odd_networks(make):
    model = Model(make(), size=nets.SIZE)
    picture = np.random.default_rng(0).random((nets.SIZE, nets.SIZE, 3)).astype(np.float32)
    try:
        assert change(model, picture, "saliency") < 1e-4
    except xw.errors.NotApplicable as error:
        assert "first layer" in str(error)


def test_no_shift_is_no_change(model):
    assert change(model, shapes("test", 1).scene(0), "gradient_x_input", shift=0.0) < 1e-5


#: Methods that depend on more than the network's function, and whether their maps stay. Score-CAM masks with zeros, and
#: LRP by its epsilon rule reads the input; the box of the others' first rule, which is that of the photos, is shifted.
FURTHER = [
    ("grad_cam_pp", True),
    ("guided_grad_cam", True),
    ("deep_taylor", True),
    ("lrp", True),
    (("lrp", {"composite": "epsilon"}), False),
    (("smoothgrad", {"base": "gradient_x_input", "samples": 4}), False),
    ("score_cam", False),
    (("patternnet", {"estimator": "linear", "views": 8}), True),
    (("pattern_attribution", {"estimator": "linear", "views": 8}), True),
]


@pytest.mark.parametrize(("method", "stays"), FURTHER, ids=str)
def test_who_stays_of_those_that_read_more(model, method, stays):
    score = xw.evaluate(model, shapes("test", 1).scene(0), method, "input_invariance")
    assert score.verdict == ("pass" if stays else "fail"), score


def test_patterns_of_two_components_move_with_the_input(model):
    """The paper has both pattern methods pass. With all samples, patterns are covariances, and they do.

    The estimator for ReLUs, E₊[xy] - E₊[x]E[y], does not: shifting x by m adds m(E₊[y] - E[y]) to it.
    """
    knobs = {"estimator": "relu", "views": 8}
    assert xw.evaluate(model, shapes("test", 1).scene(0), ("patternnet", knobs), "input_invariance").verdict == "fail"


@pytest.mark.parametrize("padding", [0, 2])
def test_quantus_agrees_where_nothing_is_padded_and_answers_otherwise_where_something_is(padding):
    """It takes one of the values that the shift has at the output, of which the border has others."""
    from quantus.helpers.model.pytorch_model import PyTorchModel

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 5, padding=padding), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    net = nn.Sequential(*net, nn.Linear(20, 4)).eval()
    model, image = Model(net, size=20), torch.randn(1, 3, 20, 20)
    theirs = PyTorchModel(net, channel_first=True).add_mean_shift_to_first_layer(-1, (1, 3, 20, 20))
    ours, _ = shifted(model, image, torch.full((1, 3, 1, 1), -1.0))
    with torch.no_grad():
        wanted, peer = net(image), theirs(image - 1)
    torch.testing.assert_close(ours.logits(image - 1), wanted, rtol=1e-4, atol=1e-5)
    difference = float((peer - wanted).abs().max())
    assert difference < 1e-4 if padding == 0 else difference > 1e-2
