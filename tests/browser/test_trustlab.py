"""The laboratory as a person uses it, through Voila in a real browser."""

from __future__ import annotations

import re

import pytest
from browser.pages import becomes, has, rested, slider
from playwright.sync_api import TimeoutError as PlaywrightTimeout

pytestmark = pytest.mark.browser

#: Loading torch and the model, and a first test, on a busy machine.
LOADED = 180_000
SOON = 60_000
OVERFLOW = """() => {
  const e = document.querySelector('#rendered_cells');
  return [e.scrollHeight - e.clientHeight, e.scrollWidth - e.clientWidth];
}"""
#: A number that stands for the pixels of one of the pictures side by side.
HASH = """([place, count]) => {
  const c = [...document.querySelectorAll('canvas.xai-tiles')].filter(e => e.offsetParent !== null)[0];
  const g = c.getContext('2d', {willReadFrequently: true});
  const side = c.width / (count + (count - 1) / 16), width = Math.floor(side);
  const left = Math.round(place * side * 17 / 16);
  let h = c.width;
  for (let i = 1; i < 12; i++) {
    const line = g.getImageData(left, Math.floor(c.height * i / 12), width, 1).data;
    for (let k = 0; k < line.length; k += 29) h = (h * 31 + (line[k] >> 3)) | 0;
  }
  return h;
}"""


@pytest.fixture(scope="module")
def lab(open_shared):
    """One page for the tests of this file, which go on where the last one has left it."""
    page = open_shared("trustlab")
    says(page, "Model randomization", LOADED)
    return page


def until(page, condition, timeout=SOON, arg=None):
    try:
        page.wait_for_function(condition, arg=arg, timeout=timeout)
    except PlaywrightTimeout as error:
        shown = page.evaluate(
            "() => [...document.querySelectorAll('.xai-headline, .xai-status, .xai-error, .xai-limitrow button')]"
            ".map(e => `${e.className} ${e.disabled ?? ''}: ${e.innerText}`)"
        )
        raise AssertionError(f"waited in vain for {condition}; the page shows {shown}") from error


def says(page, words, timeout=SOON):
    until(
        page,
        "words => document.querySelector('.xai-kind-idle, .xai-kind-stopped')?.innerText.startsWith(words)",
        timeout,
        words,
    )


def reads(page, words):
    """Wait until the line about the slider's place holds these words."""
    until(page, "words => document.querySelector('.xai-said2')?.innerText.includes(words)", arg=words)


def pixels(page, place=1, count=2):
    return page.evaluate(HASH, [place, count])


def at_rest(page, place=1, count=2):
    """Return the pixels of a picture once it has been sent exactly."""
    return rested(page, HASH, [place, count])


def changes(page, before, place=1, count=2):
    until(page, f"args => ({HASH})(args) !== {before}", arg=[place, count])


def choose(page, group, title):
    button = page.locator("button.xai-test", has_text=re.compile(f"^{re.escape(title)}$"))
    if not button.is_visible():
        page.locator(".xai-tests button.xai-family", has_text=group).click()
    button.click()
    until(page, "t => document.querySelector('.xai-headline')?.innerText.startsWith(t)", arg=title)


def status(page):
    return page.locator(".xai-status").first.inner_text()


def test_it_opens_with_a_verdict_in_words_and_scrubs_without_a_pass(lab, assert_offline, assert_quiet):
    becomes(lambda: lab.evaluate(OVERFLOW), [0, 0])
    becomes(lab.locator(".xai-headline").inner_text, re.compile("[✓✗≈] (pass|fail|borderline)").search)
    row = lab.locator(".xai-testrow", has_text="Model randomization")
    becomes(row.inner_text, has("Does the map change", "must be < 0.46"))
    names = ("rank correlation, absolute", "SSIM", "HOG", "edges of the photo", "random map", "threshold 0.46")
    becomes(lab.locator(".xai-key").first.inner_text, has(*names))
    before, told = pixels(lab), status(lab)
    handle = slider(lab, "Drawn anew")
    handle.focus()
    lab.keyboard.press("Home")
    reads(lab, "The trained network.")
    changes(lab, before)
    becomes(lambda: at_rest(lab, 0) == at_rest(lab, 1), True)
    lab.keyboard.press("ArrowRight")
    reads(lab, "down to classifier")
    before = pixels(lab)
    for _ in range(4):
        lab.keyboard.press("ArrowRight")
    reads(lab, "down to blocks.5")
    changes(lab, before)
    becomes(lab.locator(".xai-at").first.is_visible, True)
    assert status(lab) == told  # no pass was made
    assert_offline(lab)
    assert_quiet(lab)


