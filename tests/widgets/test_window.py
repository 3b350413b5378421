from __future__ import annotations

import random

import pytest

from xaiwidgets.widgets.window import SMALLEST, Window

SIZES = [(224, 224), (48, 48), (10, 300), (299, 17), (4, 4), (3, 2), (1, 1)]
GRIPS = ["t", "b", "l", "r", "tl", "tr", "bl", "br", "move"]


def check(window):
    top, left, bottom, right = window.box
    rows, columns = window.size
    assert all(type(n) is int for n in window.box)
    assert 0 <= top < bottom <= rows
    assert 0 <= left < right <= columns
    assert window.height >= min(SMALLEST, rows)
    assert window.width >= min(SMALLEST, columns)
    return window


def any_window(rng, size):
    return check(Window(*(rng.randrange(-50, 400) for _ in range(4)), size=size).inside())


@pytest.mark.parametrize("size", SIZES)
def test_whatever_is_done_it_stays_inside_and_is_never_too_small(size):
    rng = random.Random(repr(size))
    for _ in range(300):
        window = any_window(rng, size)
        for _ in range(5):
            window = check(
                rng.choice(
                    [
                        lambda w: w.dragged(rng.choice(GRIPS), rng.uniform(-500, 500), rng.uniform(-500, 500)),
                        lambda w: w.moved(rng.randrange(-500, 500), rng.randrange(-500, 500)),
                        lambda w: w.resized(rng.randrange(-5, 600), rng.randrange(-5, 600)),
                        lambda w: w.pressed(rng.choice(["ArrowUp", "ArrowLeft", "ArrowDown", "x"]), rng.random() < 0.5),
                    ]
                )(window)
            )
            assert window.inside() == window


def test_huge_and_negative_numbers_end_inside():
    assert Window(10**30, -(10**30), 10**30, -(10**30), (48, 48)).inside() == Window(0, 0, 48, 4, (48, 48))


def test_centered():
    assert Window.centered(20, 10, (48, 50)).box == (14, 20, 34, 30)
    assert Window.centered(500, 500, (48, 48)).box == (0, 0, 48, 48)


@pytest.mark.parametrize("grip", GRIPS)
def test_a_drag_moves_only_what_was_gripped(grip):
    rng = random.Random(grip)
    for _ in range(200):
        window = any_window(rng, (100, 140))
        rows, columns = rng.randrange(-60, 60), rng.randrange(-60, 60)
        after = window.dragged(grip, rows, columns)
        if grip == "move":
            assert (after.height, after.width) == (window.height, window.width)
            assert after.top == min(max(window.top + rows, 0), 100 - window.height)
            assert after.left == min(max(window.left + columns, 0), 140 - window.width)
            continue
        old, new = window.box, after.box
        fixed = [side for side, name in enumerate("tlbr") if name not in grip]
        assert [new[side] for side in fixed] == [old[side] for side in fixed]
        limits = {"t": (0, old[2] - SMALLEST), "l": (0, old[3] - SMALLEST)}
        limits |= {"b": (old[0] + SMALLEST, 100), "r": (old[1] + SMALLEST, 140)}
        for side, name in enumerate("tlbr"):
            if name in grip:
                low, high = limits[name]
                assert new[side] == min(max(old[side] + (rows if name in "tb" else columns), low), high)


def test_a_drag_there_and_back_from_the_same_start_changes_nothing():
    window = Window(30, 40, 20, 24, (100, 140))
    for grip in GRIPS:
        assert window.dragged(grip, 0, 0) == window
        assert window.dragged(grip, 0.4, -0.4) == window


def test_where_a_press_takes_hold():
    window = Window(30, 40, 40, 50, (100, 100))
    assert window.grip(50, 65) == "move"
    for place, name in {(30, 40): "tl", (30, 90): "tr", (70, 40): "bl", (70, 90): "br"}.items():
        assert window.grip(*place) == name
    for place, name in {(30, 65): "t", (70, 65): "b", (50, 40): "l", (50, 90): "r"}.items():
        assert window.grip(*place) == name
    for place in ((20, 65), (80, 65), (50, 30), (50, 99), (float("nan"), 65)):
        assert window.grip(*place) == ""


def test_the_smallest_window_can_still_be_moved():
    window = Window(50, 50, SMALLEST, SMALLEST, (100, 100))
    assert window.grip(52, 52) == "move"


@pytest.mark.parametrize(
    ("key", "rows", "columns"), [("ArrowUp", -4, 0), ("ArrowDown", 4, 0), ("ArrowLeft", 0, -4), ("ArrowRight", 0, 4)]
)
def test_arrow_keys_move_and_with_shift_resize(key, rows, columns):
    window = Window(100, 100, 40, 40, (224, 224))
    assert window.pressed(key, False) == Window(100 + rows, 100 + columns, 40, 40, (224, 224))
    assert window.pressed(key, True) == Window(100, 100, 40 + rows, 40 + columns, (224, 224))
    assert window.pressed("a", False) == window
    assert Window(0, 0, 40, 40, (48, 48)).pressed(key, False).inside()


def test_a_key_moves_by_at_least_one_pixel():
    assert Window(2, 2, 4, 4, (20, 20)).pressed("ArrowDown", False).top == 3


def test_resized_keeps_the_center():
    rng = random.Random(1)
    for _ in range(300):
        window = Window(200 + rng.randrange(9), 200, rng.randrange(4, 90), rng.randrange(4, 90), (600, 600))
        after = window.resized(rng.randrange(4, 190), rng.randrange(4, 190))
        for old, new in ((window.box[::2], after.box[::2]), (window.box[1::2], after.box[1::2])):
            assert abs(sum(old) - sum(new)) <= 1  # half a pixel, when one side is odd and the other even


def test_scrubbing_the_size_there_and_back_does_not_drift():
    start = Window(100, 90, 32, 33, (224, 224))
    window = start
    for side in [*range(32, 80), *range(80, 31, -1)]:
        window = window.resized(side, side + 1)
    assert window == start
