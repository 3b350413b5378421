from __future__ import annotations

import base64
import html
import io
import json
import threading
from datetime import UTC, datetime
from xml.etree import ElementTree

import ipywidgets as w
import numpy as np
import pytest
import traitlets
from ipywidgets.widgets import widget as registry
from PIL import Image
from test_synthesis_conformance import SMALL
from tiny_synthesizers import registered
from torch import nn

import xaiwidgets as xw
from xaiwidgets.apps.lanes import LARGE_FIRST
from xaiwidgets.apps.synthesislab import METHOD, SynthesisLab
from xaiwidgets.core.cards import card, cards
from xaiwidgets.errors import UnknownMethod
from xaiwidgets.model.model import Model
from xaiwidgets.model.zoo import load_model
from xaiwidgets.studio.knowledge import VIEW
from xaiwidgets.synthesis.presets import PRESETS, PRINTED
from xaiwidgets.widgets.snapshots import MOST

LONG = 120.0
KNOBS = {k.name: k for k in card(METHOD).knobs}
LIVE = {name for name, k in KNOBS.items() if k.live}


@pytest.fixture(scope="module")
def digits():
    return load_model("digits_gap")


@pytest.fixture
def make_app(digits):
    """Return a maker of laboratories; each is closed at the end."""
    made = []

    def make(model=None, target="3", *, sync=True, autostart=False, **options):
        app = SynthesisLab(model or digits, target, sync=sync, autostart=autostart, **options)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app):
    """A laboratory whose run has made one step."""
    made = make_app()
    made.step.click()
    assert (made.run.state, made.run.result.step) == ("paused", 1)
    return made


def browser(widget, **state):
    """Do what a message from a browser does; a value that cannot be is dropped by ipywidgets."""
    try:
        widget.set_state(state)
    except traitlets.TraitError:
        return


def on_screen(app):
    """Return the picture that the canvas holds, uint8 ``(H, W, 3)``."""
    return app.lane.view.stage._pixels


def enlarged(pixels):
    return np.asarray(Image.fromarray(pixels).resize((VIEW, VIEW), Image.Resampling.BICUBIC))


def screen(app, pixels):
    """Return how a picture of any size is enlarged to the canvas."""
    scale = app.lane.side / max(pixels.shape[:2])
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def saved(app):
    """Return (file name, media type, bytes) of the download link."""
    link = ElementTree.fromstring(app.files.saved.value)
    head, _, data = link.get("href").partition(";base64,")
    return link.get("download"), head.removeprefix("data:"), base64.b64decode(data)


def in_domain(app):
    for name, value in app.knobs.items():
        assert KNOBS[name].domain.check(name, value) == value
    for form in (app.form, app.fixed):
        for name, control in form.controls.items():
            assert KNOBS[name].domain.check(name, control.value) == control.value
    return True


# -- a run and its buttons ------------------------------------------------------------------------------------------


def test_it_paints_by_itself(make_app, digits):
    app = make_app(autostart=True)
    assert app.run.state == "done"
    assert app.run.result.step == KNOBS["iterations"].default
    assert digits.target("3").classes == app.run.result.state.target.classes
    assert "3: logit" in app.lane.view.twin.value
    assert "Done: 3, step 128" in app.status.line.value


def test_without_autostart_it_waits(make_app):
    app = make_app()
    assert (app.run.state, app.run.result) == ("ready", None)
    assert app.pause.disabled
    assert (on_screen(app) == 127).all()
    app.start.click()
    assert app.run.state == "done"


def test_a_model_by_name_is_loaded_by_the_worker(make_app):
    app = make_app("digits_gap", sync=False, autostart=True)
    assert app.wait(LONG)
    assert app.run.state == "done"
    assert "digits_gap" in app.model_name.value
    assert "10 classes" in app.model_name.value


def test_the_default_target_of_another_network_is_replaced(make_app):
    app = make_app(target="espresso")
    assert app.goal.category.value == "0"
    app.step.click()
    assert app.run.target == "0"


def test_buttons(make_app, monkeypatch):
    app = make_app(sync=False)
    go, begun = threading.Semaphore(0), threading.Semaphore(0)
    cls = card(METHOD).cls
    plain = cls.steps

    def steps(self, model, start, target):
        for result in plain(self, model, start, target):
            begun.release()
            assert go.acquire(timeout=LONG)
            yield result

    monkeypatch.setattr(cls, "steps", steps)
    go.release(2)
    app.start.click()
    for _ in range(3):
        assert begun.acquire(timeout=LONG)
    assert (app.run.state, app.pause.description, app.pause.disabled) == ("running", "Pause", False)
    app.pause.click()
    assert app.pause.description == "Resume"
    go.release()
    assert app.wait(LONG)
    assert app.run.result.step == 3
    app.step.click()
    go.release()
    assert app.wait(LONG)
    assert app.run.result.step == 4
    app.pause.click()
    assert (app.run.state, app.pause.description) == ("running", "Pause")
    app.step.click()  # of a running one: pause after the step under way, and one more
    go.release(2)
    assert app.wait(LONG)
    assert app.run.state == "paused"
    assert app.run.result.step in (5, 6)
    app.reset.click()
    go.release()
    assert app.wait(LONG)
    assert (app.run.state, app.run.result.step) == ("paused", 1)
    go.release(1000)


def test_a_step_of_a_paused_run_is_one_step_on_the_screen(app):
    for number in range(2, 5):
        app.step.click()
        assert app.run.result.step == number
        assert f"step {number}" in app.status.line.value
        np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(app.run.result.image)))


