"""The Explorer as a person uses it, through Voila in a real browser."""

from __future__ import annotations

import io

import numpy as np
import pytest
from browser.pages import (
    becomes,
    canvas_box,
    choose,
    has,
    link_bytes,
    picture,
    readout,
    ready,
    region,
    reset,
    settle,
    slider,
    status,
    top_row,
    wait_for_change,
)
from PIL import Image

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shared(open_shared):
    """One Explorer for most tests of this file."""
    page = open_shared("explorer")
    ready(page)
    return page


@pytest.fixture
def explorer(shared):
    """The Explorer with its first explanation on screen."""
    reset(shared)
    return shared


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_first_screen_is_an_explained_photo(explorer, assert_offline, assert_quiet):
    becomes(lambda: status(explorer), has("Grad-CAM for espresso"))
    share, _ = becomes(lambda: top_row(explorer), lambda row: row[1] == "espresso")
    assert share == pytest.approx(95.1, abs=0.5)
    becomes(explorer.locator(".xai-twin").first.inner_text, has("strongest"))
    colors = explorer.evaluate(
        "() => { const c = document.querySelector('canvas.xai-stage');"
        " return new Set(c.getContext('2d').getImageData(0, 0, c.width, 40).data).size }"
    )
    assert colors > 50
    assert_offline(explorer)
    assert_quiet(explorer)


def test_controls_are_there_before_torch_is(open_app):
    page = open_app("explorer")
    page.wait_for_selector("canvas.xai-stage", timeout=30_000)
    becomes(page.get_by_role("button", name="Grad-CAM", exact=True).count, 1)
    becomes(page.get_by_role("button", name="▸ Perturbation").count, 1)
    said = status(page)
    assert said in ("Starting", "Loading PyTorch and the model") or "espresso" in said


@pytest.mark.parametrize("method", ["Saliency", "Guided Grad-CAM"])
def test_another_method_replaces_the_picture(explorer, method):
    before = picture(explorer)
    choose(explorer, method)
    explorer.wait_for_function(f"document.querySelector('.xai-status').innerText.startsWith('{method} for espresso')")
    wait_for_change(explorer, before)


def test_layer_slider_scrubs_without_a_new_pass(explorer):
    handle = slider(explorer, "Layer")
    handle.focus()
    for _ in range(4):
        before = picture(explorer)
        explorer.keyboard.press("ArrowLeft")
        wait_for_change(explorer, before)
    settle(explorer)
    becomes(lambda: status(explorer), has("blocks."))
    assert "passes" not in status(explorer)


def test_look_changes_compute_nothing(explorer):
    settle(explorer)
    before, words = picture(explorer), status(explorer)
    slider(explorer, "Opacity").focus()
    for _ in range(12):
        explorer.keyboard.press("ArrowRight")
    wait_for_change(explorer, before)
    explorer.get_by_label("Layout", exact=True).select_option("side")
    explorer.wait_for_function("document.querySelector('canvas.xai-stage').width > 1000")
    explorer.get_by_label("Layout", exact=True).select_option("overlay")
    explorer.wait_for_function("document.querySelector('canvas.xai-stage').width < 1000")
    becomes(lambda: status(explorer).partition("\n")[0], words.partition("\n")[0])


def test_click_a_prediction_or_search_any_label_to_explain_it(explorer):
    explorer.locator(".xai-row button").nth(1).click()
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.includes('for cup')")
    search = explorer.get_by_label("Explain")
    search.fill("daisy")
    search.press("Enter")
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.includes('for daisy')")
    search.fill("no such thing at all xyzzy")
    search.press("Enter")
    becomes(explorer.locator(".xai-error").first.inner_text, has("no such thing"))
    choose(explorer, "Saliency")
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.includes('Saliency for daisy')")


def test_another_photo_of_the_gallery(explorer):
    before = picture(explorer)
    explorer.get_by_role("button", name="Chelsea the cat").click()
    wait_for_change(explorer, before)
    explorer.wait_for_function("document.querySelector('.xai-row button').innerText.includes('cat')")
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.includes('tiger cat')")


def test_occluder_dragged_with_the_mouse_updates_the_scores(explorer):
    choose(explorer, "Hide a region")
    explorer.wait_for_function("document.body.innerText.includes('with the region hidden')")
    words = (
        "[...document.querySelectorAll('span')].map(e => e.innerText).find(t => t.includes('with the region hidden'))"
    )
    before, said = region(explorer), explorer.evaluate(words)
    drag(explorer, middle(before), (-20, -45))
    explorer.wait_for_function(f"said => ({words}) !== said", arg=said)
    becomes(lambda: region(explorer), lambda now: now != before)


