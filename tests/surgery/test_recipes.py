"""Recipes are frozen, hashable, loaded without torch, and name rules that exist."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from xaiwidgets.surgery.recipes import DECONV, GUIDED, recipe
from xaiwidgets.surgery.rules import RULES


@pytest.mark.parametrize("made", [GUIDED, DECONV])
def test_named_rules_exist_and_nothing_is_both_ruled_and_refused(made):
    kinds = {kind for kind, _ in made.rules}
    assert {name for _, name in made.rules} <= set(RULES)
    assert not kinds & made.refuses
    assert made.needs <= kinds


def test_equal_recipes_are_one_key():
    one = recipe("r", {"relu": "guided", "relu6": "plain"}, ["relu"])
    two = recipe("r", {"relu6": "plain", "relu": "guided"}, ["relu"])
    assert one == two
    assert len({one, two, GUIDED}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "other"


def test_rule_of():
    assert GUIDED.rule_of("relu6") == "guided"
    assert GUIDED.rule_of("conv") is None


def test_no_torch_is_loaded():
    code = "import sys, xaiwidgets.surgery.recipes, xaiwidgets.surgery; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
