"""The driver: results with all it takes to redo them, cancelled at any point, and errors before any work."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch

from xaiwidgets.core import cards as registry
from xaiwidgets.core.cards import cards, explainer, synthesizer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.core.results import Attribution, Synthesis
from xaiwidgets.engine import run
from xaiwidgets.engine.run import (
    NEEDS,
    check_applicable,
    drive,
    explain,
    explain_steps,
    last,
    missing,
    synthesize,
    synthesize_steps,
    versions,
)
from xaiwidgets.errors import (
    InvalidImage,
    InvalidKnob,
    InvalidLayer,
    InvalidModel,
    InvalidTarget,
    NotApplicable,
    UnknownMethod,
)
from xaiwidgets.model.meter import CURRENT
from xaiwidgets.model.model import Model
from xaiwidgets.surgery.recipes import GUIDED

PHOTO = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
TEXTS = {"title": "T", "idea": "i.", "cite": "c", "paper": "arXiv:1703.01365", "section": "2.3.3"}


@pytest.fixture(scope="module")
def model():
    return Model(nets.f3(), size=nets.SIZE, labels=["cat", "dog", "tree", "car", "cup"], name="tiny")


@pytest.fixture
def log(monkeypatch):
    """A registry with two small methods that write down what happens to them."""
    registry.load_all()
    monkeypatch.setattr(registry, "_CARDS", dict(registry._CARDS))
    log = []

    @explainer(**TEXTS, family="gradient", id="counting")
    class Counting:
        rounds: int = knob(3, Range(1, 9), label="Rounds", help="How many.")

        def steps(self, model, image, target):
            try:
                for number in range(self.rounds):
                    log.append(("meter", CURRENT.get() is not None))
                    model.gradient(image.repeat(2, 1, 1, 1), target)
                    sent = yield Attribution(
                        np.full((1, 2, 2), number), "logit", True, (16, 16), progress=(number + 1) / self.rounds
                    )
                    log.append(("sent", sent))
            finally:
                log.append("closed")

    @synthesizer(**TEXTS, id="drawing", takes=("photo",))
    class Drawing:
        rounds: int = knob(2, Range(1, 9), label="Rounds", help="How many.")

        def steps(self, model, start, target):
            log.append(("start", None if start is None else tuple(start.shape), target))
            for number in range(self.rounds):
                yield Synthesis(np.zeros((2, 2, 3)), float(number), "logit", np.arange(number + 1), number + 1)

    return log


# -- drive ----------------------------------------------------------------------------------------------------------


def test_results_carry_what_it_takes_to_redo_them(model, log):
    steps = explain_steps(model, PHOTO, "counting", target="dog", rounds=2)
    first, second = steps
    made = second.provenance
    assert (made.method, dict(made.knobs), made.target, made.model) == ("counting", {"rounds": 2}, "dog", "tiny")
    assert made.image
    assert made.versions == versions()
    assert made.versions["torch"] == torch.__version__.partition("+")[0] or made.versions["torch"] == torch.__version__
    assert (first.provenance.passes, made.passes) == ((2, 2), (4, 4))
    assert 0 < first.provenance.seconds < made.seconds < 10
    again = explain(model, PHOTO, made.method, target=made.target, **made.knobs)
    np.testing.assert_array_equal(again.values, second.values)
    assert second.values[0, 0, 0] == 1


def test_the_top_class_of_a_target_that_is_not_given_costs_the_method_nothing(model, log):
    found = explain(model, PHOTO, "counting", rounds=1)
    assert found.provenance.passes == (2, 2)
    top = int(model.logits(model.input(PHOTO)).argmax())
    assert found.provenance.target == model.labels.short(top)


def test_waiting_is_not_counted(model, log, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(run.time, "perf_counter", lambda: next(clock) * 1.0)
    steps = drive(registry.card("counting").make(), model, nets.images(), model.target(0))
    assert next(steps).provenance.seconds == 1
    for _ in range(50):
        next(clock)
    assert next(steps).provenance.seconds == 2


def test_the_meter_is_current_only_while_the_method_computes(model, log):
    for _ in drive(registry.card("counting").make(), model, nets.images(), model.target(0)):
        assert CURRENT.get() is None
        model.logits(nets.images(5))  # the consumer's own passes
    assert [entry for entry in log if entry[0] == "meter"] == [("meter", True)] * 3
    found = last(drive(registry.card("counting").make(), model, nets.images(), model.target(0)))
    assert found.provenance.passes == (6, 6)


@pytest.mark.parametrize("done", [1, 2])
def test_closing_stops_the_method_at_once(model, log, done):
    steps = explain_steps(model, PHOTO, "counting", target=0, rounds=9)
    for _ in range(done):
        next(steps)
    assert "closed" not in log
    steps.close()
    assert log[-1] == "closed"
    assert log.count(("meter", True)) == done
    assert CURRENT.get() is None


def test_what_is_sent_reaches_the_method(model, log):
    steps = drive(registry.card("counting").make(rounds=3), model, nets.images(), model.target(0))
    next(steps)
    steps.send("faster")
    next(steps)
    assert next(steps, "over") == "over"
    assert [entry[1] for entry in log if entry[0] == "sent"] == ["faster", None, None]


def test_an_exception_in_a_method_leaves_no_meter(model, log, monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(model, "gradient", broken)
    with pytest.raises(ZeroDivisionError):
        explain(model, PHOTO, "counting", target=0)
    assert CURRENT.get() is None
    assert log[-1] == "closed"


def test_a_batch_measurement_is_not_on_the_bill():
    fresh = Model(nets.f1(), size=nets.SIZE)
    found = explain(fresh, PHOTO, "rise", target=0, samples=30)
    assert found.provenance.passes == (31, 0), "thirty masks and the photo itself"


# -- what applies ---------------------------------------------------------------------------------------------------


def test_what_a_network_lacks_is_said_with_what_works_instead():
    flat = Model(nets.no_convolution(), size=nets.SIZE, name="flat")
    with pytest.raises(NotApplicable) as caught:
        explain(flat, PHOTO, "grad_cam", target=0)
    error = caught.value
    assert (error.method, error.needs) == ("grad_cam", "a layer that gives a spatial map")
    assert "flat does not have that" in str(error)
    assert {"saliency", "occlusion", "rise"} <= set(error.alternatives)
    assert "grad_cam" not in error.alternatives
    assert "activation_maximization" not in error.alternatives, "another kind of method"
    for name in error.alternatives:
        check_applicable(registry.card(name).make(), flat)
    assert explain(flat, PHOTO, "saliency", target=0).values.any()


def test_every_need_has_words(model):
    for card in cards():
        assert missing(card, model) == ""
    flat = Model(nets.no_convolution(), size=nets.SIZE)
    assert missing(registry.card("grad_cam"), flat) == NEEDS["spatial"]


# -- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "gradcam"}, UnknownMethod, "Did you mean grad_cam"),
        ({"method": None}, UnknownMethod, "must be an id or a method object"),
        ({"method": "drawing"}, UnknownMethod, r"one of the explainers: .*drawing is one of the synthesizers"),
        ({"rounds": 99}, InvalidKnob, "^rounds must be a whole number from 1 to 9; got 99"),
        ({"round": 2}, InvalidKnob, "counting has no hyper-parameter 'round'. It has rounds. Did you mean rounds"),
        ({"target": 5}, InvalidTarget, "^target must be a class index from 0 to 4"),
        ({"target": "horse"}, InvalidTarget, "got 'horse'"),
        ({"target": []}, InvalidTarget, "at least one class"),
        ({"image": "cofee"}, InvalidImage, "coffee"),
        ({"image": np.zeros((4, 4, 5))}, InvalidImage, "."),
        ({"image": None}, InvalidImage, "."),
        (
            {"model": nets.f1()},
            InvalidModel,
            r"model must be a Model, .*got Sequential. A torch.nn.Module works as Model",
        ),
        ({"model": "resnet18"}, InvalidModel, "model must be a Model"),
        ({"method": "grad_cam", "layer": "bn33"}, InvalidLayer, "Did you mean bn3"),
        ({"method": "grad_cam", "layer": "head"}, InvalidLayer, "must give a spatial map"),
    ],
    ids=lambda v: str(v)[:30] if isinstance(v, dict) else "",
)
def test_wrong_arguments_of_explain(model, log, arguments, error, message):
    given = {"model": model, "image": PHOTO, "method": "counting", "target": 0, **arguments}
    with pytest.raises(error, match=message):
        explain(**given)
    with pytest.raises(error, match=message):
        next(explain_steps(**given))
    assert log == [], "no work was done"


def test_explain_takes_objects_and_ids(model):
    made = registry.card("saliency").make()
    one = explain(model, PHOTO, made, target="dog")
    other = explain(model, PHOTO, "saliency", target=1)
    np.testing.assert_array_equal(one.values, other.values)
    assert explain(model, PHOTO, target=1).provenance.method == "grad_cam"


def test_guided_passes_are_counted_too(model):
    found = explain(model, PHOTO, "guided_backprop", target=1)
    assert found.provenance.passes == (1, 1)
    expected = model.gradient(model.input(PHOTO), model.target(1), recipe=GUIDED).input[0]
    np.testing.assert_allclose(found.values, expected.numpy(), atol=1e-7)


def test_synthesize(model, log):
    found = synthesize(model, "drawing", target="dog", rounds=3)
    assert (found.step, found.provenance.method, found.provenance.target) == (3, "drawing", "dog")
    assert found.provenance.image == ""
    assert [s.step for s in synthesize_steps(model, "drawing", layer="bn3", unit=2, image=PHOTO)] == [1, 2]
    starts = [entry[1:] for entry in log if entry[0] == "start"]
    assert starts == [(None, model.target(1)), ((1, 3, 16, 16), model.unit("bn3", 2))]
    assert synthesize(model, "drawing", layer="head", unit="cup").provenance.target.startswith("head channel 4")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InvalidTarget, "give either target=, a class, or layer= with unit="),
        ({"target": 0, "layer": "bn3", "unit": 1}, InvalidTarget, "give either target="),
        ({"target": 0, "unit": 1}, InvalidTarget, "give either target="),
        ({"layer": "bn3"}, InvalidTarget, "layer and unit go together; got layer='bn3' and unit=None"),
        ({"unit": 1}, InvalidTarget, "layer and unit go together; got layer='' and unit=1"),
        ({"layer": "bn3", "unit": 12}, InvalidTarget, "channel must be a whole number from 0 to 11"),
        ({"layer": "bn33", "unit": 1}, InvalidLayer, "Did you mean bn3"),
        (
            {"target": 0, "method": "saliency"},
            UnknownMethod,
            r"one of the synthesizers: .*saliency is one of the explainers",
        ),
        ({"target": 0, "image": "cofee"}, InvalidImage, "coffee"),
        ({"target": 0, "rounds": 0}, InvalidKnob, "^rounds must be"),
        ({"target": 0, "model": None}, InvalidModel, "model must be a Model"),
    ],
    ids=str,
)
def test_wrong_arguments_of_synthesize(model, log, arguments, error, message):
    given = {"model": model, "method": "drawing", **arguments}
    with pytest.raises(error, match=message):
        synthesize(**given)
    assert log == []


def test_last():
    assert last(iter([1, 2, 3])) == 3
    assert last(iter([])) is None
