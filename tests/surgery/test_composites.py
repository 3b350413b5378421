"""Composites by name, and tables of rules as text."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.surgery.composites import COMPOSITES, RULE_NAMES, RuleSpec, composite, parse_layers, parse_rule
from xaiwidgets.surgery.relevance import WEIGHTED_RULES


def test_every_name_is_a_rule():
    assert set(WEIGHTED_RULES) == set(RULE_NAMES)
    for rules in COMPOSITES.values():
        assert set(rules) <= {*RULE_NAMES, ""}


@pytest.mark.parametrize("name", COMPOSITES)
def test_numbers_reach_every_rule(name):
    made = composite(name, epsilon=0.5, gamma=2.0, alpha=4.0, bias="ignore", low=(0.0,), high=(1.0,))
    conv, dense, first = COMPOSITES[name]
    assert (made.conv.name, made.dense.name, made.first.name if made.first else "") == (conv, dense, first)
    for spec in filter(None, (made.conv, made.dense, made.first)):
        assert (spec.epsilon, spec.gamma, spec.alpha, spec.bias) == (0.5, 2.0, 4.0, "ignore")
    assert (made.name, made.epsilon, made.bias, made.low, made.high) == (name, 0.5, "ignore", (0.0,), (1.0,))
    assert made.positive == name.startswith("zplus")
    assert made.ends == "plain"
    assert hash(made) == hash(
        composite(name, epsilon=0.5, gamma=2.0, alpha=4.0, bias="ignore", low=(0.0,), high=(1.0,))
    )


LIKE = RuleSpec("epsilon", epsilon=1e-3, gamma=0.5, alpha=3.0, bias="ignore")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("zplus", RuleSpec("zplus", 1e-3, 0.5, 3.0, "ignore")),
        (" gamma( 0.3 ) ", RuleSpec("gamma", 1e-3, 0.3, 3.0, "ignore")),
        ("epsilon(0)", RuleSpec("epsilon", 0.0, 0.5, 3.0, "ignore")),
        ("alpha_beta(1)", RuleSpec("alpha_beta", 1e-3, 0.5, 1.0, "ignore")),
        ("gamma(1e6)", RuleSpec("gamma", 1e-3, 1e6, 3.0, "ignore")),
        ("gamma", RuleSpec("gamma", 1e-3, 0.5, 3.0, "ignore")),
    ],
)
def test_a_rule_as_text(text, wanted):
    assert parse_rule(text, LIKE) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zplos", "one of epsilon, .*Did you mean zplus"),
        ("", "one of epsilon"),
        ("zplus(1)", "zplus takes no number"),
        ("gamma(much)", "at least 0"),
        ("gamma()", "at least 0"),
        ("gamma(-1)", "at least 0"),
        ("gamma(nan)", "at least 0"),
        ("gamma(inf)", "at least 0"),
        ("alpha_beta(0.5)", r"at least 1, as in alpha_beta\(2\)"),
        ("gamma(1", "one of epsilon"),
    ],
)
def test_a_rule_that_is_none(text, message):
    with pytest.raises(InvalidKnob, match=message):
        parse_rule(text, LIKE)


def test_a_table_as_text():
    assert parse_layers("", LIKE) == ()
    assert parse_layers(" , ", LIKE) == ()
    found = parse_layers("features.0 = zbox, features.3=gamma(0.3)", LIKE)
    assert [(layer, rule.name, rule.gamma) for layer, rule in found] == [
        ("features.0", "zbox", 0.5),
        ("features.3", "gamma", 0.3),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("features.0", "layer=rule"), ("=zbox", "layer=rule"), ("a=zbox, a=flat", "each layer once; got 'a' twice")],
)
def test_a_table_that_is_none(text, message):
    with pytest.raises(InvalidKnob, match=message):
        parse_layers(text, LIKE)


def test_labels_tell_the_number():
    assert [RuleSpec(name).label for name in RULE_NAMES] == [
        "epsilon", "gamma(0.25)", "alpha_beta(2)", "zplus", "zbox", "w2", "flat",
    ]  # fmt: skip


def test_no_torch_is_loaded():
    code = "import sys, xaiwidgets.surgery.composites; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
