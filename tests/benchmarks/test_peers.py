"""How fast explanations are on the bundled network and the coffee photo: against peers, and against bare passes.

    pytest -m benchmark -s tests/benchmarks

Both sides of a ratio run in turn, with the same number of threads, after one warm-up each; the ratio is the median of
the rounds' ratios. Times of a shared machine scatter, ratios of neighboring runs much less.
"""

from __future__ import annotations

import statistics
import time

import pytest
import torch
from captum import attr
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

import xaiwidgets as xw
from xaiwidgets.engine.batching import batch_size
from xaiwidgets.engine.run import drive, last

pytestmark = pytest.mark.benchmark

FASTER = 2.0
OVERHEAD = 1.15


@pytest.fixture(scope="module")
def coffee():
    """Model, the user's own network, input as both sides get it, class."""
    model = xw.load_model()
    image = model.input("coffee").contiguous()
    for gradient in (False, True):
        batch_size(model, gradient=gradient)
    return model, model.module, image, model.target("espresso").classes[0]


def ours(method, model, image, target):
    return lambda: last(drive(method, model, image, model.target(target)))


def compare(name, one, other, rounds):
    """Return median(other / one) over rounds, printed with the median times in milliseconds."""
    one(), other()
    times = []
    for number in range(rounds):
        pair = [0.0, 0.0]
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            (one, other)[which]()
            pair[which] = time.perf_counter() - start
        times.append(pair)
    ratio = statistics.median(b / a for a, b in times)
    first, second = (statistics.median(side) * 1e3 for side in zip(*times, strict=True))
    print(
        f"\n{name}: ours {first:.0f} ms, theirs {second:.0f} ms, ratio {ratio:.2f} ({torch.get_num_threads()} threads)"
    )
    return ratio


def occlusion(net, image, target, **more):
    windows = {"sliding_window_shapes": (3, 32, 32), "strides": (3, 16, 16), "baselines": 0}
    return lambda: attr.Occlusion(net).attribute(image, target=target, **windows, **more)


def smoothgrad(net, image, target):
    spread = 0.15 * float(image.max() - image.min())
    tunnel = attr.NoiseTunnel(attr.Saliency(net))
    leaf = image.clone().requires_grad_()
    return lambda: tunnel.attribute(leaf, nt_samples=24, stdevs=spread, abs=False, target=target)


def integrated_gradients(net, image, target):
    black = torch.full_like(image, -1)
    return lambda: attr.IntegratedGradients(net).attribute(image, black, target=target, n_steps=32)


def grad_cam(net, image, target):
    def run():
        with GradCAM(model=net, target_layers=[net.bn2]) as cam:
            return cam(image, [ClassifierOutputTarget(target)])

    return run


PEERS = {
    "captum Occlusion": (xw.Occlusion(), occlusion, 3),
    "captum Occlusion, 16 at once": (xw.Occlusion(), lambda *a: occlusion(*a, perturbations_per_eval=16), 3),
    "captum NoiseTunnel(Saliency), 24": (xw.SmoothGrad(samples=24), smoothgrad, 5),
    "captum IntegratedGradients, 32": (xw.IntegratedGradients(points=32), integrated_gradients, 5),
    "pytorch-grad-cam GradCAM": (xw.GradCam(layer="bn2"), grad_cam, 15),
}


@pytest.mark.parametrize("name", PEERS)
def test_at_least_twice_as_fast_as_the_peer(name, coffee):
    model, net, image, target = coffee
    method, peer, rounds = PEERS[name]
    ratio = compare(name, ours(method, model, image, target), peer(net, image, target), rounds)
    assert ratio >= FASTER


def bare_forward(model, images, count):
    size = batch_size(model)
    network = model.prepared.module
    batch = images.repeat(size, 1, 1, 1).contiguous(memory_format=torch.channels_last)

    def run():
        with torch.no_grad():
            for start in range(0, count, size):
                network(batch[: min(size, count - start)])

    return run


def bare_gradient(model, images, count, target):
    size = batch_size(model, gradient=True)
    network = model.prepared.module
    batch = images.repeat(size, 1, 1, 1).contiguous(memory_format=torch.channels_last)

    def run():
        for start in range(0, count, size):
            leaf = batch[: min(size, count - start)].detach().requires_grad_()
            torch.autograd.grad(network(leaf)[:, target].sum(), leaf)

    return run


METHODS = {
    "occlusion": (xw.Occlusion(), 3),
    "rise": (xw.Rise(samples=160), 3),
    "smoothgrad": (xw.SmoothGrad(), 5),
    "integrated_gradients": (xw.IntegratedGradients(), 5),
}


@pytest.mark.parametrize("name", METHODS)
def test_little_more_than_the_bare_passes(name, coffee):
    model, _, image, target = coffee
    method, rounds = METHODS[name]
    forward, backward = method.cost((224, 224))
    scores, gradients = bare_forward(model, image, forward - backward), bare_gradient(model, image, backward, target)
    bare = lambda: (scores(), gradients())
    ratio = compare(f"{name}, bare passes", ours(method, model, image, target), bare, rounds)
    assert 1 / ratio <= OVERHEAD


def test_a_single_gradient_takes_hardly_longer_than_the_peers(coffee):
    """Saliency runs on the network as it was built, for the peer's very numbers, and writes down how it came about."""
    model, net, image, target = coffee
    theirs = lambda: attr.Saliency(net).attribute(image.clone().requires_grad_(), target=target)
    assert compare("captum Saliency", ours(xw.Saliency(), model, image, target), theirs, 15) >= 1 / OVERHEAD
