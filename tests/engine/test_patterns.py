"""Fitting of signal directions: the toy of the paper, explicit covariances, quality on held-out digits, files."""

from __future__ import annotations

import copy
import json

import nets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.data.digits import digits
from xaiwidgets.engine.bank import Direction, PatternBank, WrongPatterns, digest
from xaiwidgets.engine.patterns import fit_for, held_by
from xaiwidgets.engine.sums import Sums
from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable


def pictures(count, side, seed=0):
    return [np.random.default_rng((seed, n)).integers(0, 256, (side, side, 3), dtype=np.uint8) for n in range(count)]


def made(net, side=nets.SIZE):
    return xw.Model(net, size=side, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), crop=1.0)


# -- the estimators -------------------------------------------------------------------------------------------------


def toy(count, exact):
    """x = a_s·y + a_d·ε with w = (1, −1): the distractor cancels in y."""
    rng = np.random.default_rng(0)
    y, noise = rng.normal(size=count), rng.normal(size=count)
    if exact:
        y, noise = y - y.mean(), noise - noise.mean()
        noise -= y * (noise @ y) / (y @ y)
    return torch.tensor(np.outer(y, [1, 0]) + np.outer(noise, [1, 1])), torch.tensor(y)


def directed(inputs, outputs, weight, *, gated=False):
    sums = Sums(weight[None], 1)
    positive = (outputs > 0)[:, None, None] if gated else None
    sums.add(inputs[:, None, None, :], outputs[:, None, None], positive)
    return sums.direction()


