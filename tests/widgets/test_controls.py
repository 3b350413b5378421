from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import ipywidgets as w
import pytest

from xaiwidgets.core.cards import card, cards
from xaiwidgets.core.knobs import (
    Choice,
    Domain,
    Flag,
    Knob,
    LayerName,
    LayerRules,
    MethodName,
    MethodNames,
    NetworkName,
    Range,
    ReferenceName,
    knobs_of,
)
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model import references
from xaiwidgets.render.look import Look
from xaiwidgets.widgets.controls import WIDEST_SLIDER, Control, Form

EVERY = [(made.id, knob) for made in cards() for knob in made.knobs] + [("look", knob) for knob in knobs_of(Look)]
RANGES = [(owner, knob) for owner, knob in EVERY if isinstance(knob.domain, Range)]
CHOICES = [
    (owner, knob) for owner, knob in EVERY if isinstance(knob.domain, (Choice, MethodName, LayerName, ReferenceName))
]


def names(found):
    return [f"{owner}.{knob.name}" for owner, knob in found]


class Calls(list):
    def __call__(self, *values):
        self.append(values[0] if len(values) == 1 else values)


@pytest.fixture
def calls():
    return Calls()


@pytest.mark.parametrize(("owner", "knob"), EVERY, ids=names(EVERY))
def test_every_knob_has_a_labelled_control_that_shows_its_default(owner, knob, calls):
    control = Control(knob, calls, layers=("a", "b"))
    assert control.widget.description in (knob.label, f"{knob.label} ({knob.unit})")
    assert knob.help
    assert control.widget.tooltip.startswith(knob.help)
    assert knob.unit in control.widget.tooltip
    assert control.value == knob.default
    assert knob.domain.check(knob.name, control.value) == control.value
    assert calls == []


@pytest.mark.parametrize(("owner", "knob"), RANGES, ids=names(RANGES))
def test_a_number_moves_to_both_ends(owner, knob, calls, send):
    control = Control(knob, calls)
    low, high = knob.domain.low, knob.domain.high
    for number, end in enumerate((high, low, high, low)):
        if isinstance(control.widget, w.SelectionSlider):
            values = [value for _, value in control.widget.options]
            assert values == sorted(values)
            send(control.widget, index=values.index(end))
        else:
            send(control.widget, value=end)
        assert control.value == end
        assert type(control.value) is type(knob.domain.check(knob.name, end))
        assert len(calls) == number + (knob.default != high)
        assert calls[-1:] in ([], [end])


@pytest.mark.parametrize(("owner", "knob"), RANGES, ids=names(RANGES))
@pytest.mark.parametrize("hostile", [10**9, -(10**9), 1e300, math.nan, math.inf, -math.inf, 0, -0.5, 10**30])
def test_bounds_sent_by_a_browser_never_count(owner, knob, hostile, calls, send):
    control = Control(knob, calls)
    for state in (
        {"index": hostile},
        {"_options_labels": ["9"] * 99, "index": 90},
        {"max": 1e12, "value": hostile},
        {"min": -1e12, "value": hostile},
        {"max": 10**12, "min": -(10**12), "value": hostile},
        {"step": hostile},
        {"value": hostile},
        {"base": 10.0, "value": hostile},
    ):
        send(control.widget, **state)
        assert knob.domain.check(knob.name, control.value) == control.value
    for value in calls:
        assert knob.domain.check(knob.name, value) == value


@pytest.mark.parametrize(("owner", "knob"), CHOICES, ids=names(CHOICES))
def test_every_option_can_be_chosen_and_no_other(owner, knob, calls, send):
    control = Control(knob, calls, layers=("a", "b"))
    for number in range(len(control.widget.options)):
        send(control.widget, index=number)
        assert control.value == control.widget.options[number][1]
        assert knob.domain.check(knob.name, control.value) == control.value
    shown = control.value
    for index in (len(control.widget.options), -1, 10**9, "1", 1.5, [0]):
        send(control.widget, index=index)
        assert control.value == shown
    send(control.widget, index=None)
    assert knob.domain.check(knob.name, control.value) == knob.default
    assert all(knob.domain.check(knob.name, value) == value for value in calls)


def test_a_browser_that_invents_options_gets_none_of_them(calls, send):
    control = Control(Knob("k", "a", Choice(("a", "b")), "K", "h"), calls)
    for state in ({"_options_labels": ["x"] * 9, "index": 8}, {"_options_labels": [], "index": 0}):
        send(control.widget, **state)
        assert control.value in ("a", "b")


