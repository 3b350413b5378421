"""FullGrad: the authors' definition, completeness on real networks, and the averages of the smooth variant."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets.engine.noise import noisy_copies
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model.targets import Target
from xaiwidgets.render.receipt import balance, warning


def stretched(terms):
    """The authors' post-processing of one layer's terms ``(1, C, h, w)``, in plain loops of NumPy."""
    sizes = np.abs(terms)
    sizes = sizes - sizes.min()
    return sizes / (sizes.max() + 1e-6)


def enlarged(layer, size):
    return functional.interpolate(torch.as_tensor(layer), size, mode="bilinear", align_corners=True).numpy()


def effective_bias(module):
    """The authors' bias of a layer."""
    if isinstance(module, nn.BatchNorm2d):
        scale = module.weight / torch.sqrt(module.running_var + module.eps)
        return (module.bias - scale * module.running_mean).detach()
    return None if module.bias is None else module.bias.detach()


def layers_and_gradients(net, image, target):
    """Return gradient × input, and (gradient, bias) of every layer with a bias, by hooks on modules as they run."""
    held, handles = [], []
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)) and module.bias is not None:
            handles.append(module.register_forward_hook(lambda m, _i, out: held.append((m, out)) or out.clone()))
    leaf = image.clone().requires_grad_()
    score = net(leaf)[0, target]
    for handle in handles:
        handle.remove()
    by_input, *gradients = torch.autograd.grad(score, [leaf, *(out for _, out in held)])
    pairs = [
        (g, effective_bias(m).reshape(1, -1, *[1] * (g.ndim - 2))) for g, (m, _) in zip(gradients, held, strict=True)
    ]
    return by_input * leaf.detach(), pairs, float(score.detach())


def authors_map(net, image, target, *, simple=False):
    """Srinivas & Fleuret 2019, as in the repository that came with the paper."""
    given, pairs, _ = layers_and_gradients(net, image, target)
    total = stretched(given.numpy()).sum(axis=1, keepdims=True)
    for gradient, bias in pairs:
        if gradient.ndim == 4:
            terms = gradient if simple else gradient * bias
            total = total + enlarged(stretched(terms.numpy()), image.shape[-2:]).sum(axis=1, keepdims=True)
    return total[0]


def piecewise_linear(name):
    """A network of ReLUs, BatchNorm and max-pooling whose ReLUs may be reused and functional."""
    if name in {"f2", "f3", "f4", "wrapped"}:
        net = getattr(nets, name)().double()
        side = nets.SIZE
    elif name == "digits_vgg":
        loaded = xw.load_model(name)
        model = xw.Model(loaded.module.double(), size=48, mean=(0.25,), std=(0.3,))
        return model.module, model, nets.images(1, 48, 1).double()
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nets.randomize_norms(torchvision.models.get_model(name, weights=None)).double().eval()
        side = 64
    return net, xw.Model(net, size=side, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)), nets.images(1, side).double()


NETWORKS = ("f2", "f4", "wrapped", "digits_vgg", "resnet18")


@pytest.mark.parametrize(
    ("name", "variant"), [*((n, v) for n in NETWORKS for v in ("full", "simple")), ("densenet121", "full")]
)
def test_equals_the_authors_definition(name, variant, run, close):
    net, model, image = piecewise_linear(name)
    found = run(xw.FullGrad(variant=variant), model, image, 2)
    close(found.values, authors_map(net, image, 2, simple=variant == "simple"))


@pytest.mark.parametrize("name", ["f2", "f3", "f4", "resnet18"])
def test_the_receipt_splits_the_score(name, run):
    net, model, image = piecewise_linear(name)
    found = run(xw.FullGrad(), model, image, 1)
    given, pairs, score = layers_and_gradients(net, image, 1)
    receipt = found.details["receipt"]
    assert receipt["start"] == pytest.approx(score, rel=1e-12)
    assert receipt["input"] == pytest.approx(float(given.sum()), rel=1e-9)
    assert receipt["input"] + receipt["bias"] == pytest.approx(score, rel=1e-10)
    assert abs(found.gap) < 1e-10 * max(1, abs(receipt["input"]))
    by_layer = [row["bias"] for row in found.details["receipt_layers"]]
    assert sum(by_layer) == pytest.approx(receipt["bias"], rel=1e-9)
    if name != "f3":  # which subtracts a number, a constant of no layer
        wanted = [float((g * b).sum()) for g, b in reversed(pairs)]
        np.testing.assert_allclose(by_layer, wanted, rtol=1e-9, atol=1e-15)
    assert balance(found).total == pytest.approx(score, rel=1e-10)
    assert not warning(found)


