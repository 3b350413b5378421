"""Receipts, channels, hidden units, the search for a method and rules by layer, as a person uses them."""

from __future__ import annotations

import pytest
from browser.pages import (
    IDLE,
    becomes,
    canvas_box,
    choose,
    has,
    picture,
    ready,
    settle,
    status,
    wait_for_change,
    wait_for_status,
)

pytestmark = pytest.mark.browser

#: A page with everything on screen must not scroll.
SCROLLED = "() => { const e = document.querySelector('#rendered_cells'); return e.scrollHeight - e.clientHeight }"
LRP = "Layer-wise relevance propagation"


@pytest.fixture(scope="module")
def page(open_shared):
    """One Explorer for the tests of this file; each begins with a method of its own."""
    found = open_shared("explorer")
    ready(found)
    return found


def take(page, method):
    choose(page, method)
    wait_for_status(page, method)
    page.wait_for_selector(IDLE)


def test_the_receipt_unfolds_on_one_screen(page, assert_quiet):
    take(page, LRP)
    becomes(page.locator(".xai-words").first.inner_text, has("Sum ", "gap "))
    choose(page, "Receipt")
    page.wait_for_selector(".xai-receipt table")
    panel = page.locator(".xai-receipt")
    becomes(panel.inner_text, has("Where the relevance went", "conv_stem"))
    becomes(lambda: page.evaluate(SCROLLED), lambda down: down <= 0)
    becomes(lambda: canvas_box(page)["height"], lambda height: height >= 400)
    box, main = panel.bounding_box(), page.locator(".xai-main").first.bounding_box()
    assert box["x"] >= main["x"] - 1
    assert box["x"] + box["width"] <= main["x"] + main["width"] + 1
    choose(page, "Receipt")
    page.wait_for_selector(".xai-receipt", state="hidden")
    assert_quiet(page)


def test_rules_are_chosen_by_layer(page, assert_quiet):
    take(page, LRP)
    settle(page)
    words = status(page)
    page.locator(".xai-right .jupyter-widget-Collapse-header:visible").click()
    choose(page, "Exceptions")
    row = page.get_by_label("conv_stem", exact=True)
    row.wait_for()
    assert status(page) == words  # opening the table asks for nothing: no pass was spent
    page.wait_for_function("performance.now() - window.xai.at > 2500")  # the exact picture is there, also when busy
    before = picture(page)
    row.select_option("flat")
    wait_for_change(page, before)
    page.wait_for_function("document.querySelector('.xai-rulehead').innerText.includes('1 changed')")
    choose(page, "reset")
    page.wait_for_function("document.querySelector('.xai-rulehead').innerText.includes('by composite')")
    page.wait_for_function(f"window.xai.hash() === {before}", timeout=60_000)
    assert_quiet(page)


def test_a_map_is_seen_as_an_image_and_by_channel_without_a_pass(page):
    take(page, "Guided backpropagation")
    settle(page)
    words, before = status(page), picture(page)
    for choice in ("as image", "red", "combined"):
        page.get_by_label("Channels", exact=True).select_option(choice)
        wait_for_change(page, before)
        settle(page)
        before = picture(page)
    assert status(page) == words
    take(page, "Grad-CAM")
    page.wait_for_function("[...document.querySelectorAll('select:disabled')].some(e => e.value === 'combined')")


def test_a_method_is_found_by_typing_and_taken_with_enter(page):
    search = page.get_by_placeholder("search", exact=False).and_(page.locator(".xai-search input"))
    search.fill("sundararajan")
    page.wait_for_function("[...document.querySelectorAll('.xai-chip')].filter(e => e.offsetParent).length < 8")
    becomes(page.get_by_role("button", name="Integrated gradients", exact=True).is_visible, True)
    becomes(page.get_by_role("button", name="RISE", exact=True).is_visible, False)
    search.fill("saliency")
    page.wait_for_function("[...document.querySelectorAll('.xai-told b')][0]?.innerText === 'Saliency'")
    search.press("Enter")
    wait_for_status(page, "Saliency for")
    page.wait_for_function("document.activeElement.innerText === 'Saliency'")
    becomes(search.input_value, "")
    becomes(page.get_by_role("button", name="Integrated gradients", exact=True).is_visible, True)  # its family unfolds
    becomes(page.get_by_role("button", name="RISE", exact=True).is_visible, False)


def test_a_hidden_unit_is_explained_and_the_code_says_it(page):
    take(page, "Saliency")
    choose(page, "Hidden unit")
    page.wait_for_function("/Saliency for \\S+ channel \\d+/.test(document.querySelector('.xai-status').innerText)")
    layer, channel = status(page).split("\n")[0].removeprefix("Saliency for ").split(" channel ")
    field = page.get_by_label("Channel", exact=True)
    becomes(field.input_value, channel.split()[0])
    field.fill("3")
    field.press("Enter")
    page.wait_for_function("document.querySelector('.xai-status').innerText.includes('channel 3')")
    choose(page, "Python code")
    page.wait_for_selector(".xai-code")
    becomes(page.locator(".xai-code").inner_text, has(f"target=xw.Target.hidden('{layer}', 3)"))
    choose(page, "Python code")
    becomes(lambda: page.evaluate(SCROLLED), lambda down: down <= 0)
    choose(page, "Class")
    page.wait_for_function("document.querySelector('.xai-status').innerText.includes('for espresso')")


def test_classes_are_told_apart_by_color_in_words_and_under_the_pointer(page, assert_quiet):
    take(page, "CLEAR")
    settle(page)
    legend = page.locator(".xai-legend").first
    becomes(legend.inner_text, has("espresso: "))
    becomes(legend.locator(".xai-swatch").count, lambda count: count >= 2)
    box = canvas_box(page)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.4)
    page.wait_for_function("document.querySelector('.xai-point').innerText.includes('espresso')")
    becomes(lambda: page.evaluate(SCROLLED), lambda down: down <= 0)
    take(page, "Saliency")
    page.wait_for_selector(".xai-legend", state="detached")
    assert_quiet(page)
