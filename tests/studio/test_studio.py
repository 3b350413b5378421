from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.engine.run import drive
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.model import Model
from xaiwidgets.render.look import Look
from xaiwidgets.studio import studio as module
from xaiwidgets.studio.lens import Lens, Unit
from xaiwidgets.studio.studio import KEPT, Studio

LONG = 120.0
OCCLUSION = Lens(method="occlusion").with_knobs(window_height=12, window_width=12, stride_height=6, stride_width=6)


def told(heard, event):
    return [found for name, found in heard if name == event]


class Gates:
    """Holds a studio's methods before each result after the first ``free`` ones, until they are let through."""

    def __init__(self, monkeypatch, free=0):
        self.waiting, self.open, self.free, self.begun = threading.Event(), threading.Event(), free, 0
        monkeypatch.setattr(module, "drive", self.drive)

    def drive(self, *args):
        self.begun += 1
        for number, result in enumerate(drive(*args)):
            if number >= self.free:
                self.waiting.set()
                assert self.open.wait(LONG)
            yield result


@pytest.fixture
def spent(monkeypatch):
    """Count every pass that any network makes, also those that no method asked for."""
    from xaiwidgets.model import passes

    counted = []
    forward, gradient = passes.forward, passes.gradient
    monkeypatch.setattr(passes, "forward", lambda n, i, *a: counted.append(len(i)) or forward(n, i, *a))
    monkeypatch.setattr(passes, "gradient", lambda n, i, *a, **k: counted.append(len(i)) or gradient(n, i, *a, **k))
    return counted


def test_what_is_published_and_in_which_order(make_studio, record):
    studio = make_studio(OCCLUSION)
    heard = record(studio)
    studio.start()
    events = [event for event, _ in heard]
    assert events[:5] == ["photo", "predictions", "offers", "status", "run"]
    assert set(events[5:-1]) == {"frame", "status"}
    assert told(heard, "run") == ["running", ""]
    frames, states = told(heard, "frame"), told(heard, "status")
    shares = [frame.result.progress for frame in frames]
    assert len(shares) > 2
    assert shares == sorted(set(shares))
    assert shares[-1] == 1
    assert [s.progress for s in states[1:]] == shares
    assert [s.kind for s in states] == ["busy"] * (len(states) - 1) + ["idle"]
    assert states[-1].passes == (1 + 49, 0)
    assert states[-1].text.startswith("Occlusion for ")
    assert studio.frame is frames[-1]
    assert all(frame.lens == OCCLUSION and not frame.reused for frame in frames)


def test_predictions_are_the_first_five_of_the_model(make_studio, digits):
    studio = make_studio()
    studio.start()
    logits = digits.logits(digits.input("coffee"))[0]
    order = logits.argsort(descending=True)[:5].tolist()
    assert [p.index for p in studio.predictions] == order
    for found in studio.predictions:
        assert found.logit == float(logits[found.index])
        assert found.probability == float(logits.softmax(0)[found.index])
        assert found.label == digits.labels.short(found.index)


@pytest.mark.parametrize("target", [(), (3,), (2, 7)])
def test_the_answer_is_that_of_the_one_shot_call(make_studio, digits, target):
    studio = make_studio(Lens(method="saliency", target=target))
    studio.start()
    expected = xw.explain(digits, "coffee", "saliency", target=list(target) or None)
    np.testing.assert_array_equal(studio.frame.result.values, expected.values)
    assert studio.frame.result.provenance.target == expected.provenance.target == studio.frame.target
    assert studio.frame.result.provenance.image == "coffee"


def test_going_back_costs_no_pass_and_says_so(make_studio, record, spent):
    studio = make_studio(Lens(method="saliency"))
    studio.start()
    first = studio.frame
    studio.put(studio.lens.with_method("gradient_x_input"))
    heard = record(studio)
    before = list(spent)
    studio.put(first.lens)
    assert spent == before
    assert studio.frame.result is first.result
    assert studio.frame.reused
    assert studio.status.passes == (0, 0)
    assert studio.status.text.endswith("kept from before")
    assert [event for event, _ in heard] == ["lens", "frame", "status"]