def test_without_biases_it_shows_gradient_times_input(run, close):
    model = xw.Model(nets.f1().double(), size=nets.SIZE)
    image = nets.images().double()
    found = run(xw.FullGrad(), model, image, 3)
    products = run(xw.GradientXInput(), model, image, 3).values
    close(found.values, stretched(products.astype(float)).sum(axis=0, keepdims=True))
    assert found.details["bias_layers"] == 0


@pytest.mark.parametrize("output", ["logit", "probability", "log_probability"])
def test_complete_for_outputs_that_are_not_linear(output, run):
    model = xw.Model(nets.f2().double(), size=nets.SIZE)
    image = nets.images().double()
    target = model.target(1).with_output(output)
    found = run(xw.FullGrad(), model, image, target)
    assert abs(found.gap) < 1e-12
    assert found.score == pytest.approx(float(model.scores(image, target)[0]), rel=1e-9)


def test_complete_where_the_network_ends_in_a_softmax(run):
    model = xw.Model(nets.softmax_head().double(), size=nets.SIZE)
    found = run(xw.FullGrad(), model, nets.images().double(), 1)
    assert abs(found.gap) < 1e-12


def test_a_hidden_unit_has_only_the_biases_before_it(run):
    model = xw.Model(nets.f2().double(), size=nets.SIZE)
    found = run(xw.FullGrad(), model, nets.images().double(), Target.hidden("3", 2))
    assert [row["layer"] for row in found.details["receipt_layers"]] == ["3", "0"]
    assert abs(found.gap) < 1e-12


def test_the_bundled_network_in_float32(lite0, run):
    model, image, target = lite0
    found = run(xw.FullGrad(), model, image, target)
    assert abs(found.gap) < 1e-4 * found.score
    assert found.values.min() >= 0
    assert "33 of them implicit" in found.notes[0]


def smooth_by_hand(net, image, target, copies):
    """Signed terms averaged over the copies, then the authors' post-processing."""
    sums = None
    for copy in copies:
        given, pairs, _ = layers_and_gradients(net, copy[None], target)
        terms = [given.numpy(), *((g * b).numpy() for g, b in pairs if g.ndim == 4)]
        sums = terms if sums is None else [a + b for a, b in zip(sums, terms, strict=True)]
    layers = [enlarged(stretched(one / len(copies)), image.shape[-2:]).sum(axis=1) for one in sums]
    return sum(layers)


def test_smooth_averages_signed_terms(run, close):
    net, model, image = piecewise_linear("f2")
    method = xw.FullGrad(variant="smooth", samples=7, noise=0.3, seed=5)
    wanted = smooth_by_hand(net, image, 2, noisy_copies(image, range(7), 0.3, 5))
    found = run(method, model, image, 2)
    close(found.values, wanted)
    assert abs(found.gap) < 1e-12
    assert found.score == pytest.approx(float(model.scores(image, model.target(2))[0]), rel=1e-9)


def test_smooth_without_noise_is_plain(run, close):
    _, model, image = piecewise_linear("f4")
    smooth = run(xw.FullGrad(variant="smooth", samples=3, noise=0.0), model, image, 2)
    close(smooth.values, run(xw.FullGrad(), model, image, 2).values)


def test_smooth_shows_every_batch(net, wrap, picture):
    model = wrap(net())
    model.remember(("batch size", True), lambda: 4)
    image = picture(model)
    steps = list(xw.FullGrad(variant="smooth", samples=10).steps(model, image, model.target(0)))
    assert [step.progress for step in steps] == [0.4, 0.8, 1.0]
    for step in steps:
        assert abs(step.gap) < 1e-12


def test_a_unit_without_influence_gives_an_empty_map(net, wrap, picture, run):
    module = net()
    nn.init.zeros_(module.head.weight)
    model = wrap(module)
    found = run(xw.FullGrad(), model, picture(model))
    assert not found.values.any()
    assert found.gap == pytest.approx(0, abs=1e-15)
    assert found.details["receipt"]["bias"] == pytest.approx(found.score)


@pytest.mark.parametrize("knobs", [{"variant": "simpler"}, {"samples": 0}, {"noise": -0.1}])
def test_bad_knobs(knobs):
    with pytest.raises(InvalidKnob, match=next(iter(knobs))):
        xw.FullGrad(**knobs)


def test_smooth_has_no_map_of_a_batch(net, wrap, picture):
    model = wrap(net())
    with pytest.raises(NotImplementedError, match="use steps"):
        xw.FullGrad(variant="smooth").raw(model, picture(model), model.target(0))
