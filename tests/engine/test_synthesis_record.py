"""Records of runs: written down, read with distrust, and made again bit for bit."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from tiny_synthesizers import registered
from torch import nn

import xaiwidgets as xw
from xaiwidgets.engine.run import synthesize_steps
from xaiwidgets.engine.synthesis_record import (
    MOST_BYTES,
    SynthesisRecord,
    differences,
    picture_digest,
    read_record,
    replay_synthesis,
    replay_synthesis_steps,
    synthesis_record,
    weights_digest,
)
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidModel, InvalidRecord, InvalidTarget, UnknownMethod
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization

SIDE = 16


def make_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()


@pytest.fixture(scope="module")
def model():
    return xw.Model(make_net(), size=SIDE, labels=["a", "b", "c", "d"], name="small")


@pytest.fixture(scope="module")
def moved(model):
    """The eighth result of a run of twelve whose knobs were moved twice."""
    method = ActivationMaximization(iterations=12)
    steps = synthesize_steps(model, method, target="b")
    for _ in range(3):
        next(steps)
    steps.send(dataclasses.replace(method, decay=0.1, jitter=0))
    next(steps)
    steps.send(dataclasses.replace(method, decay=0.0, jitter=0))
    next(steps)
    return next(steps)


@pytest.fixture
def written(model, moved):
    return json.loads(synthesis_record(model, moved).to_json())


def test_the_record_says_how_it_began_and_what_was_moved(model, moved, written):
    assert written["method"] == "activation_maximization"
    assert written["steps"] == moved.step == 8
    assert (written["knobs"]["decay"], written["knobs"]["jitter"]) == (0.003, 4)
    assert [tuple(event) for event in written["events"]] == [
        (4, "decay", 0.003, 0.1),
        (4, "jitter", 4, 0),
        (6, "decay", 0.1, 0.0),
    ]
    assert written["named"] == "b"
    assert written["model"] == {"name": "small", "input": [3, SIDE, SIDE], "weights": weights_digest(model)}
    assert written["photo"] is None
    assert written["versions"]["torch"] == torch.__version__.partition("+")[0]


@pytest.mark.parametrize("form", ["text", "bytes", "dictionary", "path", "record"])
def test_the_same_picture_comes_again(model, moved, tmp_path, form):
    record = synthesis_record(model, moved)
    text = record.to_json()
    path = tmp_path / "run.json"
    path.write_text(text)
    given = {"text": text, "bytes": text.encode(), "dictionary": json.loads(text), "path": path, "record": record}
    again = replay_synthesis(model, given[form])
    np.testing.assert_array_equal(again.image, moved.image)
    np.testing.assert_array_equal(again.curve, moved.curve)
    assert (again.events, again.notes, again.step) == (moved.events, moved.notes, moved.step)


def test_a_resumed_run_has_the_whole_record(model, moved):
    method = ActivationMaximization(iterations=12, decay=0.0, jitter=0, momentum=0.5).resume(moved.state)
    resumed = xw.synthesize(model, method, target="b")
    record = synthesis_record(model, resumed)
    assert record.knobs["decay"] == 0.003
    assert record.events[-1] == (9, "momentum", 0.8, 0.5)
    np.testing.assert_array_equal(replay_synthesis(model, record.to_json()).image, resumed.image)


def test_pictures_stream_and_can_be_stopped(model, moved, written):
    steps = replay_synthesis_steps(model, written)
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    steps.close()


@pytest.mark.parametrize(
    "goal",
    [
        {"target": ["a", "c"]},
        {"target": xw.Target.difference("a", "b")},
        {"layer": "0", "unit": 3},
        {"target": xw.Target.hidden("0", 2, (4, 5))},
        {"target": xw.objectives.label("b") - 0.1 * xw.objectives.channel("0", 2)},
    ],
)
def test_every_kind_of_target(model, goal):
    result = xw.synthesize(model, "activation_maximization", iterations=3, **goal)
    again = replay_synthesis(model, synthesis_record(model, result).to_json())
    np.testing.assert_array_equal(again.image, result.image)
    assert again.provenance.target == result.provenance.target


def test_photos_are_found_by_their_name_and_checked_by_their_pixels(model):
    photo = np.zeros((20, 20, 3), np.uint8)
    with registered():
        result = xw.synthesize(model, "fade_in", image=photo, iterations=3)
        with pytest.raises(InvalidImage, match="image must be given"):
            synthesis_record(model, result)
        record = synthesis_record(model, result, photo)
        with pytest.raises(InvalidImage, match="which is no sample"):
            replay_synthesis(model, record)
        with pytest.raises(InvalidImage, match="other pixels"):
            replay_synthesis(model, record, photo + 1)
        np.testing.assert_array_equal(replay_synthesis(model, record.to_json(), photo).image, result.image)
        result = xw.synthesize(model, "fade_in", image="coffee", iterations=3)
        record = synthesis_record(model, result)
        assert record.target is None
        np.testing.assert_array_equal(replay_synthesis(model, record.to_json()).image, result.image)


def test_a_photo_that_a_run_did_not_have_is_refused(model, moved, written):
    with pytest.raises(InvalidImage, match="image must be left out: the run had no photo"):
        synthesis_record(model, moved, "coffee")
    with pytest.raises(InvalidImage, match="image must be left out: the run of activation_maximization had no photo"):
        replay_synthesis(model, written, "coffee")
    started = xw.synthesize(model, "activation_maximization", target="b", iterations=2, start="photo", image="coffee")
    record = synthesis_record(model, started).to_json()
    np.testing.assert_array_equal(replay_synthesis(model, record, "coffee").image, started.image)


def test_other_weights_are_told_and_other_inputs_refused(model, moved, written):
    other = xw.Model(make_net(1), size=SIDE, labels=["a", "b", "c", "d"], name="other")
    assert differences(model, read_record(written)) == ()
    again = replay_synthesis(other, written)
    assert again.notes[-1] == "The run was made with other weights, those of small."
    assert picture_digest(again) != written["picture"]
    larger = xw.Model(make_net(), size=2 * SIDE)
    with pytest.raises(InvalidModel, match="model must take inputs of 3×16×16"):
        replay_synthesis(larger, written)
    few = xw.Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 1)), size=SIDE)
    with pytest.raises(InvalidTarget):
        replay_synthesis(few, written)


def test_another_picture_is_told(model, written):
    again = replay_synthesis(model, {**written, "picture": "0" * 16})
    assert "differs from that of the record" in again.notes[-1]


def test_the_digest_follows_the_weights():
    net = make_net()
    model = xw.Model(net, size=SIDE)
    before = weights_digest(model)
    assert weights_digest(xw.Model(make_net(), size=SIDE)) == before
    with torch.no_grad():
        net[0].weight.mul_(1.0001)
    assert weights_digest(model) != before


def test_what_was_not_synthesized_has_no_record(model, moved):
    with pytest.raises(InvalidRecord, match="result must come from synthesize"):
        synthesis_record(model, moved.replace(state=None))


WRONG = [
    ({"format": "x"}, InvalidRecord, "Save run has written"),
    ({"version": 2}, InvalidRecord, "version 1"),
    ({"method": 3}, InvalidRecord, "method must be text"),
    ({"method": "x" * 3000}, InvalidRecord, "method must be text"),
    ({"method": "rise"}, InvalidRecord, "must be a synthesizer"),
    ({"method": "nothing"}, UnknownMethod, "method must be one of"),
    ({"knobs": None}, InvalidRecord, "knobs must be a table"),
    ({"knobs": {"decay": [1]}}, InvalidRecord, "knobs must be numbers"),
    ({"knobs": {"decay": 7}}, InvalidKnob, "decay must be a number from 0"),
    ({"knobs": {"hello": 7}}, InvalidKnob, "no hyper-parameter 'hello'"),
    ({"steps": True}, InvalidRecord, "steps must be a whole number"),
    ({"steps": 3.5}, InvalidRecord, "steps must be a whole number"),
    ({"steps": 10**12}, InvalidRecord, "steps must be a whole number"),
    ({"steps": 3}, InvalidRecord, "events must lie within the 3 steps"),
    ({"events": 3}, InvalidRecord, "events must be a list"),
    ({"events": [[1, "decay", 0.003]]}, InvalidRecord, "events must each be"),
    ({"events": [[1, "decay", 0.003, []]]}, InvalidRecord, "events must each be"),
    ({"events": [[1, "seed", 0, 1]]}, InvalidKnob, "'seed' cannot"),
    ({"events": [[0, "decay", 0.003, 0.1]]}, InvalidKnob, "events must be those"),
    ({"events": [[1, "decay", 0.003, 99]]}, InvalidKnob, "decay must be a number"),
    ({"events": [[1, "decay", 0.003, 0.1]] * 10_001}, InvalidRecord, "at most 10,000"),
    ({"target": []}, InvalidRecord, "target must be a table"),
    ({"target": {"evil": 1}}, InvalidRecord, "target must have fields"),
    ({"target": {"classes": "abc"}}, InvalidRecord, "classes of the target"),
    ({"target": {"classes": [0.5]}}, InvalidRecord, "classes of the target"),
    ({"target": {"layer": 3}}, InvalidRecord, "layer must be text"),
    ({"target": {"classes": [9]}}, InvalidTarget, "classes must be"),
    ({"target": {"layer": "nothing"}}, Exception, "layer"),
    ({"target": {"layer": "0", "channel": 99}}, InvalidTarget, "channel must be"),
    ({"target": {"layer": "0", "channel": "x"}}, InvalidTarget, "channel must be"),
    ({"target": {"layer": "0", "position": {"a": 1}}}, InvalidTarget, "position must be"),
    ({"target": {"classes": [0], "output": "x"}}, InvalidTarget, "output must be"),
    ({"target": {"objective": 3}}, InvalidRecord, "objective of the target"),
    ({"target": {"objective": "a", "classes": [0]}}, InvalidRecord, "objective of the target"),
    ({"target": {"objective": "a +"}}, InvalidTarget, "objective must have"),
    ({"target": {"objective": "caricature(0; /etc/passwd)"}}, Exception, "passwd|objective"),
    ({"model": []}, InvalidRecord, "model must be a table"),
    ({"model": {"input": [1, 2]}}, InvalidRecord, "input of the model"),
    ({"model": {"input": [3, 16, "16"]}}, InvalidRecord, "input of the model"),
    ({"photo": {"name": 3}}, InvalidRecord, "name must be text"),
    ({"photo": {"name": "/etc/passwd", "digest": ""}, "knobs": {"start": "photo"}}, InvalidImage, "which is no sample"),
    ({"photo": {"name": "coffee", "digest": ""}}, InvalidRecord, "photo must be null.*makes nothing of a photo"),
    ({"picture": 3}, InvalidRecord, "picture must be text"),
    ({"versions": 3}, InvalidRecord, "versions must be a table"),
]


@pytest.mark.parametrize(("change", "error", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_what_was_tampered_with_is_refused(model, written, change, error, words):
    for given in ({**written, **change}, json.dumps({**written, **change})):
        with pytest.raises(error, match=words):
            replay_synthesis(model, given)


@pytest.mark.parametrize(
    "given",
    [b"\xff\xfe", "", "3", "[]", "{", "null", "[" * 50_000, '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "\ud800"],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_json_record_is_refused(given):
    with pytest.raises(InvalidRecord):
        read_record(given)


def test_too_long_a_record_is_not_even_read(tmp_path):
    path = tmp_path / "long.json"
    path.write_bytes(b" " * (MOST_BYTES + 1))
    for given in (b" " * (MOST_BYTES + 1), path):
        with pytest.raises(InvalidRecord, match="at most 1024 kB"):
            read_record(given)
    with pytest.raises(InvalidRecord, match="got int"):
        read_record(3)


def test_a_record_of_no_step(model, moved):
    with pytest.raises(InvalidRecord, match="stopped before its first"):
        synthesis_record(model, moved.replace(step=0))
    with pytest.raises(InvalidRecord, match="from 1 to"):
        read_record(SynthesisRecord("activation_maximization", {}, 0).to_json())
