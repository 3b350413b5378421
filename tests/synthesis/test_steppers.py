"""Steps up a slope: the same as those of PyTorch's optimizers."""

from __future__ import annotations

import pytest
import torch

from xaiwidgets.synthesis import steppers


@pytest.mark.parametrize("name", ["Adam", "NAdam"])
def test_steps_are_those_of_pytorch(name):
    start = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs, mine = start.clone().requires_grad_(), start.clone()
    optimizer = getattr(torch.optim, name)([theirs], lr=0.05)
    mean = square = torch.zeros_like(mine)
    for count in range(1, 40):
        optimizer.zero_grad()
        ((theirs - 1) ** 4).sum().backward()
        optimizer.step()
        slope = -4 * (mine - 1) ** 3
        mean, square = steppers.moments(mean, square, slope)
        if name == "Adam":
            mine = mine + steppers.adam(mean, square, count, 0.05)
        else:
            mine = mine + steppers.nadam(mean, square, slope, count, 0.05)
    assert torch.allclose(mine, theirs.detach(), rtol=1e-9)