def test_reference_sets_are_chosen_by_title_and_only_those_there_are(calls, send, monkeypatch):
    monkeypatch.setattr(references, "_SETS", {})
    knob = Knob("k", "photos", ReferenceName(), "K", "h")
    control = Control(knob, calls)
    assert [name for _, name in control.widget.options] == [one.name for one in references.reference_sets()]
    assert [title for title, _ in control.widget.options][:2] == ["Bundled photos", "Digit canvases"]
    for state in ({"_options_labels": ["/etc"] * 99, "index": 98}, {"value": "/etc"}, {"label": "/etc"}):
        send(control.widget, **state)
        assert control.value in {one.name for one in references.reference_sets()}
    references.reference_set("mine", ["coffee", "china"])
    control.set("mine")
    assert control.value == "mine"
    assert Control(knob, calls).widget.options[-1] == ("mine", "mine")
    assert all(value in {one.name for one in references.reference_sets()} for value in calls)


def test_a_flag(calls, send):
    control = Control(Knob("k", True, Flag(), "K", "h"), calls)
    send(control.widget, value=False)
    assert calls == [False]
    for wrong in ("yes", 2, None, []):
        send(control.widget, value=wrong)
    assert calls == [False]
    assert control.value is False


@pytest.mark.parametrize(("owner", "knob"), EVERY, ids=names(EVERY))
def test_set_shows_a_value_and_does_not_call_back(owner, knob, calls):
    control = Control(knob, calls, layers=("a", "b"))
    values = [c for _, c in control.widget.options] if hasattr(control.widget, "options") else None
    for value in values or knob.domain.samples(knob.default):
        control.set(value)
        assert control.value == (pytest.approx(value) if isinstance(value, float) else value)
    assert calls == []


def test_a_value_between_those_of_a_slider_is_shown_too(calls):
    control = Control(Knob("k", 16.0, Range(0.1, 1000.0, log=True), "K", "h"), calls)
    for value in (17.3, 0.11, 999.5, 16.0):
        control.set(value)
        assert control.value == control.widget.value == value
    assert calls == []


def test_the_same_number_sent_back_is_nobody_s_choice(calls, send):
    control = Control(Knob("k", 0.6, Range(0.0, 1.0, 0.01), "K", "h"), calls)
    send(control.widget, value=0.6000000001)
    assert calls == []
    send(control.widget, value=0.61)
    control.set(0.3)
    send(control.widget, value=0.61)
    assert calls == [0.61, 0.61]


def test_a_knob_whose_domain_is_not_known_is_refused(calls):
    with pytest.raises(TypeError, match="no control is known for a Domain"):
        Control(Knob("k", 1, Domain(), "K", "h"), calls)


def test_a_wide_span_of_whole_numbers_is_typed(calls):
    wide = Control(Knob("k", 0, Range(0, WIDEST_SLIDER + 1), "K", "h"), calls)
    narrow = Control(Knob("k", 0, Range(0, WIDEST_SLIDER), "K", "h"), calls)
    assert type(wide.widget).__name__ == "BoundedIntText"
    assert type(narrow.widget).__name__ == "IntSlider"


@pytest.mark.parametrize("made", cards(), ids=lambda c: c.id)
def test_a_form_has_all_knobs_and_says_which_changed(made, calls, send):
    form = Form(made.knobs, calls, layers=("a",))
    assert list(form.controls) == [k.name for k in made.knobs]
    folded = [k for k in made.knobs if k.advanced]
    assert len(form.box.children) == len(made.knobs) - len(folded) + bool(folded)
    for knob in made.knobs:
        widget = form.controls[knob.name].widget
        if isinstance(knob.domain, Range) and not isinstance(widget, w.SelectionSlider):
            send(widget, value=knob.domain.low if knob.default == knob.domain.high else knob.domain.high)
        elif isinstance(knob.domain, Flag):
            send(widget, value=not knob.default)
        elif isinstance(knob.domain, LayerRules):
            form.set_weighted([("a", "conv")])
            send(widget._open, value=True)
            send(widget._rows["a"], index=1)
        elif isinstance(knob.domain, MethodNames):
            widget.toggle("rise")
        elif isinstance(knob.domain, NetworkName):
            form.set({knob.name: "gone"})
            send(widget, index=0)
        else:
            send(widget, index=(widget.index + 1) % len(widget.options))
        assert calls.pop()[0] == knob.name
        assert all(name == knob.name for name, _ in calls)
        calls.clear()
    form.set({k.name: k.default for k in made.knobs} | {"unknown": 3})
    assert calls == []
    for knob in made.knobs:
        assert form.controls[knob.name].value == knob.default


