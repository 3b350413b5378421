"""Ablation-CAM against its definition and a library, in closed form, and with the rest of a network run alone."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from xaiwidgets import AblationCam
from xaiwidgets.errors import InvalidKnob, InvalidLayer


def slow(module, layer, image, target):
    """Desai and Ramaswamy 2020, eq. 3 and 4: the whole network again for each channel, with a hook."""
    name, _, number = layer.partition("#")
    number = int(number or 1)

    def score(channel):
        calls, kept = [0], []

        def switch_off(_module, _inputs, output):
            calls[0] += 1
            if calls[0] != number:
                return None
            kept.append(output.clone())
            output = output.clone()
            if channel is not None:
                output[:, channel] = 0
            return output

        hook = module.get_submodule(name).register_forward_hook(switch_off)
        with torch.no_grad():
            outputs = module(image.clone())
        hook.remove()
        return outputs[0, target], kept[0][0]

    y, maps = score(None)
    weights = torch.stack([(y - score(k)[0]) / y for k in range(len(maps))])
    return (weights[:, None, None] * maps).sum(0).numpy(), weights.numpy()


def test_is_its_definition_however_the_network_is_written(odd, wrap, picture, run, close):
    module, layers, size = odd
    model = wrap(module, size)
    image = picture(model)
    for layer in layers:
        result = run(AblationCam(layer=layer, relu=False), model, image, 2)
        wanted, weights = slow(module, layer, image, 2)
        close(result.values[0], wanted, 1e-5)
        positive = run(AblationCam(layer=layer), model, image, 2)
        np.testing.assert_array_equal(positive.values, result.values.clip(0))
        assert (result.signed, positive.signed) == (True, False)
        close(result.details["weights"], weights, 1e-5)
        assert result.provenance.passes == (1 + len(weights), 0)


def test_with_a_mean_and_a_linear_head_a_weight_is_the_channels_share(net, wrap, picture, run, close, pair):
    module = net()
    model = wrap(module)
    image = picture(model)
    activation, _ = pair(module, "second", image, 1)
    y = float(module(image).detach()[0, 1])
    shares = module.head.weight[1].detach().numpy() * activation.mean(axis=(1, 2)) / y
    close(run(AblationCam(layer="second"), model, image, 1).details["weights"], shares)


def test_on_the_coffee_photo_all_channels_are_their_shares(lite0, run):
    model, image, target = lite0
    result = run(AblationCam(), model, image, target)
    assert result.provenance.passes == (1281, 0)
    assert not result.notes
    head = model.gap_head()
    maps = model.activations(image, ["bn2"])["bn2"][0]
    shares = (head.weight[target] * maps.mean(dim=(1, 2)) / result.score).numpy()
    assert np.abs(shares).max() > 0.005
    np.testing.assert_allclose(result.details["weights"], shares, rtol=0, atol=2e-6)


def test_equals_a_library(net, wrap, picture, run, close, pair):
    """It ablates a channel of a layer with negative values by less than 0: compared where the ReLU has run."""
    module = net("module")
    model = wrap(module)
    image = picture(model)
    found = run(AblationCam(layer="second"), model, image, 3).details["weights"]
    activation, _ = pair(module, "second", image, 3)
    with AblationCAM(model=module, target_layers=[module.second]) as cam:
        theirs = cam.get_cam_weights(image, module.second, [ClassifierOutputTarget(3)], activation[None], None)
    close(found, theirs.ravel(), 1e-5)


class Alias(nn.Module):
    """The ReLU writes to what the convolution has given, and that is used later."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, x):
        first = self.one(x)
        second = self.two(self.relu(first)).relu()
        return self.head((first + second).square().mean(dim=(2, 3)))


@pytest.mark.parametrize(("layer", "ahead"), [("one", [1]), ("two", [1, 2, 2])])
def test_what_comes_before_the_layer_runs_once_where_the_network_allows_it(
    layer, ahead, wrap, picture, run, close, monkeypatch
):
    torch.manual_seed(1)
    module = Alias().double().eval()
    model = wrap(module)
    model.remember(("batch size", False), lambda: 2)
    image = picture(model)
    run(AblationCam(layer=layer), model, image, 2)  # looked at once, then remembered
    seen = []
    plain = nn.Conv2d.forward
    monkeypatch.setattr(
        nn.Conv2d, "forward", lambda self, x: (self.in_channels == 3 and seen.append(len(x))) or plain(self, x)
    )
    found = run(AblationCam(layer=layer), model, image, 2)
    assert seen == ahead
    close(found.details["weights"], slow(module, layer, image, 2)[1])
    note = "Alias cannot be run from the layer on: each channel took a pass of all of it."
    assert found.notes == (() if layer == "one" else (note,))


def test_few_channels_are_the_strongest_and_said(net, wrap, picture, run, pair):
    module = net("module")
    model = wrap(module)
    image = picture(model)
    result = run(AblationCam(channels=3), model, image, 1)
    energy = (pair(module, "second", image, 1)[0] ** 2).sum(axis=(1, 2))
    assert set(np.flatnonzero(np.isfinite(result.details["weights"]))) == set(np.argsort(-energy)[:3])
    assert result.notes == ("3 of the layer's 8 channels, the strongest.",)
    assert result.provenance.passes == (4, 0)


def test_a_score_of_zero_gives_changes_and_says_so(wrap, picture, run):
    module = nets.f1().double()
    model = wrap(module, (nets.SIZE, nets.SIZE))
    image = picture(model)
    with torch.no_grad():
        outputs = module(image)[0]
    last = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    if last.bias is None:
        last.bias = nn.Parameter(torch.zeros(last.out_features, dtype=torch.float64))
    with torch.no_grad():
        last.bias -= outputs
    result = run(AblationCam(), wrap(module, (nets.SIZE, nets.SIZE)), image, 1)
    assert abs(result.score) < 1e-9
    assert np.isfinite(result.values).all()
    assert result.notes == ("The score is near 0: changes of it are the weights, not shares.",)
    assert result.unit == "activation × logit"


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must be one of.*'secnod'.*Did you mean second"):
        run(AblationCam(layer="secnod"), model, picture(model))
    with pytest.raises(InvalidKnob, match=r"^channels must be a whole number from 1"):
        AblationCam(channels=0)
