"""DeepLIFT (Rescale): against plain loops and closed forms, and that nothing of the difference goes missing."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import slow_deeplift
import torch
import toys
from captum import attr
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import DeepLiftRescale, GradientXInput, IntegratedGradients, Lrp, Occlusion, Target
from xaiwidgets.engine.baselines import baseline
from xaiwidgets.errors import InvalidKnob, NotApplicable

#: Occlusion of one pixel at a time.
ONE = ("window_height", "window_width", "stride_height", "stride_width")


def model_of(module, size=nets.SIZE):
    return xw.Model(module.double(), size=size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def missing(result):
    return abs(result.gap / result.details["explained"])


@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_adds_up_however_the_network_is_written(make, picture, run):
    model = model_of(make())
    image = picture(model)
    for name, target in (("black", 1), ("blur", 2), ("mean", Target.difference(3, 0))):
        result = run(DeepLiftRescale(baseline=name), model, image, target)
        start = baseline(model, image, name)
        change = model.scores(image, model.target(target)) - model.scores(start, model.target(target))
        assert result.details["explained"] == pytest.approx(float(change), rel=1e-9)
        assert missing(result) < 1e-10
        assert result.values.sum(dtype=float) == pytest.approx(float(change), rel=1e-4)


@pytest.mark.parametrize("position", ["mean", "max", "center", (1, 2)])
def test_adds_up_for_a_hidden_unit(position, picture, run):
    model = model_of(nets.f2())
    image = picture(model)
    target = Target.hidden("3", 2, position)
    result = run(DeepLiftRescale(), model, image, target)
    start = baseline(model, image, "black")
    found = model.target(target)
    change = float(model.scores(image, found) - model.scores(start, found))
    assert result.details["explained"] == pytest.approx(change)
    assert missing(result) < 1e-10
    assert result.unit == "activation"


def test_a_hidden_unit_is_explained_where_it_is_read(picture, run, close):
    """Before the normalization that is folded away elsewhere, and against loops."""
    layers = [
        nn.Conv2d(3, 4, 3),
        nn.SiLU(),
        nn.Conv2d(4, 3, 2),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(2),
    ]
    module = nets.randomize_norms(nn.Sequential(*layers).double())
    module(torch.zeros(2, 3, 6, 6, dtype=torch.float64))
    module.eval().requires_grad_(False)
    model = model_of(module, 6)
    image = picture(model)
    start = baseline(model, image, "black")
    found = run(DeepLiftRescale(), model, image, Target.hidden("2", 1, (0, 2)))
    unit = 9 + 2  # channel 1 of maps of 3 by 3, first row, third column
    wanted = slow_deeplift.multipliers(layers[:3], image[0], start[0], unit)
    close(found.values, wanted * (image - start)[0].numpy())


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_equals_plain_loops(activation, picture, run, close):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), activation(), nn.MaxPool2d(2, 1), nn.Conv2d(4, 4, 2, 2),
            activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
        ]  # fmt: skip
        module = nets.randomize_norms(nn.Sequential(*layers)).double().eval().requires_grad_(False)
    model = model_of(module, 6)
    image = picture(model)
    start = baseline(model, image, "gray")
    wanted = slow_deeplift.multipliers(layers, image[0], start[0], 2) * (image - start)[0].numpy()
    close(run(DeepLiftRescale(baseline="gray"), model, image, 2).values, wanted)


def test_adds_up_on_a_real_photo_in_single_precision_where_hooks_on_modules_do_not():
    """Captum looks for activations among modules, and finds none in timm's normalization with the activation inside."""
    model = xw.load_model()
    image = model.input("chelsea").contiguous()
    result = xw.explain(model, "chelsea", DeepLiftRescale(), target="tiger cat")
    assert result.values.dtype == np.float32
    assert missing(result) < 0.01
    assert abs(result.values.sum(dtype=float) / result.details["explained"] - 1) < 0.01
    target, start = model.labels.index("tiger cat"), baseline(model, image, "black")
    with pytest.warns(UserWarning, match="hooks"):
        theirs = attr.DeepLift(model.module).attribute(image.requires_grad_(), start.requires_grad_(), target=target)
    assert abs(float(theirs.detach().sum()) / result.details["explained"] - 1) > 0.1