def test_occlusion_window_sliders_and_rectangle_are_in_step(explorer):
    choose(explorer, "Occlusion")
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.startsWith('Occlusion')")
    settle(explorer, 120_000)
    top, left, height, width = region(explorer)
    drag(explorer, (top + height, left + width), (16, 20))  # the lower right corner
    explorer.wait_for_function(
        "width => [...document.querySelectorAll('.widget-inline-hbox')].some(e =>"
        " e.innerText.startsWith('Window width') && Math.abs(parseInt(e.innerText.match(/\\d+/)[0]) - width) <= 2)",
        arg=width + 20,
    )
    becomes(lambda: region(explorer)[3], pytest.approx(width + 20, abs=2))
    becomes(lambda: readout(explorer, "Window height (px)"), pytest.approx(height + 16, abs=2))
    slider(explorer, "Window width (px)").focus()
    before = region(explorer)[3]
    explorer.keyboard.press("ArrowRight")
    explorer.wait_for_function(
        "width => [...document.querySelectorAll('.widget-inline-hbox')].some(e =>"
        " e.innerText.startsWith('width') && parseInt(e.innerText.match(/\\d+/)[0]) === width + 1)",
        arg=before,
    )


def test_occluder_moves_by_keyboard_and_tab_leaves_the_canvas(explorer):
    choose(explorer, "Hide a region")
    explorer.wait_for_function("document.body.innerText.includes('with the region hidden')")
    explorer.locator("canvas.xai-stage").focus()
    before = region(explorer)
    key, sign = ("ArrowRight", 1) if before[1] < 60 else ("ArrowLeft", -1)
    for _ in range(3):
        explorer.keyboard.press(key)
    explorer.wait_for_function(
        "([left, sign]) => [...document.querySelectorAll('.widget-inline-hbox')].some(e =>"
        " e.innerText.startsWith('left') && sign * (parseInt(e.innerText.match(/\\d+/)[0]) - left) > 8)",
        arg=[before[1], sign],
    )
    explorer.keyboard.press("Tab")
    explorer.wait_for_function("document.activeElement.tagName !== 'CANVAS'")


def test_pressing_the_photo_shows_it_plain(explorer):
    settle(explorer)
    explained = picture(explorer)
    box = canvas_box(explorer)
    explorer.mouse.move(box["x"] + 40, box["y"] + 40)
    explorer.mouse.down()
    wait_for_change(explorer, explained)
    explorer.mouse.up()
    explorer.wait_for_function(f"window.xai.hash() === {explained}", timeout=60_000)


def test_stop_stops_and_the_picture_stays(explorer):
    choose(explorer, "RISE")
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.includes('%')", timeout=60_000)
    choose(explorer, "Stop")
    explorer.wait_for_selector(".xai-kind-stopped", timeout=60_000)
    settle(explorer)
    before = picture(explorer)
    explorer.wait_for_timeout(500)
    assert picture(explorer) == before
    choose(explorer, "Saliency")
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.startsWith('Saliency')")


def test_value_under_the_pointer(explorer):
    box = canvas_box(explorer)
    explorer.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    explorer.wait_for_function("/under the pointer\\s*[\\d.]+ logit/.test(document.body.innerText)")


def test_save_and_code(explorer):
    settle(explorer)
    choose(explorer, "Save PNG")
    explorer.wait_for_selector("a.xai-save", timeout=60_000)
    saved = Image.open(io.BytesIO(link_bytes(explorer)))
    assert saved.format == "PNG"
    assert saved.size == (720, 720)
    assert np.asarray(saved).std() > 20
    choose(explorer, "Python code")
    explorer.wait_for_selector(".xai-code")
    becomes(explorer.locator(".xai-code").inner_text, has("xw.explain(model, "))


def middle(box):
    """Return the center (row, column) of (top, left, height, width)."""
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def drag(page, start, by):
    """Drag from a place (row, column) of the network's input by so many of its pixels."""
    box = canvas_box(page)
    unit = box["width"] / 224
    x, y = box["x"] + start[1] * unit, box["y"] + start[0] * unit
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[1] * unit, y + by[0] * unit, steps=10)
    page.mouse.up()


def upload(page, name, content):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a photo").click()
    chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})