def test_what_has_been_trained_is_offered_by_its_kind(calls, send, monkeypatch):
    kept = {"older": SimpleNamespace(kind="generator"), "other": SimpleNamespace(kind="decoder"), "net": object()}
    monkeypatch.setattr("xaiwidgets.learned.store._KEPT", kept)
    knobs = {k.name: k for k in card("dgn_am").knobs}
    form = Form([knobs["generator"], knobs["judge"]], calls)
    picker, judge = (form.controls[name].widget for name in ("generator", "judge"))
    assert picker.options == (("the newest that fits", ""), ("older", "older"))
    assert judge.options == (("none", ""), ("net", "net"))
    send(picker, index=1)
    assert calls == [("generator", "older")]
    kept["newer"] = SimpleNamespace(kind="generator")
    form.find_networks()
    assert [name for _, name in picker.options] == ["", "newer", "older"]
    assert picker.value == "older"
    del kept["older"]
    form.find_networks()
    assert [name for _, name in picker.options] == ["", "newer", "older"]  # so that the error can name it
    send(picker, index=0)
    form.find_networks()
    assert [name for _, name in picker.options] == ["", "newer"]
    assert calls == [("generator", "older"), ("generator", "")]
    form.close()


def test_closing_a_form_closes_all_its_widgets(calls):
    from ipywidgets.widgets.widget import _instances

    before = set(_instances)
    forms = [Form(made.knobs, calls) for made in cards()]
    assert set(_instances) > before
    for form in forms:
        form.close()
    assert set(_instances) == before


def test_domains_refuse_what_controls_never_give():
    for (_, knob), value in itertools.product(RANGES, (math.nan, 1e300, "1", None)):
        with pytest.raises(InvalidKnob):
            knob.domain.check(knob.name, value)


@pytest.mark.parametrize(
    ("domain", "default", "kind"),
    [
        (Range(0.0, 100.0), 1e-6, "SelectionSlider"),
        (Range(0.0, 100.0), 0.25, "SelectionSlider"),
        (Range(1.0, 10.0), 2.0, "FloatSlider"),
        (Range(0.0, 500.0), 50.0, "FloatSlider"),
        (Range(0.0, 1.0), 0.15, "FloatSlider"),
        (Range(-1.0, 1.0), 0.123456, "FloatSlider"),
    ],
)
def test_a_slider_can_stand_at_the_default(calls, domain, default, kind):
    control = Control(Knob("k", default, domain, "K", "h"), calls)
    assert type(control.widget).__name__ == kind
    assert control.value == default
    if kind == "SelectionSlider":
        values = [v for _, v in control.widget.options]
        assert (values[0], values[-1]) == (domain.low, domain.high)
        assert values == sorted(set(values))
        assert default in values
        assert all(domain.low <= v <= domain.high for v in values)
        assert 10 < len(values) < 100
    elif domain.low >= 0:
        steps = (default - control.widget.min) / control.widget.step
        assert steps == pytest.approx(round(steps), abs=1e-6)


def test_a_value_that_the_browser_rounds_to_a_step_is_nobody_s_choice(calls, send):
    control = Control(Knob("k", 0.2, Range(0.0, 1.0, 0.1), "K", "h"), calls)
    control.set(0.33)
    for echo in (0.3, 0.4):
        send(control.widget, value=echo)
        control.widget.value = 0.33
    assert calls == []
    send(control.widget, value=0.5)
    send(control.widget, value=0.3)  # now a person has moved it there
    assert calls == [0.5, 0.3]
    whole = Control(Knob("k", 1, Range(1, 99, 2), "K", "h"), calls)
    whole.set(4)
    send(whole.widget, value=5)
    assert len(calls) == 2


def test_a_hyper_parameter_of_the_method_is_chosen_from_those_that_it_has():
    from xaiwidgets.core.metric_cards import metric_card

    changes = []
    form = Form(metric_card("sam_sensitivity").knobs, lambda name, value: changes.append((name, value)))
    control = form.controls["parameter"]
    form.set_names([("Samples", "samples"), ("Noise", "noise")])
    assert control.widget.options == (("its own choice", ""), ("Samples", "samples"), ("Noise", "noise"))
    control.widget.value = "noise"
    assert changes == [("parameter", "noise")]
    form.set_names([("Noise", "noise")])
    assert control.value == "noise"
    form.set_names([("Window", "window")])
    assert control.value == ""
    assert changes == [("parameter", "noise")]
    form.close()


@pytest.mark.parametrize(
    ("method", "name", "words"),
    [("grad_cam", "layer", "last stage"), ("representation_inversion", "layer", "middle stage"),
     ("excitation_backprop", "layer", "by its size")],
)  # fmt: skip
def test_what_no_layer_means_is_said(method, name, words):
    made = next(knob for owner, knob in EVERY if owner == method and knob.name == name)
    control = Control(made, lambda *_: None, layers=("one", "two"))
    assert [label for label, _ in control.widget.options] == [words, "one", "two"]
