"""Score-CAM against its definition and a library, and where its weights are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional
from torchcam.methods import ScoreCAM as TorchScoreCAM

from xaiwidgets import ScoreCam
from xaiwidgets.errors import InvalidKnob, InvalidLayer


def slow(module, layer, image, target, count=None, weights="softmax", relu=True):
    """Wang et al. 2020, section 3.2, one channel at a time, with a hook."""
    kept = []
    hook = module.get_submodule(layer.partition("#")[0]).register_forward_hook(lambda _m, _i, o: kept.append(o.clone()))
    with torch.no_grad():
        module(image)
    hook.remove()
    number = int(layer.partition("#")[2] or 1)
    maps = kept[number - 1][0]
    order = sorted(range(len(maps)), key=lambda k: -float(maps[k].std(correction=0)))[:count]
    order = [k for k in order if maps[k].std() > 0]
    scores = []
    for k in order:
        large = functional.interpolate(maps[k][None, None], image.shape[2:], mode="bilinear", align_corners=False)
        mask = (large - large.min()) / (large.max() - large.min())
        with torch.no_grad():
            outputs = module(image * mask)[0]
        scores.append(outputs.softmax(0)[target] if weights == "probability" else outputs[target])
    shares = torch.stack(scores)
    shares = shares if weights == "probability" else shares.softmax(0)
    total = sum(share * maps[k] for share, k in zip(shares, order, strict=True))
    return (total.clamp_min(0) if relu else total).numpy(), dict(zip(order, shares.tolist(), strict=True))


@pytest.mark.parametrize("weights", ["softmax", "probability"])
def test_is_its_definition_however_the_network_is_written(odd, weights, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers:
        for count, relu in ((8192, True), (3, False)):
            result = run(ScoreCam(layer=layer, weights=weights, channels=count, relu=relu), model, image, 2)
            wanted, shares = slow(module, layer, image, 2, count, weights, relu)
            close(result.values[0], wanted)
            found = result.details["weights"]
            np.testing.assert_allclose(found[list(shares)], list(shares.values()), rtol=1e-5)
            assert np.isnan(np.delete(found, list(shares))).all()
            assert (result.layer, result.unit, result.signed) == (layer, "activation", not relu)


def test_weights_sum_to_one_and_a_constant_added_to_the_scores_changes_nothing(net, wrap, picture, run, close):
    module = net("module")
    model = wrap(module)
    before = run(ScoreCam(), model, picture(model), 1)
    assert np.nansum(before.details["weights"]) == pytest.approx(1)
    with torch.no_grad():
        module.head.bias += 7
    close(run(ScoreCam(), wrap(module), picture(model), 1).values, before.values)


def sharp(net, scale, **options):
    """Return the small net with scores so far apart that the weights are."""
    module = net("module", **options).float()
    with torch.no_grad():
        module.head.weight *= scale
    return module


def test_equals_two_libraries_where_nothing_is_enlarged(net, wrap, picture, run, close, pair):
    """Elsewhere pytorch-grad-cam aligns corners, and torchcam stretches a map before it enlarges it, not after."""
    module = sharp(net, 400, pool=False)
    model = wrap(module)
    image = picture(model)
    ours = run(ScoreCam(layer="second"), model, image, 3)
    weights = ours.details["weights"]
    assert np.ptp(weights) > 0.05
    activation, _ = pair(module, "second", image, 3)
    with ScoreCAM(model=module, target_layers=[module.second]) as cam:
        theirs = cam.get_cam_weights(image, module.second, [ClassifierOutputTarget(3)], activation[None], None)
    close(weights, theirs.ravel(), 1e-5)
    with TorchScoreCAM(module, "second", input_shape=tuple(image.shape[1:])) as cam:
        scores = module(image)
        found = cam(3, scores, normalized=False)[0].numpy()
    close(ours.values, found.reshape(ours.values.shape), 1e-5)


def test_is_near_to_the_libraries_where_maps_are_enlarged(net, wrap, picture, run, pair):
    module = sharp(net, 40)
    model = wrap(module)
    image = picture(model)
    weights = run(ScoreCam(layer="second"), model, image, 3).details["weights"]
    activation, _ = pair(module, "second", image, 3)
    with ScoreCAM(model=module, target_layers=[module.second]) as cam:
        theirs = cam.get_cam_weights(image, module.second, [ClassifierOutputTarget(3)], activation[None], None)
    assert np.abs(weights - theirs).max() < 0.1 * np.ptp(theirs)


class OneChannel(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)
        self.head = nn.Linear(1, 4)

    def forward(self, x):
        return self.head(self.conv(x).mean(dim=(2, 3)))


def test_one_channel_is_the_map_and_a_constant_one_is_left_out(wrap, picture, run, close):
    torch.manual_seed(0)
    module = OneChannel().double().eval()
    model = wrap(module)
    image = picture(model)
    result = run(ScoreCam(layer="conv"), model, image, 1)
    close(result.values[0], module.conv(image)[0, 0].detach().clamp_min(0).numpy())
    with torch.no_grad():
        module.conv.weight.zero_()
    empty = run(ScoreCam(layer="conv"), wrap(module), image, 1)
    assert not empty.values.any()
    assert empty.notes == ("No channel of this layer varies over the photo, so there is nothing to weight.",)


def test_a_channel_that_is_constant_but_for_rounding_is_left_out(wrap, picture, run, close):
    """Its mask would be rounding stretched to [0, 1]."""
    torch.manual_seed(0)
    module = OneChannel()
    module.conv, module.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 4)
    with torch.no_grad():
        module.conv.weight[1] *= 1e-9
    module.eval()
    result = run(ScoreCam(layer="conv"), wrap(module), picture(wrap(module)), 1)
    assert np.isnan(result.details["weights"]).tolist() == [False, True, False]
    assert result.notes == ("2 of the layer's 3 channels, those that vary most.",)


class Breaks(OneChannel):
    """Its scores are not numbers for a picture that is hidden in part."""

    def forward(self, x):
        scores = super().forward(x)
        return torch.where(x.std(dim=(1, 2, 3))[:, None] < 0.9 * 1, scores * float("nan"), scores)


def test_scores_that_are_no_numbers_are_not_hidden(wrap, picture, run):
    torch.manual_seed(0)
    model = wrap(Breaks().double().eval())
    assert np.isnan(run(ScoreCam(layer="conv"), model, picture(model), 1).values).all()


def test_few_channels_are_said(net, wrap, picture, run):
    model = wrap(net("module"))
    result = run(ScoreCam(channels=2), model, picture(model))
    assert result.notes == (f"2 of the layer's {model.layer('').shape[0]} channels, those that vary most.",)
    assert result.provenance.passes == (4, 0)


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must be one of.*'secnod'.*Did you mean second"):
        run(ScoreCam(layer="secnod"), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^channels must be a whole number from 1"):
        ScoreCam(channels=0)
    with pytest.raises(InvalidKnob, match=r"^weights must be one of softmax, probability"):
        ScoreCam(weights="channel")