# -- live knobs and presets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_all_live_knobs_of_the_run(app, name):
    app.form.controls["decay"].widget.value = 0.4
    app.step.click()
    app.presets[name].click()
    app.step.click()
    wanted = dict(PRESETS[name].knobs)
    assert set(wanted) == LIVE
    in_force = app.run.result.state.knobs
    assert {k: in_force[k] for k in LIVE} == pytest.approx(wanted)
    assert {k: app.form.controls[k].value for k in LIVE} == pytest.approx(wanted)
    marked = [key for key, chip in app.presets.items() if "xai-on" in chip._dom_classes]
    assert marked == [name]
    assert app.run.result.step == 3  # the same run
    assert app.status._kind == "idle"


def test_each_method_has_its_own_presets(app):
    def shown():
        return [chip.description for chip in app.preset_chips.children]

    assert shown() == [preset.title for preset in PRESETS.values()]
    app._method_chosen("regularized_optimization")
    assert shown() == [preset.title for preset in PRINTED.values()]
    app.presets["printed_2"].click()
    app.step.click()
    app.step.click()
    knobs = app.run.result.state.knobs
    assert (knobs["decay"], knobs["clip_norm"], knobs["rate"]) == (0.3, 20.0, "constant")
    app.presets["calm"].click()  # of the other method: nothing changes
    assert app.lane.knobs["decay"] == 0.3
    app._method_chosen("class_model_visualization")
    assert app.preset_box.layout.display == "none"


def test_a_preset_whose_steps_were_made_for_another_network_says_so_under_the_chips(app):
    assert app.preset_note.layout.display == "none"
    app._method_chosen("regularized_optimization")
    app.presets["printed_3"].click()
    assert "chosen for CaffeNet" in app.preset_note.value and app.preset_note.layout.display == ""
    app.presets["third"].click()
    assert app.preset_note.value == "" and app.preset_note.layout.display == "none"
    app.presets["printed_3"].click()
    app.form.controls["decay"].widget.value = 0.2
    assert app.preset_note.layout.display == "none", "no preset is marked any more"
    app.presets["printed_3"].click()
    app._method_chosen("activation_maximization")
    assert app.preset_note.layout.display == "none"


def test_moving_a_regularizer_acts_at_the_next_step_and_leaves_a_tick(app):
    app.form.controls["blur_width"].widget.value = 3.0
    assert app.run.result.events == ()
    app.step.click()
    assert app.run.result.events == ((2, "blur_width", 1.5, 3.0),)
    assert "blur_width: 1.5 → 3.0" in app.lane.view.curve.value
    assert not any("xai-on" in chip._dom_classes for chip in app.presets.values())


def test_every_live_knob_can_be_moved_to_both_ends(app):
    for name in sorted(LIVE):
        for value in KNOBS[name].domain.samples(KNOBS[name].default):
            control = app.form.controls[name]
            if isinstance(control.widget, w.SelectionSlider):
                control.widget.value = min((v for _, v in control.widget.options), key=lambda v: abs(v - value))
            else:
                control.widget.value = value
            app.step.click()
            assert app.run.result.state.knobs[name] == pytest.approx(value)
    assert app.run.state == "paused"
    assert app.status._kind == "idle"


def test_a_preset_after_the_end_paints_anew(make_app):
    app = make_app(autostart=True)
    app.presets["none"].click()
    assert app.run.state == "done"
    assert app.run.result.provenance.knobs["momentum"] == 0
    assert app.run.result.events == ()


# -- fixed knobs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 7), ("start", "mean"), ("start", "zero"), ("normalization", "max"), ("iterations", 64)]
)
def test_a_fixed_knob_begins_a_new_run(app, name, value):
    app.step.click()
    app.fixed.controls[name].widget.value = value
    assert app.run.result.provenance.knobs[name] == value
    assert (app.run.state, app.run.result.step) == ("paused", 1)
    assert app.status._kind == "idle"


def test_a_live_knob_after_a_fixed_one_does_not_end_the_run(app):
    app.fixed.controls["seed"].widget.value = 7
    app.form.controls["decay"].widget.value = 0.2
    app.step.click()
    assert (app.run.state, app.run.result.step) == ("paused", 2)
    assert app.run.result.events == ((2, "decay", 0.003, 0.2),)


def test_knobs_moved_in_any_order_while_it_runs_never_end_it(make_app):
    app = make_app(sync=False, autostart=True)
    random = np.random.default_rng(3)
    for _ in range(150):
        if random.random() < 0.3:
            app.fixed.controls["seed"].widget.value = int(random.integers(1000))
        else:
            app.form.controls["decay"].widget.value = float(random.uniform(0, 0.5))
    seed = app.fixed.controls["seed"].value
    assert app.wait(LONG)
    assert app.status._kind == "idle", app.status.line.value
    assert app.run.state == "done"
    assert app.run.result.provenance.knobs["seed"] == seed
    assert app.run.result.state.knobs["decay"] == pytest.approx(app.form.controls["decay"].value)


def test_a_fixed_knob_of_a_running_run_starts_anew_and_goes_on(make_app):
    app = make_app(autostart=True)
    app.fixed.controls["iterations"].widget.value = 32
    assert (app.run.state, app.run.result.step) == ("done", 32)


def test_the_photo_to_start_from(app):
    assert app.photos.layout.display == "none"
    app.fixed.controls["start"].widget.value = "photo"
    assert app.photos.layout.display == ""
    assert app.status._kind == "idle"
    first = app.run.result.image
    key = app.album.keys[1]
    app._photo_chosen(key)
    assert np.abs(app.run.result.image - first).max() > 0.1
    app._photo_chosen("no such photo")
    assert app.lane.image == key
    app.fixed.controls["start"].widget.value = "noise"
    assert app.photos.layout.display == "none"


# -- what is maximized ----------------------------------------------------------------------------------------------


