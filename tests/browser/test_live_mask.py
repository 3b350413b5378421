"""A mask that is learned in sight: its curves grow, it is paused, moved, goes on, and begins anew."""

from __future__ import annotations

import re
import time

import pytest
from browser.pages import IDLE, becomes, choose, has, picture, ready, settle, slider, status, wait_for_change

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
    becomes(lambda: told(page), has("Sparsity λ₁, Smoothness λ₂"))
    few, before = becomes(lambda: points(page), lambda counts: len(counts) == 3), picture(page)
    wait_for_change(page, before)
    at_step(page, 15)
    becomes(lambda: points(page), lambda counts: all(now > then for now, then in zip(counts, few, strict=True)))
    step = pause(page)
    assert step < STEPS, "this machine was too fast for the test to pause it"
    resting, drawn = picture(page), points(page)
    becomes(lambda: spoken(page), lambda curves: all(f"over {step} of {STEPS} steps" in words for words in curves))
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
    becomes(lambda: told(page), re.compile(rf"step {step + 1}: Sparsity λ₁ 0.0003 → 0.0\d+$").match)
    becomes(page.locator(".xai-curve .xai-mark").count, 3)
    end(page)
    becomes(lambda: points(page), [STEPS] * 3)
    marked = f"marked: step {step + 1}: Sparsity λ₁"
    becomes(lambda: spoken(page), lambda curves: all(marked in words for words in curves))
    becomes(lambda: status(page), has(f"{STEPS} backward passes"))  # it was one run
    assert picture(page) != resting
    found = re.compile(r"With \d+% of the photo hidden, the probability goes from 0.951 to 0.\d+").search
    becomes(page.locator(".xai-words").inner_text, found)
    others = ("the settings alone do not give this map", "0, without color: seen as it is", "1: hidden by blur")
    becomes(page.locator(".xai-words").inner_text, has(*others))
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
    becomes(page.locator(".xai-curve .xai-mark").count, 0)
    becomes(page.locator(".xai-words").inner_text, lambda words: "Moved while it ran" not in words)
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
    becomes(page.locator(".xai-curve .xai-mark").count, 0)
    page.wait_for_function(f"window.xai.hash() === {clean}", timeout=60_000)  # the same settings, from the beginning
    assert_quiet(page)


def test_nothing_runs_out_of_its_column(page):
    if not page.locator(".xai-course:visible").count():
        choose(page, "Meaningful perturbation")
    for width in (1440, 800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(400)
        page.wait_for_function(
            "() => { const m = document.querySelector('.xai-main').getBoundingClientRect();"
            " const parts = [...document.querySelectorAll('.xai-curve, .xai-coursebuttons button')]"
            ".filter(e => e.offsetParent).map(e => e.getBoundingClientRect());"
            " return parts.length > 4 && parts.every(b => b.left >= m.left - 1 && b.right <= m.right + 1) }",
            timeout=60_000,
        )
        cut = "heads => heads.filter(e => e.scrollWidth > e.clientWidth + 1).length"
        becomes(lambda cut=cut: page.locator(".xai-curvehead, .xai-curvefoot").evaluate_all(cut), 0)
    page.set_viewport_size({"width": 1440, "height": 900})
