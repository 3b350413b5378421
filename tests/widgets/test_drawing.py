from __future__ import annotations

import threading

import numpy as np
import pytest
from ipycanvas import Canvas

from xaiwidgets.widgets.drawing import _CANVAS_MANAGER, HANDLE, UI_LOCK, Stage, corners, hold

LONG = 120.0


@pytest.fixture
def stage(monkeypatch):
    """A stage whose exact picture is asked for by hand: ``stage.rest()``."""
    asked = []

    class Timer:
        daemon = False

        def __init__(self, seconds, call):
            self.call = call
            asked.append(self)

        def start(self):
            pass

        def cancel(self):
            if self in asked:
                asked.remove(self)

    monkeypatch.setattr("xaiwidgets.widgets.drawing.threading.Timer", Timer)
    made = Stage(90, 60)
    made.asked = asked
    made.rest = lambda: asked.pop().call()
    yield made
    made.close()


def canvas_id(stage):
    return stage.canvas.model_id


def names(message):
    return [name for _, name, _, _ in message]


def test_hold_sends_all_at_once(drawn):
    canvas = Canvas(width=10, height=10)
    with hold():
        canvas.fill_rect(0, 0, 5, 5)
        canvas.stroke_rect(0, 0, 5, 5)
        assert drawn.messages == []
    assert names(drawn.last) == ["fillRect", "strokeRect"]
    assert len(drawn.messages) == 1
    assert {found for found, *_ in drawn.last} == {canvas.model_id}


def test_an_exception_inside_hold_leaves_the_manager_usable(drawn):
    first, second = Canvas(width=10, height=10), Canvas(width=10, height=10)
    with pytest.raises(KeyError), hold():
        first.fill_rect(0, 0, 5, 5)
        raise KeyError("inside")
    assert _CANVAS_MANAGER._caching is False
    assert _CANVAS_MANAGER._commands_cache == []
    with hold():
        second.fill_rect(0, 0, 5, 5)
    assert drawn.last == [(second.model_id, "fillRect", [0, 0, 5, 5], [])]
    assert _CANVAS_MANAGER._caching is False
    assert UI_LOCK.acquire(blocking=False)
    UI_LOCK.release()


def test_a_message_that_cannot_be_sent_does_not_stay_in_the_way(drawn, monkeypatch):
    canvas = Canvas(width=10, height=10)

    def fail(*args, **kwargs):
        raise OSError("the connection is gone")

    with monkeypatch.context() as broken:
        broken.setattr(_CANVAS_MANAGER, "send", fail)
        with pytest.raises(OSError, match="gone"), hold():
            canvas.fill_rect(0, 0, 1, 1)
    with hold():
        canvas.fill_rect(0, 0, 2, 2)
    assert [args for _, _, args, _ in drawn.last] == [[0, 0, 2, 2]]
    assert _CANVAS_MANAGER._caching is False


def test_every_message_names_its_canvas(drawn):
    canvas = Canvas(width=10, height=10)
    for _ in range(2):  # a page that connected in between has not heard the first
        with hold():
            canvas.fill_rect(0, 0, 5, 5)
    assert [found for message in drawn.messages for found, *_ in message] == [canvas.model_id] * 2


def test_hold_inside_hold(drawn):
    canvas = Canvas(width=10, height=10)
    with hold():
        canvas.fill_rect(0, 0, 1, 1)
        with hold():
            canvas.fill_rect(0, 0, 2, 2)
        assert _CANVAS_MANAGER._caching is True
        canvas.fill_rect(0, 0, 3, 3)
    assert _CANVAS_MANAGER._caching is False
    assert [args[2] for message in drawn.messages for _, _, args, _ in message] == [1, 2, 3]


def test_a_moving_picture_goes_as_jpeg_and_a_resting_one_exactly(stage, drawn, pixels):
    stage.show(pixels)
    assert drawn.picture().format == "JPEG"
    assert drawn.picture().size == (90, 60)
    stage.rest()
    exact = drawn.picture()
    assert exact.format == "PNG"
    np.testing.assert_array_equal(np.asarray(exact.convert("RGB")), pixels)
    assert len(drawn.messages) == 2


def test_an_exact_picture_is_sent_once(stage, drawn, pixels):
    stage.show(pixels, exact=True)
    assert drawn.picture().format == "PNG"
    assert stage.asked == []


def test_only_the_last_of_many_pictures_is_sent_exactly(stage, drawn, pixels):
    for shift in range(5):
        stage.show(np.roll(pixels, shift, axis=0))
    assert len(stage.asked) == 1
    stage.rest()
    np.testing.assert_array_equal(np.asarray(drawn.picture().convert("RGB")), np.roll(pixels, 4, axis=0))


