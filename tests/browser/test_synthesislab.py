"""SynthesisLab as a person uses it, through Voila in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
import time

import numpy as np
import pytest
from browser.pages import WATCH, becomes, choose, has, link_bytes, picture, slider, wait_for_change
from PIL import Image

pytestmark = pytest.mark.browser

#: Loading torch and the model on a busy machine.
LOADED = 120_000
SOON = 60_000
STEP = "(document.querySelector('.xai-status')?.innerText.match(/step (\\d+)/) || [0, 0])[1]"
OVERFLOW = """() => {
  const e = document.querySelector('#rendered_cells');
  return [e.scrollHeight - e.clientHeight, e.scrollWidth - e.clientWidth];
}"""


@pytest.fixture(scope="module")
def shared(open_shared):
    """One page for most tests of this file."""
    page = open_shared("synthesislab")
    page.wait_for_function(f"{STEP} >= 2", timeout=LOADED)
    page.evaluate(WATCH)
    return page


@pytest.fixture
def maximizer(shared):
    """One run for espresso in its first steps, long enough not to end during a test."""
    shared.set_viewport_size({"width": 1440, "height": 900})
    while shared.get_by_role("button", name="Close", exact=True).count():
        count = shared.locator(".xai-lane").count()
        shared.get_by_role("button", name="Close", exact=True).last.click()
        shared.wait_for_function(f"document.querySelectorAll('.xai-lane').length === {count - 1}", timeout=SOON)
    if "xai-on" not in chip(shared, "Activation maximization").get_attribute("class"):
        chip(shared, "Activation maximization").click()
        shared.get_by_role("button", name="Calm", exact=True).wait_for(timeout=SOON)
    if shared.get_by_role("button", name="Channel of a layer").get_attribute("class").find("mod-active") >= 0:
        choose(shared, "Class")
    field = shared.get_by_label("Class", exact=True)
    if field.input_value() != "espresso":
        field.fill("espresso")
        field.press("Enter")
    choose(shared, "Calm")
    choose(shared, "Reset")
    says(shared, "Paused: espresso, step 1")
    choose(shared, "Resume")
    shared.wait_for_function(f"{STEP} >= 2", timeout=SOON)
    return shared


def chip(page, title):
    """Return the chip of a method, whose family is unfolded."""
    found = page.locator("button.xai-chip", has_text=re.compile(f"^{re.escape(title)}$"))
    if not found.is_visible():
        page.locator(".xai-methods > .widget-vbox", has=found).locator(".xai-family").click()
    return found


def says(page, words):
    """Wait until the status line begins with these words; step 1 is not the beginning of step 14."""
    page.wait_for_function(
        "words => { const text = document.querySelector('.xai-status').innerText;"
        " return text.startsWith(words) && !/^\\d/.test(text.slice(words.length)) }",
        arg=words,
        timeout=SOON,
    )


def back(page):
    """Press the left arrow and wait until the run stands at an earlier step."""
    now = step(page)
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"{STEP} < {now}", timeout=SOON)


def step(page):
    return int(page.evaluate(STEP))


def pause(page):
    """Press Pause and wait until the kernel says that it rests, and the exact picture has come."""
    choose(page, "Pause")
    says(page, "Paused:")
    page.wait_for_function("performance.now() - window.xai.at > 1200", timeout=SOON)


def fits(width):
    """Return a condition on what overflows: nothing to the side, and nothing below on a wide page."""
    return lambda over: over[1] == 0 and (over[0] == 0 or width < 1440)


def test_a_preset_made_for_another_network_says_so_under_the_chips(maximizer):
    page = maximizer
    chip(page, "Regularized optimization").click()
    page.get_by_role("button", name="3 as printed: blur", exact=True).wait_for(timeout=SOON)
    choose(page, "3 as printed: blur")
    note = page.get_by_text("chosen for CaffeNet")
    note.wait_for(timeout=SOON)
    chips = page.locator(".xai-chips", has=page.get_by_role("button", name="3 as printed: blur", exact=True))

    def close(found):
        above, below = found
        gap = below["y"] - above["y"] - above["height"]
        return 0 <= gap < 12 and below["x"] >= above["x"] - 1 and below["width"] <= above["width"] + 1

    becomes(lambda: (chips.bounding_box(), note.bounding_box()), close)
    becomes(lambda: page.evaluate(OVERFLOW)[1], lambda across: across <= 0)
    choose(page, "Blur, any network")
    note.wait_for(state="hidden", timeout=SOON)


def test_it_paints_by_itself_and_asks_nothing_of_another_host(shared, assert_offline, assert_quiet):
    page = shared
    for _ in range(3):
        before = picture(page)
        wait_for_change(page, before)
    becomes(page.locator(".xai-twin").inner_text, has("espresso: logit"))
    colors = page.evaluate(
        "() => { const c = document.querySelector('canvas.xai-stage');"
        " return new Set(c.getContext('2d').getImageData(0, 300, c.width, 40).data).size }"
    )
    assert colors > 50
    assert_offline(page)
    assert_quiet(page)


def test_frames_a_second(maximizer, record_property):
    """Print how many different pictures a second are seen; 10 to 15 on an idle machine."""
    before, start = step(maximizer), time.monotonic()
    first = maximizer.evaluate("[window.xai.changes, performance.now()]")
    maximizer.wait_for_function(f"performance.now() > {first[1] + 3000}", timeout=SOON)
    last = maximizer.evaluate("[window.xai.changes, performance.now()]")
    assert "Maximizing" in maximizer.locator(".xai-status").inner_text()
    steps = (step(maximizer) - before) / (time.monotonic() - start)
    rate = (last[0] - first[0]) / (last[1] - first[1]) * 1000
    record_property("frames_a_second", rate)
    print(f"\nframes a second: {rate:.1f}; steps a second: {steps:.1f}")
    assert rate >= min(5, 0.8 * steps)  # every step is seen where the machine makes no more of them
    assert rate >= 2


def test_a_regularizer_moved_while_it_runs_leaves_a_tick_on_the_curve(maximizer):
    titles = maximizer.locator(".xai-lower svg line title")
    becomes(titles.count, 0)
    slider(maximizer, "Blur width (pixels)").focus()
    maximizer.keyboard.press("ArrowRight")
    maximizer.wait_for_function("document.querySelectorAll('.xai-lower svg line title').length === 1", timeout=SOON)
    becomes(titles.text_content, "blur_width: 1.5 → 1.6")
    before = picture(maximizer)
    wait_for_change(maximizer, before)  # and it goes on
    calm = maximizer.get_by_role("button", name="Calm", exact=True)
    becomes(lambda: "xai-on" in calm.get_attribute("class"), False)


def test_pause_stops_and_resume_goes_on(maximizer):
    shown = step(maximizer)
    choose(maximizer, "Pause")
    pressed = maximizer.evaluate("performance.now()")
    says(maximizer, "Paused:")
    resting = maximizer.evaluate("performance.now()") - pressed
    at = step(maximizer)
    # the exact picture comes 0.4 s after the last one, and is the same one without JPEG's errors
    maximizer.wait_for_function("performance.now() - window.xai.at > 1200", timeout=SOON)
    last = maximizer.evaluate("window.xai.at") - pressed
    print(f"\npause: at rest after {resting:.0f} ms, exact picture after {last:.0f} ms")
    assert step(maximizer) == at
    still = picture(maximizer)
    maximizer.wait_for_function(f"performance.now() > {pressed + 3000}", timeout=SOON)
    assert picture(maximizer) == still
    assert at <= shown + 10  # no queue of steps is worked off
    choose(maximizer, "Resume")
    maximizer.wait_for_function(f"{STEP} >= {at + 2}", timeout=SOON)
    wait_for_change(maximizer, still)


def test_a_step_is_one_step(maximizer):
    pause(maximizer)
    for _ in range(2):
        at, before = step(maximizer), picture(maximizer)
        choose(maximizer, "Step")
        says(maximizer, f"Paused: espresso, step {at + 1}")
        wait_for_change(maximizer, before)
        maximizer.wait_for_function("performance.now() - window.xai.at > 1200", timeout=SOON)
        assert step(maximizer) == at + 1


def curve(page):
    """Return what a screen reader says of the curve."""
    return page.locator(".xai-lower svg[aria-label]").get_attribute("aria-label")


def test_reset_goes_back_to_the_start_picture(maximizer):
    pause(maximizer)
    before = picture(maximizer)
    choose(maximizer, "Reset")
    says(maximizer, "Paused: espresso, step 1")
    wait_for_change(maximizer, before)
    becomes(lambda: curve(maximizer), has("over 1 of 128 steps"))


def test_searching_another_class_paints_that_one(maximizer):
    field = maximizer.get_by_label("Class", exact=True)
    field.fill("golden retriever")
    field.press("Enter")
    says(maximizer, "Maximizing golden retriever")
    at = step(maximizer)
    maximizer.wait_for_function(f"{STEP} >= {at + 2}", timeout=SOON)
    becomes(maximizer.locator(".xai-twin").inner_text, has("golden retriever: logit"))
    field.fill("no such thing")
    field.press("Enter")
    becomes(maximizer.locator(".xai-error").inner_text, has("no such thing"))
    before = picture(maximizer)
    field.fill("espresso")
    field.press("Enter")
    says(maximizer, "Maximizing espresso")
    wait_for_change(maximizer, before)


def test_a_channel_of_a_layer(maximizer):
    choose(maximizer, "Channel of a layer")
    maximizer.wait_for_function(
        "document.querySelector('.xai-status').innerText.match(/^Maximizing .* channel 0, step/)", timeout=SOON
    )
    channel = maximizer.get_by_label("Channel", exact=True)
    channel.fill("3")
    channel.press("Enter")
    maximizer.wait_for_function(
        "document.querySelector('.xai-status').innerText.match(/^Maximizing .* channel 3, step/)", timeout=SOON
    )
    becomes(maximizer.locator(".xai-twin").inner_text, has(": activation"))
    before = picture(maximizer)
    wait_for_change(maximizer, before)


def test_snapshots_png_and_film(maximizer):
    maximizer.wait_for_function(f"{STEP} >= 8", timeout=SOON)
    pause(maximizer)
    at, count = step(maximizer), maximizer.locator("figure").count()
    choose(maximizer, "Snapshot")
    maximizer.wait_for_function(f"document.querySelectorAll('figure').length === {count + 1}", timeout=SOON)
    becomes(maximizer.locator("figure figcaption").last.inner_text, has(f"espresso, step {at}, "))

    choose(maximizer, "Save PNG")
    maximizer.wait_for_selector("a.xai-save[href^='data:image/png']", timeout=SOON)
    png = Image.open(io.BytesIO(link_bytes(maximizer)))
    assert (png.format, png.size) == ("PNG", (224, 224))
    data = maximizer.evaluate("document.querySelector('canvas.xai-stage').toDataURL('image/png')")
    seen = Image.open(io.BytesIO(base64.b64decode(data.partition("base64,")[2]))).convert("RGB")
    shown = png.resize(seen.size, Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(shown))  # at rest the canvas is exact

    choose(maximizer, "Save film")
    maximizer.wait_for_selector("a.xai-save[href^='data:image/webp']", timeout=SOON)
    film = Image.open(io.BytesIO(link_bytes(maximizer)))
    assert (film.format, film.size) == ("WEBP", (224, 224))
    assert film.is_animated
    assert film.n_frames == at
    becomes(maximizer.locator("a.xai-save").inner_text, has(f"{at} frames"))
    becomes(lambda: maximizer.evaluate(OVERFLOW), [0, 0])


def test_the_steps_can_be_scrubbed_and_resumed_from(maximizer):
    maximizer.wait_for_function(f"{STEP} >= 9", timeout=SOON)
    pause(maximizer)
    slider(maximizer, "Step").focus()
    for _ in range(3):
        back(maximizer)
    told = maximizer.locator(".xai-lower > .xai-scrubber .xai-scrubbed2")
    standing = step(maximizer)
    said = becomes(told.inner_text, lambda text: re.fullmatch(rf"{standing} of 128, \d+ later", text))
    now, later = map(int, re.findall(r"\d+", said)[::2])
    assert later >= 3
    becomes(lambda: curve(maximizer), has(f"over {now} of 128 steps"))
    maximizer.keyboard.press("End")
    says(maximizer, f"Paused: espresso, step {now + later}")
    maximizer.keyboard.press("Home")
    says(maximizer, "Paused: espresso, step 1")
    choose(maximizer, "Step")
    says(maximizer, "Paused: espresso, step 2")
    becomes(told.inner_text, "2 of 128")


def test_forks_stand_side_by_side_with_their_own_knobs(maximizer):
    pause(maximizer)
    at = step(maximizer)
    choose(maximizer, "Fork")
    lanes = maximizer.locator(".xai-lane")
    lanes.nth(1).wait_for(timeout=SOON)
    becomes(lambda: "xai-on" in lanes.nth(1).get_attribute("class"), True)
    becomes(lanes.nth(1).locator("button").first.inner_text, has(f"from A, step {at}"))

    def apart(found):
        first, second = found
        return first["x"] + first["width"] <= second["x"]

    becomes(lambda: [lanes.nth(place).locator("canvas").bounding_box() for place in (0, 1)], apart)
    slider(maximizer, "Blur width (pixels)").focus()
    maximizer.keyboard.press("ArrowRight")
    choose(maximizer, "Step")
    says(maximizer, f"Paused: espresso, step {at + 1}")
    for place in (0, 1):
        lane = maximizer.locator(".xai-lower svg[aria-label]").nth(place)
        becomes(lambda lane=lane: lane.get_attribute("aria-label"), has(f"over {at + place} of 128 steps"))
    lanes.nth(0).locator("canvas").click()
    maximizer.wait_for_function("document.querySelectorAll('.xai-lane')[0].classList.contains('xai-on')", timeout=SOON)
    maximizer.wait_for_function(
        "[...document.querySelectorAll('.widget-readout')].some(e => e.innerText === '1.5')", timeout=SOON
    )
    choose(maximizer, "Fork")
    lanes.nth(2).wait_for(timeout=SOON)
    for width in (1440, 1024):
        maximizer.set_viewport_size({"width": width, "height": 900})
        becomes(lambda: maximizer.evaluate(OVERFLOW), fits(width))


def test_a_run_is_saved_loaded_and_done_again(maximizer):
    maximizer.wait_for_function(f"{STEP} >= 4", timeout=SOON)
    slider(maximizer, "Blur width (pixels)").focus()
    maximizer.keyboard.press("ArrowRight")
    maximizer.wait_for_function("document.querySelectorAll('.xai-lower svg line title').length === 1", timeout=SOON)
    pause(maximizer)
    at = step(maximizer)
    choose(maximizer, "Save run")
    maximizer.wait_for_selector("a.xai-save[href^='data:application/json']", timeout=SOON)
    content = link_bytes(maximizer)
    record = json.loads(content)
    assert (record["steps"], [event[1] for event in record["events"]]) == (at, ["blur_width"])
    choose(maximizer, "Reset")
    says(maximizer, "Paused: espresso, step 1")
    with maximizer.expect_file_chooser() as chooser:
        maximizer.locator(".xai-loadrun").click()
    chooser.value.set_files({"name": "run.json", "mimeType": "application/json", "buffer": content})
    maximizer.get_by_text("the same picture, bit for bit").wait_for(timeout=SOON)
    becomes(lambda: step(maximizer), at)
    with maximizer.expect_file_chooser() as chooser:
        maximizer.locator(".xai-loadrun").click()
    chooser.value.set_files({"name": "run.json", "mimeType": "application/json", "buffer": b"{}"})
    becomes(maximizer.locator(".xai-error").inner_text, has("Save run has written"))


def test_another_method_shows_its_own_knobs(maximizer):
    pause(maximizer)
    chip(maximizer, "Class model visualization").click()
    says(maximizer, "Paused: espresso, step 1")
    slider(maximizer, "Step size").wait_for(timeout=SOON)
    becomes(maximizer.get_by_text("Blur width (pixels)", exact=True).is_visible, False)
    becomes(maximizer.get_by_role("button", name="Calm", exact=True).is_visible, False)
    choose(maximizer, "Step")
    says(maximizer, "Paused: espresso, step 2")


def test_keys_on_the_picture(maximizer):
    pause(maximizer)
    at = step(maximizer)
    maximizer.locator("canvas.xai-stage").focus()
    maximizer.keyboard.press(" ")
    maximizer.wait_for_function(f"{STEP} >= {at + 2}", timeout=SOON)
    maximizer.keyboard.press(" ")
    says(maximizer, "Paused:")
    back(maximizer)


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_room(maximizer, width):
    maximizer.set_viewport_size({"width": width, "height": 900})
    becomes(lambda: maximizer.evaluate(OVERFLOW), fits(width))

    def right(box):
        """It is in the page, not distorted, and large."""
        inside = box["x"] >= 0 and box["x"] + box["width"] <= width
        return inside and abs(box["width"] - box["height"]) <= 1 and box["width"] >= min(width - 40, 560)

    becomes(maximizer.locator("canvas.xai-stage").bounding_box, right)
    before = picture(maximizer)
    wait_for_change(maximizer, before)
    for name in ("Start", "Pause", "Step", "Reset", "Fork", "Snapshot", "Save PNG", "Save film", "Save run"):
        button = maximizer.get_by_role("button", name=name, exact=True).first
        button.scroll_into_view_if_needed()
        place = button.bounding_box()
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= width
        assert place["height"] >= 24


def test_nothing_was_asked_of_another_host(shared, assert_offline, assert_quiet):
    assert_offline(shared)
    assert_quiet(shared)