class Gated(nn.Module):
    """Squeeze-and-excite, SiLU by hand and by name, normalization by groups, and a choice between two maps."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.norm, self.squeeze, self.head = nn.GroupNorm(4, 8), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x):
        x = functional.silu(self.one(x), inplace=True)
        x = x * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid()
        x = self.norm(self.two(x))
        x = torch.maximum(x * torch.sigmoid(x), 0.3 * x)
        return self.head(x.amax((2, 3)))


def test_gates_take_part_unless_they_are_held_constant(picture, run):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_of(Gated().eval())
    image = picture(model)
    whole = run(DeepLiftRescale(), model, image, 1)
    constant = run(DeepLiftRescale(gates="constant"), model, image, 1)
    assert missing(whole) < 1e-10
    assert missing(constant) > 1e-3
    rules = {row["rule"] for row in whole.details["coverage"]}
    assert rules == {"linear", "rescale", "split", "composed", "cross-maximum"}
    assert "gate constant" in {row["rule"] for row in constant.details["coverage"]}


# -- closed forms and equalities -------------------------------------------------------------------------------------


def toy(module):
    return xw.Model(module, size=(1, 2), mean=(0.0,), std=(1.0,))


@pytest.mark.parametrize(("pair", "shares"), [((3.0, 5.0), (3.0, 0.0)), ((5.0, 3.0), (0.0, 3.0))])
def test_what_cancels_stays_hidden(pair, shares, run):
    found = run(DeepLiftRescale(), toy(toys.smaller()), toys.pixels(*pair)).values
    np.testing.assert_allclose(found.ravel(), shares, atol=1e-6)


def test_saturation_is_seen(run):
    model, image = toy(toys.saturating()), toys.pixels(1.0, 1.0)
    np.testing.assert_allclose(run(DeepLiftRescale(), model, image).values.ravel(), [0.5, 0.5])
    assert not run(GradientXInput(), model, image).values.any()


def test_without_biases_and_from_zero_it_is_gradient_times_input_lrp0_and_integrated_gradients(
    net, wrap, picture, run, close
):
    model = wrap(net(bias=False))
    image = picture(model)
    found = run(DeepLiftRescale(baseline="mean"), model, image, 2).values
    for other in (
        GradientXInput(),
        IntegratedGradients(baseline="mean", points=5),
        Lrp(composite="epsilon", epsilon=0.0),
    ):
        close(found, run(other, model, image, 2).values)


def test_with_one_nonlinearity_it_is_integrated_gradients(wrap, picture, run, close):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    model = wrap(module.double())
    image = picture(model)
    close(
        run(DeepLiftRescale(), model, image, 3).values,
        run(IntegratedGradients(points=400), model, image, 3).values,
        1e-3,
    )


def test_a_linear_net_gives_weight_times_difference(linear, wrap, picture, run, close):
    module, weights = linear(5, 6)
    model = wrap(module, (5, 6))
    image = picture(model)
    start = baseline(model, image, "black")
    found = run(DeepLiftRescale(), model, image, 3).values
    close(found, ((image - start) * weights[3])[0])
    close(found, run(IntegratedGradients(), model, image, 3).values)
    close(found.sum(0), run(Occlusion(**dict.fromkeys(ONE, 1), fill="black"), model, image, 3).values[0])


def test_a_picture_that_is_the_baseline_gets_nothing(net, wrap, run):
    result = run(DeepLiftRescale(baseline="border"), wrap(net()), torch.full((1, 3, 12, 14), 0.7, dtype=torch.float64))
    assert np.abs(result.values).max() < 1e-12
    assert abs(result.gap) < 1e-12


@pytest.mark.parametrize("style", ["functional", "inplace", "reused", "method"])
def test_two_nets_that_compute_the_same_get_the_same(style, net, wrap, picture, run, close):
    model, other = wrap(net()), wrap(net(style))
    image = picture(model)
    close(run(DeepLiftRescale(), other, image, 1).values, run(DeepLiftRescale(), model, image, 1).values, 1e-10)


def test_a_batch_is_each_by_itself(net, wrap, picture):
    model = wrap(net())
    images = torch.cat([picture(model, seed) for seed in range(3)])
    method, target = DeepLiftRescale(baseline="blur"), model.target(1)
    together = method.raw(model, images, target)
    for number in range(3):
        alone = method.raw(model, images[number : number + 1], target)
        torch.testing.assert_close(together.values[number], alone.values[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(together.scores[number], alone.scores[0])


# -- outputs ---------------------------------------------------------------------------------------------------------


def test_of_a_network_that_ends_in_a_softmax_the_logits_are_explained(picture, run, close):
    module = nets.softmax_head()
    model, inner = model_of(module), model_of(module[0])
    image = picture(model)
    result = run(DeepLiftRescale(), model, image, 2)
    close(result.values, run(DeepLiftRescale(), inner, image, 2).values)
    assert any("before it are explained" in note for note in result.notes)


@pytest.mark.parametrize("output", ["probability", "log_probability"])
def test_probabilities_add_up_too(output, picture, run):
    model = model_of(nets.f2())
    image = picture(model)
    target = model.target(2).with_output(output)
    result = run(DeepLiftRescale(), model, image, target)
    start = baseline(model, image, "black")
    change = float(model.scores(image, target) - model.scores(start, target))
    assert result.details["explained"] == pytest.approx(change)
    assert missing(result) < 1e-9


@pytest.mark.parametrize("target", [2, (1, 3), Target.difference(4, 1)])
def test_centered_it_explains_the_logit_less_the_mean_of_all(target, picture, run, close):
    model = model_of(nets.f2())
    image = picture(model)
    plain, centered = (run(DeepLiftRescale(centered=on), model, image, target) for on in (False, True))
    mean = sum(run(DeepLiftRescale(), model, image, c).values for c in range(nets.CLASSES)) / nets.CLASSES
    count = {2: 1, (1, 3): 2}.get(target, 0) if not hasattr(target, "minus") else 0
    close(centered.values, plain.values - count * mean)
    assert missing(centered) < 1e-10
    assert centered.score == plain.score


def test_a_hidden_unit_has_no_mean_class(picture, run):
    model = model_of(nets.f2())
    image = picture(model)
    target = Target.hidden("3", 2)
    plain, centered = (run(DeepLiftRescale(centered=on), model, image, target) for on in (False, True))
    np.testing.assert_array_equal(plain.values, centered.values)
    assert centered.notes == ("Only logits have a mean class: nothing is subtracted.",)


# -- peers and errors ------------------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """Activations as modules of their own, the only kind that captum sees."""

    def __init__(self):
        super().__init__()
        self.one, self.a = nn.Conv2d(3, 6, 3), nn.Sigmoid()
        self.two, self.b = nn.Conv2d(6, 6, 3, stride=2), nn.LeakyReLU(0.2)
        self.flat, self.three, self.c, self.four = nn.Flatten(), nn.Linear(6 * 25, 10), nn.ELU(), nn.Linear(10, 5)

    def forward(self, x):
        return self.four(self.c(self.three(self.flat(self.b(self.two(self.a(self.one(x))))))))


def mixed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Mixed().double().eval()


@pytest.mark.parametrize("name", ["black", "blur"])
def test_equals_captum_where_it_is_right(name, net, wrap, picture, run, close):
    for module, size in ((net(pool=False), (12, 14)), (mixed(), (13, 13))):
        model = wrap(module, size)
        image = picture(model)
        start = baseline(model, image, name)
        with pytest.warns(UserWarning, match="hooks"):
            theirs = attr.DeepLift(module).attribute(image.clone().requires_grad_(), start.requires_grad_(), target=2)
        close(run(DeepLiftRescale(baseline=name), model, image, 2).values, theirs[0])


def test_a_network_that_takes_one_image_at_a_time_is_refused(picture, run):
    model = model_of(nets.one_at_a_time())
    with pytest.raises(NotApplicable, match=r"one batch; the network takes one image at a time\. These would work"):
        run(DeepLiftRescale(), model, picture(model))


class Spread(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 5, 3), nets.Apply(lambda x: x.std((2, 3)))

    def forward(self, x):
        return self.head(self.stem(x).relu())


def test_an_operation_without_a_rule_is_named_with_its_layer(picture, run):
    model = model_of(Spread())
    with pytest.raises(NotApplicable, match=r"^deeplift_rescale needs a rule.*there is none for std at head"):
        run(DeepLiftRescale(), model, picture(model))


@pytest.mark.parametrize(
    ("knobs", "named"),
    [({"baseline": "grey"}, "baseline"), ({"gates": "none"}, "gates"), ({"centered": 2}, "centered")],
)
def test_bad_knobs_are_named(knobs, named):
    with pytest.raises(InvalidKnob, match=rf"^{named} must be"):
        DeepLiftRescale(**knobs)
