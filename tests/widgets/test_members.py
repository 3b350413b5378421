"""The control for several methods: what is chosen round-trips, and no page can choose what may not be."""

from __future__ import annotations

import pytest

from xaiwidgets.core.cards import card, cards
from xaiwidgets.core.knobs import Knob, MethodNames
from xaiwidgets.studio.lens import Lens
from xaiwidgets.widgets.controls import Control, Form

KNOB = next(knob for knob in card("agg_mean").knobs if knob.name == "members")
DEFAULT = KNOB.default


@pytest.fixture
def calls():
    return []


@pytest.fixture
def control(calls):
    return Control(KNOB, calls.append)


def press(send, control, name):
    """Press a chip as a page does."""
    control.widget._chips[name]._handle_custom_msg({"event": "click"}, None)


def on(control):
    return {name for name, chip in control.widget._chips.items() if "xai-on" in chip._dom_classes}


def test_chips_are_made_when_they_are_asked_for_and_show_what_is_chosen(control, send):
    assert control.widget._chips == {}
    assert "Saliency, Integrated gradients, Grad-CAM" in control.widget._names.value
    send(control.widget._open, value=True)
    assert set(control.widget._chips) == {c.id for c in cards("explainer")} - set(KNOB.domain.exclude)
    assert on(control) == set(DEFAULT.split(","))
    assert control.widget._panel.layout.display == ""
    send(control.widget._open, value=False)
    assert control.widget._panel.layout.display == "none"


def test_a_chip_takes_its_method_in_and_out(control, calls, send):
    send(control.widget._open, value=True)
    press(send, control, "rise")
    assert calls == [f"{DEFAULT},rise"] == [control.value]
    assert "rise" in on(control)
    assert "RISE" in control.widget._names.value
    press(send, control, "saliency")
    assert calls[-1] == "integrated_gradients,grad_cam,lrp,smoothgrad,rise"
    press(send, control, "rise")
    press(send, control, "saliency")  # in another order the same methods are the same question
    assert calls[-1] == control.value == DEFAULT
    assert control.widget._reset.layout.display == "none"
    assert KNOB.domain.check("members", control.value) == control.value


def test_too_few_and_too_many_are_refused_and_said(control, calls, send):
    control.set("saliency,grad_cam")
    send(control.widget._open, value=True)
    press(send, control, "grad_cam")
    assert control.value == "saliency,grad_cam"
    assert "at least 2" in control.widget._told.value
    assert calls == []
    others = [name for name in control.widget._chips if name not in ("saliency", "grad_cam")]
    for name in others[:11]:
        press(send, control, name)
    assert len(calls) == 10
    assert len(control.value.split(",")) == KNOB.domain.most == 12
    assert "at most 12" in control.widget._told.value


def test_what_is_set_is_shown_and_reset_brings_the_default_back(control, calls, send):
    send(control.widget._open, value=True)
    control.set("grad_cam,occlusion")
    assert calls == []
    assert on(control) == {"grad_cam", "occlusion"}
    assert "2 of " in control.widget._told.value
    control.widget._reset._handle_custom_msg({"event": "click"}, None)
    assert calls == [DEFAULT]


def test_a_page_can_set_nothing(control, calls, send):
    send(control.widget, value="agg_mean,agg_mean", description="<b>")
    assert control.value == DEFAULT
    assert calls == []
    assert "value" not in control.widget.keys


def test_members_go_through_a_link_and_what_is_not_there_is_dropped():
    lens = Lens(method="agg_var").with_knobs(members="grad_cam,rise")
    assert Lens.from_query(lens.to_query()) == lens
    assert lens.make().members == "grad_cam,rise"
    for wrong in ("saliency", "agg_mean,saliency", "nothing,saliency", ","):
        query = Lens(method="agg_var").replace(knobs=(("members", wrong),)).to_query()
        assert Lens.from_query(query).make().members == DEFAULT


def test_a_form_closes_all_chips(calls, send):
    from ipywidgets.widgets.widget import _instances

    before = set(_instances)
    form = Form([KNOB], lambda *_: None)
    send(form.controls["members"].widget._open, value=True)
    press(send, form.controls["members"], "rise")
    form.close()
    assert set(_instances) == before


def test_the_control_is_for_any_such_knob(calls):
    control = Control(Knob("k", "rise,lrp", MethodNames(least=1, most=3), "Ones", "Some."), calls.append)
    for name in ("rise", "lrp", "saliency"):
        control.widget.toggle(name)
    assert calls == ["lrp", "lrp,saliency"]
    assert control.widget._open.description == "Ones"
    assert control.widget._open.tooltip == "Some."
