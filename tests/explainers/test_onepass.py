"""What explainers share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.errors import NotApplicable
from xaiwidgets.explainers.onepass import OnePass, Raw, ruled_gradient, size_of, to_numpy
from xaiwidgets.surgery.recipes import GUIDED


class Doubled(OnePass):
    def raw(self, model, images, target):
        return Raw(2 * images, model.scores(images, target), ("a note",), "a layer")


def test_one_result_holds_what_raw_gave(net, wrap, picture):
    model = wrap(net())
    image, target = picture(model), model.target(2)
    (result,) = Doubled().steps(model, image, target)
    np.testing.assert_allclose(result.values, 2 * image[0].float().numpy())
    assert result.score == pytest.approx(float(model.scores(image, target)[0]))
    assert (result.notes, result.layer, result.size, result.progress) == (("a note",), "a layer", (12, 14), 1.0)
    assert (result.unit, result.reduction, result.signed) == ("logit per unit of input", "sum", True)


def test_without_raw_it_is_no_method(net, wrap, picture):
    model = wrap(net())
    with pytest.raises(NotImplementedError):
        next(OnePass().steps(model, picture(model), model.target(0)))


def test_arrays_are_the_first_of_a_batch_in_float32():
    values = torch.arange(24, dtype=torch.float64).reshape(2, 3, 2, 2).requires_grad_()
    array = to_numpy(values.permute(0, 1, 3, 2))
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, values[0].detach().numpy().swapaxes(1, 2))
    assert size_of(values) == (2, 2)


def test_rules_come_with_a_receipt_or_an_error(net, linear, wrap, picture):
    model = wrap(net("functional"))
    found, receipt = ruled_gradient("some_method", model, picture(model), model.target(0), GUIDED)
    assert found.input.shape == (1, 3, 12, 14)
    assert receipt.startswith("2 of 2 ReLU ruled")
    flat = wrap(linear(5, 6)[0], (5, 6))
    with pytest.raises(NotApplicable, match="some_method needs at least one"):
        ruled_gradient("some_method", flat, picture(flat), flat.target(0), GUIDED)
