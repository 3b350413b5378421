"""What the surgery tests share: which module is running, ruled gradients, small nets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from xaiwidgets.surgery.mode import Coverage, SurgeryMode
from xaiwidgets.surgery.recipes import Recipe


@dataclass
class Watch:
    """Which module runs in this thread, and whom to tell about its output."""

    stack: threading.local = field(default_factory=threading.local)
    told: Callable[[str, object], None] = lambda path, output: None

    def where(self) -> str:
        return getattr(self.stack, "paths", [""])[-1]


@contextmanager
def _watching(module: nn.Module) -> Iterator[Watch]:
    watch = Watch()

    def enter(path):
        def hook(part, inputs):
            watch.stack.paths = [*getattr(watch.stack, "paths", [""]), path]

        return hook

    def leave(path):
        def hook(part, inputs, output):
            watch.stack.paths = watch.stack.paths[:-1]
            watch.told(path, output)

        return hook

    hooks = [part.register_forward_pre_hook(enter(path)) for path, part in module.named_modules()]
    hooks += [part.register_forward_hook(leave(path)) for path, part in module.named_modules()]
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()


@pytest.fixture
def watching():
    return _watching


@dataclass
class Ruled:
    """One ruled pass: gradient of the chosen score, scores, receipt."""

    gradient: Tensor
    scores: Tensor
    coverage: Coverage


@pytest.fixture
def ruled():
    def run(module: nn.Module, picture: Tensor, recipe: Recipe, target: int = 0) -> Ruled:
        leaf = picture.detach().clone().requires_grad_()
        with _watching(module) as watch, SurgeryMode(recipe, watch.where) as mode:
            scores = module(leaf)
        (gradient,) = torch.autograd.grad(scores[:, target].sum(), leaf)
        return Ruled(gradient, scores.detach(), mode.coverage)

    return run


class SmallNet(nn.Module):
    """conv, activation, conv, activation, global mean, linear; the activation is a plain callable."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)
        self.activation = activation

    def forward(self, picture: Tensor) -> Tensor:
        map_ = self.activation(self.one(picture))
        return self.head(self.activation(self.two(map_)).mean((2, 3)))


@pytest.fixture
def small_net():
    def make(activation: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float64) -> nn.Module:
        torch.manual_seed(0)
        return SmallNet(activation).to(dtype).eval()

    return make


@pytest.fixture
def picture() -> Tensor:
    return torch.randn(2, 3, 10, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