def test_rise_for_another_likely_class_costs_no_pass(make_studio, digits, spent):
    lens = Lens(method="rise").with_knobs(samples=40)
    studio = make_studio(lens)
    studio.start()
    assert studio.frame.result.provenance.passes == (41, 0)
    other = studio.predictions[1]
    spent.clear()
    studio.put(lens.replace(target=(other.index,)))
    assert spent == []
    assert studio.frame.target == other.label
    assert studio.frame.result.progress == 1
    alone = xw.explain(digits, studio.album.get(lens.image), "rise", target=other.index, samples=40)
    np.testing.assert_array_equal(studio.frame.result.values, alone.values)


def test_going_back_to_a_photo_brings_its_predictions_back(make_studio, record):
    studio = make_studio()
    studio.start()
    first = studio.predictions
    studio.put(studio.lens.replace(image="chelsea"))
    assert studio.predictions != first
    heard = record(studio)
    studio.put(studio.lens.replace(image="coffee"))
    assert studio.predictions == first
    assert told(heard, "predictions") == [first]


def test_only_so_many_answers_are_kept(make_studio):
    studio = make_studio(Lens(method="saliency"))
    studio.start()
    for number in range(KEPT + 5):
        studio.put(Lens(method="rise", target=(1,)).with_knobs(samples=10, seed=number))
    assert len(studio._answers) == KEPT


def test_a_change_of_look_runs_nothing(make_studio, record, spent):
    studio = make_studio()
    studio.start()
    heard, before = record(studio), list(spent)
    for look in (Look(opacity=0.1), Look(layout="side"), Look(sign="absolute")):
        studio.put(studio.lens.replace(look=look))
    assert spent == before
    assert [event for event, _ in heard] == ["lens", "frame"] * 3
    assert len({id(frame) for frame in told(heard, "frame")}) == 1


def test_a_change_of_look_does_not_restart_work_that_has_shown_nothing_yet(make_studio, monkeypatch):
    gates = Gates(monkeypatch)
    studio = make_studio(sync=False)
    studio.start()
    assert gates.waiting.wait(LONG)
    for opacity in (0.1, 0.2, 0.3):
        studio.put(studio.lens.replace(look=Look(opacity=opacity)))
    gates.open.set()
    assert studio.wait(LONG)
    assert gates.begun == 1
    assert studio.frame is not None
    assert studio.status.kind == "idle"


def test_another_photo_leaves_no_stale_frame(make_studio, monkeypatch, record):
    studio = make_studio(sync=False)
    studio.start()
    assert studio.wait(LONG)
    assert studio.frame.lens.image == "coffee"
    gates = Gates(monkeypatch)
    heard = record(studio)
    studio.put(studio.lens.replace(image="chelsea"))
    assert studio.frame is None
    assert gates.waiting.wait(LONG)
    assert studio.frame is None
    assert told(heard, "frame") == []
    assert len(told(heard, "photo")) == 1
    gates.open.set()
    assert studio.wait(LONG)
    assert [frame.lens.image for frame in told(heard, "frame")] == ["chelsea"]


def test_results_that_come_too_late_are_not_shown(make_studio, monkeypatch, record):
    gates = Gates(monkeypatch)
    studio = make_studio(OCCLUSION, sync=False)
    heard = record(studio)
    studio.start()
    assert gates.waiting.wait(LONG)
    studio.put(OCCLUSION.with_method("saliency"))
    gates.open.set()
    assert studio.wait(LONG)
    assert {frame.lens.method for frame in told(heard, "frame")} == {"saliency"}
    assert all("Saliency" in s.text for s in told(heard, "status")[1:])


