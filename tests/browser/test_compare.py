"""Compare as a person uses it, through Voila in a real browser."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from browser.pages import becomes, has, link_bytes, rested, slider
from PIL import Image

pytestmark = pytest.mark.browser

#: Loading torch and the model, and eight maps, on a busy machine.
LOADED = 180_000
SOON = 60_000
OVERFLOW = """() => {
  const e = document.querySelector('#rendered_cells');
  return [e.scrollHeight - e.clientHeight, e.scrollWidth - e.clientWidth];
}"""
#: Where the cursor is, in percent of a panel's height.
DOWN = "parseFloat(document.querySelector('.xai-cross')?.closest('[style]').style.getPropertyValue('--cy'))"
#: A number that stands for the pixels of one of the rows of panels.
HASH = """row => {
  const c = [...document.querySelectorAll('canvas.xai-tiles')].filter(e => e.offsetParent !== null)[row];
  const g = c.getContext('2d', {willReadFrequently: true});
  let h = c.width;
  for (let i = 1; i < 6; i++) {
    const line = g.getImageData(0, Math.floor(c.height * i / 6), c.width, 1).data;
    for (let k = 0; k < line.length; k += 29) h = (h * 31 + line[k]) | 0;
  }
  return h;
}"""


@pytest.fixture(scope="module")
def shared(open_shared):
    """One page for most tests of this file."""
    page = open_shared("compare")
    says(page, "8 panels: 8 done", LOADED)
    return page


@pytest.fixture
def compare(shared):
    """The first screen again: four methods, two classes."""
    shared.set_viewport_size({"width": 1440, "height": 900})
    shared.mouse.move(5, 5)
    while shared.locator(".xai-away").count() > 4:
        count = shared.locator(".xai-away").count()
        shared.locator(".xai-away").last.click()
        until(shared, f"document.querySelectorAll('.xai-away').length === {count - 1}")
    while count := shared.locator(".xai-left .xai-chip").count():
        shared.locator(".xai-left .xai-chip").last.click()
        until(shared, f"document.querySelectorAll('.xai-left .xai-chip').length === {count - 1}")
    press(shared, "Methods")
    shared.get_by_label("Scale", exact=True).select_option("each its own")
    # a press would overtake a choice that has not been answered
    until(shared, "document.querySelector('.xai-said').innerText.startsWith('Each panel has a scale of its own')")
    says(shared, "8 panels: 8 done")
    becomes(lambda: columns(shared), ["Saliency", "Integrated gradients", "Grad-CAM", "Occlusion"])
    becomes(lambda: rows(shared), ["espresso", "cup"])
    return shared


def until(page, condition, timeout=SOON):
    page.wait_for_function(condition, timeout=timeout)


def says(page, words, timeout=SOON):
    page.wait_for_function(
        "words => document.querySelector('.xai-kind-idle, .xai-kind-stopped')?.innerText.startsWith(words)",
        arg=words,
        timeout=timeout,
    )


def press(page, name):
    page.get_by_role("button", name=name, exact=True).first.click()


def add(page, title):
    """Choose a method from the list of all; its entries have hard spaces."""
    field = page.get_by_label("Method", exact=True)
    words = [text.replace("\xa0", " ") for text in field.locator("option").all_inner_texts()]
    field.select_option(index=next(n for n, text in enumerate(words) if text.startswith(f"{title} · ")))


def columns(page):
    return page.locator(".xai-band").first.locator(".xai-colname").all_inner_texts()


def rows(page):
    return page.locator(".xai-rowname b").all_inner_texts()


def values(page):
    return page.locator(".xai-value").all_inner_texts()


def middle(box):
    """Return the center (across, down) of a box."""
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def pixels(page, row=0):
    """Return a number that stands for a row of panels once they have been sent exactly."""
    return rested(page, HASH, row)


def test_it_is_filled_on_one_screen_and_asks_nothing_of_another_host(compare, assert_offline, assert_quiet):
    becomes(lambda: columns(compare), ["Saliency", "Integrated gradients", "Grad-CAM", "Occlusion"])
    becomes(lambda: rows(compare), ["espresso", "cup"])
    becomes(compare.locator(".xw-colorbar").count, 8 + 2)
    becomes(compare.locator(".xai-said").inner_text, has("compare places, not brightness"))
    becomes(compare.locator(".xai-arrange").inner_text, has("8 of at most 36 panels"))
    until(
        compare,
        "(() => { const c = document.querySelector('canvas.xai-tiles');"
        " return new Set(c.getContext('2d').getImageData(0, 160, c.width, 20).data).size > 50 })()",
    )
    becomes(lambda: compare.evaluate(OVERFLOW), [0, 0])
    sheets = compare.locator("canvas.xai-tiles")
    sides = [becomes(sheets.nth(n).bounding_box, lambda box: box["y"] + box["height"] < 900) for n in range(3)]
    assert sides[0]["height"] >= 150
    assert sides[0]["height"] == pytest.approx(sides[0]["width"] / (4 + 3 / 16), abs=1)  # never distorted
    assert_offline(compare)
    assert_quiet(compare)


def test_every_panel_says_its_value_under_one_pointer(compare):
    box = compare.locator("canvas.xai-tiles").nth(1).bounding_box()
    side = box["height"]
    compare.mouse.move(box["x"] + 0.3 * side, box["y"] + 0.5 * side)
    until(compare, "document.querySelectorAll('.xai-value').length === 10")
    becomes(compare.locator(".xai-cross").count, 11)  # and one on the photo
    until(compare, f"Math.abs({DOWN} - 50) < 1.5")
    number = re.compile("\N{MINUS SIGN}?[\\d.]+")
    first = becomes(lambda: values(compare), lambda texts: all(map(number.match, texts)))
    assert {"logit", "per", "share"} <= set(" ".join(first).split())
    compare.mouse.move(box["x"] + 0.7 * side, box["y"] + 0.2 * side)
    until(compare, f"Math.abs({DOWN} - 20) < 1.5")
    becomes(lambda: values(compare), lambda now: now != first)
    panel = compare.locator("canvas.xai-tiles").first.bounding_box()
    pointed = pytest.approx((panel["x"] + 0.7 * side, panel["y"] + 0.2 * side), abs=3)
    becomes(lambda: middle(compare.locator(".xai-cross").first.bounding_box()), pointed)
    compare.mouse.move(5, 5)
    until(compare, "document.querySelectorAll('.xai-value').length === 0")


def test_the_cursor_moves_by_keyboard_and_is_told(compare):
    slider(compare, "Down (%)").focus()
    compare.keyboard.press("ArrowRight")
    until(compare, "document.querySelectorAll('.xai-value').length === 10")
    told = "[...document.querySelectorAll('[aria-live=polite]')].map(e => e.innerText).join(' ')"
    until(compare, f"{told}.includes('% down')")
    becomes(lambda: compare.evaluate(told), has("Grad-CAM for espresso", "logit"))
    compare.locator("canvas.xai-tiles").first.focus()
    compare.keyboard.press("Escape")
    until(compare, "document.querySelectorAll('.xai-value').length === 0")
    compare.keyboard.press("Tab")  # the canvas swallows it, and hands the focus on
    until(compare, "document.activeElement.tagName !== 'CANVAS'")


def test_methods_are_added_changed_and_taken_away(compare):
    before = pixels(compare)
    add(compare, "Gradient × input")
    says(compare, "10 panels: 10 done")
    becomes(lambda: columns(compare)[-1], "Gradient × input")
    assert pixels(compare) != before
    press(compare, "Occlusion")
    press(compare, "Duplicate")
    says(compare, "12 panels: 12 done")
    slider(compare, "Stride down (px)").focus()
    compare.keyboard.press("End")
    until(compare, "[...document.querySelectorAll('.xai-colname')].some(e => e.innerText.includes('stride down 24'))")
    says(compare, "12 panels: 12 done")
    becomes(lambda: [name.startswith("Occlusion (stride down ") for name in columns(compare)].count(True), 2)
    compare.get_by_role("button", name="×").last.click()
    says(compare, "10 panels: 10 done")
    becomes(lambda: columns(compare)[3:4], ["Occlusion"])


def test_a_class_is_taken_away_and_added(compare):
    predicted = compare.locator(".xai-row button")
    predicted.nth(1).click()
    says(compare, "4 panels: 4 done")
    becomes(lambda: rows(compare), ["espresso"])
    predicted.nth(1).click()
    says(compare, "8 panels: 8 done")
    assert "0 forward" not in compare.locator(".xai-status").inner_text()  # all were kept: nothing is told of passes
    becomes(lambda: rows(compare), ["espresso", "cup"])


def test_layers_are_added_and_taken_away(compare):
    field = compare.get_by_label("Layer", exact=True)
    for name, count in {"blocks.3": 8, "blocks.5": 16}.items():
        words = field.locator("option").all_inner_texts()
        field.select_option(index=next(n for n, text in enumerate(words) if text.startswith(name)))
        says(compare, f"{count} panels: {count} done")
    wanted = [f"{label} at {layer}" for label in ("espresso", "cup") for layer in ("blocks.3", "blocks.5")]
    becomes(lambda: rows(compare), wanted)
    told = compare.locator(".xai-tell")
    becomes(lambda: told.all_inner_texts().count("no layer: the same map"), 2 * 3)  # all but Grad-CAM
    becomes(compare.locator(".xai-band .xai-colname").count, 2 * 4 + 3)  # the last of four rows has titles again
    compare.get_by_role("button", name="blocks.3 ×").click()
    says(compare, "8 panels: 8 done")
    becomes(lambda: rows(compare), ["espresso at blocks.5", "cup at blocks.5"])


def test_one_panel_is_large_and_says_what_comes_next(compare):
    for count in (3, 2, 1):
        compare.locator(".xai-away").last.click()
        until(compare, f"document.querySelectorAll('.xai-away').length === {count}")
    predicted = compare.locator(".xai-row button")
    predicted.nth(1).click()
    says(compare, "1 panel: 1 done")
    becomes(compare.locator(".xai-said").inner_text, has("you see where the maps differ"))
    becomes(compare.get_by_label("minus", exact=True).is_visible, False)
    sheet = compare.locator("canvas.xai-tiles").first
    becomes(sheet.bounding_box, lambda box: box["width"] == box["height"] >= 500)
    becomes(lambda: compare.evaluate(OVERFLOW), [0, 0])
    compare.locator(".xai-away").click()  # the last one stays, and why is said
    until(compare, "document.querySelector('.xai-status').innerText.includes('at least one method')")
    predicted.nth(1).click()
    for number, title in enumerate(("Integrated gradients", "Grad-CAM", "Occlusion")):
        add(compare, title)
        until(compare, f"document.querySelectorAll('.xai-away').length === {number + 2}")
    press(compare, "Occlusion")
    for name in ("Stride down (px)", "Stride across (px)"):  # as on the first screen
        slider(compare, name).focus()
        compare.keyboard.press("End")
    says(compare, "8 panels: 8 done", LOADED)


def test_stop_all_and_go_on(compare):
    add(compare, "RISE")
    until(compare, "document.querySelectorAll('.xai-run').length > 0")
    press(compare, "Stop all")
    until(compare, "document.querySelector('.xai-kind-stopped') !== null")
    becomes(compare.locator(".xai-status").inner_text, has("10 panels: 8 done, 2 stopped"))
    until(compare, "[...document.querySelectorAll('.xai-tell')].some(e => e.innerText.startsWith('stopped'))")
    press(compare, "Go on")
    says(compare, "10 panels: 10 done", LOADED)
    until(compare, "document.querySelectorAll('.xai-run').length === 0")


def test_a_shared_scale_is_the_same_in_a_method_and_only_there(compare):
    def bars():
        spoken = [bar.get_attribute("aria-label") for bar in compare.locator(".xw-colorbar").all()[:8]]
        return spoken[:4], spoken[4:]

    becomes(bars, lambda found: all(one != other for one, other in zip(*found, strict=True)))
    before = pixels(compare, 1)
    compare.get_by_label("Scale", exact=True).select_option("shared in a method")
    until(compare, "document.querySelector('.xai-said').innerText.includes('Panels of one method and unit share')")
    compare.wait_for_function(f"({HASH})(1) !== {before}", timeout=SOON)
    espresso, _ = becomes(bars, lambda found: found[0] == found[1])  # rows are written one after the other
    assert len(set(espresso)) == 4


def test_scale_and_arrangement(compare):
    before = pixels(compare)
    compare.get_by_label("Scale", exact=True).select_option("ranks")
    until(compare, "document.querySelector('.xai-feet').innerText.includes('% of pixels are weaker')")
    becomes(compare.locator(".xai-said").inner_text, has("Color is rank"))
    compare.wait_for_function(f"({HASH})(0) !== {before}", timeout=SOON)
    press(compare, "Classes")
    becomes(lambda: columns(compare), ["espresso", "cup"])
    becomes(lambda: rows(compare), ["Saliency", "Integrated gradients", "Grad-CAM", "Occlusion"])


def test_the_difference_of_two_chosen_maps(compare):
    before = pixels(compare, 2)
    compare.get_by_label("minus", exact=True).select_option(index=2)
    compare.wait_for_function(f"({HASH})(2) !== {before}", timeout=SOON)
    until(compare, "document.querySelector('.xai-pairs').innerText.includes('Rank correlation of the two')")
    compare.get_by_label("minus", exact=True).select_option(index=0)
    until(compare, "document.querySelector('.xai-more-row').innerText.includes('choose two different maps')")
    compare.get_by_label("minus", exact=True).select_option(index=1)
    until(compare, "!document.querySelector('.xai-more-row').innerText.includes('choose two different maps')")


@pytest.mark.parametrize("kind", ["PNG", "SVG", "PDF"])
def test_figures(compare, kind):
    compare.get_by_label("Scale", exact=True).select_option("shared in a method")
    until(compare, "document.querySelector('.xai-said').innerText.includes('Panels of one method and unit share')")
    press(compare, f"Save {kind}")
    mime = {"PNG": "image/png", "SVG": "image/svg", "PDF": "application/pdf"}[kind]
    compare.wait_for_selector(f"a.xai-save[href^='data:{mime}']", timeout=SOON)
    content = link_bytes(compare)
    if kind == "PNG":
        picture = Image.open(io.BytesIO(content))
        assert picture.width > 1400
        assert "integrated_gradients" in picture.text["Description"]
    elif kind == "SVG":
        assert b"Panels of one method and unit share a scale" in content
    else:
        assert content[:5] == b"%PDF-"


def test_code_and_words(compare):
    press(compare, "Python code")
    becomes(compare.locator(".xai-code").inner_text, has("xw.compare(model, image, methods, targets=["))
    press(compare, "Python code")
    press(compare, "In words")
    until(compare, "document.querySelectorAll('.xai-twinlist li').length === 8")
    becomes(compare.locator(".xai-twinlist").inner_text, has("Saliency for espresso: strongest in the"))
    press(compare, "In words")


def test_twelve_panels_fit_without_scrolling_sideways(compare):
    for title in ("SmoothGrad", "Guided backpropagation"):
        add(compare, title)
    says(compare, "12 panels: 12 done", LOADED)
    for width in (1440, 1024, 700):
        compare.set_viewport_size({"width": width, "height": 900})
        until(compare, f"document.querySelector('.xai-board').getBoundingClientRect().right <= {width}")
        becomes(lambda: compare.evaluate(OVERFLOW)[1], 0)
        until(
            compare,
            "[...document.querySelectorAll('.xai-board, .xai-colname')]"
            ".every(e => e.scrollWidth <= e.clientWidth && (e.className !== 'xai-colname' ||"
            " e.scrollHeight <= e.clientHeight))",
        )


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_room(compare, width):
    compare.set_viewport_size({"width": width, "height": 900})
    compare.wait_for_timeout(500)
    becomes(lambda: compare.evaluate(OVERFLOW), lambda over: over[1] == 0 and (over[0] == 0 or width < 1440))
    panels = compare.locator("canvas.xai-tiles")
    board = compare.locator(".xai-board")
    bars = compare.locator(".xai-band").first.locator(".xw-colorbar")
    becomes(board.bounding_box, lambda box: box["x"] >= 0 and box["x"] + box["width"] <= width)

    def places():
        return [panels.nth(n).bounding_box() for n in range(3)], [bars.nth(n).bounding_box()["x"] for n in range(4)]

    def right(found):
        """Panels are high enough and not distorted, and the bars exactly below them."""
        boxes, lefts = found
        sides = [box["width"] / (n + (n - 1) / 16) for box, n in zip(boxes, (4, 4, 3), strict=True)]
        below = [boxes[0]["x"] + n * boxes[0]["height"] * (1 + 1 / 16) for n in range(4)]
        heights = [box["height"] for box in boxes]
        return min(heights) >= 116 and heights == pytest.approx(sides, abs=1) and lefts == pytest.approx(below, abs=1)

    becomes(places, right)
    for name in ("Run again", "Stop all", "Duplicate", "Save PNG", "Python code", "In words"):
        button = compare.get_by_role("button", name=name, exact=True).first
        button.scroll_into_view_if_needed()
        place = button.bounding_box()
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= width
        assert place["height"] >= 24


def test_an_upload_is_compared_and_a_bad_one_is_told(compare):
    def upload(name, content):
        with compare.expect_file_chooser() as chooser:
            compare.get_by_role("button", name="Upload a photo").click()
        chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})

    before = pixels(compare)
    upload("words.png", b"this is not a picture")
    until(compare, "document.querySelector('.xai-error')?.innerText.includes('words.png')")
    assert pixels(compare) == before
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)).save(buffer, "PNG")
    upload("noise.png", buffer.getvalue())
    becomes(lambda: rows(compare)[:1], lambda first: first and first != ["espresso"])  # classes of the new photo
    compare.wait_for_function(f"({HASH})(0) !== {before}", timeout=SOON)
    says(compare, "8 panels: 8 done", LOADED)
    compare.locator(".xai-thumb").first.click()
    becomes(lambda: rows(compare)[:1], ["espresso"])


def test_a_panel_that_refuses_says_why_and_the_others_live(open_app, assert_quiet):
    page = open_app("refused")
    # it is done before the page has connected, and what the page missed comes a second later
    says(page, "4 panels: 2 done, 2 not possible", LOADED)
    until(page, "document.querySelectorAll('.xai-why').length === 2")
    refusals = page.locator(".xai-why").all_inner_texts
    becomes(refusals, lambda why: all("guided_backprop" in text and "ReLU" in text for text in why))
    until(page, "document.querySelector('.xai-band').querySelectorAll('.xw-colorbar').length === 1")
    until(page, "document.querySelector('.xai-more-row').innerText.includes('waits for both maps')")
    becomes(lambda: rows(page), ["one", "<i>two</i>"])  # a label is no markup
    add(page, "Gradient × input")
    says(page, "6 panels: 4 done, 2 not possible")
    page.get_by_title("Take Guided backpropagation away").click()
    says(page, "4 panels: 4 done")
    until(page, "document.querySelectorAll('.xai-why').length === 0")
    assert_quiet(page)


def test_nothing_was_asked_of_another_host(shared, assert_offline, assert_quiet):
    assert_offline(shared)
    assert_quiet(shared)


def test_the_third_tab_compares_the_photo_of_the_first(open_app, assert_quiet):
    page = open_app("explorer")
    page.wait_for_function("document.querySelector('.xai-status')?.innerText.includes('passes')", timeout=LOADED)
    page.get_by_role("button", name="Rocket launch").or_(page.locator(".xai-thumb").nth(4)).first.click()
    page.wait_for_function(
        "document.querySelector('.xai-kind-idle')?.innerText.startsWith('Grad-CAM for ') &&"
        " !document.querySelector('.xai-kind-idle').innerText.startsWith('Grad-CAM for espresso')",
        timeout=SOON,
    )
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_function(
        "[...document.querySelectorAll('.xai-kind-idle')].some(e => e.innerText.startsWith('8 panels: 8 done'))",
        timeout=LOADED,
    )
    becomes(page.locator(".xai-compare .xai-thumb.xai-on").count, 1)
    becomes(page.locator(".xai-compare .xai-rowname b").first.inner_text, "missile")
    assert_quiet(page)