def test_from_a_class_to_a_channel_and_back(app, digits):
    app.goal.kind.value = "unit"
    assert app.run.result.unit == "activation"
    assert app.run.target.startswith(f"{app.goal.layer.value} channel 0")
    app.goal.channel.value = 2
    assert app.run.result.state.target.channel == 2
    app.goal.position.value = "center"
    assert app.run.result.state.target.position == "center"
    app.goal.kind.value = "class"
    assert (app.run.target, app.run.result.unit) == ("3", "logit")
    app.goal.category.value = "8"
    assert app.run.target == "8"
    assert (app.run.state, app.run.result.step) == ("paused", 1)


def test_every_layer_can_be_maximized(app, digits):
    app.goal.kind.value = "unit"
    for _, layer in app.goal.layer.options:
        app.goal.layer.value = layer
        app.goal.channel.value = app.goal.channel.max
        assert app.run.result.state.target.layer == layer
        assert app.status._kind == "idle", app.status.line.value


def test_a_class_that_is_not_there_keeps_the_picture_and_the_app(app):
    before = on_screen(app).copy()
    app.goal.category.value = "<img src=x onerror=alert(1)>"
    assert app.status._kind == "error"
    assert "role='alert'" in app.status.line.value
    assert "<img" not in app.status.line.value
    np.testing.assert_array_equal(on_screen(app), before)
    app.files.png.click()
    assert saved(app)[1] == "image/png"
    app.goal.category.value = "5"
    assert (app.run.target, app.status._kind) == ("5", "idle")


def test_what_is_chosen_while_the_model_loads_is_what_is_painted(digits, make_app):
    gate = threading.Event()
    app = make_app(lambda: gate.wait(LONG) and digits, sync=False, autostart=True)
    app.goal.category.value = "7"
    app.presets["yosinski_3"].click()
    app.form.controls["decay"].widget.value = 0.1
    gate.set()
    assert app.wait(LONG)
    assert app.run.target == "7"
    assert app.run.result.provenance.knobs["step_size"] == PRESETS["yosinski_3"].knobs["step_size"]
    assert app.run.result.provenance.knobs["decay"] == 0.1


def test_an_objective_as_text(app, make_app):
    app.goal.kind.value = "objective"
    assert app.run.target == "3"  # nothing is written yet
    app.goal.text.value = '"3" - 0.5 * logit(8)'
    assert app.run.target == '"3" - 0.5 * "8"'
    assert (app.run.state, app.run.result.step, app.goal.wrong.value) == ("paused", 1, "")
    before = app.run.result
    app.goal.text.value = "<b>3</b> +"
    assert "role='alert'" in app.goal.wrong.value
    assert "<b>" not in app.goal.wrong.value
    assert app.run.result is before
    app.goal.text.value = "logit(3) + dream(features.3)"
    assert (app.goal.wrong.value, app.status._kind) == ("", "idle")
    steps_to(app, 3)
    content = recorded(app)
    assert json.loads(content)["target"] == {"objective": app.run.target}
    again = make_app()
    upload(again, content)
    np.testing.assert_array_equal(again.run.result.image, app.run.result.image)
    assert (again.goal.kind.value, again.goal.text.value) == ("objective", app.run.target)
    again.goal.kind.value = "class"
    assert again.run.target == "3"
    again.goal.kind.value = "objective"
    assert again.run.target == app.run.target


# -- what a browser may send ----------------------------------------------------------------------------------------

HOSTILE = [1e300, -1e300, 10**12, -5, 0.5, 3, None, "nonsense", "", [], {}, True, float("nan"), float("inf"), "photo"]


@pytest.mark.parametrize("name", sorted(KNOBS))
def test_no_message_leaves_the_domain_of_a_knob(app, name):
    form = app.form if name in LIVE else app.fixed
    widget = form.controls[name].widget
    if name == "iterations":
        browser(widget, value=2)
    for value in HOSTILE:
        for state in (
            {"value": value},
            {"max": value, "value": value},
            {"min": value},
            {"index": value},
            {"step": value},
            {"_options_labels": value},
        ):
            if name == "iterations" and isinstance(value, (int, float)) and not isinstance(value, bool):
                continue  # two thousand steps are allowed, and take a while
            browser(widget, **state)
            assert in_domain(app)
    app.presets["calm"].click()
    app.start.click()
    assert app.run.result is not None
    assert app.status._kind == "idle", app.status.line.value


def test_a_number_beyond_all_bounds_is_moved_into_them(app):
    for name, control in app.form.controls.items():
        if not isinstance(control.widget, (w.IntSlider, w.FloatSlider)):
            continue
        browser(control.widget, max=10**9, value=10**9)
        assert control.value == KNOBS[name].domain.high
        assert app.knobs[name] == KNOBS[name].domain.high
        app.step.click()
        assert app.run.result.state.knobs[name] == KNOBS[name].domain.high
    assert app.status._kind == "idle"


def test_labels_of_a_model_are_escaped(make_app):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    model = Model(net, size=8, labels=["<script>alert(1)</script>", "b"], name="<script>alert(2)</script>")
    app = make_app(model, target="<script>alert(1)</script>", autostart=True)
    app.files.snap.click()
    app.files.png.click()
    for place in (
        app.model_name,
        app.lane.view.twin,
        app.lane.view.curve,
        app.status.line,
        app.files.snapshots.box,
        app.files.saved,
    ):
        assert "<script>" not in place.value
    assert "&lt;script&gt;" in app.lane.view.twin.value
    assert "&lt;script&gt;" in app.files.snapshots.box.value


# -- taking it along ------------------------------------------------------------------------------------------------


