"""The study as a page: what a person does, what a browser may send, and what nobody may see."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ipywidgets.widgets import widget as registry

import xaiwidgets as xw
from xaiwidgets.apps import humanstudy
from xaiwidgets.apps.humanstudy import HumanStudy
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.evaluation.study.making import Preparation
from xaiwidgets.widgets import question
from xaiwidgets.widgets.closing import tree


def item(number, mode="model"):
    rng = np.random.default_rng(number)
    photo = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
    mask = np.zeros((24, 32), bool)
    mask[4:12, 4:12] = True
    hidden = {"group": "hidden_method", "picture": f"hidden {number}"}
    if mode == "model":
        return xw.StudyItem(photo, ("<b>box</b>",), (mask * 1.0, ~mask * 1.0), (mask,), **hidden)
    if mode == "class":
        return xw.StudyItem(photo, ("disk", "cross"), (mask * 1.0,), (mask, ~mask), **hidden)
    return xw.StudyItem(photo, ("disk", "cross", "square"), **hidden)


def study(mode="model", count=4):
    return xw.Study(mode, tuple(item(number, mode) for number in range(count)), facts={"better": "hidden_network"})


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A test answers faster than a person can."""
    monkeypatch.setattr(question, "SOONEST", 0.0)
    monkeypatch.setattr(question, "HELD", 0.0)


@pytest.fixture
def make(tmp_path):
    made = []

    def maker(given=None, **options):
        made.append(HumanStudy(given, **{"sync": True, "folder": tmp_path, **options}))
        return made[-1]

    yield maker
    for app in made:
        app.close()


def press(app, key):
    app.question.tiles.canvas._handle_custom_msg(
        {"event": "key_down", "key": key, "shift_key": False, "ctrl_key": False, "meta_key": False}, []
    )


def shown(app):
    (one,) = (part for part in app._parts if part.layout.display != "none")
    return one


def choices(app):
    return [one.choice for one in app.file.answers]


def test_all_is_answered_by_keys_and_buttons_and_the_results_are_there(make):
    app = make(study())
    app.start.click()
    assert "Question 1 of 4" in app.place.value
    assert shown(app) is app.question.box
    press(app, "2")
    press(app, "ArrowRight")
    press(app, "ArrowLeft")
    app.question.buttons[2].click()
    assert choices(app) == [2, 5, 1, 3]
    assert shown(app) is app.ending
    assert "hidden_method" in app.results_view.value
    assert "hidden_network" in app.results_view.value
    assert "download='study.csv'" in app.results_view.value
    found = app.results()
    assert found.overall.mean == np.mean([line.score for line in found.lines])
    assert all(line.seconds < 60 for line in found.lines)


@pytest.mark.parametrize("mode", ["class", "recognition"])
def test_options_stand_where_their_keys_are(make, mode):
    app = make(study(mode))
    app.start.click()
    while app.file.trial is not None:
        names = [b.description.split("   ")[1] for b in app.question.buttons if b.layout.display != "none"]
        assert sorted(names) == sorted(app.study.items[0].options)
        press(app, str(names.index("disk") + 1))
    assert app.results().overall.mean == 1


def test_a_new_page_goes_on_where_the_rater_was(make):
    made = study()
    app = make(made)
    app.start.click()
    press(app, "1")
    press(app, "2")
    left = app.file.trials
    app.close()
    again = make(made)
    assert "has answered 2 of 4" in again.resume.value
    assert again.start.description == "Go on"
    again.start.click()
    assert again.file.trials == left
    assert choices(again) == [1, 2]
    assert "Question 3 of 4" in again.place.value
    press(again, "3")
    press(again, "4")
    assert make(made).start.description == "Show results"


def test_the_next_rater_sees_the_other_side(make):
    app = make(study())
    app.start.click()
    first = {trial.item: trial.turn for trial in app.file.trials}
    for _ in range(4):
        press(app, "1")
    app.again.click()
    assert app.rater.value == 2
    assert shown(app) is app.welcome
    app.start.click()
    assert all(first[trial.item] != trial.turn for trial in app.file.trials)
    for _ in range(4):
        press(app, "1")
    assert app.results().overall.answers == 8
    assert "alpha of 2 raters" in app.results_view.value


