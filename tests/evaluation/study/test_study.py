"""Orders and sides are balanced, answers survive a reload, and results are what they should be."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable
from xaiwidgets.evaluation.study.answers import AnswerFile, answer_path, read_answers
from xaiwidgets.evaluation.study.outcome import read_csv, study_results
from xaiwidgets.evaluation.study.plan import EQUAL, Study, StudyItem, chance, williams
from xaiwidgets.evaluation.study.reliability import krippendorff_alpha
from xaiwidgets.evaluation.study.simulated import energy, simulated_rater
from xaiwidgets.evaluation.study.store import load_study, save_study

SIDE = 12


def item(number, mode="model", *, group="grad_cam", check=False):
    """Return an item whose right map lies in the object, and whose wrong one beside it."""
    rng = np.random.default_rng([number, 1])
    photo = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[2:6, 2:6] = True
    inside, outside = mask + 0.1 * rng.random((SIDE, SIDE)), ~mask + 0.1 * rng.random((SIDE, SIDE))
    known = {"photo": photo, "group": group, "picture": f"scene {number}", "check": check}
    if mode == "model":
        return StudyItem(maps=(inside, inside if check else outside), masks=(mask,), **known)
    if mode == "class":
        return StudyItem(options=("disk", "cross"), maps=(inside,), masks=(mask, ~mask), **known)
    return StudyItem(options=("disk", "cross", "square", "triangle"), **known)


def study(count=12, mode="model", checks=0, groups=("grad_cam",), seed=0):
    items = [item(number, mode, group=groups[number % len(groups)]) for number in range(count)]
    items += [item(count + number, mode, group="", check=True) for number in range(checks)]
    return Study(mode, tuple(items), seed)


def answered(made, choices, rater=1, path=None):
    found = AnswerFile(made, rater, path)
    for place, choice in enumerate(choices):
        found.give(place, choice, 1.5)
    return found


# -- who scores what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "most", "guess"), [("model", 2.0, 0.0), ("class", 1.0, 0.5)])
def test_a_rater_who_knows_scores_most_and_one_who_guesses_scores_chance(mode, most, guess):
    made = study(12, mode)
    oracle = study_results(made, [simulated_rater(made, "energy")]).overall
    assert oracle.mean > 0.8 * most
    assert oracle.p < 0.001
    assert oracle.chance == guess
    covered = 0
    for seed in range(40):
        random = study_results(made, [simulated_rater(made, "random", seed=seed)]).overall
        covered += random.low <= guess <= random.high
    assert covered >= 33  # 95 % of 40 are 38; bootstrap intervals of twelve items are somewhat too narrow


def test_a_rater_who_always_says_left_scores_chance():
    for mode in ("model", "class"):
        made = study(12, mode, groups=("grad_cam", "lrp"))
        found = study_results(made, [answered(made, [1] * 12)])
        assert [one.mean for one in found.summaries] == [chance(made)] * 3


def test_scores_are_toward_the_better_network_on_either_side():
    made = study(8)
    scores = {trial.turn: [made.score(trial, choice) for choice in range(1, 6)] for trial in made.order()}
    assert scores == {0: [2, 1, 0, -1, -2], 1: [-2, -1, 0, 1, 2]}


@pytest.mark.parametrize("mode", ["class", "recognition"])
def test_the_right_option_counts_wherever_it_stands(mode):
    made = study(8, mode)
    for trial in made.order():
        options = made.items[trial.item].options
        for choice in range(1, len(options) + 1):
            shown = options[(choice - 1 + trial.turn) % len(options)]
            assert made.score(trial, choice) == (shown == "disk")
    assert {trial.turn for trial in made.order()} == set(range(len(options)))


# -- orders and sides -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_each_side_is_shown_equally_often(seed):
    made = study(100, groups=("a", "b", "c"), seed=seed)
    for rater in (1, 2, 7):
        turns = [trial.turn for trial in made.order(rater)]
        assert abs(turns.count(0) - 50) <= 1
        for group in "abc":
            own = [t.turn for t in made.order(rater) if made.items[t.item].group == group]
            assert abs(own.count(0) - len(own) / 2) <= 1
    first, second = ({t.item: t.turn for t in made.order(rater)} for rater in (1, 2))
    assert all(first[number] != second[number] for number in first)


@pytest.mark.parametrize("count", [6, 7])
def test_orders_are_a_latin_square_balanced_for_what_comes_before(count):
    square = williams(count)
    assert (np.sort(square, axis=1) == np.arange(count)).all()
    for column in square.T:
        assert len(set(np.bincount(column, minlength=count))) == 1
    pairs = np.zeros((count, count), int)
    for row in square:
        np.add.at(pairs, (row[:-1], row[1:]), 1)
    assert len(set(pairs[~np.eye(count, dtype=bool)])) == 1
    made = study(count)
    orders = [[t.item for t in made.order(rater)] for rater in range(1, len(square) + 1)]
    assert all(len(set(place)) == count for place in zip(*orders[:count], strict=True)) or count % 2


def test_the_order_depends_on_the_seed_and_the_rater_only():
    assert study().order() == study().order()
    assert study().order() != study(seed=1).order()
    assert study().order(1) != study().order(2)
    assert study().digest == study().digest != study(seed=1).digest


# -- answers that stay ----------------------------------------------------------------------------------------------


def test_answers_and_order_survive_a_reload(tmp_path):
    made = study(6)
    save_study(made, tmp_path / "study.npz")
    path = answer_path(tmp_path, made, 3)
    before = answered(made, [1, 5, 3], rater=3, path=path)
    again = load_study(tmp_path / "study.npz")
    assert again.digest == made.digest
    after = AnswerFile(again, 3, path)
    assert after.answers == before.answers
    assert after.trials == before.trials
    assert after.trial.place == 3
    for place in (3, 4, 5):
        after.give(place, 2, 0.5)
    assert after.done
    assert after.trial is None
    assert [one.rater for one in read_answers(tmp_path, again)] == [3]
    assert study_results(again, read_answers(tmp_path, again)).lines == study_results(made, [after]).lines


def test_a_line_that_was_cut_off_is_asked_again(tmp_path):
    made, path = study(4), tmp_path / "a.jsonl"
    answered(made, [1, 2], path=path)
    path.write_text(path.read_text()[:-9])
    found = AnswerFile(made, 1, path)
    assert len(found.answers) == 1
    found.give(1, 4, 1.0)
    assert [one.choice for one in AnswerFile(made, 1, path).answers] == [1, 4]
    path.write_text('{"stu')
    assert AnswerFile(made, 1, path).answers == []


def test_each_item_is_answered_once_and_only_in_its_turn():
    found = answered(study(4), [1])
    for place in (0, 2, -1, None):
        with pytest.raises(InvalidKnob, match="question 2 is next"):
            found.give(place, 1, 1.0)
    for choice in (0, 6, 1.0, True, "1", None):
        with pytest.raises(InvalidKnob, match="choice must be a whole number from 1 to 5"):
            found.give(1, choice, 1.0)
    for seconds in (-1, math.nan, math.inf, "1"):
        with pytest.raises(InvalidKnob, match="seconds"):
            found.give(1, 1, seconds)
    assert len(found.answers) == 1
    found.give(1, 1, 1e9)
    assert found.answers[1].seconds == 3600


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    made, path = study(4), tmp_path / "a.jsonl"
    answered(made, [1, 2], path=path)
    text = path.read_text()
    for other, rater in ((study(4, seed=1), 1), (made, 2)):
        with pytest.raises(InvalidKnob, match="something else"):
            AnswerFile(other, rater, path)
    lines = text.splitlines()
    line = json.loads(lines[2])
    for change in ({"choice": 9}, {"turn": 1 - line["turn"]}, {"item": "x"}, {"seconds": -1}, {"name": "Ann"}):
        path.write_text("\n".join((*lines[:2], json.dumps({**line, **change}), "")))
        with pytest.raises(InvalidKnob, match="line 3"):
            AnswerFile(made, 1, path)
    path.write_text(text)
    assert path.read_text() == text


def test_nothing_about_the_person_is_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    answered(study(4), [1], path=path)
    head, line = map(json.loads, path.read_text().splitlines())
    assert set(head) == {"study", "mode", "rater", "items"}
    assert set(line) == {"rater", "item", "place", "turn", "choice", "seconds"}


# -- results --------------------------------------------------------------------------------------------------------


def test_results_go_out_and_come_back(tmp_path):
    made = study(6, checks=2, groups=("=cmd", "grad_cam"))
    found = study_results(made, [simulated_rater(made, "random", rater=rater) for rater in (1, 2)])
    found.save(tmp_path / "r.csv")
    assert read_csv(tmp_path / "r.csv") == found.lines
    assert "'=cmd" in found.csv()  # no formula for a spreadsheet
    found.save(tmp_path / "r.json")
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["answers"] == [dataclasses.asdict(line) for line in found.lines]
    assert told["summaries"][-1]["mean"] == found.overall.mean
    assert told["alpha"] == found.alpha
    with pytest.raises(InvalidKnob, match=r"\.csv or \.json"):
        found.save(tmp_path / "r.txt")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidKnob, match="CSV file of answers"):
        read_csv(tmp_path / "bad.csv")


def test_attention_checks_are_not_counted():
    made = study(6, checks=2)
    trials = made.order()
    choices = [EQUAL if made.items[trial.item].check else 1 + 4 * trial.turn for trial in trials]
    found = study_results(made, [answered(made, choices)])
    assert found.attention == {1: 1.0}
    assert (found.overall.items, found.overall.mean) == (6, 2.0)
    found = study_results(made, [answered(made, [1] * 8)])
    assert found.attention == {1: 0.0}


def test_p_values_are_those_of_scipy_and_of_the_closed_form():
    made = study(8, "class")
    right = [(0 - trial.turn) % 2 + 1 for trial in made.order()]
    found = study_results(made, [answered(made, right)]).overall
    assert (found.test, found.p) == ("binomial", pytest.approx(2 / 2**8))
    assert (found.mean, found.low, found.high) == (1, 1, 1)
    model = study(8)
    found = study_results(model, [answered(model, [1 + 4 * trial.turn for trial in model.order()])]).overall
    assert (found.test, found.p) == ("Wilcoxon", pytest.approx(2 / 2**8))
    assert study_results(model, [answered(model, [EQUAL] * 8)]).overall.p == 1
    empty = study_results(model, [AnswerFile(model)]).overall
    assert math.isnan(empty.mean)
    assert math.isnan(empty.p)
    assert "grad_cam" in repr(study_results(model, [AnswerFile(model)]))


def test_alpha_is_that_of_the_published_example():
    n = math.nan
    table = [  # Krippendorff 2011, section C: four observers, twelve units
        [1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
        [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n],
    ]
    assert krippendorff_alpha(table) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(table, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert math.isnan(krippendorff_alpha([[1, 1], [1, 1]]))
    assert math.isnan(krippendorff_alpha([[1, 2, n], [n, n, 3]]))
    with pytest.raises(InvalidKnob, match="nominal or ordinal"):
        krippendorff_alpha(table, "ratio")
    with pytest.raises(InvalidKnob, match="raters, units"):
        krippendorff_alpha([1, 2])


def test_raters_who_agree_have_an_alpha_of_one_whatever_side_they_saw():
    made = study(6)
    one, other = (simulated_rater(made, "energy", rater=rater) for rater in (1, 2))
    weak = AnswerFile(made, 1), AnswerFile(made, 2)
    for file in weak:
        for trial in file.trials:
            file.give(trial.place, (EQUAL, 1 + 4 * trial.turn)[trial.item % 2], 1.0)
    assert study_results(made, weak).alpha == 1
    assert study_results(made, [one, other]).overall.answers == 12
    assert math.isnan(study_results(made, [one]).alpha)
    with pytest.raises(InvalidKnob, match="different raters"):
        study_results(made, [one, one])
    with pytest.raises(InvalidKnob, match="another one"):
        study_results(study(seed=3), [one])


# -- bad input ------------------------------------------------------------------------------------------------------


def test_a_study_that_cannot_be_is_refused():
    good = item(0), item(1)
    for wrong, words in (
        ({"mode": "trust"}, "mode must be one of"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"items": good[:1]}, "items must be 2 to 200"),
        ({"items": (good[0], good[0])}, "must differ"),
        ({"items": (good[0], "b")}, "StudyItem objects"),
        ({"items": (good[0], item(1, "class"))}, "has 2 maps"),
        ({"mode": "class", "items": (item(0, "class"), dataclasses.replace(item(1, "class"), options=("a",)))}, "2 to"),
        ({"items": (item(0, check=True), item(1, check=True))}, "attention checks"),
        ({"items": (good[0], dataclasses.replace(good[1], check=True))}, "must differ, and be the same"),
    ):
        with pytest.raises(InvalidKnob, match=words):
            Study(**{"mode": "model", "items": good, **wrong})
    for rater in (0, 100, True, "1", 1.0):
        with pytest.raises(InvalidKnob, match="rater must be"):
            study().order(rater)


def test_an_item_of_other_shapes_is_refused():
    photo = np.zeros((4, 4, 3), np.uint8)
    for wrong in (
        {"photo": np.zeros((4, 4, 3))},
        {"photo": np.zeros((4, 4), np.uint8)},
        {"photo": photo, "maps": (np.zeros((2, 2)),)},
        {"photo": photo, "maps": (np.full((4, 4), np.nan),)},
        {"photo": photo, "masks": (np.zeros((2, 2), bool),)},
    ):
        with pytest.raises(InvalidImage):
            StudyItem(**wrong)


def test_a_file_that_is_no_study_is_refused(tmp_path):
    path = tmp_path / "s.npz"
    for content in (b"", b"no zip", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(InvalidKnob, match="save_study"):
            load_study(path)
    np.savez(path, told=np.array([{"mode": "model"}], dtype=object))  # a pickle
    with pytest.raises(InvalidKnob, match="save_study"):
        load_study(path)


def test_a_simulated_rater_needs_what_it_judges_by():
    with pytest.raises(InvalidKnob, match="energy, random"):
        simulated_rater(study(), "best")
    with pytest.raises(NotApplicable, match="items with masks"):
        simulated_rater(study(4, "recognition"))
    mask = np.eye(3, dtype=bool)
    assert energy(np.eye(3), mask) == 1
    assert energy(-np.eye(3), mask) == 0
    assert energy(np.ones((3, 3)), mask) == pytest.approx(1 / 3)
