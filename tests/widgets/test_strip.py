from __future__ import annotations

import pytest
from torch import nn

from xaiwidgets.model.model import Model
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.strip import Strip


@pytest.fixture
def chosen():
    return []


@pytest.fixture
def strip(chosen, digits):
    made = Strip(chosen.append)
    made.set_model(digits)
    yield made
    close_tree(made.box)


def values(widget):
    return [value for _, value in widget.options]


def test_the_slider_has_the_stages_and_the_list_all_spatial_layers(strip, digits, chosen):
    assert values(strip._slider) == [stage.name for stage in digits.stages]
    assert values(strip._list) == [layer.name for layer in digits.layers if layer.spatial]
    assert strip._slider.value == strip._list.value == digits.stages[-1].name
    assert chosen == []


def test_moving_either_chooses_a_layer(strip, digits, chosen, send):
    send(strip._slider, index=0)
    send(strip._list, index=3)
    assert chosen == [digits.stages[0].name, values(strip._list)[3]]


def test_show_tells_the_layer_s_facts_and_does_not_call_back(strip, digits, chosen):
    for layer in digits.layers:
        strip.show(layer.name)
        if layer.spatial:
            assert strip._list.value == layer.name
            assert layer.words in strip._facts.value
            assert "sees" in strip._facts.value
    strip.show("no such layer")
    assert chosen == []


def test_a_step_goes_to_a_neighbor_and_stops_at_the_ends(strip, digits, chosen):
    names = [stage.name for stage in digits.stages]
    strip.step(1)
    assert chosen == []
    for _ in range(len(names) + 2):
        strip.step(-1)
    assert chosen == names[-2::-1]


def test_disabled_means_no_steps(strip, chosen):
    strip.enable(False)
    assert strip._slider.disabled
    assert strip._list.disabled
    strip.step(-1)
    assert chosen == []
    strip.enable(True)
    strip.step(-1)
    assert len(chosen) == 1


@pytest.mark.parametrize("state", [{"index": 99}, {"index": -1}, {"index": "a"}, {"index": None}])
def test_an_index_out_of_range_chooses_nothing(strip, chosen, send, state):
    send(strip._slider, **state)
    send(strip._list, **state)
    assert chosen == []
    strip.step(1)
    strip.step(-1)


def test_all_layers_are_one_click_away(strip, send):
    send(strip._all, value=True)
    assert strip._slider.layout.display == "none"
    assert strip._list.layout.display != "none"
    send(strip._all, value=False)
    assert strip._list.layout.display == "none"
    assert strip._slider.layout.display != "none"


def test_a_network_without_spatial_layers(chosen, send):
    strip = Strip(chosen.append)
    strip.set_model(Model(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), size=4))
    strip.enable(True)
    assert strip._slider.disabled
    strip.step(1)
    send(strip._slider, index=0)
    assert chosen == []


def test_names_of_layers_are_escaped(chosen):
    net = nn.Sequential()
    net.add_module("<b>x", nn.Conv2d(3, 2, 1))
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    strip = Strip(chosen.append)
    strip.set_model(Model(net, size=4))
    assert "<b>x" in values(strip._list)
    assert "&lt;b&gt;x" in strip._facts.value