def test_png_is_what_is_on_screen(app):
    for stretched in (True, False):
        app.contrast.value = stretched
        app.step.click()
        app.files.png.click()
        name, kind, content = saved(app)
        assert (name, kind) == ("3.png", "image/png")
        picture = Image.open(io.BytesIO(content))
        assert picture.size == (48, 48)
        np.testing.assert_array_equal(enlarged(np.asarray(picture)), on_screen(app))
    image = app.run.result.image
    np.testing.assert_array_equal(np.asarray(picture), (image * 255 + 0.5).astype(np.uint8))
    app.form.controls["decay"].widget.value = 0.1
    app.step.click()
    app.files.png.click()
    words = Image.open(io.BytesIO(saved(app)[2])).text["Description"]
    assert words == "activation_maximization of digits_gap: 3, step 4; decay 0.1"


def test_png_and_snapshot_are_of_the_picture_shown_and_not_of_a_newer_one(app):
    shown = app.lane.shown
    np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(shown.image)))
    app.run._due = float("inf")  # the pictures of further steps are held back
    assert app.run._advance()
    assert app.run.result.step == 2
    assert app.lane.shown is shown
    app.files.png.click()
    app.files.snap.click()
    np.testing.assert_array_equal(enlarged(np.asarray(Image.open(io.BytesIO(saved(app)[2])))), on_screen(app))
    assert "3, step 1" in app.files.snapshots.box.value


def test_contrast_is_only_a_view(app):
    image = app.run.result.image.copy()
    strong = on_screen(app).astype(int)
    app.contrast.value = False
    plain = on_screen(app).astype(int)
    assert np.abs(strong - 127.5).mean() > np.abs(plain - 127.5).mean()
    np.testing.assert_array_equal(app.run.result.image, image)
    assert app.run.result.step == 1


def test_film_holds_the_frames(app):
    for _ in range(7):
        app.step.click()
    app.files.film.click()
    name, kind, content = saved(app)
    assert (name, kind) == ("3.webp", "image/webp")
    assert "8 frames" in app.files.saved.value
    film = Image.open(io.BytesIO(content))
    assert film.format == "WEBP"
    assert film.n_frames == 8
    assert film.info["loop"] == 0
    for number, frame in enumerate(app.run.frames()):
        film.seek(number)
        found = np.asarray(film.convert("RGB")).astype(int)
        wanted = app.lane.seen(frame / np.float32(255)).astype(int)
        others = [app.lane.seen(other / np.float32(255)).astype(int) for other in app.run.frames()]
        errors = [np.abs(found - other).mean() for other in others]
        assert int(np.argmin(errors)) == number
        assert np.abs(found - wanted).mean() < 16  # WebP drops detail of color


def test_nothing_to_save_yet(make_app):
    app = make_app()
    for button in (app.files.snap, app.files.png, app.files.film):
        app.status.line.value = ""
        button.click()
        assert "press Start first" in app.status.line.value
    assert app.files.saved.value == ""
    assert len(app.files.snapshots) == 0


def test_snapshots_compare_runs(app):
    for seed in range(MOST + 2):
        app.fixed.controls["seed"].widget.value = seed + 1
        app.form.controls["decay"].widget.value = 0.01 * seed
        app.step.click()
        app.files.snap.click()
    assert len(app.files.snapshots) == MOST
    figures = list(ElementTree.fromstring(app.files.snapshots.box.value).iter("figure"))
    assert figures[-1].get("title") == f"decay {0.01 * (MOST + 1)}, seed {MOST + 2}"
    assert figures[-1].find("figcaption").text.startswith("3, step 2, ")
    link = figures[-1].find("a").get("href")
    picture = Image.open(io.BytesIO(base64.b64decode(link.partition("base64,")[2])))
    np.testing.assert_array_equal(enlarged(np.asarray(picture)), on_screen(app))


# -- words ----------------------------------------------------------------------------------------------------------


def test_screen_readers_are_told_at_rest(make_app):
    app = make_app()
    roles = []
    app.lane.view.twin.observe(lambda change: roles.append((app.run.state, "role='status'" in change["new"])), "value")
    app.start.click()
    assert roles[-1] == ("done", True)
    assert {told for state, told in roles if state == "running"} == {False}


def test_curve_has_the_planned_width(app):
    svg = ElementTree.fromstring(app.lane.view.curve.value).find("svg")
    assert svg.get("aria-label").startswith("logit over 1 of 128 steps")


# -- the end --------------------------------------------------------------------------------------------------------


def test_close_leaves_no_thread_and_no_widget(digits):
    before, threads = set(registry._instances), set(threading.enumerate())
    app = SynthesisLab(digits, "3")
    app.lane.view.stage.show(np.zeros((VIEW, VIEW, 3), np.uint8))
    app.close()
    for thread in set(threading.enumerate()) - threads:
        thread.join(30)  # a canceled timer takes a moment
    assert set(threading.enumerate()) <= threads
    left = [registry._instances[key] for key in set(registry._instances) - before]
    assert left == []


def test_close_keeps_the_header_of_a_larger_app(digits):
    nav = w.ToggleButtons(options=("a", "b"))
    app = SynthesisLab(digits, "3", nav=nav, sync=True, autostart=False)
    app.close()
    assert nav.comm is not None
    nav.close()


# -- all synthesizers -------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny():
    """Two more synthesizers: one asks for a photo only, one for a photo and a target; and one that is refused."""
    with registered() as made:
        yield made


def folded(box):
    return box.layout.display == "none"


def test_the_panels_are_those_that_the_method_asks_for(tiny, make_app):
    app = make_app()
    assert (folded(app.goal.box), folded(app.photos), folded(app.preset_box)) == (False, True, False)
    app.picker._chips["fade_in"].click()
    assert (folded(app.goal.box), folded(app.photos), folded(app.preset_box)) == (True, False, True)
    assert (app.run.state, app.run.result.step) == ("paused", 1)
    app.picker._chips["push"].click()
    assert (folded(app.goal.box), folded(app.photos), folded(app.preset_box)) == (False, False, True)
    assert set(app.form.controls) == {"size"}
    assert set(app.fixed.controls) == {"layer", "norm", "breaks_at", "iterations"}
    assert "Brings" not in app.picker._about.value
    assert "Pushes a photo to a class" in app.picker._about.value