def test_deletion_is_played_and_scrubbed(lab):
    choose(lab, "Evaluation metrics", "Deletion")
    says(lab, "Deletion")
    reads(lab, "20% removed, probability: map")
    before = pixels(lab)
    lab.get_by_role("button", name="Play", exact=True).click()
    changes(lab, before)
    lab.get_by_role("button", name="Pause", exact=True).click()
    lab.get_by_role("button", name="Play", exact=True).wait_for()
    slider(lab, "Share of pixels").focus()
    lab.keyboard.press("End")
    reads(lab, "100% removed")
    becomes(lab.locator(".xai-key:visible").first.inner_text, has("map", "edges", "random"))
    lab.keyboard.press("Home")
    reads(lab, "0% removed")


def test_the_switch_shows_the_other_network(lab):
    choose(lab, "Input perturbation", "Input invariance")
    says(lab, "Input invariance")
    before, map_before = at_rest(lab, 0), at_rest(lab, 1)
    lab.get_by_role("button", name="Shifted network", exact=True).click()
    changes(lab, before, 0)
    lab.get_by_text("the picture that the shifted network gets", exact=True).wait_for()
    assert at_rest(lab, 1) == map_before  # Grad-CAM passes
    becomes(lab.locator(".xai-said2:visible").inner_text, has("their maps by 0 %"))


def test_a_threshold_is_edited_and_a_wrong_one_is_refused(lab):
    choose(lab, "Input perturbation", "Input invariance")
    says(lab, "Input invariance")
    field = lab.get_by_label("Number of the threshold")
    field.fill("many")
    field.press("Enter")
    until(lab, "document.querySelector('.xai-error')?.innerText.includes('threshold must be a number')")
    field.fill("-1")
    field.press("Enter")
    until(lab, "document.querySelector('.xai-headline')?.innerText.includes('fail')")
    reset = lab.get_by_role("button", name="Reset", exact=True)
    reset.click()
    until(lab, "[...document.querySelectorAll('.xai-limitrow button')].every(b => b.disabled)")
    becomes(reset.is_disabled, True)
    until(lab, "document.querySelector('.xai-headline')?.innerText.includes('must be < 0.001')")


def test_any_other_test_shows_its_maps_curves_and_table(lab, assert_quiet):
    choose(lab, "Weights manipulation", "Recovery by random networks")
    says(lab, "Recovery by random networks")
    until(lab, "document.querySelectorAll('.xai-colname').length === 8")
    becomes(lab.locator(".xai-table:visible td").count, lambda count: count >= 12)
    becomes(lab.locator(".xai-known:visible li").count, lambda count: count >= 1)
    assert_quiet(lab)


def test_a_box_is_dragged_for_the_attack_and_stop_stops(lab):
    choose(lab, "Input perturbation", "Explanation fragility")
    lab.get_by_label("Attack", exact=True).select_option("target")
    lab.locator("canvas.xai-aim").wait_for()
    box = lab.locator("canvas.xai-aim").bounding_box()
    lab.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.55 * box["height"])
    lab.mouse.down()
    lab.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"], steps=6)
    lab.mouse.up()
    until(lab, "[...document.querySelectorAll('.xai-aimbox .widget-readout')].map(e => +e.innerText)[0] > 110")
    reads(lab, "share of the map goes from")
    lab.get_by_role("button", name="Stop", exact=True).click()
    until(lab, "document.querySelector('.xai-headline')?.innerText.includes('stopped at')")
    says(lab, "Stopped")


def test_the_reviews_table_grows_beside_its_verdicts(lab, assert_quiet):
    lab.get_by_role("button", name="Review's Table 3").click()
    until(
        lab,
        "[...document.querySelectorAll('.xai-labtable td')].some(e => /(pass|fail) .*\\(Pass\\)/.test(e.innerText))",
    )
    becomes(lab.locator(".xai-labtable th").all_inner_texts, lambda heads: "why they differ" in heads)
    lab.get_by_role("button", name="Stop", exact=True).click()
    says(lab, "Stopped")
    choose(lab, "Evaluation metrics", "Deletion")
    says(lab, "Deletion")
    becomes(lab.locator(".xai-labtable").count, 0)
    lab.set_viewport_size({"width": 700, "height": 900})
    lab.wait_for_timeout(300)
    becomes(lambda: lab.evaluate(OVERFLOW)[1], 0)
    assert_quiet(lab)
