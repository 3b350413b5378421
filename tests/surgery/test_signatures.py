"""The table of functions is consistent with itself and with torch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.surgery.signatures import SIGNATURES, TORCH_BATCH_NORM


def test_data_are_arguments():
    for name, signature in SIGNATURES.items():
        assert set(signature.data) <= set(signature.arguments), name
        assert signature.data, name


@pytest.mark.parametrize(
    "name", ["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "interpolate", "elu", "hardtanh"]
)
def test_argument_order_is_that_of_the_functional(name):
    picture = torch.rand(1, 2, 8, 8)
    given = {
        "conv2d": (picture, torch.rand(2, 1, 3, 3), None, 2, 1, 1, 2),
        "conv_transpose2d": (picture, torch.rand(2, 1, 3, 3), None, 2, 1, 1, 2, 1),
        "max_pool2d": (picture, 3, 2, 1, 1, True, False),
        "avg_pool2d": (picture, 3, 2, 1, True, False, 4),
        "interpolate": (picture, (16, 16), None, "bilinear", False),
        "elu": (picture, 0.5, False),
        "hardtanh": (picture, -2.0, 3.0, False),
    }[name]
    function = getattr(F, name)
    named = dict(zip(SIGNATURES[name].arguments, given, strict=False))
    assert torch.equal(function(*given), function(**named))


def test_torch_batch_norm_order():
    given = dict(
        zip(
            TORCH_BATCH_NORM.arguments,
            (torch.rand(1, 2, 3, 3), *(torch.rand(2) for _ in range(4)), False, 0.1, 1e-3, False),
            strict=True,
        )
    )
    wanted = F.batch_norm(
        given["input"], given["running_mean"], given["running_var"], given["weight"], given["bias"], eps=1e-3
    )
    assert torch.allclose(torch.batch_norm(*given.values()), wanted)
