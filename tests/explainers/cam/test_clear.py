"""CLEAR against its definition at both levels, what it is for one class and for others' order, and pairs of digits."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import Cam, Clear, Target
from xaiwidgets.data.digits import digits
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.surgery.recipes import DECONV


def feature_level(module, image, classes):
    """Return the class activation maps of some classes, enlarged, ``(n, H, W)``."""
    with torch.no_grad():
        x = functional.max_pool2d(module.one(image).relu(), 2)
        maps = torch.einsum("ck,nkhw->nchw", module.head.weight[classes], module.two(x).relu())
        return functional.interpolate(maps, image.shape[2:], mode="bilinear", align_corners=False)[0].numpy()


def pixel_level(module, image, classes, *, rectify):
    """Return their way back through transposed convolutions and un-pooling, by hand, summed over the channels."""
    bend = functional.relu if rectify else lambda x: x
    found = []
    with torch.no_grad():
        one = module.one(image).relu()
        pooled, switches = functional.max_pool2d(one, 2, return_indices=True)
        last = module.two(pooled).relu()
        for c in classes:
            kernel = module.head.weight[c][None, :, None, None]
            signal = bend((kernel * last).sum(dim=1, keepdim=True) * kernel)
            signal = functional.conv_transpose2d(signal, module.two.weight, padding=1)
            signal = bend(functional.max_unpool2d(signal, switches, 2, output_size=one.shape[2:]))
            found.append(functional.conv_transpose2d(signal, module.one.weight, padding=1)[0].sum(dim=0))
    return torch.stack(found).numpy()


def check(result, responses, classes, close):
    """Dominant response and class are the maximum and where it is."""
    close(result.values[0], responses.max(axis=0))
    top = np.array(classes)[responses.argmax(axis=0)]
    clear_cut = np.diff(np.sort(responses, axis=0)[-2:], axis=0)[0] > 1e-6 if len(classes) > 1 else np.array(True)
    np.testing.assert_array_equal(result.details["dominant"][clear_cut], top[clear_cut])
    shares = {index: share for index, _, share in result.details["classes"]}
    assert sum(shares.values()) == pytest.approx(1)
    for index in classes:
        assert shares[index] == pytest.approx((result.details["dominant"] == index).mean())


@pytest.mark.parametrize("style", ["module", "functional", "inplace", "method"])
def test_takes_the_largest_class_activation_map_at_each_place(style, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    result = run(Clear(), model, image)
    check(result, feature_level(module, image, range(5)), range(5), close)
    assert (result.unit, result.signed, result.provenance.passes) == ("logit", False, (1, 0))
    assert [row[0] for row in result.details["classes"]] == list(range(5))
    assert "All 5 classes are compared" in result.notes[0]
    for target in range(5):
        assert (result.values[0] >= run(Cam(), model, image, target).heatmap() - 1e-6).all()


@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("style", ["module", "functional", "inplace", "reused"])
def test_sends_the_maps_back_to_the_pixels(style, rectify, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    result = run(Clear(level="pixel", rectify=rectify), model, image)
    check(result, pixel_level(module, image, range(5), rectify=rectify), range(5), close)
    assert result.unit == "logit² per unit of input"
    assert result.provenance.passes == (6, 5)


def test_classes_come_in_the_order_of_their_scores(net, wrap, picture, close):
    module = net()
    model = wrap(module)
    model.remember(("batch size", True), lambda: 2)
    image = picture(model)
    order = module(image)[0].argsort(descending=True).tolist()
    every = pixel_level(module, image, order, rectify=True)
    steps = list(drive(Clear(level="pixel"), model, image, model.target(0)))
    assert [round(step.progress, 6) for step in steps] == [0.4, 0.8, 1.0]
    for count, step in zip((2, 4, 5), steps, strict=True):
        check(step, every[:count], order[:count], close)
    assert [row[0] for row in steps[0].details["classes"]] == order[:2]


def test_where_only_an_operation_gives_the_map(densenet, run):
    model = xw.Model(densenet, size=32)
    image = nets.images(1, 32).double()
    found = run(Clear(level="pixel"), model, image)
    assert found.layer == ""
    head, top = model.gap_head(), int(model.logits(image).argmax())
    maps = model.pooled(image)[0]
    again = model.responses(image, head.weight[[top]], DECONV)
    assert (found.values[0] >= again.input[0].sum(dim=0).numpy() - 1e-6).all()
    assert float(again.score[0]) == pytest.approx(0.5 * float((head.class_maps(maps)[0, top] ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize("level", ["feature", "pixel"])
def test_one_class_dominates_alone_with_its_own_map(level, wrap, picture, run, close):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
        )
    model = wrap(module.double().eval())
    image = picture(model)
    result = run(Clear(level=level), model, image)
    assert set(result.details["dominant"].flat) == {0}
    assert result.details["classes"][0][2] == 1
    if level == "feature":
        close(result.values[0], run(Cam(), model, image).heatmap())


def test_of_a_linear_network_the_way_back_accounts_for_the_map(wrap, picture, run):
    """Without activations and biases, pixels times what arrives at them sum to the sum of the map's squares."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
        )
    model = xw.Model(module.double().eval(), size=(12, 14), mean=(0.5,), std=(0.2,))
    image = picture(model)
    result = run(Clear(level="pixel", rectify=False), model, image)
    squares = float((run(Cam(), model, image).values.astype(float) ** 2).sum())
    assert float((image[0, 0].numpy() * result.values[0]).sum()) == pytest.approx(squares, rel=1e-5)


