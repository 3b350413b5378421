"""How fast gradient and relevance methods are against Captum and Zennit as a user calls them, on two networks.

    pytest -m benchmark -s tests/benchmarks/test_propagation.py

Both sides of a ratio run in turn with the same number of threads. Methods of many passes must be at least twice as fast
as the peer and stay near the bare passes; methods of one pass must not be slower than the peer.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from captum import attr
from test_peers import FASTER, bare_forward, bare_gradient, compare, integrated_gradients, ours, smoothgrad
from torchvision.models import resnet50
from zennit.attribution import Gradient
from zennit.composites import EpsilonAlpha2Beta1, EpsilonGammaBox, EpsilonPlus, GuidedBackprop
from zennit.torchvision import ResNetCanonizer, SequentialMergeBatchNorm

import xaiwidgets as xw
from xaiwidgets.engine.batching import batch_size

pytestmark = pytest.mark.benchmark
#: Rounds of a ratio scatter by a few percent on a machine at rest.
NOT_SLOWER = 0.95
NEAR = 1.10


def lite0():
    model = xw.load_model()
    return model, SequentialMergeBatchNorm


def fifty():
    torch.manual_seed(0)
    return xw.Model(resnet50(weights=None).eval(), size=224, name="resnet50"), ResNetCanonizer


@pytest.fixture(scope="module", params=[lite0, fifty], ids=["efficientnet_lite0", "resnet50"])
def case(request):
    """Model, the user's own network, Zennit's canonizer for it, input, class."""
    model, canonizer = request.param()
    image = model.input("coffee").contiguous()
    for gradient in (False, True):
        batch_size(model, gradient=gradient)
    return model, model.module, canonizer, image, int(model.logits(image).argmax())


def zennit(composite, net, canonizer, image, target, **options):
    start = torch.eye(1000)[[target]]

    def run():
        with Gradient(net, composite(canonizers=[canonizer()], **options)) as attributor:
            attributor(image.clone().requires_grad_(), start)

    return run


COMPOSITES = {
    "epsilon_plus": (EpsilonPlus, {}),
    "epsilon_alpha2_beta1": (EpsilonAlpha2Beta1, {}),
    "epsilon_gamma_box": (EpsilonGammaBox, {"low": -1.0, "high": 1.0}),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_relevance_is_never_slower_than_zennit(name, case):
    model, net, canonizer, image, target = case
    composite, options = COMPOSITES[name]
    mine = ours(xw.Lrp(composite=name), model, image, target)
    theirs = zennit(composite, net, canonizer, image, target, **options)
    assert compare(f"zennit {name} on {model.name}", mine, theirs, 7) >= NOT_SLOWER


@pytest.mark.parametrize("peer", ["captum", "zennit"])
def test_guided_backprop_is_never_slower(peer, case):
    model, net, canonizer, image, target = case
    if peer == "zennit":
        theirs = zennit(GuidedBackprop, net, canonizer, image, target)
    else:
        explainer = attr.GuidedBackprop(net)

        def theirs():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                explainer.attribute(image.clone().requires_grad_(), target=target)

    mine = ours(xw.GuidedBackprop(), model, image, target)
    assert compare(f"{peer} guided backprop on {model.name}", mine, theirs, 9) >= NOT_SLOWER


def test_deeplift_is_never_slower_than_captum(case):
    model, net, _, image, target = case
    explainer, black = attr.DeepLift(net), torch.full_like(image, -1)

    def theirs():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            explainer.attribute(image.clone().requires_grad_(), black, target=target)

    if model.name == "resnet50":  # captum's hooks cannot tell the runs of a reused ReLU apart
        with pytest.raises(RuntimeError):
            theirs()
        return
    mine = ours(xw.DeepLiftRescale(baseline="black"), model, image, target)
    assert compare(f"captum DeepLift on {model.name}", mine, theirs, 7) >= NOT_SLOWER


MANY = {
    "integrated_gradients": (xw.IntegratedGradients(), integrated_gradients),
    "smoothgrad": (xw.SmoothGrad(), smoothgrad),
}


@pytest.mark.parametrize("name", MANY)
def test_many_passes_are_twice_as_fast_as_captum_and_near_the_bare_passes(name, case):
    model, net, _, image, target = case
    method, peer = MANY[name]
    mine = ours(method, model, image, target)
    faster = compare(f"captum {name} on {model.name}", mine, peer(net, image, target), 3)
    forward, backward = method.cost((224, 224))
    scores, gradients = bare_forward(model, image, forward - backward), bare_gradient(model, image, backward, target)
    over = 1 / compare(f"bare passes of {name} on {model.name}", mine, lambda: (scores(), gradients()), 3)
    assert faster >= FASTER
    assert over <= NEAR