def test_nothing_that_is_sent_tells_whose_map_it_is(make):
    app = make(study())
    app.start.click()
    while app.file.trial is not None:
        states = json.dumps([widget.get_state() for widget in tree(app)], default=str)
        for word in (
            "hidden_",
            "hidden 0",
            "hidden 3",
            '"better',
            app.study.items[app.file.trial.item].key,
            app.study.digest,
        ):
            assert word not in states
        assert "<b>box" not in app.question.asked.value
        press(app, "3")


def test_the_pictures_are_those_of_the_trial(make):
    made = study()
    for trial in made.order():
        left, photo, right = question.shown(made, made.items[trial.item], trial)
        plain = np.abs(left.astype(int) - photo).sum((1, 2)), np.abs(right.astype(int) - photo).sum((1, 2))
        assert left.shape == photo.shape == right.shape == (448, 597, 3)
        inside = [np.abs(one[80:220, 80:220].astype(int) - photo[80:220, 80:220]).sum() for one in (left, right)]
        assert (inside[0] > inside[1]) == (trial.turn == 0)  # the better map lies on the object
        assert all(len(rows) == 448 for rows in plain)


@pytest.mark.parametrize("key", ["0", "6", "9", "x", "", "Enter", "ArrowUp", "11", "１", "-1"])
def test_other_keys_answer_nothing(make, key):
    app = make(study())
    app.start.click()
    press(app, key)
    assert choices(app) == []


def test_a_held_or_a_double_key_answers_once(make, monkeypatch):
    app = make(study())
    app.start.click()
    monkeypatch.setattr(question, "HELD", 30.0)
    press(app, "1")
    for _ in range(20):
        press(app, "1")
    assert choices(app) == [1]
    monkeypatch.setattr(question, "SOONEST", 30.0)
    app.question.buttons[0].click()
    assert choices(app) == [1]


def test_what_a_browser_sends_does_no_harm(make, send):
    app = make(study("class"))
    send(app.rater, max=10**6, value=10**6)
    assert app.start.description in ("Start", "Go on")
    app.start.click()
    assert app.file.rater == 99
    app.question.buttons[4].click()  # there are two answers only
    press(app, "5")
    assert choices(app) == []
    send(app.mode, index=2)
    app.question.buttons[0].click()
    assert choices(app) == [1]
    assert app.study.mode == "class"


def test_two_pages_of_one_rater_do_not_mix(make):
    made = study()
    one, other = make(made), make(made)
    one.start.click()
    other.start.click()
    press(one, "1")
    press(other, "5")
    assert choices(other) == []
    assert "another page" in other.status.line.value
    assert choices(one) == [1]


def test_answers_that_cannot_be_kept_are_said(make, tmp_path):
    made = study()
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    app = make(made, folder=blocked / "inside")
    app.start.click()
    press(app, "1")
    assert "xai-error" in app.status.line.value
    assert choices(app) == []
    (tmp_path / f"answers-{made.digest}-01.jsonl").write_text('{"study": "other"}\n')
    app = make(made)
    assert "something else" in app.status.line.value


def test_the_bundled_study_is_made_once_and_can_be_stopped(make, monkeypatch):
    made, stop = [], []

    def steps(mode, **options):
        yield Preparation("Loading", 0.1)
        if stop:
            stop.pop().stop.click()
        yield Preparation("Explaining", 0.5)
        made.append((mode, options))
        yield Preparation("Ready", 1.0, study(mode))

    monkeypatch.setattr(humanstudy, "prepare_study_steps", steps)
    app = make(mode="class", count=4, checks=0)
    stop.append(app)
    app.start.click()
    assert made == []
    assert app.file is None
    assert not app.start.disabled
    app.start.click()
    assert made == [("class", {"count": 4, "checks": 0, "seed": 0})]
    press(app, "1")
    again = make(mode="class", count=4, checks=0)
    assert again.start.description == "Go on"
    again.start.click()
    assert len(made) == 1
    assert choices(again) == [1]


def test_closing_leaves_no_widget(make):
    before = set(registry._instances)
    app = make(study())
    app.start.click()
    app.close()
    assert set(registry._instances) <= before


def test_bad_arguments_are_named(make):
    for wrong, words in (
        ({"given": "model"}, "study must be a Study"),
        ({"mode": "trust"}, "mode must be one of"),
        ({"rater": 0}, "rater must be"),
    ):
        with pytest.raises(InvalidKnob, match=words):
            make(**wrong)
    assert xw.HumanStudy is HumanStudy