@pytest.fixture(scope="module")
def trained(digits):
    """What some methods go through is there."""
    pictures = np.random.default_rng(0).random((300, 48, 48, 1), dtype=np.float32)
    xw.train_decoder(digits, pictures, epochs=1, name="a decoder for the page")
    xw.train_generator(digits, pictures, epochs=1, name="a generator for the page")
    state = digits.module.state_dict()
    xw.checkpoints(digits, [("early", {k: v / 2 for k, v in state.items() if k.endswith("weight")}), ("late", state)])


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("made", cards("synthesizer"), ids=lambda made: made.id)
def test_every_method_runs_goes_back_forks_and_is_done_again(made, make_app):
    app = make_app(method=made.id)
    app.lane.settings[made.id] = dict(SMALL.get(made.id, {}))
    app.step.click()
    while app.run.state == "paused" and app.run.result.step < 3:
        app.step.click()
    assert app.run.result is not None, app.status.line.value
    assert app.status._kind == "idle", app.status.line.value
    last = app.run.result
    large = last.beside[LARGE_FIRST[made.id] - 1] if made.id in LARGE_FIRST else last
    np.testing.assert_array_equal(on_screen(app), screen(app, app.lane.seen(large.image)))
    content = recorded(app)
    app.scrubber.slider.value = 1
    assert (app.run.result.step, app.status._kind) == (1, "idle"), app.status.line.value
    app.scrubber.slider.value = last.step
    np.testing.assert_array_equal(app.run.result.image, last.image)
    app.forks.click()
    np.testing.assert_array_equal(app.run.result.image, last.image)
    upload(app, content)
    np.testing.assert_array_equal(app.run.result.image, last.image)
    assert "the same picture, bit for bit" in app.files.saved.value


def test_what_a_method_goes_through_is_trained_on_the_page(make_app):
    shapes = load_model("shapes_gap")
    app = make_app(shapes, target="disk", method="training_film")
    assert not folded(app.training.box)
    app.lane.settings["training_film"] = {"iterations": 2, "checkpoints": "no such training"}
    app.start.click()
    assert "no such training" in app.status.line.value
    app.lane.settings["training_film"] = {"iterations": 2}
    app.training.epochs.value = 1
    app.training.button.click()
    assert (app.training.button.description, app.status._kind) == ("Train", "idle"), app.status.line.value
    assert "loss by epoch over 1 of 1 steps" in app.training.curve.value
    assert app.run.result.beside[0].caption.startswith("untrained")
    app.picker._chips["activation_maximization"].click()
    assert folded(app.training.box)


def test_a_training_that_cannot_be(make_app, digits):
    app = make_app(method="training_film")
    app.training.train()
    assert "no bundled training builds digits_gap" in app.status.line.value
    assert app.training.button.description == "Train"


def test_a_training_can_be_stopped(make_app, digits):
    app = make_app(sync=False, method="learned_inversion")
    assert app.wait(LONG)
    app.training.button.click()
    app.training.button.click()
    assert app.wait(LONG)
    assert app.training.button.description == "Train"


def test_a_method_that_can_do_without_a_target_has_none_until_it_is_asked(make_app):
    app = make_app(method="adversarial_fgsm")
    app.lane.settings["adversarial_fgsm"] = {"iterations": 3}
    assert (folded(app.aims), folded(app.goal.box)) == (False, True)
    app.start.click()
    assert app.run.target == "coffee"
    app.aims.value = True
    assert not folded(app.goal.box)
    assert app.run.target == "coffee → 3"
    app.goal.category.value = "5"
    assert app.run.target == "coffee → 5"
    content = recorded(app)
    app.aims.value = False
    assert app.run.target == "coffee"
    upload(app, content)
    assert (app.aims.value, app.run.target) == (True, "coffee → 5")
    app.picker._chips["activation_maximization"].click()
    assert (folded(app.aims), folded(app.goal.box)) == (True, False)


def test_what_a_network_lacks_is_said_beside_the_method(tiny, make_app):
    app = make_app(Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), size=8), target="0")
    chip = app.picker._chips["needs_much"]
    assert chip.disabled
    assert "max-pooling" in chip.tooltip
    assert not app.picker._chips["push"].disabled


def test_layers_of_the_model_are_offered(tiny, make_app, digits):
    app = make_app("digits_gap", method="push")
    offered = [value for _, value in app.fixed.controls["layer"].widget.options]
    assert offered == ["", *(layer.name for layer in digits.layers if layer.spatial)]
    app.fixed.controls["layer"].widget.value = offered[2]
    app.start.click()
    assert app.run.result.provenance.knobs["layer"] == offered[2]


def test_a_method_without_a_target_is_about_its_photo(tiny, make_app):
    app = make_app(method="fade_in", autostart=True)
    assert app.run.state == "done"
    assert app.run.target == "coffee"
    assert app.lane.view.twin.value.startswith("<div class='xai-twin' role='status'>coffee: squared gray levels")
    app._photo_chosen("chelsea")
    assert app.run.target == "chelsea"
    for words in ("fidelity", "depth"):
        assert words in app.lane.view.terms.value
    app.files.png.click()
    assert saved(app)[0] == "chelsea.png"


