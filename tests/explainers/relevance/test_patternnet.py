"""PatternNet: the definition with fitted directions, the fit as a step in sight, given patterns, signals too large."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.engine.patterns import held_by
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob, NotApplicable, SurgeryError
from xaiwidgets.model.targets import Target


@pytest.fixture
def photos():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(24)]


def model_of(net, side=nets.SIZE, mean=(0.4, 0.5, 0.6)):
    model = xw.Model(net, size=side, mean=mean, std=(0.2, 0.25, 0.3))
    model.remember(("batch size", True), lambda: 4)
    return model


def by_hand(net, x, patterns, target, estimator="relu"):
    """A sequence of layers, walked back one by one: gates and switches of the pass, directions for weights."""
    held = [x]
    for layer in net:
        held.append(layer(held[-1]).detach())
    signal = torch.zeros_like(held[-1])
    signal[:, target] = 1
    for number, layer in reversed(list(enumerate(net))):
        before = held[number]
        if isinstance(layer, nn.Linear):
            signal = signal @ patterns[str(number)].double()
        elif isinstance(layer, nn.Conv2d):
            signal = functional.conv_transpose2d(signal, patterns[str(number)].double(), padding=layer.padding)
        elif isinstance(layer, nn.ReLU):
            signal = signal * (before > 0)
        elif isinstance(layer, nn.MaxPool2d):
            _, switches = functional.max_pool2d(before, 2, return_indices=True)
            signal = functional.max_unpool2d(signal, switches, 2, output_size=before.shape)
        elif isinstance(layer, nn.AdaptiveAvgPool2d):
            signal = signal.expand_as(before) / before[0, 0].numel()
        else:
            signal = signal.reshape(before.shape)
    return signal


@pytest.mark.parametrize("estimator", ["relu", "linear"])
def test_equals_the_definition_by_hand(estimator, photos, run, close):
    net = nets.f2().double()
    model = model_of(net)
    bank = xw.fit_patterns(model, photos)
    image = model.input(photos[0])
    found = run(xw.PatternNet(estimator=estimator), model, image, 2)
    close(found.values, by_hand(net, image, bank.patterns(estimator), 2)[0])


def test_equals_the_definition_on_digits(run, close):
    """The bundled net with max-pooling and fully connected layers."""
    loaded = xw.load_model("digits_vgg")
    model = xw.Model(loaded.module.double(), size=48, mean=(0.25,), std=(0.3,))
    bank = xw.fit_patterns(model, "digits", count=16, places=16)
    net = nn.Sequential(*loaded.module.features, loaded.module.flatten, *loaded.module.classifier)
    names = [n for n, part in model.module.named_modules() if hasattr(part, "weight")]
    numbers = [str(n) for n, part in enumerate(net) if hasattr(part, "weight")]
    patterns = {number: bank.patterns()[name] for number, name in zip(numbers, names, strict=True)}
    image = model.input(np.asarray(xw.read_picture("coffee").pixels)[:48, :48])
    close(run(xw.PatternNet(), model, image, 7).values, by_hand(net, image, patterns, 7)[0])


def test_the_fit_is_a_step_in_sight(photos):
    model = model_of(nets.f2())
    image = model.input(photos[0])
    method = xw.PatternNet(views=20)
    results = list(drive(method, model, image, model.target(1)))
    assert [result.progress for result in results] == pytest.approx([0.19, 0.38, 0.57, 0.76, 1])
    assert "the first 4 of 20 views of 8 pictures of 'photos'" in results[0].notes[0]
    assert "rest on 20 views" in results[-1].notes[0]
    assert all(result.values.any() for result in results)
    assert [result.provenance.passes for result in results] == [(0, 0)] * 4 + [(1, 1)]
    (again,) = drive(method, model, image, model.target(1))
    np.testing.assert_array_equal(again.values, results[-1].values)
    assert again.provenance.passes == method.cost(image.shape[2:]) == (1, 1)


def test_maps_of_the_fit_come_closer_to_the_result(photos):
    model = model_of(nets.f2())
    results = list(xw.PatternNet(views=200).steps(model, model.input(photos[0]), model.target(1)))
    final = results[-1].values
    far = [np.abs(result.values - final).max() / np.abs(final).max() for result in results]
    assert far[-2] < far[0]
    assert far[-2] < 0.2


def test_a_fit_that_was_cancelled_goes_on(photos):
    model = model_of(nets.f2())
    image = model.input(photos[0])
    for wanted in (0.19, 0.38):
        steps = xw.PatternNet(views=20).steps(model, image, model.target(0))
        assert next(steps).progress == pytest.approx(wanted)
        steps.close()
    fresh = model_of(nets.f2())
    one, other = (list(xw.PatternNet(views=20).steps(m, image, m.target(0)))[-1] for m in (model, fresh))
    np.testing.assert_array_equal(one.values, other.values)


def test_both_methods_share_a_fit(photos):
    model = model_of(nets.f2())
    list(xw.PatternNet(views=20).steps(model, model.input(photos[0]), model.target(0)))
    assert len(list(xw.PatternAttribution(views=20).steps(model, model.input(photos[0]), model.target(0)))) == 1
    assert len(list(xw.PatternAttribution(views=21).steps(model, model.input(photos[0]), model.target(0)))) > 1


def test_given_patterns_come_first(photos):
    net = nets.f2()
    model = model_of(net)
    image = model.input(photos[0])
    bank = xw.fit_patterns(model, photos, count=24)
    (found,) = xw.PatternNet().steps(model, image, model.target(0))
    assert "on 24 pictures, " in found.notes[0]
    other = model_of(net)
    xw.use_patterns(other, bank)
    (same,) = xw.PatternNet(patterns="digits").steps(other, image, other.target(0))
    np.testing.assert_array_equal(same.values, found.values)
    xw.use_patterns(model, None)
    assert held_by(model).given is None
    assert len(list(xw.PatternNet(views=8).steps(model, image, model.target(0)))) > 1


def test_sets_are_named_or_an_error(photos):
    model = model_of(nets.f2())
    image = model.input(photos[0])
    with pytest.raises(InvalidKnob, match="patterns must be one of photos, digits"):
        next(xw.PatternNet(patterns="no such set").steps(model, image, model.target(0)))
    with pytest.raises(InvalidKnob, match="plain baselines"):
        next(xw.PatternNet(patterns="plain").steps(model, image, model.target(0)))
    with pytest.raises(InvalidKnob, match="estimator must be one of relu, linear"):
        xw.PatternNet(estimator="two")


def test_a_hidden_unit(photos, run, close):
    net = nets.f2().double()
    model = model_of(net)
    bank = xw.fit_patterns(model, photos)
    image = model.input(photos[0])
    found = run(xw.PatternNet(), model, image, Target.hidden("1", 3, (5, 6)))
    wanted = torch.zeros(1, 3, 18, 18, dtype=torch.float64)
    wanted[0, :, 5:8, 6:9] = bank.patterns()["0"][3]
    active = float(net[0](image).detach()[0, 3, 5, 6]) > 0
    assert active
    close(found.values, wanted[0, :, 1:-1, 1:-1])
    assert found.unit == "input per unit of activation"


class Valid(nn.Module):
    """Convolutions without padding, so that a shift of the picture is a shift of every patch."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.two(self.one(x).relu()).relu().mean((2, 3)))


