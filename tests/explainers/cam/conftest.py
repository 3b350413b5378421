"""What the tests of class activation maps share: plain passes with hooks, two odd networks, and two libraries' maps."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torchvision.models import DenseNet


def plain_pairs(module, layers, image, score):
    """Return activation and gradient of each layer call as arrays ``(K, h, w)``; ``relu#2`` is the second call."""
    records, calls, handles = {}, {}, []

    def watch(name):
        def keep(_module, _inputs, output):
            calls[name] = calls.get(name, 0) + 1
            records[f"{name}#{calls[name]}"] = output
            return output.clone()  # what comes next may work in place

        handles.append(module.get_submodule(name).register_forward_hook(keep))

    for name in {layer.partition("#")[0] for layer in layers}:
        watch(name)
    outputs = module(image.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    held = [records[layer if "#" in layer else f"{layer}#1"] for layer in layers]
    gradients = torch.autograd.grad(score(outputs), held)
    return [(a.detach()[0].numpy(), g[0].numpy()) for a, g in zip(held, gradients, strict=True)]


@pytest.fixture
def pair():
    """Return activation and gradient of one layer call for one class, as arrays, from a plain pass with a hook."""

    def make(module, layer, image, target):
        return plain_pairs(module, [layer], image, lambda y: y[0, target])[0]

    return make


def dense():
    """Return torchvision's DenseNet, small: concatenations, and a functional ReLU in place on the last layer's map."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2, num_classes=5)
        return nets.randomize_norms(net).double().eval()


class Twice(nn.Module):
    """One ReLU in place for three maps of one shape; the scores do not see a map's mean only."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(c, 6, 3, padding=1) for c in (3, 6, 6))
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        for convolution in (self.one, self.two, self.three):
            x = self.relu(convolution(x))
        return self.head((x * x).mean(dim=(2, 3)))


def twice():
    """Return it in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Twice().double().eval()


#: Networks on which hooks go wrong, with layers to explain and the size of the picture.
ODD = {
    "functional, reused and in-place ReLUs": (lambda: nets.f3().double(), ("relu", "relu#2", "bn2", "bn3"), (16, 16)),
    "concatenations": (dense, ("features.norm5", "features.denseblock1", "features.relu0", "features"), (32, 32)),
    "one ReLU, three times": (twice, ("one", "relu", "relu#2", "relu#3", "three"), (10, 12)),
}


@pytest.fixture(params=ODD)
def odd(request):
    """Return a network on which hooks go wrong, its layers, and the size of its pictures."""
    make, layers, size = ODD[request.param]
    return make(), layers, size


@pytest.fixture
def densenet():
    """Return the small DenseNet."""
    return dense()


@pytest.fixture
def reuser():
    """Return a network that runs one ReLU, in place, three times."""
    return twice()


@pytest.fixture
def jacobs():
    """Return the map that a class of pytorch-grad-cam makes of what it has seen, before it is stretched."""

    def make(kind, module, layer, image, target, *, relu=True):
        modules = [module.get_submodule(layer)]
        with kind(model=module, target_layers=modules) as cam:
            cam(image.clone(), [ClassifierOutputTarget(target)])
            seen = cam.activations_and_grads
            activation = seen.activations[0].numpy()
            gradient = seen.gradients[0].numpy() if seen.gradients else None
            found = cam.get_cam_image(image, modules[0], None, activation, gradient, False)
        return np.maximum(found, 0) if relu else found

    return make


@pytest.fixture
def torchcams():
    """Return the map that a class of torchcam makes, before it is stretched."""

    def make(kind, module, layer, image, target, **options):
        with kind(module, layer, input_shape=tuple(image.shape[1:]), **options) as cam:
            scores = module(image.clone().requires_grad_())
            return cam(target, scores, normalized=False)[0].detach().numpy()

    return make
