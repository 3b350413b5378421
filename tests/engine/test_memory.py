"""The bytes that a call holds at its peak, against sums by hand."""

from __future__ import annotations

import nets
import torch

import xaiwidgets as xw
from xaiwidgets.engine.memory import Live, peak_of

MIB = 2**20


def mib(count=1):
    return torch.ones(count, 256, 1024)


def test_what_is_dropped_makes_room():
    def run():
        first = mib() + 1  # ones, and the sum: two at once
        del first
        second = mib(2)
        return second * 2  # two and two

    assert peak_of(run) == 4 * MIB


def test_views_and_writing_in_place_take_nothing():
    kept = mib(3)
    assert peak_of(lambda: kept.reshape(-1)[10:].view(-1).add_(1)) == 0
    assert peak_of(lambda: torch.mul(kept, 2, out=kept)) == 0


def test_a_graph_holds_what_its_backward_pass_needs():
    leaf = mib().requires_grad_()

    def run():
        torch.autograd.grad((leaf.exp() * leaf.sin()).sum(), leaf)

    assert 4 * MIB <= peak_of(run) <= 7 * MIB


def test_after_the_call_nothing_is_counted():
    with Live() as live:
        mib(5).sum()
    assert live.now <= 8
    other = mib(7)
    assert live.peak == 5 * MIB + 4
    assert other.numel()


def test_memory_of_a_pass_grows_with_its_batch():
    model = xw.Model(nets.f3(), size=nets.SIZE)
    one = torch.randn(1, *model.input_shape)
    target = model.target(0)
    model.gradient(one, target), model.logits(one)  # the prepared copy is made
    forward, gradient = (
        [peak_of(lambda n=n, run=run: run(one.repeat(n, 1, 1, 1))) for n in (1, 8)]
        for run in (model.logits, lambda images: model.gradient(images, target))
    )
    for few, many in (forward, gradient):
        assert 6 * few < many <= 8.2 * few
    assert gradient[0] > forward[0]
