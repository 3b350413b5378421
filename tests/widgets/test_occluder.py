from __future__ import annotations

import pytest

from xaiwidgets.studio.frame import Probe
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.occluder import Occluder
from xaiwidgets.widgets.window import SMALLEST

SIDES = ("top", "left", "height", "width")


class FakeStage:
    """Remembers the outline."""

    size = (480, 480)
    box, active = None, False

    def outline(self, box, *, active=False):
        self.box, self.active = box, active


class Room:
    def __init__(self):
        self.stage, self.moved, self.released = FakeStage(), [], []
        self.occluder = Occluder(self.stage, self.moved.append, self.released.append)
        self.occluder.set_size((48, 48))

    def in_step(self):
        window = self.occluder.window
        assert {name: slider.value for name, slider in self.occluder._sliders.items()} == {
            name: getattr(window, name) for name in SIDES
        }
        if self.occluder.on:
            assert self.stage.box == tuple(10.0 * side for side in window.box)
        return window


@pytest.fixture
def room():
    made = Room()
    yield made
    close_tree(made.occluder.toggle, made.occluder.sliders, made.occluder.reading)


@pytest.fixture
def on(room, send):
    send(room.occluder.toggle, value=True)
    room.moved.clear()
    return room


def test_it_is_off_until_it_is_wanted(room, send):
    assert not room.occluder.on
    assert room.stage.box is None
    assert not room.occluder.press(24, 24)
    assert not room.occluder.drag(30, 30)
    assert not room.occluder.release()
    assert not room.occluder.key("ArrowUp", False)
    assert room.moved == []
    send(room.occluder.toggle, value=True)
    assert room.occluder.on
    assert room.moved == [room.in_step().box]
    assert room.occluder.sliders.layout.display == ""
    send(room.occluder.toggle, value=False)
    assert room.stage.box is None
    assert room.occluder.sliders.layout.display == "none"
    assert room.occluder.reading.value == ""


def test_a_program_can_switch_it_on_too(room):
    room.occluder.activate(True)
    assert room.occluder.toggle.value
    assert len(room.moved) == 1
    room.occluder.activate(False)
    assert not room.occluder.toggle.value


def test_sliders_follow_the_pointer(on):
    before = on.in_step()
    assert on.occluder.press(24, 24)
    assert on.stage.active
    for step in range(1, 6):
        assert on.occluder.drag(24 + step, 24 - step)
        assert on.in_step() == before.moved(step, -step)
    assert len(on.moved) == 5
    assert on.released == []
    assert on.occluder.release()
    assert on.released == [on.occluder.window]
    assert not on.stage.active


def test_a_corner_resizes(on):
    top, left, bottom, right = on.occluder.window.box
    assert on.occluder.press(bottom, right)
    on.occluder.drag(bottom + 7, right + 9)
    assert on.in_step().box == (top, left, bottom + 7, right + 9)


def test_a_press_beside_it_is_not_taken(on):
    assert not on.occluder.press(1, 1)
    assert not on.occluder.drag(9, 9)
    assert not on.occluder.release()
    assert on.moved == on.released == []


def test_a_press_without_a_move_releases_nothing(on):
    assert on.occluder.press(24, 24)
    assert on.occluder.release()
    assert on.released == []


def test_the_rectangle_follows_the_sliders(on, send):
    send(on.occluder._sliders["top"], value=3)
    assert on.in_step().top == 3
    send(on.occluder._sliders["width"], value=20)
    assert on.in_step().width == 20
    assert [box[0] for box in on.moved] == [3, 3]
    assert [window.width for window in on.released][-1] == 20


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("value", [10**9, -(10**9), 47, 0, 48, "7", 3.5, None])
def test_a_slider_sent_anywhere_leaves_the_rectangle_inside(on, send, name, value):
    slider = on.occluder._sliders[name]
    for state in ({"value": value}, {"max": 10**9, "value": value}, {"min": -(10**9), "value": value}):
        send(slider, **state)
        window = on.occluder.window
        assert window == window.inside()
        assert min(window.height, window.width) >= SMALLEST
        assert on.stage.box == tuple(10.0 * side for side in window.box)
    send(slider, min=0, max=48)
    send(slider, value=10)
    on.in_step()


def test_a_slider_moved_past_the_border_comes_back(on, send):
    limit = 48 - on.occluder.window.height
    for value in (44, 47, 45):
        send(on.occluder._sliders["top"], value=value)
        assert on.in_step().top == limit


def test_arrow_keys_move_and_resize(on):
    before = on.in_step()
    assert on.occluder.key("ArrowDown", False)
    assert on.in_step() == before.moved(1, 0)
    assert on.occluder.key("ArrowRight", True)
    assert on.in_step().width == before.width + 1
    assert not on.occluder.key("Enter", False)
    assert len(on.moved) == len(on.released) == 2
    for _ in range(60):
        assert on.occluder.key("ArrowUp", False)
    assert on.in_step().top == 0
    assert on.moved[-1][0] == 0
    assert len(on.moved) < 30  # nothing is asked at the border


def test_a_size_from_elsewhere_does_not_call_back(on):
    on.occluder.resize(20, 10)
    assert (on.in_step().height, on.in_step().width) == (20, 10)
    on.occluder.resize(500, 500)
    assert on.in_step().box == (0, 0, 48, 48)
    assert on.moved == on.released == []


def test_beside_the_map_it_lies_on_the_left_panel(on):
    on.stage.size = (480, 968)
    on.occluder.resize(10, 10)
    on.in_step()


def test_another_input_size_starts_in_the_middle(on):
    on.occluder.set_size((100, 200))
    assert on.occluder.window.size == (100, 200)
    assert [on.occluder._sliders[name].max for name in SIDES] == [100, 200, 100, 200]
    on.occluder.set_size((3, 2))
    assert on.occluder.window.box == (0, 0, 3, 2)


def test_it_says_what_the_network_sees_now(on):
    on.occluder.show(Probe((0, 0, 8, 8), 0.25, 0.75, ()), "<b>cup</b>")
    assert "25.0%" in on.occluder.reading.value
    assert "-50.0%" in on.occluder.reading.value
    assert "&lt;b&gt;cup" in on.occluder.reading.value


def test_a_hidden_unit_is_told_as_an_activation_and_not_in_percent(on):
    on.occluder.show(Probe((0, 0, 8, 8), 2.5, 3.75, (), "features.3 channel 5", "activation"), "features.3 channel 5")
    assert "<b>2.50</b> features.3 channel 5" in on.occluder.reading.value
    assert "(−1.25)" in on.occluder.reading.value
    on.occluder.show(Probe((0, 0, 8, 8), 4.0, 3.75, (), "", "activation"), "")
    assert "(+0.250)" in on.occluder.reading.value
    assert "%" not in on.occluder.reading.value