def test_uploads_good_and_bad(explorer, tmp_path):
    rng = np.random.default_rng(0)
    good = png((rng.random((60, 90, 3)) * 255).astype(np.uint8))
    for name, content in {
        "truncated.png": good[: len(good) // 2],
        "tiny.png": png(np.zeros((1, 1, 3), np.uint8)),
        "words.png": b"this is not a picture",
    }.items():
        upload(explorer, name, content)
        explorer.wait_for_selector(".xai-error", timeout=60_000)
        explorer.wait_for_function(f"document.querySelector('.xai-error').innerText.includes('{name}')")
        becomes(explorer.locator(".xai-twin").inner_text, has("Grad-CAM"))  # the last good picture stays
    for size in (9, 40):  # the server would end the connection at the second
        large = tmp_path / f"large{size}.png"
        large.write_bytes(b"\x89PNG" + b"0" * (size * 2**20))
        with explorer.expect_file_chooser() as chooser:
            explorer.get_by_role("button", name="Upload a photo").click()
        chooser.value.set_files(large)
        explorer.get_by_text(f"large{size}.png is larger than 8 MB and was not sent.").wait_for(timeout=60_000)
    before = picture(explorer)
    upload(explorer, "noise.png", good)
    wait_for_change(explorer, before)
    explorer.wait_for_function("document.body.innerText.includes('noise.png')")
    settle(explorer)
    becomes(lambda: status(explorer), has("Grad-CAM"))


def scrolled(page):
    """Return how much the page scrolls, (down, across) in pixels."""
    return page.evaluate(
        "() => { const e = document.querySelector('#rendered_cells');"
        " return [e.scrollHeight - e.clientHeight, e.scrollWidth - e.clientWidth] }"
    )


@pytest.mark.parametrize("method", ["Grad-CAM", "Occlusion", "SmoothGrad"])
def test_one_screen_at_1440_by_900(explorer, method):
    choose(explorer, method)
    explorer.wait_for_function(f"document.querySelector('.xai-status').innerText.startsWith('{method}')")
    becomes(lambda: scrolled(explorer)[0], lambda down: down <= 0)
    box = becomes(lambda: canvas_box(explorer), lambda box: box["height"] >= 560)
    assert box["width"] / box["height"] == pytest.approx(1, abs=0.01)


def areas(page):
    """Return where the columns of the page are."""
    return [page.locator(f".xai-{name}").first.bounding_box() for name in ("left", "main", "right")]


def test_a_page_of_1024_pixels_in_dark_has_two_columns_and_readable_text(open_app):
    page = open_app("explorer", 1024, 844, theme="dark")
    ready(page)
    becomes(lambda: scrolled(page)[1], lambda across: across <= 0)
    left, main, right = areas(page)
    assert right["y"] >= left["y"] + left["height"]
    assert main["x"] > left["x"]
    ink, paper = page.evaluate(
        "() => { const n = v => v.match(/\\d+/g).slice(0, 3).map(Number);"
        " return [n(getComputedStyle(document.querySelector('.xai-title')).color),"
        " n(getComputedStyle(document.querySelector('#rendered_cells')).backgroundColor)] }"
    )
    assert contrast(ink, paper) >= 4.5
    choose(page, "Saliency")
    page.wait_for_function("document.querySelector('.xai-status').innerText.startsWith('Saliency')")


def test_a_telephone_stacks_everything_and_drags_the_occluder_by_touch(open_app):
    page = open_app("explorer", 390, 844, touch=True)
    ready(page)
    becomes(lambda: scrolled(page)[1], lambda across: across <= 0)
    left, main, right = areas(page)
    assert main["y"] < left["y"] < right["y"]
    choose(page, "Saliency")
    page.wait_for_function("document.querySelector('.xai-status').innerText.startsWith('Saliency')")
    choose(page, "Hide a region")
    page.wait_for_function("document.body.innerText.includes('with the region hidden')")
    page.evaluate(
        """() => {
          const c = document.querySelector('canvas.xai-stage'), b = c.getBoundingClientRect();
          const at = (dx, dy) => new Touch({identifier: 1, target: c, clientX: b.x + b.width / 2 + dx,
                                            clientY: b.y + b.height / 2 + dy});
          const fire = (kind, touches) => c.dispatchEvent(new TouchEvent(kind, {touches, targetTouches: touches,
            changedTouches: touches, bubbles: true, cancelable: true}));
          fire('touchstart', [at(0, 0)]);
          for (let i = 1; i <= 5; i++) fire('touchmove', [at(-8 * i, 0)]);
          fire('touchend', []);
        }"""
    )
    page.wait_for_function(
        "[...document.querySelectorAll('.widget-inline-hbox')].some(e => e.innerText.startsWith('left')"
        " && parseInt(e.innerText.replace(/\\D+/g, '')) < 80)",
        timeout=60_000,
    )


def contrast(one, other):
    """WCAG contrast ratio of two sRGB colors."""

    def luminance(color):
        linear = [(c / 255) / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
