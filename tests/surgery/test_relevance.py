"""Each relevance rule against its definition, unit by unit, on every sort of weighted operation."""

from __future__ import annotations

import numpy as np
import pytest
import slow_relevance as slow
import torch
from torch.nn import functional

from xaiwidgets.surgery.composites import RULE_NAMES, Composite, RuleSpec
from xaiwidgets.surgery.mode import SurgeryMode
from xaiwidgets.surgery.propagation import RelevancePolicy
from xaiwidgets.surgery.relevance import stabilized


def randn(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def through(call, values, relevance, spec, **fields):
    """Send relevance back through one operation; return what arrives and the ledger's one entry."""
    low, high = fields.pop("low", ()), fields.pop("high", ())
    policy = RelevancePolicy(Composite("test", conv=spec, dense=spec, low=low, high=high, **fields))
    leaf = values.clone().requires_grad_()
    with SurgeryMode(policy, lambda: "here") as mode:
        mode.start(leaf)
        output = call(leaf)
    assert mode.coverage.refused == ()
    (found,) = torch.autograd.grad(output, leaf, relevance)
    (entry,) = policy.ledger.entries
    return found, entry


CALLS = {
    "conv": (lambda x, w, b: functional.conv2d(x, w, b, padding=1), (2, 5, 4), (3, 2, 3, 3)),
    "strided": (lambda x, w, b: functional.conv2d(x, w, b, stride=2, padding=(1, 0)), (2, 5, 4), (3, 2, 3, 3)),
    "same": (lambda x, w, b: functional.conv2d(x, w, b, padding="same", dilation=2), (2, 5, 4), (3, 2, 3, 3)),
    "grouped": (lambda x, w, b: functional.conv2d(x, w, b, groups=2), (4, 4, 4), (6, 2, 2, 2)),
    "depthwise": (lambda x, w, b: functional.conv2d(x, w, b, padding=1, groups=3), (3, 4, 4), (3, 1, 3, 3)),
    "conv1d": (lambda x, w, b: functional.conv1d(x, w, b, padding=2), (2, 7), (3, 2, 3)),
    "transposed": (lambda x, w, b: functional.conv_transpose2d(x, w, b, stride=2), (2, 3, 3), (2, 3, 2, 2)),
    "linear": (functional.linear, (6,), (4, 6)),
    "rows": (functional.linear, (3, 6), (4, 6)),
    "addmm": (lambda x, w, b: torch.addmm(b, x, w.T, beta=1.0), (6,), (4, 6)),
}
#: Which dimension of the weight counts the outputs.
FIRST = {"transposed": 1}


@pytest.mark.parametrize("signed", [False, True], ids=["positive", "signed"])
@pytest.mark.parametrize("bias", ["keep", "ignore"])
@pytest.mark.parametrize(
    ("name", "rule"),
    # the bounds of zbox are those of a picture's channels
    [(name, rule) for name in CALLS for rule in RULE_NAMES if rule != "zbox" or len(CALLS[name][1]) == 3],
)
def test_a_rule_is_its_definition(name, rule, bias, signed):
    call, shape, weight_shape = CALLS[name]
    weight, shift = randn(*weight_shape), randn(weight_shape[FIRST.get(name, 0)], seed=1)
    inputs = randn(2, *shape, seed=2)
    inputs = inputs if signed else inputs.abs() * (inputs > -0.5)  # zeros among them, as after a ReLU
    relevance = randn(*call(inputs, weight, shift).shape, seed=3)
    box = {"low": (-2.0,) * shape[0], "high": (2.5,) * shape[0]} if rule == "zbox" else {}
    spec = RuleSpec(rule, epsilon=1e-3, gamma=0.4, alpha=3.0, bias=bias)
    found, entry = through(lambda x: call(x, weight, shift), inputs, relevance, spec, **box)
    weights, made = slow.matrix(lambda x: call(x, weight, None) if name != "addmm" else x @ weight.T, shape)
    biases = (call(inputs, weight, shift) - call(inputs, weight, 0 * shift))[0].numpy().ravel()
    assert made == tuple(relevance.shape[1:])
    for picture in range(2):
        wanted, taken, lost = slow.send(
            rule, weights, biases, inputs[picture].numpy().ravel(), relevance[picture].numpy().ravel(), epsilon=1e-3,
            gamma=0.4, alpha=3.0, keep=bias == "keep", low=-2.0, high=2.5,
        )  # fmt: skip
        np.testing.assert_allclose(found[picture].numpy().ravel(), wanted, rtol=1e-9, atol=1e-11)
        assert float(entry.bias[picture]) == pytest.approx(taken, rel=1e-9, abs=1e-11)
        assert float(entry.epsilon[picture]) == pytest.approx(lost, rel=1e-9, abs=1e-11)
        assert float(entry.given[picture]) == pytest.approx(relevance[picture].sum().item())
        assert float(entry.handed[picture]) == pytest.approx(wanted.sum(), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("rule", RULE_NAMES)
def test_without_biases_relevance_is_conserved(rule):
    """Alpha-beta, too, for any alpha, where each unit has contributions of both signs."""
    inputs, weight, shift = randn(2, 3, 5, 5, seed=2).abs(), randn(4, 3, 3, 3), randn(4, seed=1)
    relevance = randn(2, 4, 5, 5, seed=3)
    spec = RuleSpec(rule, epsilon=0.0, alpha=3.5, bias="ignore")
    box = {"low": (-2.0,) * 3, "high": (2.5,) * 3} if rule == "zbox" else {}
    found, entry = through(lambda x: functional.conv2d(x, weight, shift, padding=1), inputs, relevance, spec, **box)
    np.testing.assert_allclose(found.sum((1, 2, 3)), relevance.sum((1, 2, 3)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(entry.dropped, 0, atol=1e-9)


@pytest.mark.parametrize("name", ["zplus", "w2", "flat", "zbox"])
def test_relevance_stays_positive(name):
    inputs, weight = randn(1, 3, 5, 5, seed=2).clamp(-2, 2), randn(4, 3, 3, 3)
    box = {"low": (-2.0,) * 3, "high": (2.0,) * 3} if name == "zbox" else {}
    relevance = randn(1, 4, 3, 3, seed=3).abs()
    found, _ = through(lambda x: functional.conv2d(x, weight), inputs, relevance, RuleSpec(name), **box)
    assert (found >= 0).all()
    assert found.any()


def test_equal_rules_under_other_names():
    """X11: alpha 1 is zplus, gamma 0 is epsilon, and a large gamma is zplus where inputs are positive."""
    inputs, weight, shift = randn(1, 3, 5, 5, seed=2), randn(4, 3, 3, 3), randn(4, seed=1)
    relevance = randn(1, 4, 3, 3, seed=3)

    def run(spec, values, start=relevance):
        return through(lambda x: functional.conv2d(x, weight, shift), values, start, spec)[0]

    assert torch.equal(run(RuleSpec("alpha_beta", alpha=1.0), inputs), run(RuleSpec("zplus"), inputs))
    torch.testing.assert_close(
        run(RuleSpec("gamma", gamma=0.0), inputs), run(RuleSpec("epsilon"), inputs), rtol=1e-12, atol=1e-14
    )
    above = functional.conv2d(inputs.abs(), weight, shift) > 0  # units below zero follow the negative contributions
    start = torch.where(above, relevance, 0.0)
    many, plus = (run(s, inputs.abs(), start) for s in (RuleSpec("gamma", gamma=1e6), RuleSpec("zplus")))
    assert (many - plus).abs().max() <= 1e-3 * plus.abs().max()
    assert (many - plus).abs().max() > 0


def test_a_linear_model_in_closed_form():
    """Epsilon to 0: the bias keeps its share, w·x is left; ignored, all of the score is shared."""
    x, weight, shift = randn(1, 6, seed=2), randn(1, 6), torch.tensor([0.7], dtype=torch.float64)
    score = functional.linear(x, weight, shift)
    keep, ignore = (
        through(lambda v: functional.linear(v, weight, shift), x, score, RuleSpec(epsilon=0.0, bias=bias))[0]
        for bias in ("keep", "ignore")
    )
    torch.testing.assert_close(keep, x * weight, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(ignore, x * weight * score / (score - 0.7), rtol=1e-12, atol=1e-14)


def test_a_unit_with_nothing_to_share_drops_its_relevance():
    for epsilon in (0.0, 1e-6):
        found, entry = through(
            lambda x: functional.linear(x, torch.ones(1, 3).double()), torch.zeros(1, 3).double(),
            torch.full((1, 1), 2.0).double(), RuleSpec(epsilon=epsilon),
        )  # fmt: skip
        assert not found.any()
        assert float(entry.dropped) == 2.0


def test_division_by_zero_gives_zero():
    one, denominators = torch.ones(3), torch.tensor([0.0, -2.0, 4.0])
    assert stabilized(one, denominators, 0.0).tolist() == [0.0, -0.5, 0.25]
    np.testing.assert_allclose(stabilized(one, denominators, 0.5), [2.0, -0.4, 1 / 4.5])


def test_bounds_are_needed_for_the_box():
    from xaiwidgets.surgery.relevance import Case, zbox

    with pytest.raises(ValueError, match="needs the bounds"):
        zbox(Case(None, torch.ones(1), torch.ones(1), torch.ones(1), RuleSpec("zbox")))
