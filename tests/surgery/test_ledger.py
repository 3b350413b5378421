"""The account of where relevance went."""

from __future__ import annotations

import pytest
import torch

from xaiwidgets.surgery.ledger import Entry, Ledger, total


def entry(layer, given, handed, bias=0.0, epsilon=0.0, kind="conv", rule="epsilon"):
    numbers = (torch.tensor([value, 10 * value], dtype=torch.float64) for value in (given, handed, bias, epsilon))
    return Entry(layer, kind, rule, *numbers)


def test_what_is_not_accounted_for_was_dropped():
    made = entry("a", 5.0, 3.0, 0.5, 0.25)
    assert made.dropped.tolist() == [1.25, 12.5]


def test_a_receipt_adds_up():
    ledger = Ledger([entry("b", 5.0, 3.0, 0.5, 0.25), entry("a", 3.0, 2.0, 1.0)])
    receipt = ledger.receipt(5.0, 1.5)
    assert receipt == {"start": 5.0, "input": 1.5, "bias": 1.5, "epsilon": 0.25, "dropped": 1.75}
    assert receipt["start"] == sum(receipt[name] for name in ("input", "bias", "epsilon", "dropped"))
    assert ledger.receipt(50.0, 15.0, index=1)["bias"] == 15.0


def test_rows_add_up_what_ran_in_the_same_place():
    ledger = Ledger(
        [entry("b", 5.0, 3.0), entry("a", 3.0, 2.0, 1.0), entry("b", 2.0, 1.0, 0.5), entry("b", 1, 1, rule="flat")]
    )
    rows = ledger.layers()
    assert [(row["layer"], row["rule"]) for row in rows] == [("b", "epsilon"), ("a", "epsilon"), ("b", "flat")]
    assert rows[0] == {
        "layer": "b", "kind": "conv", "rule": "epsilon", "in": 7.0, "out": 4.0, "bias": 0.5, "epsilon": 0.0,
        "dropped": 2.5,
    }  # fmt: skip
    assert ledger.layers(index=1)[1]["in"] == 30.0


def test_totals_are_added_in_double_precision():
    values = torch.full((2, 3, 1000), 0.1, requires_grad=True)
    assert total(values).dtype == torch.float64
    assert total(values)[0].item() == pytest.approx(3000 * float(torch.tensor(0.1)), rel=1e-12)
    assert not total(values).requires_grad