def test_the_toy_of_the_paper_has_the_signal_direction_not_the_weights():
    weight = torch.tensor([1.0, -1.0], dtype=torch.float64)
    inputs, outputs = toy(5000, exact=True)
    torch.testing.assert_close(outputs, inputs @ weight)
    direction = directed(inputs, outputs, weight).linear[0]
    torch.testing.assert_close(direction, torch.tensor([1.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(weight * direction, torch.tensor([1.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-10)


def test_the_two_component_estimator_finds_it_within_its_error():
    weight = torch.tensor([1.0, -1.0], dtype=torch.float64)
    count = 20_000
    inputs, outputs = toy(count, exact=False)
    found = directed(inputs, outputs, weight, gated=True)
    assert found.gated is not None
    # a = (1 + e, e) with e = (E₊[εy] − E₊[ε]E[y]) / E₊[y²], whose standard error is 1/sqrt(n₊) at unit variances
    error = 1 / np.sqrt(count / 2)
    np.testing.assert_allclose(found.gated[0].numpy(), [1, 0], rtol=0, atol=3 * error)
    assert float(found.gated[0] @ weight) == pytest.approx(1, rel=1e-12)


def test_a_bias_changes_no_direction():
    weight = torch.tensor([1.0, -1.0], dtype=torch.float64)
    inputs, outputs = toy(500, exact=False)
    sums = [Sums(weight[None], 1) for _ in range(2)]
    positive = (outputs > 0)[:, None, None]
    for one, bias in zip(sums, (0.0, 7.5), strict=True):
        one.add(inputs[:, None, None, :], outputs[:, None, None] + bias, positive)
    first, second = (one.direction() for one in sums)
    torch.testing.assert_close(first.linear, second.linear, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(first.gated, second.gated, rtol=1e-9, atol=1e-12)


def test_white_inputs_give_the_weights_over_their_square():
    rng = np.random.default_rng(1)
    raw = rng.normal(size=(400, 6))
    raw -= raw.mean(axis=0)
    inputs = torch.tensor(np.linalg.svd(raw, full_matrices=False)[0] * np.sqrt(400))  # cov = I exactly
    weight = torch.tensor(rng.normal(size=6))
    found = directed(inputs, inputs @ weight, weight).linear[0]
    torch.testing.assert_close(found, weight / weight.square().sum(), rtol=1e-10, atol=1e-12)


def explicit(net, images, name):
    """Return patches ``(n, groups, d)`` and outputs ``(n, groups, units)`` of a convolution or a linear layer."""
    held = {}
    layer = net.get_submodule(name)
    handle = layer.register_forward_hook(lambda _m, inputs, output: held.update(x=inputs[0].clone(), y=output.clone()))
    with torch.no_grad():
        net(images)
    handle.remove()
    if isinstance(layer, nn.Linear):
        return held["x"].numpy()[:, None], held["y"].numpy()[:, None]
    unfolded = functional.unfold(
        held["x"], layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )  # (N, C·taps, P)
    patches = unfolded.transpose(1, 2).reshape(-1, layer.groups, layer.weight[0].numel())
    outputs = held["y"].flatten(2).transpose(1, 2).reshape(-1, layer.groups, layer.out_channels // layer.groups)
    return patches.numpy(), outputs.numpy()


class Layers(nn.Module):
    """Convolutions with strides, padding, groups and a depth-wise one; every second one before a ReLU."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.two = nn.Conv2d(8, 12, 3, padding=(0, 1), groups=4)
        self.three = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.four = nn.Conv2d(12, 6, 1)
        self.hidden, self.head = nn.Linear(6, 7), nn.Linear(7, 5)

    def forward(self, x):
        x = self.two(self.one(x).relu())
        x = self.four(functional.relu6(self.three(x)))
        return self.head(self.hidden(x.mean((2, 3))).relu())


def layers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Layers().double().eval()


GATED = ("one", "three", "hidden")


def test_equals_covariances_of_explicit_patches():
    net = layers()
    model, photos = made(net), pictures(40, nets.SIZE)
    bank = xw.fit_patterns(model, photos, count=40, places=10_000)
    images = torch.cat([model.input(photo) for photo in photos])
    for name in ("one", "two", "three", "four", "hidden", "head"):
        patches, outputs = explicit(net, images, name)
        weight = net.get_submodule(name).weight.detach().flatten(1).numpy()
        direction = bank.directions[name]
        assert direction.patches == len(patches)
        assert (direction.gated is None) == (name not in GATED)
        units = outputs.shape[2]
        for unit in range(len(weight)):
            x, y = patches[:, unit // units], outputs[:, unit // units, unit % units]
            cov = np.cov(np.column_stack([x, y]).T, bias=True)[-1, :-1]
            wanted = cov / (weight[unit] @ cov)
            np.testing.assert_allclose(
                direction.linear[unit].flatten(), wanted, rtol=1e-7, atol=1e-9 * abs(wanted).max()
            )
            if direction.gated is None:
                continue
            on = y > 0
            if on.sum() < 10:
                assert not direction.gated[unit].any()
                continue
            part = (x[on] * y[on, None]).mean(axis=0) - x[on].mean(axis=0) * y.mean()
            wanted = part / (weight[unit] @ part)
            np.testing.assert_allclose(
                direction.gated[unit].flatten(), wanted, rtol=1e-6, atol=1e-8 * abs(wanted).max()
            )


@pytest.mark.parametrize("make", [nets.f2, nets.f3, nets.f5, nets.reused, nets.hooked], ids=lambda make: make.__name__)
def test_live_units_have_unit_signal(make):
    """wᵀa = 1 for every unit with a direction, by both estimators."""
    net = make()
    bank = xw.fit_patterns(made(net), pictures(24, nets.SIZE))
    network = made(net).prepared.module
    weights = {name: part.weight.detach() for name, part in network.named_modules() if hasattr(part, "weight")}
    for estimator in ("relu", "linear"):
        dead, units = bank.dead(estimator)
        assert dead < units
        for name, pattern in bank.patterns(estimator).items():
            weight = weights[name.partition("#")[0]]
            products = (pattern * weight).flatten(1).sum(dim=1)
            live = pattern.flatten(1).any(dim=1)
            np.testing.assert_allclose(products[live], 1, rtol=1e-5)


def test_the_batch_size_changes_no_direction():
    banks = []
    for size in (1, 5, 16):
        model = made(layers())
        model.remember(("batch size", True), lambda size=size: size)
        banks.append(xw.fit_patterns(model, pictures(20, nets.SIZE), count=20, places=6))
    for bank in banks[1:]:
        for name, direction in bank.directions.items():
            torch.testing.assert_close(direction.linear, banks[0].directions[name].linear, rtol=1e-9, atol=1e-12)
            if direction.gated is not None:
                torch.testing.assert_close(direction.gated, banks[0].directions[name].gated, rtol=1e-9, atol=1e-12)


def test_places_are_drawn_by_picture():
    bank = xw.fit_patterns(made(layers()), pictures(20, nets.SIZE), count=20, places=6)
    assert {name: direction.patches for name, direction in bank.directions.items()} == {
        "one": 120, "two": 120, "three": 120, "four": 120, "hidden": 20, "head": 20,
    }  # fmt: skip


def test_dead_units_have_no_direction_and_are_counted():
    net = layers()
    with torch.no_grad():
        net.one.bias[3] = -100  # never fires
        net.four.weight[2] = 0  # never varies
    bank = xw.fit_patterns(made(net), pictures(20, nets.SIZE), count=20)
    assert not bank.patterns("relu")["one"][3].any()
    assert bank.patterns("linear")["one"][3].any()
    assert not bank.patterns("relu")["four"][2].any()
    dead, units = bank.dead()
    assert dead >= 2
    assert units == 8 + 12 + 12 + 6 + 7 + 5
    assert f"{dead:,} of {units:,} units" in bank.sentence()


# -- quality on held-out digits (E8) --------------------------------------------------------------------------------


def quality(patches, weight, signals):
    """Return the mean ρ of the units: 1 − the best correlation of y with a linear function of what is left of x.

    Kindermans et al. 2018, eq. 1, by least squares on ``x − S(x)``; ``signals(unit, y)`` is ``S``.
    """
    found = []
    for unit, w in enumerate(weight):
        y = patches @ w
        rest = patches - signals(unit, y)
        centered, target = rest - rest.mean(axis=0), y - y.mean()
        # what is left may lie in a space one dimension smaller: directions of rounding are cut off
        explained = centered @ np.linalg.lstsq(centered, target, rcond=1e-6)[0]
        found.append(1 - np.sqrt(max(0.0, (explained @ target) / (target @ target))))
    return float(np.mean(found))


def conv_patches(network, layer, images, count, generator):
    """Return random patches ``(count, d)`` that a 3×3 convolution reads."""
    held = {}
    handle = layer.register_forward_pre_hook(lambda _m, inputs: held.update(x=inputs[0].detach().clone()))
    with torch.enable_grad():  # fused layers run as PyTorch has them
        network(images.contiguous(memory_format=torch.channels_last))
    handle.remove()
    patches = functional.unfold(held["x"], 3, padding=1).transpose(1, 2).flatten(0, 1).double().numpy()
    return patches[generator.choice(len(patches), count, replace=False)]


def test_what_is_left_tells_less_of_the_output_than_with_weights_or_by_chance():
    """ρ(S) of the two-component estimator S = a₊y for y > 0, a₋y otherwise, on digits that no fit has seen."""
    model = xw.load_model("digits_gap")
    canvases = digits("single", "train", 500).images
    bank = xw.fit_patterns(model, list(canvases), count=500)
    seen, unseen = (
        torch.cat([model.input(image) for image in images])
        for images in (canvases[:60], digits("single", "test", 30).images)
    )
    network, generator = model.prepared.module, np.random.default_rng(0)
    for name in ("features.0", "features.4", "features.8", "features.11"):
        layer = network.get_submodule(name)
        conv = getattr(layer, "conv", layer)
        few = slice(0, 6)
        weight, bias = conv.weight.detach().flatten(1)[few].double().numpy(), conv.bias.detach()[few].double().numpy()
        up = bank.patterns()[name].flatten(1)[few].double().numpy()
        np.testing.assert_allclose((weight * up).sum(axis=1), 1, rtol=1e-5)
        patches = conv_patches(network, layer, seen, 8000, generator)
        down = np.empty_like(up)  # the other regime, which explanations do not use
        for unit, w in enumerate(weight):
            y = patches @ w
            off = y + bias[unit] <= 0
            part = (patches[off] * y[off, None]).mean(axis=0) - patches[off].mean(axis=0) * y.mean()
            down[unit] = part / (w @ part)
        chance = generator.normal(size=weight.shape)
        chance /= (chance * weight).sum(axis=1, keepdims=True)
        filters = weight / (weight**2).sum(axis=1, keepdims=True)
        held_out = conv_patches(network, layer, unseen, 1500, generator)

        def two(unit, y, up=up, down=down, bias=bias):
            return np.where((y + bias[unit] > 0)[:, None], np.outer(y, up[unit]), np.outer(y, down[unit]))

        fitted = quality(held_out, weight, two)
        assert fitted > 2 * quality(held_out, weight, lambda unit, y, a=filters: np.outer(y, a[unit])), name
        assert fitted > 2 * quality(held_out, weight, lambda unit, y, a=chance: np.outer(y, a[unit])), name
        linear = bank.patterns("linear")[name].flatten(1)[few].double().numpy()
        assert quality(held_out, weight, lambda unit, y, a=linear: np.outer(y, a[unit])) > fitted - 0.05, name


# -- images, files, state -------------------------------------------------------------------------------------------


def test_images_are_a_folder_a_list_or_a_set(tmp_path, monkeypatch):
    from PIL import Image

    from xaiwidgets.model import references

    monkeypatch.setattr(references, "_SETS", {})
    photos = pictures(12, nets.SIZE)
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / f"{number:02}.png")
    xw.reference_set("mine", photos)
    net = layers()
    banks = [xw.fit_patterns(made(net), source, count=12) for source in (tmp_path, str(tmp_path), photos, "mine")]
    for bank in banks[1:]:
        for name, direction in bank.directions.items():
            torch.testing.assert_close(direction.linear, banks[0].directions[name].linear, rtol=1e-9, atol=1e-12)
    assert "12 pictures of 'mine'" in banks[-1].sentence()
    assert "on 12 pictures, " in banks[0].sentence()


def test_few_pictures_are_looked_at_in_many_windows():
    bank = xw.fit_patterns(made(layers()), pictures(3, 40), count=30)
    assert "30 views of 3 pictures" in bank.sentence()


@pytest.mark.parametrize(
    ("images", "options", "error", "says"),
    [
        ("nowhere", {}, InvalidKnob, "images must be one of photos"),
        ([], {}, InvalidImage, "got none"),
        ("photos", {"count": 0}, InvalidKnob, "count must be a whole number"),
        ("photos", {"count": True}, InvalidKnob, "count must be a whole number"),
        ("photos", {"places": 2.5}, InvalidKnob, "places must be a whole number"),
        ("plain", {}, InvalidKnob, "holds plain baselines"),
    ],
)
def test_bad_input_is_named(images, options, error, says):
    with pytest.raises(error, match=says):
        xw.fit_patterns(made(nets.f2()), images, **options)


def test_a_network_without_signal_directions_is_refused_at_the_first_picture():
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    with pytest.raises(NotApplicable, match="there is none for SiLU at 1"):
        next(xw.fit_patterns_steps(made(net), pictures(3, nets.SIZE)))


def test_saved_and_read_back_bit_for_bit(tmp_path):
    model = made(nets.f3())
    bank = xw.fit_patterns(model, pictures(12, nets.SIZE), count=12)
    bank.save(tmp_path / "bank.npz")
    again = xw.PatternBank.load(str(tmp_path / "bank.npz"))
    assert list(again.directions) == list(bank.directions)
    for name, direction in bank.directions.items():
        other = again.directions[name]
        assert torch.equal(other.linear, direction.linear)
        assert (other.gated is None) == (direction.gated is None)
        assert direction.gated is None or torch.equal(other.gated, direction.gated)
        assert other.patches == direction.patches
    assert again.sentence() == bank.sentence()
    xw.use_patterns(model, again)
    assert held_by(model).given is again


def test_files_that_hold_no_patterns_are_named(tmp_path):
    bank = PatternBank({"1": Direction(torch.ones(2, 3), None, 5)}, "none", "nothing")
    with pytest.raises(WrongPatterns, match=r"must end in \.npz"):
        bank.save(tmp_path / "bank.pt")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", head=np.arange(3))
    np.savez(tmp_path / "pickle.npz", head=np.array([{"format": "x"}], dtype=object))
    head = np.frombuffer(json.dumps({"format": "something else"}).encode(), np.uint8)
    np.savez(tmp_path / "format.npz", head=head)
    for name in ("text", "other", "pickle", "format", "missing"):
        with pytest.raises(WrongPatterns, match=f"{name}.npz"):
            PatternBank.load(tmp_path / f"{name}.npz")


def test_patterns_of_other_weights_are_an_error():
    net = nets.f2()
    model = made(net)
    bank = xw.fit_patterns(model, pictures(12, nets.SIZE), count=12)
    xw.use_patterns(made(copy.deepcopy(net)), bank)
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].bias[0] += 1e-3
    with pytest.raises(WrongPatterns, match="fitted for others than Sequential has now"):
        xw.use_patterns(made(other), bank)
    with pytest.raises(WrongPatterns, match="fitted for others"):
        xw.use_patterns(made(copy.deepcopy(net).double()), bank)
    assert digest(made(net)) == bank.weights


def test_weights_that_change_meanwhile_are_an_error():
    net = nets.f2()
    model = made(net)
    steps = xw.fit_patterns_steps(model, pictures(6, nets.SIZE), count=40)
    next(steps)
    with torch.no_grad():
        net[0].weight.mul_(1.1)
    with pytest.raises(WrongPatterns, match="have changed meanwhile"):
        list(steps)


def test_patterns_are_forgotten_when_the_weights_change():
    net = nets.f2()
    model = made(net)
    xw.fit_patterns(model, pictures(12, nets.SIZE), count=12)
    assert held_by(model).given is not None
    with torch.no_grad():
        net[0].weight.mul_(1.1)
    assert held_by(model).given is None


def test_steps_show_progress_and_can_be_cancelled():
    model = made(nets.f2())
    model.remember(("batch size", True), lambda: 4)
    steps = xw.fit_patterns_steps(model, pictures(10, nets.SIZE), count=10)
    fit = next(steps)
    assert (fit.progress, fit.done, fit.finished) == (0.4, 4, False)
    assert "the first 4 of 10 pictures" in fit.bank().sentence()
    steps.close()
    assert held_by(model).given is None
    progress = [fit.progress for fit in xw.fit_patterns_steps(model, pictures(10, nets.SIZE), count=10)]
    assert progress == [0.4, 0.8, 1.0]
    assert held_by(model).given is not None
    xw.use_patterns(model, None)
    assert held_by(model).given is None


def test_the_users_module_and_random_state_are_not_touched():
    net = nets.f3().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    xw.fit_patterns(made(net), pictures(6, nets.SIZE), count=6)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training
    assert torch.equal(state, torch.get_rng_state())


def test_a_fit_begun_goes_on():
    model = made(nets.f2())
    fit = fit_for(model, "photos", 16)
    fit.advance(model)
    assert fit_for(model, "photos", 16) is fit
    assert fit_for(model, "photos", 17) is not fit
    with pytest.raises(InvalidKnob, match="patterns must be one of"):
        fit_for(model, "nope", 16)