def test_the_canvas_takes_the_size_of_the_picture(stage, drawn, pixels):
    stage.show(pixels)
    assert stage.size == (60, 90)
    wide = np.concatenate([pixels, pixels], axis=1)
    stage.show(wide)
    assert stage.size == (60, 180)
    assert drawn.picture().size == (180, 60)
    stage.show(pixels)
    assert stage.size == (60, 90)


def test_a_page_that_connects_gets_everything(stage, drawn, pixels):
    stage.canvas._handle_custom_msg({"event": "client_ready"}, [])
    assert drawn.messages == []  # there is nothing yet
    stage.show(pixels)
    stage.outline((10, 20, 30, 50))
    drawn.messages.clear()
    stage.canvas._handle_custom_msg({"event": "client_ready"}, [])
    (message,) = drawn.messages
    assert names(message)[0] == "putImageData"
    assert drawn.picture().format == "PNG"
    assert names(message).count("strokeRect") == 2
    assert {found for found, *_ in message} == {canvas_id(stage)}


def test_the_rectangle_is_drawn_over_the_picture_with_its_handles(stage, drawn, pixels):
    stage.show(pixels)
    stage.outline((10, 20, 30, 50))
    message = drawn.last
    assert names(message)[0] == "putImageData"
    assert [args for _, name, args, _ in message if name == "strokeRect"] == [[20, 10, 30, 20]] * 2
    circles = [args for _, name, args, _ in message if name == "fillCircle"]
    assert {(x, y) for x, y, _ in circles} == {(column, row) for row, column in corners((10, 20, 30, 50))}
    assert {radius for *_, radius in circles} == {HANDLE - 1, HANDLE + 1}
    stage.outline((10, 20, 30, 50), active=True)
    assert {a[2] for _, name, a, _ in drawn.last if name == "fillCircle"} == {HANDLE + 1, HANDLE + 3}
    stage.outline(None)
    assert names(drawn.last) == ["putImageData"]


def test_after_closing_nothing_is_drawn(stage, drawn, pixels):
    stage.show(pixels)
    late = stage.asked[-1]
    stage.close()
    assert stage.asked == []
    drawn.messages.clear()
    late.call()  # it had already begun when the stage was closed
    assert drawn.messages == []


def test_two_threads_do_not_mix_their_canvases(drawn, pixels):
    stages = [Stage(90, 60), Stage(90, 60)]
    start = threading.Barrier(2)
    failed = []

    def draw(number):
        try:
            start.wait(LONG)
            for step in range(40):
                stages[number].show(np.full((60, 90, 3), 10 + 200 * number, np.uint8), exact=True)
                stages[number].outline((step, number, step + 5, number + 5))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert failed == []
    ids = [canvas_id(stage) for stage in stages]
    for stage in stages:
        stage.close()
    assert len(drawn.messages) >= 160
    for message in drawn.messages:
        (found,) = {canvas for canvas, *_ in message}
        number = ids.index(found)
        assert abs(int(np.asarray(drawn.picture(message))[0, 0, 0]) - (10 + 200 * number)) < 4
        assert {args[0] for _, name, args, _ in message if name == "strokeRect"} <= {number}


def test_pointer_and_keys_come_as_rows_and_columns(stage):
    heard = []
    stage.on_pointer(
        lambda row, column: heard.append(("down", row, column)),
        lambda row, column: heard.append(("move", row, column)),
        lambda: heard.append("up"),
    )
    stage.on_leave(lambda: heard.append("leave"))
    stage.on_key(lambda key, shift: heard.append((key, shift)))
    for content in (
        {"event": "mouse_down", "x": 3, "y": 4},
        {"event": "mouse_move", "x": 5, "y": 6},
        {"event": "mouse_up", "x": 5, "y": 6},
        {"event": "mouse_out", "x": 0, "y": 0},
        {"event": "touch_start", "touches": [{"x": 1, "y": 2}]},
        {"event": "touch_move", "touches": [{"x": 2, "y": 3}, {"x": 9, "y": 9}]},
        {"event": "touch_start", "touches": []},
        {"event": "touch_end", "touches": []},
        {"event": "touch_cancel", "touches": []},
        {"event": "key_down", "key": "ArrowUp", "shift_key": True, "ctrl_key": False, "meta_key": False},
    ):
        stage.canvas._handle_custom_msg(content, [])
    mouse = [("down", 4, 3), ("move", 6, 5), "up", "up", "leave"]
    assert heard == [*mouse, ("down", 2, 1), ("move", 3, 2), "up", "up", ("ArrowUp", True)]
