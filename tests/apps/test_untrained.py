"""Methods that go through a network which was not trained yet: an empty place and what to do, and nothing stale."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import xaiwidgets as xw
from xaiwidgets.apps.synthesislab import SynthesisLab
from xaiwidgets.errors import NotApplicable, NotTrained, XaiError
from xaiwidgets.learned import store
from xaiwidgets.studio.knowledge import VIEW


@pytest.fixture
def make_app(digits, monkeypatch):
    """Return a maker of laboratories in a process where nothing was trained."""
    monkeypatch.setattr(store, "_KEPT", {})
    made = []

    def make(model=None, target="3", method="activation_maximization", **options):
        made.append(SynthesisLab(model or digits, target, method, sync=True, autostart=False, **options))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app):
    """A laboratory with the picture and the curves of a maximization."""
    made = make_app()
    made.step.click()
    assert made.lane.shown is not None
    assert "logit" in made.lane.view.curve.value
    return made


def assert_nothing_of_another_run(app):
    view = app.lane.view
    assert app.lane.shown is None
    assert app.run.result is None
    assert app.run.state == "ready"
    assert (view.curve.value, view.terms.value) == ("", "")
    assert view.twin.value == "<div class='xai-twin'>&nbsp;</div>"
    assert view.exhibits.count == 0
    assert "no step yet" in app.scrubber.words.value


def assert_not_red(app):
    assert app.status._kind == "idle"
    assert "xai-error" not in app.status.line.value
    assert "train_decoder" not in app.status.line.value


@pytest.mark.parametrize("method, words", [("learned_inversion", "Train a decoder"), ("dgn_am", "Train a generator")])
def test_choosing_it_empties_the_place_and_points_to_the_panel(app, digits, method, words):
    app.picker._chosen(method)
    assert_nothing_of_another_run(app)
    assert_not_red(app)
    assert "needs a network that was trained for this one" in app.status.line.value
    told = app.lane.view.words
    assert (f"{words} in the panel at the right." in told.value, told.layout.display) == (True, "")
    assert words in app.status.line.value
    assert app.training.box.layout.display == ""


def test_a_method_about_a_photo_shows_it_and_another_one_shows_a_sheet(app, digits):
    app.picker._chosen("learned_inversion")
    pixels = (digits.preprocessing.pixels(app.album.get("coffee")) * 255 + 0.5).astype(np.uint8)
    picture = Image.fromarray(np.repeat(pixels, 3, axis=2)).resize((VIEW, VIEW), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(app.lane.view.stage._pixels, np.asarray(picture))
    assert app.lane.view._canvas.layout.display == ""
    app.picker._chosen("dgn_am")
    assert app.lane.view._canvas.layout.display == "none"
    assert "xai-emptysheet" in app.lane.view.words.value


def test_it_is_filled_when_another_method_begins(app):
    app.picker._chosen("dgn_am")
    app.picker._chosen("activation_maximization")
    assert app.lane.shown.provenance.method == "activation_maximization"
    view = app.lane.view
    assert (view.words.value, view.words.layout.display, view._canvas.layout.display) == ("", "none", "")
    assert "logit" in view.curve.value


def test_start_and_the_buttons_of_files_do_no_harm_while_it_is_empty(app):
    app.picker._chosen("learned_inversion")
    app.start.click()
    assert_nothing_of_another_run(app)
    assert_not_red(app)
    for button in (app.files.snap, app.files.png, app.files.film, app.files.gif, app.files.keep, app.forks, app.step):
        button.click()
        app.contrast.value = not app.contrast.value
    assert app.lane.shown is None
    assert app.files.saved.value == ""
    assert len(app.lanes) == 1


def test_a_fork_keeps_its_picture_while_the_other_is_empty(app):
    app.forks.click()
    first, second = app.lanes
    assert app.lane is second
    app.picker._chosen("dgn_am")
    assert_nothing_of_another_run(app)
    assert first.shown is not None
    assert first.view.words.value == ""
    assert "logit" in first.view.curve.value


def test_a_method_that_fails_for_another_reason_leaves_no_stale_picture_but_says_so_in_red(app, monkeypatch):
    from xaiwidgets.synthesis.class_model_visualization import ClassModelVisualization

    def fails(self, model, start, target):
        raise XaiError("this cannot be <done>.")
        yield

    monkeypatch.setattr(ClassModelVisualization, "steps", fails)
    app.picker._chosen("class_model_visualization")
    assert_nothing_of_another_run(app)
    assert app.status._kind == "error"
    assert "this cannot be &lt;done&gt;." in app.lane.view.words.value


def test_a_question_that_fails_for_the_same_method_leaves_its_run(app):
    shown = app.lane.shown
    app.goal.category.value = "no such class"
    app.start.click()
    assert app.lane.shown is shown
    assert app.lane.view.words.value == ""


def test_a_film_says_whether_this_network_can_be_trained_here(app, make_app):
    app.picker._chosen("training_film")
    assert_not_red(app)
    assert "No bundled training builds digits_gap" in app.lane.view.words.value
    assert "panel" not in app.lane.view.words.value
    assert app.training.button.disabled
    app.picker._chosen("dgn_am")
    assert not app.training.button.disabled
    taught = make_app("shapes_gap", "disk", "training_film")
    taught.step.click()
    assert not taught.training.button.disabled
    assert "Train it in the panel at the right." in taught.lane.view.words.value
    assert_not_red(taught)


def test_from_python_it_is_an_error_that_names_the_function(digits, monkeypatch):
    monkeypatch.setattr(store, "_KEPT", {})
    with pytest.raises(NotTrained, match=r"xaiwidgets\.train_decoder") as found:
        xw.synthesize(digits, "learned_inversion", image="coffee")
    assert isinstance(found.value, NotApplicable)
    with pytest.raises(NotTrained, match=r"xaiwidgets\.train_generator"):
        xw.synthesize(digits, "dgn_am", target="3")
    with pytest.raises(NotTrained, match=r"xaiwidgets\.train_checkpoints"):
        xw.synthesize(digits, "training_film", target="3")