def test_a_photo_and_a_target(tiny, make_app):
    app = make_app(method="push", autostart=True)
    assert app.run.target == "coffee → 3"
    app.goal.category.value = "5"
    assert app.run.target == "coffee → 5"
    image = app.run.result.image
    plain = np.asarray(
        Image.fromarray((image * 255 + 0.5).astype(np.uint8)).resize((VIEW, VIEW), Image.Resampling.BICUBIC)
    )
    np.testing.assert_array_equal(on_screen(app), plain)  # photos are never stretched


def test_exhibits_are_tiles_and_one_can_be_large(tiny, make_app):
    app = make_app(method="fade_in", autostart=True)
    view, beside = app.lane.view, app.run.result.beside
    assert not folded(view.exhibits.box)
    captions = [f.find("figcaption").text for f in ElementTree.fromstring(view.exhibits.tiles.value)]
    assert captions == [f"layer {k} of 9" for k in range(1, 8)]
    view.exhibits.slider.value = 8
    captions = [f.find("figcaption").text for f in ElementTree.fromstring(view.exhibits.tiles.value)]
    assert captions[-1] == "layer 9 of 9"
    np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(beside[7].image)))
    app.files.png.click()
    picture = Image.open(io.BytesIO(saved(app)[2]))
    assert "step 12 (layer 8 of 9)" in picture.text["Description"]
    np.testing.assert_array_equal(enlarged(np.asarray(picture)), on_screen(app))
    browser(view.exhibits.slider, max=99, value=99)
    assert view.exhibits.large == 9
    app.picker._chips["activation_maximization"].click()
    assert folded(view.exhibits.box)
    np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(app.run.result.image)))


def test_a_picture_that_is_too_faint_for_the_eye_is_shown_stretched_until_another_is_chosen(make_app):
    app = make_app(method="class_model_visualization")
    exhibits = app.lane.view.exhibits
    for begins in (app.start.click, app.start.click):  # the first step has no exhibit yet
        begins()
        stretched, image = app.run.result.beside[0].image, app.run.result.image
        assert (exhibits.large, exhibits.slider.value) == (1, 1)
        np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(stretched)))
    assert "contrast stretched" in app.lane.title
    exhibits.slider.value = 0
    np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(image)))
    app.fork()
    assert [lane.view.exhibits.large for lane in app.lanes] == [0, 0]
    app.start.click()
    assert app.lane.view.exhibits.large == 0
    app.picker._chips["activation_maximization"].click()
    app.picker._chips["class_model_visualization"].click()
    assert app.lane.view.exhibits.large == 1


def test_the_slider_of_exhibits_stands_where_the_large_one_is_with_another_method(tiny, make_app):
    app = make_app(method="fade_in", autostart=True)
    app.lane.view.exhibits.slider.value = 3
    app.start.click()
    assert (app.lane.view.exhibits.large, app.lane.view.exhibits.slider.value) == (3, 3)
    app.picker._chips["class_model_visualization"].click()
    app.start.click()
    app.picker._chips["fade_in"].click()
    app.start.click()
    assert (app.lane.view.exhibits.large, app.lane.view.exhibits.slider.value) == (0, 0)


def test_a_step_that_fails_keeps_the_picture_and_says_why(tiny, make_app):
    app = make_app(method="push")
    app.fixed.controls["breaks_at"].widget.value = 4
    app.start.click()
    assert "this step cannot be made" in app.status.line.value
    assert (app.run.state, app.run.result.step) == ("done", 3)
    np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(app.run.result.image)))
    app.fixed.controls["breaks_at"].widget.value = 0
    assert (app.run.state, app.status._kind, app.run.result.step) == ("done", "idle", 8)


def test_settings_of_a_method_are_there_when_it_is_chosen_again(tiny, make_app):
    app = make_app()
    app.form.controls["decay"].widget.value = 0.4
    app.picker._chips["push"].click()
    app.form.controls["size"].widget.value = 2.0
    app.picker._chips["activation_maximization"].click()
    assert app.form.controls["decay"].value == 0.4
    assert app.run.result.provenance.knobs["decay"] == 0.4
    app.picker._chips["push"].click()
    assert app.run.result.provenance.knobs["size"] == 2.0


def test_an_explainer_is_no_synthesizer(digits):
    with pytest.raises(UnknownMethod, match="method must be one of the synthesizers"):
        SynthesisLab(digits, method="grad_cam")


def test_the_old_name(digits):
    assert xw.Maximizer is xw.SynthesisLab


# -- going back -------------------------------------------------------------------------------------------------------


def steps_to(app, count):
    while app.run.result.step < count:
        app.step.click()


def test_the_slider_follows_and_goes_back(app):
    steps_to(app, 6)
    slider = app.scrubber.slider
    assert (slider.value, slider.max, app.scrubber.last) == (6, 128, 6)
    app.form.controls["decay"].widget.value = 0.3
    steps_to(app, 9)
    app.scrubber.slider.value = 4
    assert (app.run.state, app.run.result.step, app.run.timeline.last) == ("paused", 4, 9)
    assert "4 of 128, 5 later" in app.scrubber.words.value
    assert app.form.controls["decay"].value == 0.003  # as it was
    assert app.knobs["decay"] == 0.003
    assert "logit over 4 of 128 steps" in app.lane.view.curve.value
    np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(app.run.result.image)))
    app.scrubber.slider.value = 8
    assert app.form.controls["decay"].value == 0.3
    app.scrubber.slider.value = 100  # not done yet
    assert app.scrubber.slider.value == app.run.result.step == 9
    app.scrubber.slider.value = 5
    app.step.click()
    assert (app.run.result.step, app.run.timeline.last, app.run.result.events) == (6, 6, ())


def test_hostile_values_of_the_slider(app):
    steps_to(app, 5)
    for value in (*HOSTILE, 2**70):
        for state in ({"value": value}, {"max": value, "value": value}, {"min": value}):
            browser(app.scrubber.slider, **state)
            assert 1 <= app.run.at <= 5
    app.step.click()
    assert app.status._kind == "idle"


