"""Recipes are frozen, hashable, loaded without torch, and name rules that exist."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from xaiwidgets.surgery.recipes import DECONV, GUIDED, desalinet, recipe
from xaiwidgets.surgery.rules import RULES

FAMILY = [
    desalinet(relu_mask=mask, switches=switches, rectify=rectify)
    for mask in (True, False)
    for switches in (True, False)
    for rectify in (True, False)
]


@pytest.mark.parametrize("made", [GUIDED, DECONV, *FAMILY])
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


def test_the_family_has_eight_members():
    assert len(set(FAMILY)) == 8
    assert desalinet() == FAMILY[0]
    assert FAMILY[0].rule_of("relu") == GUIDED.rule_of("relu")
    assert desalinet(relu_mask=False).rule_of("relu") == DECONV.rule_of("relu")
    assert desalinet().rule_of("max_pool") is None
    assert desalinet(switches=False).rule_of("max_pool") == "center"


def test_rule_of():
    assert GUIDED.rule_of("relu6") == "guided"
    assert GUIDED.rule_of("conv") is None


def test_no_torch_is_loaded():
    code = "import sys, xaiwidgets.surgery.recipes, xaiwidgets.surgery; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
