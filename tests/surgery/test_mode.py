"""The laws of surgery: same forward, rules of the forward, no traces, no cross-talk, no silence."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.errors import SurgeryError
from xaiwidgets.surgery.mode import SurgeryMode, require_same
from xaiwidgets.surgery.recipes import DECONV, GUIDED


def small_picture(dtype=torch.float32, size=64):
    return torch.randn(1, 3, size, size, dtype=dtype, generator=torch.Generator().manual_seed(1))


def dropped_inplace(x):
    F.relu(x, inplace=True)
    return x


def dropped_method(x):
    x.relu_()
    return x


SPELLINGS = [
    F.relu,
    torch.relu,
    lambda x: x.relu(),
    torch.relu_,
    lambda x: F.relu(x, inplace=True),
    dropped_inplace,
    dropped_method,
    lambda x: x.clamp(min=0),
    lambda x: F.threshold_(x, 0, 0),
]


@pytest.mark.parametrize("made", [GUIDED, DECONV])
@pytest.mark.parametrize("call", SPELLINGS)
def test_every_spelling_equals_distinct_modules(ruled, small_net, picture, call, made):
    wanted = ruled(small_net(nn.ReLU()), picture, made)
    found = ruled(small_net(call), picture, made)
    assert torch.equal(found.gradient, wanted.gradient)
    assert torch.equal(found.scores, wanted.scores)
    assert found.coverage.sentence() == "2 of 2 ReLU ruled"


def test_a_rule_acts_once_for_each_use_of_a_module(ruled, picture):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            identity = x
            out = self.relu(self.conv(x))
            out = self.conv(out)
            out += identity
            return self.relu(out).flatten(1)

    module = Residual().double()
    found = ruled(module, picture, GUIDED, target=200)
    assert found.coverage.ruled == {"relu": 2}
    first = F.conv2d(picture, module.conv.weight, module.conv.bias, padding=1)
    last = F.conv2d(first.clamp(min=0), module.conv.weight, module.conv.bias, padding=1) + picture
    signal = torch.zeros_like(last).flatten(1)
    signal[:, 200] = 1
    signal = signal.view_as(last) * (last > 0)
    back = F.conv_transpose2d(signal, module.conv.weight, padding=1)
    wanted = signal + F.conv_transpose2d(back.clamp(min=0) * (first > 0), module.conv.weight, padding=1)
    assert torch.allclose(found.gradient, wanted.detach(), rtol=1e-12, atol=1e-15)


def test_gradient_inside_the_mode_is_refused():
    leaf = torch.ones(3).requires_grad_()
    with SurgeryMode(GUIDED, lambda: ""):
        output = torch.relu(leaf).sum()
        with pytest.raises(SurgeryError, match="leave the SurgeryMode first"):
            torch.autograd.grad(output, leaf, retain_graph=True)
    assert torch.autograd.grad(output, leaf)[0].tolist() == [1, 1, 1]


def test_rules_are_those_of_the_forward(small_net, picture):
    module = small_net(F.relu)
    leaf = picture.clone().requires_grad_()
    with SurgeryMode(GUIDED, lambda: ""):
        guided = module(leaf)
    with SurgeryMode(DECONV, lambda: ""):
        deconv = module(leaf)
    plain = module(leaf)
    one, two, three = (torch.autograd.grad(scores[:, 0].sum(), leaf)[0] for scores in (guided, deconv, plain))
    assert not torch.equal(one, two)
    assert not torch.equal(one, three)
    leaf = picture.clone().requires_grad_()
    assert torch.equal(three, torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)[0])


def test_one_mode_serves_one_pass():
    mode = SurgeryMode(GUIDED, lambda: "")
    with mode:
        pass
    with pytest.raises(SurgeryError, match="one forward pass"), mode:
        pass


def test_an_exception_in_the_forward_leaves_nothing_behind():
    leaf = torch.tensor([-1.0, 2.0]).requires_grad_()
    mode = SurgeryMode(GUIDED, lambda: "")
    with pytest.raises(ZeroDivisionError), mode:
        torch.relu(leaf)
        1 / 0
    assert not mode.active
    (gradient,) = torch.autograd.grad(torch.relu(leaf), leaf, torch.tensor([-1.0, -1.0]))
    assert gradient.tolist() == [0, -1]


def test_two_threads_on_one_module(small_net):
    module = small_net(nn.ReLU(inplace=True), torch.float32)
    pictures = [small_picture(size=24), small_picture(size=20) + 1]

    def guided(picture):
        leaf = picture.clone().requires_grad_()
        with SurgeryMode(GUIDED, lambda: ""):
            scores = module(leaf)
        return torch.autograd.grad(scores[0, 0], leaf)[0]

    def plain(picture):
        leaf = picture.clone().requires_grad_()
        return torch.autograd.grad(module(leaf)[0, 0], leaf)[0]

    jobs = list(zip((guided, plain), pictures, strict=True))
    wanted = [job(picture) for job, picture in jobs]
    start, wrong, done = threading.Barrier(2), [], [0, 0]

    def repeat(which):
        job, picture = jobs[which]
        start.wait()
        for _ in range(40):
            if not torch.equal(job(picture), wanted[which]):
                wrong.append(which)
            done[which] += 1

    threads = [threading.Thread(target=repeat, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, done) == ([], [40, 40])


def test_different_scores_are_a_surgery_error():
    with pytest.raises(SurgeryError, match=r"guided backpropagation differs from the plain one by 0\.5"):
        require_same(torch.ones(3), torch.tensor([1.0, 1.5, 1.0]), GUIDED)


def test_nothing_of_the_module_changes(small_net, picture, ruled):
    module = small_net(nn.ReLU(inplace=True))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flags = [(type(part), part.training, len(part._forward_hooks)) for part in module.modules()]
    ruled(module, picture, GUIDED)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert flags == [(type(part), part.training, len(part._forward_hooks)) for part in module.modules()]
    assert all(parameter.grad is None for parameter in module.parameters())