def test_keys_on_the_picture(make_app):
    app = make_app(autostart=True)

    def press(key):
        app._key(app.lane, key)

    press("ArrowLeft")
    press("ArrowLeft")
    assert app.run.at == 126
    press("ArrowRight")
    assert app.run.at == 127
    press(" ")
    assert (app.run.state, app.run.result.step) == ("done", 128)
    press("f")
    assert [lane.name for lane in app.lanes] == ["A", "B"]
    press("Tab")


def test_no_slider_before_a_run(make_app):
    app = make_app()
    assert app.scrubber.slider.disabled
    app.scrubber.by(1)
    app.scrubber.slider.value = 2
    assert app.run.result is None


# -- several runs -----------------------------------------------------------------------------------------------------


def test_a_fork_has_its_own_knobs_and_both_are_seen(app, digits):
    steps_to(app, 5)
    app.forks.click()
    first, second = app.lanes
    assert app.lane is second
    assert app.lanes_box.children == (first.view.box, second.view.box)
    assert not folded(first.view.head)
    assert "from A, step 5" in second.view.name.description
    np.testing.assert_array_equal(first.run.result.image, second.run.result.image)
    app.form.controls["blur_width"].widget.value = 4.0
    app.step.click()
    assert (first.run.result.step, second.run.result.step) == (5, 6)
    assert second.run.result.events == ((6, "blur_width", 1.5, 4.0),)
    first.view.name.click()
    assert app.lane is first
    assert app.form.controls["blur_width"].value == 1.5
    app.step.click()
    assert first.run.result.events == ()
    assert app.scrubber.step == 6
    second.view.name.click()
    assert app.form.controls["blur_width"].value == 4.0


def test_the_status_is_that_of_the_run_whose_knobs_are_shown(app):
    steps_to(app, 3)
    app.forks.click()
    steps_to(app, 5)
    assert "step 5" in app.status.line.value
    app.lanes[0].view.name.click()
    assert "step 3" in app.status.line.value
    app.lanes[1].view.name.click()
    app.lanes[1].view.away.click()
    assert "step 3" in app.status.line.value


def test_an_error_is_forgiven_when_something_else_is_asked_for(app):
    upload(app, b"{}")
    assert "xai-error" in app.status.line.value
    app.reset.click()
    assert app.status.line.value.count("xai-error") == 0


def test_a_fork_of_the_past_leaves_the_first_run_at_its_end(app):
    steps_to(app, 9)
    app.scrubber.slider.value = 4
    app.forks.click()
    first, second = app.lanes
    assert (first.run.result.step, second.run.result.step) == (9, 4)
    app.step.click()
    assert (first.run.timeline.last, second.run.timeline.last) == (9, 5)


def test_lanes_have_their_own_target_method_and_photo(tiny, app):
    app.forks.click()
    first, second = app.lanes
    app.goal.category.value = "7"
    assert (first.run.target, second.run.target) == ("3", "7")
    app.picker._chips["fade_in"].click()
    app._photo_chosen("rocket")
    assert (first.run.target, second.run.target) == ("3", "rocket")
    app._take(first)
    assert app.goal.category.value == "3"
    assert (folded(app.goal.box), folded(app.photos)) == (False, True)
    assert set(app.form.controls) == LIVE
    app._take(second)
    assert app.gallery._buttons["rocket"]._dom_classes.count("xai-on") == 1
    assert set(app.form.controls) == {"weight"}


def test_no_more_than_four_and_the_last_one_stays(app):
    for _ in range(4):
        app.forks.click()
    assert [lane.name for lane in app.lanes] == ["A", "B", "C", "D"]
    assert "room for 4 runs" in app.status.line.value
    app.lanes[1].view.away.click()
    assert [lane.name for lane in app.lanes] == ["A", "C", "D"]
    assert app.lane.name == "D"
    app.forks.click()
    assert [lane.name for lane in app.lanes] == ["A", "C", "D", "B"]
    for _ in range(5):
        app.lanes[-1].view.away.click()
    assert [lane.name for lane in app.lanes] == ["A"]
    assert folded(app.lane.view.head)
    app.step.click()
    np.testing.assert_array_equal(on_screen(app), enlarged(app.lane.seen(app.run.result.image)))


def test_nothing_to_fork_yet(make_app):
    app = make_app()
    app.forks.click()
    assert "press Start first" in app.status.line.value
    assert len(app.lanes) == 1


def test_all_runs_at_once(app):
    steps_to(app, 3)
    app.forks.click()
    app.step.click()
    assert [lane.run.result.step for lane in app.lanes] == [3, 4]
    app.together.value = True
    app.step.click()
    assert [lane.run.result.step for lane in app.lanes] == [4, 5]
    app.scrubber.slider.value = 2
    assert [lane.run.result.step for lane in app.lanes] == [2, 2]
    app.pause.click()
    assert [lane.run.state for lane in app.lanes] == ["done", "done"]
    app.reset.click()
    assert [lane.run.result.step for lane in app.lanes] == [1, 1]


def test_forks_of_a_running_run_go_on_on_one_worker(make_app):
    app = make_app(sync=False, autostart=True)
    while app.run.at < 3:
        pass
    app.fork()
    app.fork()
    assert app.wait(LONG)
    assert [lane.run.state for lane in app.lanes] == ["done"] * 3
    for lane in app.lanes[1:]:
        np.testing.assert_array_equal(lane.run.result.image, app.lanes[0].run.result.image)


