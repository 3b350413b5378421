"""A mask that is learned in sight: its curves grow, it is paused, moved, goes on, and begins anew."""

from __future__ import annotations

import re
import time

import pytest
from browser.pages import IDLE, choose, picture, ready, settle, slider, status, wait_for_change

pytestmark = pytest.mark.browser

STEP = "+(document.querySelector('.xai-status').innerText.match(/step (\\d+) of/) || [0, 0])[1]"
LONG = 180_000
STEPS = 120


@pytest.fixture(scope="module")
def page(open_shared):
    found = open_shared("explorer")
    ready(found)
    return found


def spoken(page):
    """Return what a screen reader says of the curves."""
    return [svg.get_attribute("aria-label") for svg in page.locator(".xai-curve svg").all()]


def points(page):
    """Return how many points each curve has."""
    return [len(line.get_attribute("points").split()) for line in page.locator(".xai-curve polyline").all()]


def button(page, name):
    return page.locator(".xai-coursebuttons").get_by_role("button", name=name, exact=True)


def told(page):
    return page.locator(".xai-coursetold").inner_text()


def at_step(page, least):
    page.wait_for_function(f"{STEP} >= {least}", timeout=LONG)


def pause(page):
    """Press Pause; return the step at which it rests."""
    button(page, "Pause").click()
    page.wait_for_selector(".xai-kind-paused", timeout=LONG)
    page.wait_for_function("performance.now() - window.xai.at > 1200", timeout=LONG)
    return int(page.evaluate(STEP))


def end(page):
    page.wait_for_selector(IDLE, timeout=LONG)
    settle(page)
    page.wait_for_function("performance.now() - window.xai.at > 2500")  # the exact picture is there, also when busy


def test_watch_pause_move_and_resume(page, assert_quiet):
    choose(page, "Meaningful perturbation")
    at_step(page, 5)
    assert "Sparsity λ₁, Smoothness λ₂" in told(page)
    few, before = points(page), picture(page)
    assert len(few) == 3
    wait_for_change(page, before)
    at_step(page, 15)
    assert all(now > then for now, then in zip(points(page), few, strict=True)), "the curves grow"
    step = pause(page)
    assert step < STEPS, "this machine was too fast for the test to pause it"
    resting, drawn = picture(page), points(page)
    assert all(re.search(rf"over {step} of {STEPS} steps", words) for words in spoken(page))
    handle = slider(page, "Sparsity λ₁")
    handle.focus()
    for _ in range(6):
        handle.press("ArrowRight")
    page.wait_for_function(
        "document.querySelector('.xai-coursetold').innerText.startsWith('From the next step on: Sparsity λ₁ 0.0')"
    )
    time.sleep(1)
    assert int(page.evaluate(STEP)) == step
    assert (picture(page), points(page)) == (resting, drawn), "nothing moves while it rests"
    button(page, "Resume").click()
    at_step(page, step + 3)
    assert re.match(rf"step {step + 1}: Sparsity λ₁ 0.0003 → 0.0\d+$", told(page)), told(page)
    assert page.locator(".xai-curve .xai-mark").count() == 3
    end(page)
    assert points(page) == [STEPS] * 3
    assert all(f"marked: step {step + 1}: Sparsity λ₁" in words for words in spoken(page))
    assert f"{STEPS} backward passes" in status(page), "it was one run"
    assert picture(page) != resting
    words = page.locator(".xai-words").inner_text()
    assert re.search(r"With \d+% of the photo hidden, the probability goes from 0.951 to 0.\d+", words)
    assert "the settings alone do not give this map" in words
    assert "0, without color: seen as it is" in words
    assert "1: hidden by blur" in words
    assert_quiet(page)


def test_restart_gives_the_map_of_the_settings_on_screen(page, assert_quiet):
    if not page.locator(".xai-curve .xai-mark").count():
        test_watch_pause_move_and_resume(page, lambda _: None)
    moved = picture(page)
    button(page, "Restart").click()
    page.wait_for_selector(".xai-kind-busy", timeout=LONG)
    end(page)
    clean = picture(page)
    assert clean != moved
    assert page.locator(".xai-curve .xai-mark").count() == 0
    assert "Moved while it ran" not in page.locator(".xai-words").inner_text()
    choose(page, "Saliency")
    end(page)
    choose(page, "Meaningful perturbation")
    at_step(page, 2)
    handle = slider(page, "Sparsity λ₁")  # at its default again, as the method was chosen anew
    handle.focus()
    pause(page)
    for _ in range(6):
        handle.press("ArrowRight")
    page.wait_for_function("document.querySelector('.xai-coursetold').innerText.startsWith('From the next')")
    page.wait_for_timeout(3000)  # until all six have arrived: what comes after Restart is a move of the new run
    button(page, "Restart").click()
    page.wait_for_selector(".xai-kind-busy", timeout=LONG)
    end(page)
    assert page.locator(".xai-curve .xai-mark").count() == 0
    page.wait_for_function(f"window.xai.hash() === {clean}", timeout=20_000)  # the same settings, from the beginning
    assert_quiet(page)


def test_nothing_runs_out_of_its_column(page):
    if not page.locator(".xai-course:visible").count():
        choose(page, "Meaningful perturbation")
    for width in (1440, 800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(400)
        main = page.locator(".xai-main").first.bounding_box()
        for part in [*page.locator(".xai-curve").all(), button(page, "Restart")]:
            box = part.bounding_box()
            assert box["x"] >= main["x"] - 1, width
            assert box["x"] + box["width"] <= main["x"] + main["width"] + 1, width
        cut = "e => e.scrollWidth > e.clientWidth + 1"
        assert not any(head.evaluate(cut) for head in page.locator(".xai-curvehead, .xai-curvefoot").all()), width
    page.set_viewport_size({"width": 1440, "height": 900})