def test_stop_keeps_the_picture_and_nothing_comes_after_it(make_studio, monkeypatch, record):
    gates = Gates(monkeypatch, free=1)
    studio = make_studio(OCCLUSION, sync=False)
    heard = record(studio)
    studio.start()
    assert gates.waiting.wait(LONG)
    shown = studio.frame
    assert 0 < shown.result.progress < 1
    studio.stop()
    assert studio.status.kind == "stopped"
    gates.open.set()
    assert studio.wait(LONG)
    assert studio.frame is shown
    assert studio.status.kind == "stopped"
    assert studio.status.progress == shown.result.progress
    assert told(heard, "frame") == [shown]
    assert OCCLUSION.question not in studio._answers

    studio.put(OCCLUSION.replace(look=Look(opacity=0.2)))
    assert studio.wait(LONG)
    assert told(heard, "frame") == [shown, shown]
    assert studio.status.kind == "stopped"

    studio.put(studio.lens)  # asked again, it is computed to its end
    assert studio.wait(LONG)
    assert studio.frame.result.progress == 1
    assert studio.status.kind == "idle"


def test_stop_without_work_says_nothing(make_studio, record):
    studio = make_studio()
    studio.start()
    heard = record(studio)
    studio.stop()
    assert heard == []


def test_refresh_computes_anew(make_studio, spent):
    studio = make_studio(Lens(method="saliency"))
    studio.start()
    first, before = studio.frame, len(spent)
    studio.refresh()
    assert len(spent) > before
    assert not studio.frame.reused
    assert studio.frame.result is not first.result
    np.testing.assert_array_equal(studio.frame.result.values, first.result.values)


# -- what cannot be answered ------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """A network without a spatial layer and without an activation."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(3 * 8 * 8, 4)

    def forward(self, x):
        return self.last(x.flatten(1))


