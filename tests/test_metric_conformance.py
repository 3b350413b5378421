"""What holds for every metric: progress, range, seeds, cancel, and a network that stays as it was."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from tiny_recipe import tiny

import xaiwidgets as xw
from xaiwidgets.core.metric_cards import metric_cards
from xaiwidgets.core.scores import Score
from xaiwidgets.data.shapes import shapes
from xaiwidgets.model.meter import CURRENT

#: Hyper-parameters that make a run short; ids that are missing run with their defaults.
SMALL: dict[str, dict] = {
    "model_parameter_randomization": {"stages": 2},
    "data_randomization": {"pictures": 2},
    "random_cnn_recovery": {"filters": 32, "side": 24},
    "deletion": {"steps": 16, "draws": 1},
    "explanation_continuity": {"shifts": 4},
    "explanation_fragility": {"steps": 4},
    "infidelity": {"samples": 10},
    "insertion": {"steps": 16, "draws": 1},
    "selectivity": {"patches": 4, "draws": 1},
    "region_perturbation": {"points": 8, "repeats": 1},
    "pixel_flipping": {"steps": 8, "draws": 1},
    "focus": {"mosaics": 2},
    "road": {"levels": "few"},
    "roar": {"levels": "one", "count": 64, "tested": 32, "epochs": 1},
    "kar": {"levels": "one", "count": 64, "tested": 32, "epochs": 1},
    "sensitivity_n": {"sizes": 4, "subsets": 8},
}
#: Metrics that train networks for longer than a test of everything should; their own tests run them.
LONG: set[str] = set()

CARDS = [card for card in metric_cards() if card.id not in LONG]


@functools.cache
def small_recipe():
    """Return the recipe of the shapes with few pictures."""
    made = next(one for one in xw.recipes() if one.id == "shapes")
    sets = {split: shapes(split, 64) for split in ("train", "test")}
    return dataclasses.replace(made, load=lambda split: (sets[split].images, sets[split].labels))


#: What is given as ``data`` to metrics that need it, by id.
DATA: dict[str, object] = {
    "data_randomization": tiny,
    "influence_fragility": lambda: shapes("train", 200).scenes(),
    "roar": small_recipe,
    "kar": small_recipe,
}


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


def steps(card, model, **options):
    scene = shapes("test", 1).scene(0)
    data = DATA.get(card.id)
    made = card.make(**SMALL.get(card.id, {}))
    return xw.evaluate_steps(model, scene, "gradient_x_input", made, data=data() if callable(data) else data, **options)


def state(module):
    return copy.deepcopy(module.state_dict()), module.training, [p.requires_grad for p in module.parameters()]


def same(one, other):
    weights = all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    return weights and one[1:] == other[1:]


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.id)
def test_scores_rise_to_the_whole_and_stay_in_range(card, model):
    before, hooks = state(model.module), len(model.module._forward_hooks)
    scores = [score for score in steps(card, model) if score is not None]
    assert scores, f"{card.id} gave no score"
    assert all(isinstance(score, Score) for score in scores)
    shares = [score.progress for score in scores]
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1
    last = scores[-1]
    assert not math.isnan(last.value) or last.notes, "a number that is not there needs a reason"
    if not math.isnan(last.value):
        assert card.range[0] - 1e-9 <= last.value <= card.range[1] + 1e-9
    assert last.unit
    assert last.metric == card.id
    assert last.provenance.passes[0] >= 0
    assert same(before, state(model.module))
    assert len(model.module._forward_hooks) == hooks
    assert CURRENT.get() is None


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.id)
def test_the_same_seed_gives_the_same_score_and_chance_is_left_alone(card, model):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 - the global state is what must not be used
    kept = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, other = ([s for s in steps(card, model, seed=5) if s is not None][-1] for _ in range(2))
    assert one.value == other.value or (math.isnan(one.value) and math.isnan(other.value))
    assert dict(one.controls) == pytest.approx(dict(other.controls), nan_ok=True)
    assert torch.equal(torch.get_rng_state(), kept[0])
    assert np.array_equal(np.random.get_state()[1], kept[1])  # noqa: NPY002


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.id)
def test_a_cancel_leaves_nothing_behind(card, model):
    before = state(model.module)
    running = steps(card, model)
    next(running)
    running.close()
    assert CURRENT.get() is None
    assert torch.is_grad_enabled()
    assert same(before, state(model.module))


GIVEN = {"truth", "pictures", "labels", "recipe", "models"}


@pytest.mark.parametrize("card", [c for c in metric_cards() if GIVEN & set(c.needs)], ids=lambda c: c.id)
def test_what_is_needed_is_asked_for(card, model):
    with pytest.raises(xw.errors.NotApplicable, match=card.id):
        next(xw.evaluate_steps(model, np.full((48, 48, 3), 0.5), "saliency", card.make()))
