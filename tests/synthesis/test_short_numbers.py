"""Networks with float16 or bfloat16 weights: what is made for them is kept in float32, saved, and goes on."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.core.cards import resolve

METHODS = {
    "adversarial_fgsm": {"iterations": 4},
    "adversarial_lbfgs": {"bisections": 1, "passes": 5},
    "fooling_gradient": {"iterations": 4},
    "multifaceted_visualization": {"pictures": "photos", "crops": 2, "used": 32, "facets": 2, "iterations": 2},
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_saved_and_goes_on(conv_net, method, dtype):
    short = xw.Model(copy.deepcopy(conv_net.module).to(dtype), size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    photo = np.random.default_rng(0).random((16, 16, 3), np.float32)
    made = resolve(method, **METHODS[method])
    whole = list(xw.synthesize_steps(short, made, target=1, image=photo))
    assert all(a is None or a.dtype in (np.float32, np.int64) for a in whole[-1].state.arrays.values())
    assert all(np.isfinite(value) for value in whole[-1].terms.values())
    rest = list(xw.synthesize_steps(short, made.resume(whole[1].state), target=1, image=photo))
    assert len(rest) == len(whole) - 2 and np.array_equal(rest[-1].image, whole[-1].image)
