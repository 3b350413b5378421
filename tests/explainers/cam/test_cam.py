"""CAM against its definition, a library, and the methods that it is a case of."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional
from torchcam.methods import CAM

import xaiwidgets as xw
from xaiwidgets import Cam, GradCam, HiResCam, Target, XGradCam
from xaiwidgets.errors import InvalidKnob, NotApplicable


def slow(weight, maps, target):
    """Zhou et al. 2016, eq. 2, place by place."""
    channels, rows, columns = maps.shape
    found = np.zeros((1, rows, columns))
    for i in range(rows):
        for j in range(columns):
            found[0, i, j] = sum(float(weight[target, k]) * float(maps[k, i, j]) for k in range(channels))
    return found


def last_map(module, image):
    """Return the map before the head of the small net and of the DenseNet, without any of the package's machinery."""
    with torch.no_grad():
        if hasattr(module, "features"):
            return functional.relu(module.features(image))[0]
        x = functional.max_pool2d(module.one(image).relu(), 2)
        return module.two(x).relu()[0]


@pytest.mark.parametrize("style", ["module", "functional", "inplace", "reused", "method"])
def test_is_the_weighted_sum_of_the_last_map(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    for target in (3, 0):
        result = run(Cam(), model, image, target)
        close(result.values, slow(module.head.weight.detach(), last_map(module, image), target))
        assert (result.unit, result.signed, result.provenance.passes) == ("logit", True, (1, 0))
    assert result.values.min() < 0 < result.values.max(), "no ReLU"


def test_is_the_weighted_sum_where_only_an_operation_gives_the_map(densenet, run, close):
    model = xw.Model(densenet, size=32)
    image = nets.images(1, 32).double()
    result = run(Cam(), model, image, 2)
    assert result.layer == ""
    close(result.values, slow(densenet.classifier.weight.detach(), last_map(densenet, image), 2))


def test_its_mean_and_the_bias_are_the_score(net, wrap, picture, run):
    module = net()
    model = wrap(module)
    image = picture(model)
    result = run(Cam(), model, image, 4)
    assert result.score == pytest.approx(float(module(image)[0, 4].detach()), rel=1e-6)
    assert result.details["bias"] == pytest.approx(float(module.head.bias[4].detach()))
    assert float(result.values.mean(dtype=float)) + result.details["bias"] == pytest.approx(result.score, rel=1e-5)
    assert result.details["accounted"] == pytest.approx(float(result.values.mean(dtype=float)), rel=1e-5)
    assert abs(result.gap) < 1e-6 * abs(result.score)
    assert "Sum" in repr(result)


def test_equals_its_relatives_times_the_places(lite0, net, wrap, picture, run, close):
    """On such a head Grad-CAM, HiResCAM and XGrad-CAM before their ReLU are CAM, divided by the number of places."""
    module = net()
    small = wrap(module)
    for model, image, target in ((small, picture(small), 1), lite0):
        found = run(Cam(), model, image, target).values
        for method in (GradCam(relu=False), HiResCam(relu=False), XGradCam(relu=False)):
            close(run(method, model, image, target).values * found[0].size, found, 1e-5)


def test_equals_torchcam(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    found = run(Cam(), model, image, 2).values
    with CAM(module, "second", "head", input_shape=(3, 12, 14)) as cam:
        theirs = cam(2, module(image), normalized=False)[0]
    close(found, theirs.detach().numpy())


@pytest.mark.parametrize("before", [True, False])
def test_a_pointwise_head_gives_its_own_map_whether_it_is_pooled_before_or_after(before, wrap, picture, run, close):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        trunk, point = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()), nn.Conv2d(6, 5, 1)
    order = (point, nn.AdaptiveAvgPool2d(1)) if before else (nn.AdaptiveAvgPool2d(1), point)
    module = nn.Sequential(trunk, *order, nn.Flatten()).double().eval()
    model = wrap(module)
    image = picture(model)
    result = run(Cam(), model, image, 3)
    with torch.no_grad():
        close(result.values[0], (point(trunk(image))[0, 3] - point.bias[3]))
    assert result.score == pytest.approx(
        float(result.values.mean(dtype=float)) + float(point.bias[3].detach()), rel=1e-5
    )


def test_several_classes_and_differences_are_added_up(net, wrap, picture, run, close):
    model = wrap(net())
    image = picture(model)
    one, two, three = (run(Cam(), model, image, target) for target in (0, 2, 3))
    close(run(Cam(), model, image, [0, 2]).values, one.values + two.values)
    found = run(Cam(), model, image, Target.difference(0, 3))
    close(found.values, one.values - three.values)
    assert found.details["bias"] == pytest.approx(one.details["bias"] - three.details["bias"])
    assert abs(found.gap) < 1e-5
    chance = model.target(0).with_output("probability")
    close(run(Cam(), model, image, chance).values, one.values)


def test_a_hidden_unit_that_is_a_mean_is_explained_by_its_map(net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    result = run(Cam(), model, image, Target.hidden("one", 4))
    close(result.values[0], module.one(image)[0, 4])
    assert (result.unit, result.layer, result.details["bias"]) == ("activation", "one", 0.0)
    for unit in (Target.hidden("one", 4, "max"), Target.hidden("one", 4, (1, 2)), Target.hidden("head", 1)):
        with pytest.raises(NotApplicable, match=r"cam needs a class, or a unit.*These would work: grad_cam"):
            run(Cam(), model, image, unit)


# -- the box ----------------------------------------------------------------------------------------------------------


def box(heat, level):
    """The tight box of the largest connected component, by SciPy."""
    labels, count = ndimage.label(heat >= level)
    sizes = ndimage.sum(labels > 0, labels, range(1, count + 1))
    rows, columns = ndimage.find_objects((labels == 1 + int(np.argmax(sizes))).astype(int))[0]
    return rows.start, columns.start, rows.stop, columns.stop


@pytest.mark.parametrize("threshold", [0.2, 0.6])
def test_the_box_holds_the_largest_part_above_a_share_of_the_maximum(threshold, net, wrap, picture, run):
    model = wrap(net())
    boxes = []
    for seed in range(6):
        result = run(Cam(threshold=threshold), model, picture(model, seed), 0)
        heat = result.heatmap()
        boxes.append(result.details["box"])
        assert boxes[-1] == box(heat, threshold * heat.max())
    assert len(set(boxes)) > 3


def test_a_map_without_positive_values_has_no_box(net, wrap, picture, run):
    module = net()
    with torch.no_grad():
        module.head.weight.copy_(-module.head.weight.abs())
    model = wrap(module)
    assert run(Cam(), model, picture(model)).details["box"] is None


# -- where it does not apply, and what it says ------------------------------------------------------------------------


def test_other_heads_are_refused_with_a_way_out():
    model = xw.Model(nets.f4(), size=nets.SIZE)
    with pytest.raises(NotApplicable) as caught:
        xw.explain(model, np.zeros((20, 20, 3), np.uint8), "cam", target=0)
    message = str(caught.value)
    assert message.startswith("cam needs a head of global average pooling and one linear layer; FlatHead does not")
    assert "grad_cam explains it as it is" in message
    assert "xaiwidgets.with_pooling_head(model, labelled_pictures)" in message
    assert "grad_cam" in caught.value.alternatives
    assert "cam" not in caught.value.alternatives


@pytest.mark.parametrize("end", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1)], ids=lambda m: type(m).__name__)
def test_before_a_softmax_the_scores_before_it_are_explained(end, net, wrap, picture, run, close):
    module = net()
    model, ended = wrap(module), wrap(nn.Sequential(net(), end))
    image = picture(model)
    plain, found = run(Cam(), model, image, 2), run(Cam(), ended, image, 2)
    close(found.values, plain.values, 1e-5)
    assert found.score == pytest.approx(plain.score, rel=1e-5)
    assert "The network ends in a softmax: the scores before it are explained." in found.notes
    assert plain.notes == ()


def test_bad_thresholds_are_named():
    for value in (0.0, 1.5, "low"):
        with pytest.raises(InvalidKnob, match=r"^threshold must be a number from 0\.05 to 0\.95"):
            Cam(threshold=value)


def test_one_kept_pass_serves_all_classes(lite0, run):
    model, image, _ = lite0
    shared = model.sharing()
    spent = []
    for target in (1, 5, 967):
        found = run(Cam(), shared, image, target)
        np.testing.assert_array_equal(found.values, run(Cam(), model, image, target).values)
        spent.append(found.provenance.passes)
    assert spent == [(1, 0), (0, 0), (0, 0)]


def test_on_the_bundled_network_it_finds_the_cup(lite0, run):
    model, image, target = lite0
    result = run(Cam(threshold=0.5), model, image, target)
    top, left, bottom, right = result.details["box"]
    assert 0 <= top < 80 and 20 < left < 110 and 120 < bottom <= 200 and 130 < right < 224
    assert result.layer == model.stages[-1].name
    assert result.score == pytest.approx(float(model.logits(image)[0, target]), rel=1e-5)