def test_other_names_of_the_classes_change_nothing_but_the_colors(net, wrap, picture, run):
    module, other = net(), net()
    order = [3, 0, 4, 1, 2]
    with torch.no_grad():
        other.head.weight.copy_(module.head.weight[order])
        other.head.bias.copy_(module.head.bias[order])
    image = picture(wrap(module))
    one, two = (run(Clear(), wrap(m), image) for m in (module, other))
    np.testing.assert_allclose(one.values, two.values, rtol=1e-5)
    np.testing.assert_array_equal(np.array(order)[two.details["dominant"]], one.details["dominant"])


def test_at_most_ten_classes_are_named_by_score(lite0, run):
    model, image, target = lite0
    result = run(Clear(), model, image)
    rows = result.details["classes"]
    scores = model.logits(image)[0]
    assert [row[0] for row in rows] == scores.argsort(descending=True)[:10].tolist()
    assert rows[0][0] == target
    assert rows[0][2] > 0.5
    assert set(np.unique(result.details["dominant"])) <= {row[0] for row in rows}
    assert result.notes[0].startswith("The 10 of 1000 classes that score highest are compared")
    heat = max(run(Cam(), model, image, c).heatmap()[112, 112] for c, *_ in rows)
    assert result.values[0, 112, 112] == pytest.approx(heat, rel=1e-4)
    back = run(Clear(level="pixel"), model, image)
    assert any("no max-pooling" in note for note in back.notes)
    assert back.provenance.passes == (11, 10)


def test_the_class_that_is_asked_for_plays_no_part_and_a_unit_is_refused(net, wrap, picture, run):
    model = wrap(net())
    image = picture(model)
    one, other = (run(Clear(), model, image, target) for target in (0, 4))
    np.testing.assert_array_equal(one.values, other.values)
    assert one.score == other.score
    with pytest.raises(NotApplicable, match=r"clear needs classes; one channel 2 is a hidden unit"):
        run(Clear(), model, image, Target.hidden("one", 2))


def test_where_it_does_not_apply_it_says_so(wrap, picture, run):
    with pytest.raises(NotApplicable, match=r"^clear needs a head of global average pooling.*grad_cam"):
        xw.explain(xw.load_model("digits_vgg"), np.zeros((48, 48), np.uint8), "clear")
    smooth = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    model = wrap(smooth.eval())
    run(Clear(), model, picture(model))
    with pytest.raises(NotApplicable, match=r"^clear needs activations with an on/off gate.*SiLU"):
        run(Clear(level="pixel"), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^level must be one of feature, pixel"):
        Clear(level="input")


def test_gives_each_of_two_digits_its_own_class():
    """Of the response inside a digit's box, most belongs to the digit's class."""
    model, canvases = xw.load_model("digits_gap"), digits("pairs", "test", 120)
    shares = []
    for number, image in enumerate(canvases.images):
        result = xw.explain(model, image, "clear")
        for (top, left, bottom, right), digit in zip(canvases.boxes[number], canvases.labels[number], strict=True):
            response = np.maximum(result.values[0, top:bottom, left:right], 0)
            own = result.details["dominant"][top:bottom, left:right] == digit
            shares.append(response[own].sum() / response.sum())
    assert np.mean(shares) >= 0.70
