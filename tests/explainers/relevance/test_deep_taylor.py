"""Deep Taylor decomposition: positive, complete, and the expansion that it says it is."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from torch import nn
from zennit import rules as peer
from zennit.attribution import Gradient
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.types import Activation, AvgPool, Convolution, Linear

import xaiwidgets as xw
from xaiwidgets import DeepTaylor, Lrp, Target
from xaiwidgets.errors import NotApplicable

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
#: Stabilizer of the method's rules.
TINY = 1e-12


def wrapped(module):
    return xw.Model(module.double(), size=nets.SIZE, mean=MEAN, std=STD)


def pixels(seed=5, size=nets.SIZE):
    """Return an input between black and white."""
    values = torch.rand((1, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (values - mean) / std


def positive_class(model, image):
    return int(model.logits(image)[0].argmax())


@pytest.mark.parametrize("first", ["zbox", "w2"])
@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_relevance_is_positive_and_adds_up_to_the_score(make, first):
    """Residual additions, batch norms and ReLU6 included; what units without any positive input lose is told."""
    model, image = wrapped(make()), pixels()
    for target in range(nets.CLASSES):
        raw = DeepTaylor(first=first).raw(model, image, model.target(target))
        assert (raw.values >= 0).all()
        receipt = raw.details["receipt"]
        assert receipt["start"] == pytest.approx(abs(float(raw.scores[0])))
        assert receipt["bias"] == 0
        assert receipt["input"] + receipt["dropped"] == pytest.approx(receipt["start"], rel=1e-3)
    if make in {nets.f1, nets.f2}:
        target = positive_class(model, image)
        raw = DeepTaylor(first=first).raw(model, image, model.target(target))
        assert float(raw.values.sum()) == pytest.approx(float(raw.scores[0]), rel=1e-4)


@pytest.mark.parametrize(("first", "composite"), [("zbox", "zplus_box"), ("w2", "zplus_w2")])
@pytest.mark.parametrize("make", nets.GOOD, ids=lambda make: make.__name__)
def test_is_lrp_of_its_rules(make, first, composite):
    """X10, for positive scores."""
    model, image = wrapped(make()), pixels()
    target = model.target(positive_class(model, image))
    assert float(model.scores(image, target)[0]) > 0
    found = DeepTaylor(first=first).raw(model, image, target)
    wanted = Lrp(composite=composite, bias="ignore", epsilon=TINY).raw(model, image, target)
    torch.testing.assert_close(found.values, wanted.values, rtol=1e-9, atol=1e-12)


@nets.seeded
def plain():
    return _plain(bias=True)


@nets.seeded
def bare():
    """Without biases, every score has contributions of its own sign."""
    return _plain(bias=False)


def _plain(bias):
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, nets.CLASSES),
    )  # fmt: skip
    for part in net:
        if not bias and isinstance(part, (nn.Conv2d, nn.Linear)):
            part.bias = None
    return net


@pytest.mark.parametrize("first", ["zbox", "w2"])
def test_equals_zennit(first):
    module, image = plain().double(), pixels()
    model = wrapped(module)
    target = positive_class(model, image)
    found = DeepTaylor(first=first).raw(model, image, model.target(target)).values
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    box = peer.ZBox(low=-mean / std, high=(1 - mean) / std, stabilizer=TINY, zero_params="bias")
    rules = [
        (Activation, peer.Pass()), (AvgPool, peer.Norm(TINY)), (Convolution, peer.ZPlus(TINY, zero_params="bias")),
        (Linear, peer.ZPlus(TINY, zero_params="bias")),
    ]  # fmt: skip
    special = [(Convolution, box if first == "zbox" else peer.WSquare(stabilizer=TINY, zero_params="bias"))]
    one = torch.eye(nets.CLASSES, dtype=torch.float64)[[target]]
    with Gradient(module, SpecialFirstLayerMapComposite(rules, special)) as attributor:
        _, wanted = attributor(image.clone(), lambda output: output.detach() * one)
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-8, atol=1e-12)


def test_is_the_expansion_of_one_unit_around_its_root():
    """For b ≤ 0 the shares of zplus are the terms a − ã of the expansion at ã = a − t·a⊙[w > 0]."""
    generator = torch.Generator().manual_seed(0)
    a, w = torch.rand(6, generator=generator).double(), torch.randn(6, generator=generator).double()
    w[0], b = 3.0, -0.3
    score = float(w @ a + b)
    assert score > 0
    up = a * (w > 0)
    root = a - up * score / float(w @ up)
    assert float(w @ root + b) == pytest.approx(0, abs=1e-12)
    wanted = w * (a - root)

    class Unit(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.fc = nn.Conv2d(6, 6, 1, bias=False), nn.Linear(6, 1)

        def forward(self, x):
            return self.fc(self.hidden(x).relu().flatten(1)).relu()

    module = Unit().double()
    with torch.no_grad():
        module.hidden.weight.copy_(torch.eye(6).reshape(6, 6, 1, 1))
        module.fc.weight.copy_(w[None])
        module.fc.bias.fill_(b)
    from xaiwidgets.surgery.composites import composite
    from xaiwidgets.surgery.mode import SurgeryMode
    from xaiwidgets.surgery.propagation import RelevancePolicy

    leaf = a.reshape(1, 6, 1, 1).clone().requires_grad_()
    module.requires_grad_(False)
    with SurgeryMode(RelevancePolicy(composite("zplus", bias="ignore", epsilon=0.0)), lambda: "") as mode:
        mode.start(leaf)
        output = module(leaf * 1)
    (found,) = torch.autograd.grad(output, leaf, output.detach())
    np.testing.assert_allclose(found.flatten(), wanted, rtol=1e-8, atol=1e-12)


def test_of_a_score_below_zero_its_negative_is_explained(run):
    model, image = wrapped(bare()), pixels()
    scores = model.logits(image)[0]
    target = int(scores.argmin())
    assert scores[target] < 0
    result = run(DeepTaylor(), model, image, target)
    assert (result.values >= 0).all()
    assert result.values.sum() == pytest.approx(-float(scores[target]), rel=1e-4)
    assert any("below zero: the map shows what speaks against" in note for note in result.notes)
    # the same as the positive score of a network whose last weights are negated
    turned = bare().double()
    with torch.no_grad():
        turned[9].weight.neg_()
    other = run(DeepTaylor(), wrapped(turned), image, target)
    assert other.score == pytest.approx(-float(scores[target]))
    np.testing.assert_allclose(result.values, other.values, rtol=1e-5, atol=1e-9)
    assert other.notes == ()


def test_each_picture_of_a_batch_by_the_sign_of_its_own_score():
    """As SmoothGrad hands them over."""
    model = wrapped(bare())
    batch = torch.cat([pixels(seed) for seed in range(12)]) * 1.5
    target = int(model.logits(batch).median(dim=0).values.abs().argmin())
    scores = model.logits(batch)[:, target]
    assert (scores < 0).any()
    assert (scores > 0).any()
    together = DeepTaylor().raw(model, batch, model.target(target)).values
    for picture, values in zip(batch, together, strict=True):
        alone = DeepTaylor().raw(model, picture[None], model.target(target)).values[0]
        torch.testing.assert_close(values, alone, rtol=1e-8, atol=1e-12)


def test_a_difference_is_explained_by_what_has_its_sign(run):
    model, image = wrapped(bare()), pixels()
    scores = model.logits(image)[0]
    high, low = int(scores.argmax()), int(scores.argmin())
    assert scores[high] > 0 > scores[low]
    result = run(DeepTaylor(), model, image, Target.difference(high, low))
    one, other = (run(DeepTaylor(), model, image, target).values for target in (high, low))
    np.testing.assert_allclose(result.values, one + other, rtol=1e-5, atol=1e-9)
    assert result.values.sum() == pytest.approx(result.score, rel=1e-4)
    assert result.notes == ()
    second = int(scores.argsort()[-2])
    assert scores[second] > 0
    result = run(DeepTaylor(), model, image, Target.difference(high, second))
    assert any("Only units with the sign of the score" in note for note in result.notes)
    np.testing.assert_allclose(result.values, one, rtol=1e-5, atol=1e-9)
    assert result.details["explained"] == pytest.approx(float(scores[high]))


def test_classes_look_almost_alike_in_a_deep_network(lite0, run):
    """The known weakness, as the card has it: cosine of the maps of two classes."""
    model, image, target = lite0
    maps = [run(DeepTaylor(), model, image, c).map().ravel() for c in (target, 281)]
    signed = [run(Lrp(composite="epsilon"), model, image, c).map().ravel() for c in (target, 281)]

    def cosine(one, other):
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    assert cosine(*maps) > 0.6
    assert cosine(*maps) > cosine(*signed) + 0.3


def test_negative_activations_are_told(lite0, run):
    model, image, target = lite0
    result = run(DeepTaylor(), model, image, target)
    assert any("Weights meet negative activations in 16 layers" in note for note in result.notes)


@pytest.mark.parametrize("activation", [nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish])
def test_smooth_activations_are_refused(activation, picture, run):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), activation(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
    model = wrapped(module)
    with pytest.raises(NotApplicable, match="deep_taylor needs ReLU-like activations"):
        run(DeepTaylor(), model, pixels(), 1)


@pytest.mark.parametrize(
    ("activation", "name"), [(nn.Tanh, "tanh"), (nn.Softplus, "softplus"), (nn.Sigmoid, "sigmoid"), (nn.SiLU, "SiLU")]
)
def test_a_smooth_activation_among_relus_is_named(activation, name):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), activation(), nn.Flatten(), nn.Linear(4 * 12 * 12, 5)
    )
    model = wrapped(module)
    with pytest.raises(NotApplicable, match=f"{name} at 3"):
        DeepTaylor().raw(model, pixels(), model.target(1))


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.PReLU])
def test_other_rectifiers_are_not(activation, run):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), activation(), nn.Conv2d(4, 5, 3), nets.Apply(lambda x: x.mean((2, 3))))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                part.reset_parameters()
    result = run(DeepTaylor(), wrapped(module), pixels(), 1)
    assert (result.values >= 0).all()
    assert result.values.any()
    signed = any("negative activations in 2" in note for note in result.notes)
    assert signed == (activation is not nn.ReLU6)
