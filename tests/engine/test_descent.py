"""Steps down a slope: PyTorch's own, and their formula."""

from __future__ import annotations

import torch

from xaiwidgets.engine.descent import Adam, Momentum


def slopes(count=6):
    return torch.randn((count, 7), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_adam_is_torchs():
    ours, theirs = torch.zeros(7, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)
    adam, reference = Adam(ours, 1e-5), torch.optim.Adam([theirs], lr=0.1, eps=1e-5)
    for number, slope in enumerate(slopes()):
        for group in reference.param_groups:
            group["lr"] = 0.1 if number < 3 else 0.02  # the step size may be moved on the way
        theirs.grad = slope
        reference.step()
        ours = ours + adam.step(slope, 0.1 if number < 3 else 0.02)
        torch.testing.assert_close(ours, theirs)


def test_slopes_of_rounding_do_not_move():
    adam = Adam(torch.zeros(1), 1e-5)
    assert abs(float(adam.step(torch.tensor([1e-9]), 0.1))) < 1e-4


def test_momentum_is_a_running_mean():
    descent, mean = Momentum(torch.zeros(7), 0.9), torch.zeros(7, dtype=torch.float64)
    for slope in slopes():
        mean = 0.9 * mean + 0.1 * slope
        torch.testing.assert_close(descent.step(slope, 0.5), -0.5 * mean)