class Moody(nn.Module):
    """Finite on gray noise, NaN on bright pictures; or finite scores with an infinite slope."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        nn.init.constant_(self.conv.weight, 0.01)

    def forward(self, x):
        scores = self.conv(x).mean(dim=(2, 3))
        if self.kind == "scores":
            bright = x.amax(dim=(1, 2, 3))[:, None] > 100
            return torch.where(bright, torch.full_like(scores, float("nan")), scores)
        return scores + (x.flatten(1)[:, :1] * 0).sqrt()


def small(module, **changes):
    return Model(module.eval(), mean=(0.0,) * 3, std=(1.0,) * 3, size=8, **changes)


def keeps_the_picture(studio, lens):
    """Put a lens that cannot be answered; return the status."""
    shown = studio.frame
    studio.put(lens)
    assert studio.frame is shown
    assert studio.status.kind == "error"
    return studio.status.text


def test_a_method_that_does_not_apply_says_what_would_work(make_studio):
    studio = make_studio(Lens(method="saliency"), small(Linear()))
    studio.start()
    text = keeps_the_picture(studio, studio.lens.with_method("grad_cam"))
    assert "grad_cam needs" in text
    assert "saliency" in text
    studio.put(studio.lens.with_method("gradient_x_input"))
    assert studio.status.kind == "idle"
    assert studio.frame.lens.method == "gradient_x_input"
    reasons = studio.reasons()
    assert reasons["grad_cam"]
    assert reasons["saliency"] == ""


def test_after_an_error_a_look_changes_the_last_good_picture_and_runs_nothing(make_studio, record, spent):
    studio = make_studio(Lens(method="saliency"), small(Linear()))
    studio.start()
    keeps_the_picture(studio, studio.lens.with_method("grad_cam"))
    heard, before = record(studio), list(spent)
    studio.put(studio.lens.replace(look=Look(opacity=0.1)))
    assert spent == before
    assert told(heard, "frame") == [studio.frame]
    assert studio.frame.lens.method == "saliency"
    assert studio.status.kind == "error"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "occlusion", "knobs": (("window_height", 512),)}, "window_height must be at most"),
        ({"method": "occlusion", "knobs": (("window_height", -1),)}, "window_height must be a whole number"),
        ({"method": "occlusion", "knobs": (("no_such", 1),)}, "no hyper-parameter 'no_such'"),
        ({"method": "smoothgrad", "knobs": (("base", "nothing"),)}, "base must be one of"),
        ({"method": "grad_cam", "knobs": (("layer", "no.such"),)}, "layer must be one of"),
        ({"method": "nothing"}, "method must be one of"),
        ({"method": "activation_maximization"}, "is a synthesizer"),
        ({"image": "<img src=x onerror=alert(1)>"}, "image must be one of"),
        ({"target": (10,)}, "target must be"),
        ({"target": (-1,)}, "target must be"),
    ],
)
def test_what_cannot_be_asked_leaves_the_last_good_picture(make_studio, change, words):
    studio = make_studio()
    studio.start()
    good = studio.lens
    assert words in keeps_the_picture(studio, good.replace(**change))
    studio.put(good)
    assert studio.frame.lens.question == good.question
    studio.put(good.with_method("saliency"))
    assert studio.status.kind == "idle"
    assert studio.frame.lens.method == "saliency"


def test_a_network_that_gives_nan_for_a_photo(make_studio, photo):
    studio = make_studio(Lens(method="saliency"), small(Moody("scores")))
    studio.start()
    good = studio.frame
    assert good.result.progress == 1
    studio.model.preprocessing = type(studio.model.preprocessing)((8, 8), (0.0,) * 3, (1e-3,) * 3)
    key = studio.album.add(photo(1))
    studio.put(studio.lens.replace(image=key))
    assert studio.status.kind == "error"
    assert "must give finite scores" in studio.status.text
    assert studio.frame is None  # the photo is another one: its plain view is what is shown


def test_a_gradient_that_is_not_finite_leaves_the_last_good_picture(make_studio):
    lens = Lens(method="occlusion").with_knobs(window_height=4, window_width=4, stride_height=4, stride_width=4)
    studio = make_studio(lens, small(Moody("slope")))
    studio.start()
    assert studio.status.kind == "idle"
    text = keeps_the_picture(studio, studio.lens.with_method("saliency"))
    assert "needs finite scores and gradients" in text


def test_bytes_that_are_no_picture_do_not_reach_the_lens(make_studio):
    studio = make_studio()
    studio.start()
    with pytest.raises(xw.errors.InvalidImage):
        studio.album.add(b"nonsense")
    assert studio.status.kind == "idle"


def test_an_exception_in_a_listener_does_not_end_the_worker(make_studio, caplog):
    studio = make_studio(sync=False)
    broken = [True]

    def listener(frame):
        if broken:
            raise KeyError("broken")

    studio.on("frame", listener)
    studio.start()
    assert studio.wait(LONG)
    assert studio.status.kind == "error"
    assert "KeyError" in studio.status.text
    broken.clear()
    studio.put(studio.lens.with_method("saliency"))
    assert studio.wait(LONG)
    assert studio.status.kind == "idle"

    def deaf(status):
        raise ValueError("deaf")

    studio.on("status", deaf)
    studio.put(studio.lens.with_method("gradient_x_input"))
    assert studio.wait(LONG)
    assert "deaf" in caplog.text
    studio._listeners["status"].remove(deaf)
    studio.put(studio.lens.with_method("guided_backprop"))
    assert studio.wait(LONG)
    assert studio.status.kind == "idle"
    assert studio.frame.lens.method == "guided_backprop"


def test_a_name_that_cannot_be_loaded_is_an_error_in_the_status():
    studio = Studio("no_such_network", sync=True)
    studio.start()
    assert studio.status.kind == "error"
    assert "name must be one of efficientnet_lite0" in studio.status.text
    assert studio.model is None
    assert studio.cost(studio.lens) is None
    assert set(studio.reasons().values()) == {""}
    studio.probe((0, 0, 8, 8))


# -- one pass for all layers ------------------------------------------------------------------------------------------


def test_scrubbing_layers_spends_no_further_pass_and_equals_the_one_shot_call(make_studio, digits, spent):
    studio = make_studio()
    studio.start()
    assert studio.frame.result.provenance.passes == (1, 1)
    before, meter = list(spent), Meter()
    token = CURRENT.set(meter)
    try:
        for stage in digits.stages[:-1]:
            studio.put(studio.lens.with_knobs(layer=stage.name))
            assert studio.frame.result.layer == stage.name
            assert studio.frame.result.provenance.passes == (0, 0)
    finally:
        CURRENT.reset(token)
    assert meter.passes == (0, 0)
    assert spent == before
    for stage in digits.stages:
        studio.put(studio.lens.with_knobs(layer=stage.name))
        expected = xw.explain(digits, "coffee", "grad_cam", layer=stage.name).values
        np.testing.assert_allclose(studio.frame.result.values, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_another_target_on_the_same_photo_is_one_new_pass(make_studio):
    studio = make_studio(Lens(target=(1,)))
    studio.start()
    studio.put(studio.lens.replace(target=(2,)))
    assert studio.frame.result.provenance.passes == (1, 1)
    studio.put(studio.lens.replace(target=(1,)).with_knobs(relu=False))
    assert studio.frame.result.provenance.passes == (0, 0)


# -- probing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fill", "level"), [("gray", 0.5), ("black", 0.0), ("white", 1.0)])
@pytest.mark.parametrize("target", [(), (4,), (1, 2)])
def test_a_probe_is_the_probability_with_the_region_hidden(make_studio, record, digits, fill, level, target):
    studio = make_studio(Lens(target=target))
    studio.start()
    heard = record(studio)
    box = (5, 10, 30, 41)
    studio.probe(box, fill)
    (probe,) = told(heard, "probe")
    pixels = digits.preprocessing.pixels("coffee").copy()
    wanted = list(target) or [int(digits.logits(digits.input("coffee"))[0].argmax())]
    assert probe.whole == pytest.approx(float(digits.probabilities(digits.input("coffee"))[0, wanted].sum()), rel=1e-6)
    pixels[5:30, 10:41] = level
    hidden = digits.probabilities(digits.from_pixels(pixels))[0]
    assert probe.score == pytest.approx(float(hidden[wanted].sum()), rel=1e-5)
    assert [p.index for p in probe.predictions] == hidden.argsort(descending=True)[:5].tolist()
    assert [p.probability for p in probe.predictions] == pytest.approx(hidden.sort(descending=True).values[:5].tolist())
    assert probe.box == box
    assert probe.target == studio.frame.target


def test_a_probe_hides_what_the_map_hides(make_studio, record, digits):
    studio = make_studio(Lens(method="occlusion", target=(4,)).with_knobs(fill="inpaint", output="probability"))
    studio.start()
    heard = record(studio)
    windows = studio.frame.result.details["windows"]
    side, stride = studio.lens.knob("window_height"), studio.lens.knob("stride_height")
    studio.probe((stride, 0, min(stride + side, 48), min(side, 48)), "inpaint")
    (probe,) = told(heard, "probe")
    assert probe.whole - probe.score == pytest.approx(windows[1, 0], abs=1e-6)


def test_a_probe_does_not_change_the_photo_and_costs_one_pass(make_studio, record, spent):
    studio = make_studio(Lens(target=(4,)))
    studio.start()
    whole = studio._input("coffee").clone()
    heard, before = record(studio), sum(spent)
    for row in range(10):
        studio.probe((row, 0, row + 8, 8))
    assert sum(spent) == before + 10
    assert torch.equal(studio._input("coffee"), whole)
    studio.probe((0, 0, 48, 48))
    assert len(told(heard, "probe")) == 11


def test_probes_do_not_pile_up_and_the_last_one_is_answered(make_studio, monkeypatch, record):
    gates = Gates(monkeypatch)
    studio = make_studio(OCCLUSION, sync=False)
    heard = record(studio)
    studio.start()
    assert gates.waiting.wait(LONG)
    for row in range(30):
        studio.probe((row, 0, row + 8, 8))
    gates.open.set()
    assert studio.wait(LONG)
    assert [probe.box[0] for probe in told(heard, "probe")] == [29]
    assert studio.frame.result.progress == 1


def test_a_probe_of_a_hidden_unit_gives_its_activation(make_studio, record, digits, monkeypatch):
    studio = make_studio()
    studio.start()
    stage = digits.stages[1]
    unit = digits.unit(stage.name, 2)
    monkeypatch.setattr(studio, "target", lambda lens: unit)
    heard = record(studio)
    studio.probe((0, 0, 20, 20), "black")
    (probe,) = told(heard, "probe")
    pixels = digits.preprocessing.pixels("coffee").copy()
    pixels[:20, :20] = 0
    hidden = digits.from_pixels(pixels)
    assert probe.score == pytest.approx(float(digits.scores(hidden, unit)[0]), rel=1e-5)
    assert probe.whole == pytest.approx(float(digits.scores(digits.input("coffee"), unit)[0]), rel=1e-5)
    assert probe.target == unit.name


def test_a_map_of_a_hidden_unit(make_studio, digits, monkeypatch):
    studio = make_studio(Lens(method="saliency"))
    unit = digits.unit(digits.stages[-1].name, 1)
    monkeypatch.setattr(studio, "target", lambda lens: unit)
    studio.start()
    expected = xw.explain(digits, "coffee", "saliency", target=unit)
    np.testing.assert_array_equal(studio.frame.result.values, expected.values)
    assert unit.name in studio.status.text


def test_a_probe_with_an_unknown_fill_is_an_error_in_the_status(make_studio):
    studio = make_studio()
    studio.start()
    studio.probe((0, 0, 8, 8), "lava")
    assert studio.status.kind == "error"
    assert "got 'lava'" in studio.status.text


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_the_model_given_is_not_changed(digits, make_studio):
    assert digits.captures is None
    studio = make_studio()
    studio.start()
    assert digits.captures is None
    assert studio.model is not digits


def test_photo_is_what_the_model_sees_at_display_size(make_studio, digits):
    studio = make_studio()
    view = studio.photo("coffee")
    assert view.shape == (720, 720, 3)
    assert (view[..., 0] == view[..., 1]).all()  # a gray network sees gray
    assert studio.photo("coffee") is view
    wide = make_studio(model=Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=(10, 30)))
    assert wide.photo("coffee").shape == (240, 720, 3)


def test_the_network_is_probed_once_and_every_method_has_a_price(make_studio, record, digits):
    studio = make_studio(Lens(method="saliency"), model=digits.with_weights(lambda _name, value: value))
    studio.timing = True
    heard = record(studio)
    assert studio.cost(studio.lens) is None
    assert studio.fitted(studio.lens.with_method("smoothgrad"), 1e-9) == studio.lens.with_method("smoothgrad")
    studio.start()
    studio.put(studio.lens.with_method("gradient_x_input"))
    assert len(told(heard, "pace")) == 1
    many, few = (studio.cost(studio.lens.with_method("rise").with_knobs(samples=count)) for count in (2000, 200))
    assert many.seconds == pytest.approx(few.seconds * 2001 / 201)
    assert studio.fitted(studio.lens.with_method("rise"), 1e-9).knob("samples") == 10
    assert studio.fitted(studio.lens.with_method("rise"), 1e9) == studio.lens.with_method("rise")


def test_what_a_run_took_corrects_the_next_price(make_studio, digits):
    studio = make_studio(Lens(method="saliency"), model=digits.with_weights(lambda _name, value: value))
    studio.timing = True
    studio.start()
    lens = studio.lens.with_method("rise").with_knobs(samples=100)
    studio.put(lens)
    assert studio.cost(lens).seconds == pytest.approx(studio.frame.result.provenance.seconds)


def test_close_ends_the_thread_and_nothing_is_published_any_more(make_studio, monkeypatch, record):
    gates = Gates(monkeypatch)
    studio = make_studio(sync=False)
    heard = record(studio)
    studio.start()
    assert gates.waiting.wait(LONG)
    before, end = len(heard), studio.runner.close
    monkeypatch.setattr(studio.runner, "close", lambda: (gates.open.set(), end()))  # the step under way ends meanwhile
    studio.close()
    assert not studio.runner._thread.is_alive()
    assert told(heard[before:], "frame") == []
    studio.close()


def test_many_fast_questions_end_with_the_last(make_studio, record):
    studio = make_studio(sync=False)
    heard = record(studio)
    studio.start()
    for number in range(60):
        studio.put(Lens(("coffee", "chelsea")[number % 2], (number % 10,), "saliency"))
    assert studio.wait(LONG)
    assert studio.frame.lens == studio.lens == Lens("chelsea", (9,), "saliency")
    assert studio.status.kind == "idle"
    asked = None
    for event, found in heard:
        if event == "lens":
            asked = found
        elif event == "frame" and asked is not None:
            assert found.lens.image == asked.image  # never a map of another photo


# -- hidden units -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", ["mean", "max", "center", (2, 3)])
def test_a_hidden_unit_is_explained(make_studio, digits, position):
    studio = make_studio(Lens(method="saliency", unit=Unit("features.3", 5, position)))
    studio.start()
    expected = xw.explain(digits, "coffee", "saliency", target=xw.Target.hidden("features.3", 5, position))
    np.testing.assert_array_equal(studio.frame.result.values, expected.values)
    assert studio.frame.target == expected.provenance.target
    assert studio.status.kind == "idle"


@pytest.mark.parametrize("unit", [Unit("no.such"), Unit("features.3", 10**6), Unit("features.3", 0, (99, 0))])
def test_a_unit_that_the_network_lacks_is_an_error_and_the_picture_stays(make_studio, unit):
    studio = make_studio(Lens(method="saliency"))
    studio.start()
    before = studio.frame
    studio.put(studio.lens.replace(unit=unit))
    assert studio.status.kind == "error"
    assert studio.frame is before


@pytest.mark.parametrize("position", ["mean", "max", "center"])
def test_the_strongest_unit_of_a_layer_is_found(make_studio, record, digits, position):
    studio = make_studio(Lens(method="saliency", target=(3,)))
    studio.start()
    heard = record(studio)
    studio.strongest("features.3", position)
    maps = digits.activations(digits.input("coffee"), ["features.3"])["features.3"][0]
    middle = maps[:, maps.shape[1] // 2, maps.shape[2] // 2]
    expected = {"mean": maps.mean(dim=(1, 2)), "max": maps.amax(dim=(1, 2)), "center": middle}[position]
    assert studio.lens.unit == Unit("features.3", int(expected.argmax()), position)
    assert studio.lens.target == ()
    assert studio.frame.lens.unit == studio.lens.unit
    assert told(heard, "lens") == [studio.lens]
    studio.strongest("no.such", "mean")
    assert studio.status.kind == "error"


def test_hiding_a_region_tells_the_activation_of_a_unit(make_studio, record, digits):
    studio = make_studio(Lens(method="saliency", unit=Unit("features.3", 5)))
    studio.start()
    heard = record(studio)
    studio.probe((0, 0, 24, 24))
    (probe,) = told(heard, "probe")
    target = digits.unit("features.3", 5)
    assert probe.unit == "activation"
    assert probe.whole == pytest.approx(float(digits.scores(digits.input("coffee"), target)[0]), rel=1e-5)
    assert probe.score != probe.whole
