"""Softplus smoothing: the network rewritten by hand, Zennit, the theorem about one neuron, what it does to scores."""

from __future__ import annotations

import copy

import nets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import Saliency, SoftplusSmoothing, Target
from xaiwidgets.core.cards import cards, resolve
from xaiwidgets.errors import InvalidKnob, NotApplicable
from xaiwidgets.surgery.smooth import Smoothing

BASES = ["saliency", "integrated_gradients", "grad_cam", "occlusion", "smoothgrad"]


class Soft(nn.Module):
    """The smooth activation by its definition."""

    def __init__(self, beta, high=None):
        super().__init__()
        self.beta, self.high = beta, high

    def forward(self, u):
        soft = torch.logaddexp(self.beta * u, torch.zeros_like(u)) / self.beta
        if self.high is None:
            return soft
        return soft - torch.logaddexp(self.beta * (u - self.high), torch.zeros_like(u)) / self.beta


def rewritten(module, beta):
    """A copy of a module whose activations are replaced: its modules, or those that ``rectify`` makes."""
    twin = copy.deepcopy(module)
    if getattr(module, "style", "") in ("functional", "method"):
        twin.rectify = lambda u, _name: Soft(beta)(u)
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (nn.ReLU, nn.ReLU6)):
                setattr(parent, name, Soft(beta, 6.0 if isinstance(child, nn.ReLU6) else None))
    return twin


@pytest.mark.parametrize("style", ["functional", "inplace", "reused", "method"])
@pytest.mark.parametrize("base", BASES)
def test_is_the_base_on_the_rewritten_network(base, style, net, wrap, picture, run, close):
    model, twin = wrap(net(style), (34, 36)), wrap(rewritten(net(style), 5.0), (34, 36))
    image = picture(model)
    found, wanted = run(SoftplusSmoothing(beta=5.0, base=base), model, image, 2), run(resolve(base), twin, image, 2)
    close(found.values, wanted.values)
    assert found.score == pytest.approx(wanted.score)
    assert (found.unit, found.reduction, found.signed) == (wanted.unit, wanted.reduction, wanted.signed)
    assert (found.gap is None) == (wanted.gap is None)
    assert found.notes[1:] == wanted.notes


def test_reaches_the_relu6_of_the_bundled_network(lite0_double, run, close):
    model, image, target = lite0_double
    leaf = image.clone().requires_grad_()
    logits = rewritten(model.module, 10.0)(leaf)
    wanted = torch.autograd.grad(logits[0, target], leaf)[0]
    result = run(SoftplusSmoothing(), model, image, target)
    close(result.values, wanted[0])
    assert result.score == pytest.approx(float(logits[0, target].detach()))


def test_reaches_what_a_forward_pass_fuses(wrap, picture, run, close, monkeypatch):
    """In float32, convolution, normalization and activation become one operation where no gradient is wanted."""
    monkeypatch.setattr("xaiwidgets.model.prepare.faster", lambda *_: True)
    module = nets.f5()
    model, twin = wrap(module, (34, 36)), wrap(rewritten(module, 5.0), (34, 36))
    image = picture(model)
    assert "fused" in model.prepared.note
    found = run(SoftplusSmoothing(beta=5.0, base="occlusion"), model, image, 1)
    close(found.values, run(resolve("occlusion"), twin, image, 1).values, 1e-4)


# -- the gradient alone ---------------------------------------------------------------------------------------------


def zennit_gradient(module, image, target, beta):
    from zennit.attribution import Gradient
    from zennit.composites import BetaSmooth

    with Gradient(model=copy.deepcopy(module), composite=BetaSmooth(beta_smooth=beta)) as attributor:
        return attributor(image.clone(), torch.eye(module(image).shape[1], dtype=image.dtype)[[target]])[1][0]


