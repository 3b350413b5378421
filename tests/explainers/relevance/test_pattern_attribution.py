"""PatternAttribution: weights times directions, sums of one layer, the toy of the paper, conservation without gates."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.engine.bank import Direction, PatternBank, digest
from xaiwidgets.model.targets import Target


@pytest.fixture
def photos():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(24)]


def model_of(net, side=nets.SIZE, channels=3):
    return xw.Model(net, size=side, mean=(0.4, 0.5, 0.6)[:channels], std=(0.2, 0.25, 0.3)[:channels])


@pytest.mark.parametrize("estimator", ["relu", "linear"])
def test_is_patternnet_with_weights_times_directions(estimator, photos, run, close):
    """With directions a/w in the bank, PatternAttribution from the score is PatternNet with a, times the score."""
    net = nets.f2().double()
    model = model_of(net)
    bank = xw.fit_patterns(model, photos)
    image = model.input(photos[0])
    found = run(xw.PatternAttribution(estimator=estimator), model, image, 2)
    weights = dict(net.named_parameters())
    products = {
        name: Direction(weights[f"{name}.weight"].detach() * pattern, None, 1)
        for name, pattern in bank.patterns(estimator).items()
    }

    class Replaced(nn.Module):
        """The same gates, with products for weights, so that a plain gradient does the work."""

        def forward(self, x, wanted):
            held = x
            for number, layer in enumerate(net):
                made = layer(held).detach()
                name = str(number)
                if name in products:
                    wanted = self.linear(layer, wanted, products[name].linear)
                elif isinstance(layer, nn.ReLU):
                    wanted = wanted * (held > 0)
                elif isinstance(layer, nn.MaxPool2d):
                    _, switches = nn.functional.max_pool2d(held, 2, return_indices=True)
                    wanted = wanted.flatten(2).gather(2, switches.flatten(2)).reshape(switches.shape)
                else:
                    wanted = layer(wanted)
                held = made
            return wanted, held

        def linear(self, layer, x, weight):
            if isinstance(layer, nn.Linear):
                return nn.functional.linear(x, weight)
            return nn.functional.conv2d(x, weight, None, layer.stride, layer.padding)

    leaf = torch.zeros_like(image).requires_grad_()
    outputs, logits = Replaced()(image, leaf)
    (wanted,) = torch.autograd.grad(outputs[0, 2] * logits[0, 2], leaf)
    close(found.values, wanted[0])
    assert found.unit == "logit"
    assert (found.reduction, found.signed) == ("sum", True)


def test_of_one_layer_the_values_sum_to_the_score(photos, run):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.ReLU(), nn.Linear(8, 5)).double()
    model = model_of(net)
    xw.fit_patterns(model, photos)
    image = model.input(photos[0])
    for unit in range(8):
        target = Target.hidden("1", unit)
        found = run(xw.PatternAttribution(estimator="linear"), model, image, target)
        assert float(found.values.sum(dtype=np.float64)) == pytest.approx(found.score, rel=1e-5)
        assert found.unit == "activation"


def test_the_toy_of_the_paper(run, close):
    """x = (y + ε, ε) and w = (1, −1): all of y is attributed to the first input, where the gradient has (1, −1)."""

    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 1, bias=False)
            self.head.weight.data = torch.tensor([[1.0, -1.0]])

        def forward(self, x):
            return self.head(x[:, 0, 0, :2]).relu()

    generator = np.random.default_rng(0)
    signal, noise = generator.uniform(0.1, 0.4, 2000), generator.uniform(0.1, 0.5, 2000)
    photos = []
    for y, epsilon in zip(signal, noise, strict=True):
        picture = np.zeros((16, 16))
        picture[0, :2] = y + epsilon, epsilon
        photos.append(picture)
    model = xw.Model(Toy(), size=16, mean=(0.0,), std=(1.0,), crop=1.0)
    xw.fit_patterns(model, photos)
    image = model.input(photos[0])
    found = run(xw.PatternAttribution(), model, image, 0).values[0, 0, :2]
    np.testing.assert_allclose(found, [found.sum(), 0], atol=0.06 * abs(found.sum()))
    assert found.sum() == pytest.approx(float(signal[0]), abs=0.01)
    picture = run(xw.PatternNet(), model, image, 0).values[0, 0, :2]
    np.testing.assert_allclose(picture, [1, 0], atol=0.06)
    gradient = run(xw.Saliency(), model, image, 0).values[0, 0, :2]
    np.testing.assert_allclose(gradient, [1, -1])


def test_relevance_is_kept_where_no_gate_is_shut(run):
    """Through convolutions, average pooling and a dense layer, w·a shares out what arrives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.AvgPool2d(2), nn.Conv2d(6, 4, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, 5),
        ).double()  # fmt: skip
    net[2].bias.data += 3  # between 0 and 6 on all pictures
    model = model_of(net)
    generator = torch.Generator().manual_seed(0)
    directions = {
        name: Direction(torch.randn(part.weight.shape, generator=generator, dtype=torch.float64), None, 1)
        for name, part in net.named_modules()
        if hasattr(part, "weight")
    }
    xw.use_patterns(model, PatternBank(directions, digest(model), "chance"))
    image = nets.images().double() / 4
    found = run(xw.PatternAttribution(), model, image, 1)
    assert float(found.values.sum(dtype=np.float64)) == pytest.approx(found.score, rel=1e-4)


def test_on_a_held_out_digit_it_lies_on_the_digit(run):
    """Signed relevance inside the digit's own mask outweighs what lies on the clutter."""
    from xaiwidgets.data.digits import digits

    model = xw.load_model("digits_gap")
    xw.fit_patterns(model, "digits", count=64)
    held_out = digits("single", "test", 12)
    shares = []
    for canvas, label, mask in zip(held_out.images, held_out.labels, held_out.masks, strict=True):
        values = np.abs(run(xw.PatternAttribution(), model, model.input(canvas), int(label)).map())
        shares.append(values[mask[0]].sum() / values.sum())
    area = float(held_out.masks.mean())
    assert np.mean(shares) > 3 * area
