"""The receipt reads well, and the check says what is wrong."""

from __future__ import annotations

import pytest

from xaiwidgets.errors import NotApplicable
from xaiwidgets.surgery.coverage import Coverage, check, label
from xaiwidgets.surgery.recipes import GUIDED


def test_sentences():
    assert Coverage({"relu6": 33, "conv": 49}, {"relu6": 33}).sentence() == "33 of 33 ReLU6 ruled"
    gates = (("sigmoid gate", "features.4"), ("sigmoid gate", "features.6"))
    assert Coverage({"relu": 31}, {"relu": 31}, gates).sentence() == (
        "31 of 31 ReLU ruled; 2 sigmoid gates as plain gradient at features.4, features.6"
    )
    assert Coverage({"relu": 1}, {"relu": 1}, (("sigmoid gate", "se"),)).sentence() == (
        "1 of 1 ReLU ruled; 1 sigmoid gate as plain gradient at se"
    )
    assert Coverage().sentence() == "no operation ruled"


def test_many_places_are_cut_and_repeated_ones_counted():
    plain = tuple(("silu", f"blocks.{at // 2}") for at in range(20))
    sentence = Coverage({"silu": 20}, {}, plain).sentence()
    assert sentence.startswith("20 SiLU as plain gradient at blocks.0 (×2), blocks.1 (×2)")
    assert sentence.endswith("and 4 more places")


def test_the_error_carries_method_and_alternatives():
    coverage = Coverage({"relu": 1, "silu": 1}, {"relu": 1}, (("silu", "block.act"),))
    with pytest.raises(NotApplicable) as caught:
        check(GUIDED, coverage, "guided_backprop")
    assert caught.value.method == "guided_backprop"
    assert caught.value.found == "the model uses SiLU at block.act"
    assert caught.value.alternatives == ("saliency", "integrated_gradients", "grad_cam")


def test_gates_and_unknown_operations_do_not_refuse():
    check(GUIDED, Coverage({"relu": 1}, {"relu": 1}, (("sigmoid gate", "se"), ("cumsum", ""))), "guided_backprop")


def test_labels():
    assert [label(kind) for kind in ("relu", "sigmoid gate", "layer_norm")] == ["ReLU", "sigmoid gate", "layer norm"]