@pytest.mark.parametrize("beta", [1.0, 10.0])
@pytest.mark.parametrize("style", ["module", "inplace"])
def test_the_gradient_alone_equals_zennit(style, beta, net, wrap, picture, run, close):
    module = net("module")
    model = wrap(net(style))
    image = picture(model)
    found = run(SoftplusSmoothing(beta=beta, variant="gradient_only"), model, image, 2)
    close(found.values, zennit_gradient(module, image, 2, beta))
    plain = run(Saliency(), model, image, 2)
    assert found.score == plain.score
    assert np.abs(found.values - plain.values).max() > 0.1 * np.abs(plain.values).max()


def test_the_gradient_alone_equals_zennit_on_fully_connected_layers(digits_vgg, run, close):
    model, image, target = digits_vgg
    found = run(SoftplusSmoothing(beta=3.0, variant="gradient_only"), model, image, target)
    close(found.values, zennit_gradient(model.module, image, target, 3.0))


def test_the_gradient_alone_does_not_depend_on_how_the_relus_are_written(net, wrap, picture, run, close):
    method = SoftplusSmoothing(variant="gradient_only")
    twin = wrap(net("module"))
    image = picture(twin)
    for style in ("functional", "reused", "method"):
        close(run(method, wrap(net(style)), image, 3).values, run(method, twin, image, 3).values, 0)


# -- invariants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient_only", [False, True])
@pytest.mark.parametrize("make", [nets.f1, nets.f3, nets.f5], ids=lambda make: make.__name__)
def test_a_sharp_softplus_is_the_relu(make, gradient_only, wrap, close):
    model = wrap(make().double(), (nets.SIZE, nets.SIZE))
    image = nets.images().double()
    sharp = model.transformed(Smoothing(1e6, gradient_only), "")
    torch.testing.assert_close(sharp.logits(image), model.logits(image), rtol=0, atol=1e-5)
    close(sharp.gradient(image, model.target(1)).input, model.gradient(image, model.target(1)).input)