def test_an_error_of_another_lane_says_whose_it_is(app, monkeypatch, digits):
    app.forks.click()

    def fails(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(digits), "gradient", fails)
    app.lanes[0].run.step()
    assert "Run A: RuntimeError: out of memory" in app.status.line.value


# -- records ----------------------------------------------------------------------------------------------------------


def upload(app, content):
    when = datetime(2026, 1, 1, tzinfo=UTC)
    file = {"name": "run.json", "type": "application/json", "size": len(content), "last_modified": when}
    app.files.load.value = ({**file, "content": content},)


def recorded(app):
    app.files.keep.click()
    _, kind, content = saved(app)
    assert kind == "application/json"
    return content


def test_a_saved_run_is_done_again_to_the_same_picture(make_app):
    app = make_app()
    app.step.click()
    steps_to(app, 4)
    app.form.controls["decay"].widget.value = 0.2
    steps_to(app, 7)
    app.scrubber.slider.value = 6
    app.forks.click()
    app.form.controls["momentum"].widget.value = 0.5
    steps_to(app, 9)
    image, content = app.run.result.image, recorded(app)
    again = make_app(target="8")
    upload(again, content)
    assert again.run.state == "paused"
    np.testing.assert_array_equal(again.run.result.image, image)
    assert "the same picture, bit for bit" in again.files.saved.value
    assert again.goal.category.value == "3"
    assert again.run.target == "3"
    assert (again.form.controls["decay"].value, again.form.controls["momentum"].value) == (0.2, 0.5)
    assert again.files.load.value == ()
    again.pause.click()
    assert again.run.state == "done"
    by_program = xw.replay_synthesis(app.run.model, content)
    np.testing.assert_array_equal(by_program.image, image)


def test_a_record_of_a_unit_and_of_a_photo(tiny, make_app):
    app = make_app()
    app.goal.kind.value = "unit"
    app.goal.channel.value = 2
    steps_to(app, 3)
    content, layer = recorded(app), app.goal.layer.value
    again = make_app(method="fade_in")
    upload(again, content)
    assert (again.goal.kind.value, again.goal.layer.value, again.goal.channel.value) == ("unit", layer, 2)
    np.testing.assert_array_equal(again.run.result.image, app.run.result.image)

    key = app.album.add(np.full((60, 60, 3), 200, np.uint8), "mine")
    app.picker._chips["fade_in"].click()
    app._photo_chosen(key)
    steps_to(app, 4)
    content = recorded(app)
    upload(again, content)
    assert "which is no sample" in again.status.line.value
    again.album.add(np.full((60, 60, 3), 200, np.uint8), "mine")
    upload(again, content)
    np.testing.assert_array_equal(again.run.result.image, app.run.result.image)
    assert again.lane.image == key
    assert "the same picture" in again.files.saved.value


def test_a_target_that_the_controls_cannot_show_stays_until_another_is_chosen(make_app, digits):
    result = xw.synthesize(digits, "activation_maximization", target=[1, 7], iterations=3)
    app = make_app()
    app.replay(xw.synthesis_record(digits, result))
    np.testing.assert_array_equal(app.run.result.image, result.image)
    app.start.click()
    assert app.run.result.state.target.classes == (1, 7)
    app.goal.category.value = "5"
    assert app.run.result.state.target.classes == (5,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: b"nonsense", "record must be JSON"),
        (lambda r: b"", "record must be JSON"),
        (lambda r: b"[" * 100_000, "record must be JSON"),
        (lambda r: b" " * (2**20 + 1), "at most 1024 kB"),
        (lambda r: {**r, "format": "other"}, "Save run has written"),
        (lambda r: {**r, "version": 99}, "version 99"),
        (lambda r: {**r, "method": "grad_cam"}, "must be a synthesizer"),
        (lambda r: {**r, "method": "<b>"}, "method must be one of"),
        (lambda r: {**r, "steps": -1}, "steps must be"),
        (lambda r: {**r, "knobs": {**r["knobs"], "decay": 9}}, "decay must be"),
        (lambda r: {**r, "knobs": {"nothing": 1}}, "no hyper-parameter"),
        (lambda r: {**r, "events": [[1, "decay", 0.7, 0.1]]}, "events must go on"),
        (lambda r: {**r, "model": {"name": "x", "input": [3, 224, 224]}}, "model must take inputs of 3×224×224"),
        (lambda r: {**r, "target": {"classes": [77]}}, "classes must be"),
    ],
)
def test_an_upload_that_is_no_record_changes_nothing(app, change, words):
    steps_to(app, 3)
    content = json.loads(recorded(app))
    before = app.run.result
    made = change(content)
    upload(app, made if isinstance(made, bytes) else json.dumps(made).encode())
    assert words in html.unescape(app.status.line.value)
    assert "<b>" not in app.status.line.value
    assert app.run.result is before
    assert (app.lane.method, app.goal.category.value) == (METHOD, "3")
    app.step.click()
    assert app.run.result.step == 4


def test_a_record_of_other_weights_says_so(app, make_app):
    content = json.loads(recorded(app))
    content["model"]["weights"] = "0" * 16
    upload(app, json.dumps(content).encode())
    assert "made with other weights" in app.files.saved.value


def test_a_film_of_pictures_that_grow(app, monkeypatch):
    steps_to(app, 2)
    frames = [np.zeros((24, 24, 3), np.uint8), *app.run.frames()]
    monkeypatch.setattr(app.run, "frames", lambda: frames)
    app.files.film.click()
    film = Image.open(io.BytesIO(saved(app)[2]))
    assert (film.n_frames, film.size) == (3, (48, 48))


def test_gif(app):
    steps_to(app, 4)
    app.files.gif.click()
    name, kind, content = saved(app)
    assert (name, kind) == ("3.gif", "image/gif")
    assert Image.open(io.BytesIO(content)).n_frames == 4
