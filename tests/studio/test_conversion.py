"""A model that gets a new head in sight: progress, cancelling, and what is explained then."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest

from xaiwidgets.learned import pooling_head
from xaiwidgets.model.zoo import load_model
from xaiwidgets.studio.lens import Lens, Unit


@pytest.fixture(scope="module")
def vgg():
    return load_model("digits_vgg")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    whole = pooling_head.with_pooling_head_steps
    monkeypatch.setattr(pooling_head, "with_pooling_head_steps", partial(whole, steps=5))


def told(heard, event):
    return [found for name, found in heard if name == event]


def test_the_new_head_is_trained_in_sight_and_explained_by_cam(make_studio, record, vgg):
    studio = make_studio(Lens(method="saliency", unit=Unit("features.3", 1)), vgg)
    studio.start()
    assert studio.convertible()
    heard = record(studio)
    studio.convert()
    steps = [s for s in told(heard, "status") if s.text == "Training a head of global average pooling"]
    assert len(steps) > 20
    assert all(a.progress < b.progress for a, b in pairwise(steps))
    assert {s.kind for s in steps} == {"busy"}
    (made,) = told(heard, "model")
    assert made is studio.model
    assert made is not vgg
    assert "gap_head" in made.offers
    assert made.offers in told(heard, "offers")
    assert (studio.lens.method, studio.lens.unit) == ("cam", None)
    assert told(heard, "lens")[-1] == studio.lens
    assert studio.frame.result.provenance.method == "cam"
    assert studio.frame.result.provenance.model == "digits_vgg with a pooling head"
    assert any("its accuracy is" in note for note in studio.frame.result.notes)
    assert studio.status.kind == "idle"
    assert not studio.convertible()
    assert "gap_head" not in vgg.offers


def test_nothing_of_the_old_network_is_kept(make_studio, record, vgg):
    studio = make_studio(Lens(method="saliency"), vgg)
    studio.start()
    before, predicted = studio.frame.result, studio.predictions
    studio.convert()
    heard = record(studio)
    assert studio.predictions != predicted
    studio.put(studio.lens.with_method("saliency"))
    assert studio.frame.result.provenance.model == "digits_vgg with a pooling head"
    assert not (studio.frame.result.values == before.values).all()
    assert [frame.reused for frame in told(heard, "frame")] == [False]


def test_asking_for_something_else_cancels_it(make_studio, record, vgg, monkeypatch):
    studio = make_studio(Lens(method="grad_cam"), vgg, sync=False)
    studio.start()
    assert studio.wait(60)
    closed = []
    whole = pooling_head.with_pooling_head_steps

    def watched(model):
        steps = whole(model, steps=10_000)
        try:
            yield from steps
        finally:
            closed.append(True)

    monkeypatch.setattr(pooling_head, "with_pooling_head_steps", watched)
    heard = record(studio)
    studio.convert()
    while not any(s.text.startswith("Training") for s in told(heard, "status")):
        pass
    studio.put(studio.lens.with_method("saliency"))
    assert studio.wait(60)
    assert closed == [True]
    assert told(heard, "model") == []
    assert studio.frame.result.provenance.method == "saliency"
    assert studio.frame.result.provenance.model == "digits_vgg"
    assert studio.status.text.startswith("Saliency for")


def test_what_has_such_a_head_or_no_data_is_not_converted(make_studio, digits):
    studio = make_studio(Lens(method="grad_cam"))
    assert not studio.convertible()
    studio.start()
    assert not studio.convertible()