class Neuron(nn.Module):
    """relu(w · x), and zero as the score of a second class."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x):
        score = functional.relu((x * self.weights).flatten(1).sum(dim=1))
        return torch.stack([score, torch.zeros_like(score)], dim=1)


@pytest.mark.parametrize("level", [-0.4, 0.0, 0.3])
def test_one_neuron_is_smoothgrad_with_endless_samples(level, wrap, run):
    """Dombrowski et al.: noise along w with density β / (e^{βε/2} + e^{−βε/2})² gives softplus_{β/‖w‖}."""
    beta, samples = 4.0, 40_000
    weights = torch.tensor([[[0.6, -0.8], [1.0, 0.5]]], dtype=torch.float64)
    size, model = float(weights.norm()), wrap(Neuron(weights), (2, 2), mean=(0.0,), std=(1.0,))
    image = (level * weights / size**2)[None]
    found = run(SoftplusSmoothing(beta=beta / size), model, image).values
    # the density is that of a logistic variable with scale 1/β
    noise = torch.tensor(np.random.default_rng(0).logistic(0, 1 / beta, samples))
    copies = image - noise.reshape(-1, 1, 1, 1) * weights / size
    maps = model.gradient(copies, model.target(0)).input.numpy()
    error = maps.std(axis=0) / np.sqrt(samples)
    assert (np.abs(found - maps.mean(axis=0)) < 5 * error).all()


def test_the_smoother_the_steadier(net, wrap, run):
    """The change of the map under a small change of the picture, relative to the map, falls with β."""
    model = wrap(net(pool=False))  # a maximum has kinks of its own, which stay
    generator = torch.Generator().manual_seed(3)
    changes = {beta: [] for beta in (1000.0, 100.0, 10.0, 1.0)}
    for _ in range(20):
        image = torch.randn((1, *model.input_shape), generator=generator, dtype=torch.float64)
        near = image + 0.01 * torch.randn(image.shape, generator=generator, dtype=torch.float64)
        for beta, found in changes.items():
            one, other = (run(SoftplusSmoothing(beta=beta), model, x, 1).values for x in (image, near))
            found.append(np.linalg.norm(one - other) / np.linalg.norm(one))
    means = [np.mean(found) for found in changes.values()]
    assert means == sorted(means, reverse=True)
    assert means[0] > 3 * means[-1]


# -- what is reported -----------------------------------------------------------------------------------------------


def test_it_says_what_smoothing_does_to_score_and_class(net, wrap, picture, run):
    module = net()
    model = wrap(module)
    image = picture(model)
    plain = module(image)[0].detach()
    for beta, verdict in ((1.0, "changes from class 3 to class 2"), (1000.0, "is still class 3")):
        smooth = rewritten(module, beta)(image)[0].detach()
        assert (int(plain.argmax()), int(smooth.argmax())) == (3, 2 if beta == 1 else 3)
        note = run(SoftplusSmoothing(beta=beta), model, image, 1).notes[0]
        assert f"logit of class 1 is {float(smooth[1]):.3g} ({float(plain[1]):.3g} as it is)" in note
        assert f"the top class {verdict}" in note


def test_the_gradient_alone_leaves_the_scores(net, wrap, picture, run):
    model = wrap(net())
    result = run(SoftplusSmoothing(beta=1.0, variant="gradient_only"), model, picture(model), 1)
    assert result.notes[0] == "Only the gradient is smoothed: the scores are those of the network as it is."
    assert result.provenance.passes == (1, 1)


def test_a_hidden_unit_can_be_explained(net, wrap, picture, run, close):
    module = net()
    model, twin = wrap(module), wrap(rewritten(module, 10.0))
    image = picture(model)
    found = run(SoftplusSmoothing(), model, image, Target.hidden("second", 2))
    close(found.values, run(Saliency(), twin, image, Target.hidden("second", 2)).values)
    assert found.notes[0].startswith("In the smoothed network the top class is")


# -- what is refused ------------------------------------------------------------------------------------------------


def test_a_net_without_relus_is_refused_by_its_activations(wrap, picture, run):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.GELU(), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 3, 12, 14))
    model = wrap(module)
    wanted = "softplus_smoothing needs ReLU or ReLU6 activations; .* does not have that: its activations are GELU, SiLU"
    with pytest.raises(NotApplicable, match=wanted) as caught:
        run(SoftplusSmoothing(), model, picture(model))
    assert "smoothgrad" in caught.value.alternatives


def test_a_net_without_activations_is_refused(linear, wrap, picture, run):
    model = wrap(linear(5, 6)[0], (5, 6))
    with pytest.raises(NotApplicable, match="it has no activations"):
        run(SoftplusSmoothing(), model, picture(model))


def test_other_activations_stay_as_they_are(wrap, picture, run, close):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 10, 2)
        ).double()
    model, twin = wrap(module), wrap(rewritten(module, 10.0))
    image = picture(model)
    close(run(SoftplusSmoothing(), model, image).values, run(Saliency(), twin, image).values)


def test_a_base_that_needs_the_gate_is_refused():
    gated = [card.id for card in cards("explainer") if "relu" in card.needs]
    assert {"guided_backprop", "deconvnet"} <= set(gated)
    for base in gated:
        with pytest.raises(InvalidKnob, match=r"^base must be one of the explainers"):
            SoftplusSmoothing(base=base)


def test_a_gate_inside_a_wrapped_wrapper_is_refused(net, wrap, picture):
    """SmoothGrad may go around guided backpropagation, but not on a network without gates."""
    model = wrap(net()).transformed(Smoothing(10.0), "with softplus for ReLU")
    with pytest.raises(NotApplicable, match=r"guided_backprop needs ReLU-like.*; Net with softplus for ReLU does not"):
        next(xw.SmoothGrad(base="guided_backprop").steps(model, picture(model), model.target(0)))


@pytest.mark.parametrize(
    ("name", "value"), [("beta", 0.5), ("beta", 2000), ("variant", "half"), ("base", "softplus_smoothing"), ("base", 1)]
)
def test_bad_knobs_are_named(name, value):
    with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
        SoftplusSmoothing(**{name: value})