def test_a_constant_shift_of_inputs_changes_nothing_with_the_linear_estimator(photos, run, close):
    """Kindermans et al. 2019: the bias takes back what the preprocessing adds, so the network is the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Valid().double()
        other = Valid().double()
    other.load_state_dict(net.state_dict())
    std = torch.tensor([0.2, 0.25, 0.3], dtype=torch.float64)
    shift = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)  # of pixels
    with torch.no_grad():
        other.one.bias += (net.one.weight * (shift / std).reshape(1, 3, 1, 1)).sum(dim=(1, 2, 3))
    maps = []
    for module, mean in ((net, (0.4, 0.5, 0.6)), (other, (0.7, 0.3, 0.7))):
        model = model_of(module, mean=mean)
        image = model.input(photos[0])
        xw.fit_patterns(model, photos)
        maps.append((run(xw.PatternNet(estimator="linear"), model, image, 1), float(model.logits(image)[0, 1])))
    assert maps[0][1] == pytest.approx(maps[1][1], rel=1e-6)
    close(maps[0][0].values, maps[1][0].values, 1e-5)


def faint(scale):
    """A network whose weights are so small that signal directions are long."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [part for _ in range(6) for part in (nn.Conv2d(3, 3, 1, bias=False), nn.ReLU())]
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5, bias=False))
    with torch.no_grad():
        for part in layers[::2]:
            part.weight.copy_(part.weight.abs() * scale)
    return net


def test_signals_that_outgrow_float32_start_smaller(photos, close):
    model, image_of = model_of(faint(1e-7).double()), photos[0]
    xw.fit_patterns(model, photos)
    (found,) = drive(xw.PatternNet(), model, model.input(image_of), model.target(0))
    assert found.notes[1] == "The values outgrow float32: they are given in units of 2^100."
    assert np.isfinite(found.values).all()
    assert found.values.any()
    assert found.provenance.passes == (2, 2)
    plain = model_of(faint(1e-2).double())
    xw.fit_patterns(plain, photos)
    (wanted,) = drive(xw.PatternNet(), plain, plain.input(image_of), plain.target(0))
    longer = 1e5**6  # in each of six layers
    close(found.values * (2.0**100 / longer), wanted.values, 1e-4)


def test_signals_that_outgrow_everything_are_an_error(photos):
    model = model_of(faint(1e-16).double())
    xw.fit_patterns(model, photos)
    with pytest.raises(SurgeryError, match="outgrows the range of numbers"):
        list(xw.PatternNet().steps(model, model.input(photos[0]), model.target(0)))


def test_networks_with_gates_are_refused_by_name(photos):
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)

        def forward(self, x):
            x = self.conv(x).relu()
            return self.head((x * torch.sigmoid(x.mean((2, 3), keepdim=True))).mean((2, 3)))

    model = model_of(Gate())
    with pytest.raises(NotApplicable, match=r"patternnet needs .*sigmoid"):
        next(xw.PatternNet().steps(model, model.input(photos[0]), model.target(0)))


def test_smoothgrad_goes_around_it(photos, run):
    model = model_of(nets.f2())
    xw.fit_patterns(model, photos)
    found = run(xw.SmoothGrad(base="patternnet", samples=4), model, model.input(photos[0]), 1)
    assert found.provenance.passes == (5, 4)
    assert found.values.any()
