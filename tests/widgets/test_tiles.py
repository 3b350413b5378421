"""A row of tiles on one canvas: each drawn at its place, exactly once it rests, and told where the pointer is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.widgets.drawing import _CANVAS_MANAGER
from xaiwidgets.widgets.tiles import GAP, Tiles

SIZE = (48, 32)


@pytest.fixture
def timers(monkeypatch):
    """Timers that are rung by hand, and a clock that is set by hand."""
    asked, clock = [], [100.0]

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

    monkeypatch.setattr("xaiwidgets.widgets.tiles.threading.Timer", Timer)
    monkeypatch.setattr("xaiwidgets.widgets.tiles.time.monotonic", lambda: clock[0])

    def ring(after=1.0):
        clock[0] += after
        asked.pop().call()

    ring.asked, ring.clock = asked, clock
    return ring


@pytest.fixture
def tiles(timers):
    made = Tiles(3, SIZE)
    yield made
    made.close()


def tile(seed):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def sent(message):
    """Return (left edge, picture) of each picture in a message."""
    return [
        (args[0], Image.open(io.BytesIO(bytes(images[0]))))
        for _, name, args, images in message
        if name == "putImageData"
    ]


def test_tiles_stand_side_by_side_and_a_change_costs_one_of_them(drawn, tiles):
    assert (tiles.canvas.width, tiles.canvas.height) == (3 * 32 + 2 * 2, 48)
    assert tiles.gap == 32 * GAP
    for number in range(3):
        tiles.show(number, tile(number))
        ((left, picture),) = sent(drawn.last)
        assert left == number * 34
        assert (picture.format, picture.size) == ("JPEG", (32, 48))
    count = len(drawn.messages)
    same = tile(7)
    tiles.show(1, same)
    tiles.show(1, same)
    assert len(drawn.messages) == count + 1


def test_each_is_exact_once_it_has_rested(drawn, tiles, timers):
    first, second = tile(1), tile(2)
    tiles.show(0, first)
    timers.clock[0] += 0.3
    tiles.show(2, second)
    timers(0.2)  # the first has rested, the second has not
    ((left, picture),) = sent(drawn.last)
    assert (left, picture.format) == (0, "PNG")
    np.testing.assert_array_equal(np.asarray(picture), first)
    timers(1.0)
    ((left, picture),) = sent(drawn.last)
    assert left == 68
    np.testing.assert_array_equal(np.asarray(picture), second)
    assert timers.asked == []


def test_a_page_that_connects_later_gets_all_of_them(drawn, tiles):
    for number in range(3):
        tiles.show(number, tile(number))
    tiles.canvas._handle_custom_msg({"event": "client_ready"}, [])
    assert [left for left, _ in sent(drawn.last)] == [0, 34, 68]
    assert all(picture.format == "PNG" for _, picture in sent(drawn.last))


def test_another_shape_is_empty_and_what_is_outside_is_not_drawn(drawn, tiles, timers):
    tiles.show(0, tile(0))
    tiles.shape(3, SIZE)
    assert len(tiles._pixels) == 1
    tiles.shape(2, SIZE)
    assert tiles.canvas.width == 2 * 32 + 2
    count = len(drawn.messages)
    tiles.show(2, tile(2))
    timers()
    assert len(drawn.messages) == count
    tiles.close()
    tiles.show(0, tile(0))
    assert len(drawn.messages) == count
    assert not _CANVAS_MANAGER._caching


def test_the_pointer_is_told_in_shares_of_a_tile(tiles):
    heard, keys = [], []
    tiles.on_point(lambda *at: heard.append(at), lambda *at: heard.append(("press", *at)), lambda: heard.append("left"))
    tiles.on_key(lambda key, shift: keys.append((key, shift)))

    def mouse(event, **state):
        tiles.canvas._handle_custom_msg({"event": event, **state}, [])

    mouse("mouse_move", x=34 + 8, y=12)
    mouse("mouse_down", x=68 + 16, y=36)
    mouse("mouse_out", x=0, y=0)
    assert heard == [(1, 0.25, 0.25), ("press", 2, 0.75, 0.5), "left"]
    heard.clear()
    for x, y in ((33, 5), (-1, 5), (5, 49), (400, 5), (float("nan"), 1), (1, float("inf")), (1e300, 1)):
        mouse("mouse_move", x=x, y=y)
    assert heard == []
    mouse("key_down", key="ArrowLeft", shift_key=True, ctrl_key=False, meta_key=False)
    assert keys == [("ArrowLeft", True)]
