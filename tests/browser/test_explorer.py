"""The Explorer as a person uses it, through Voila in a real browser."""

from __future__ import annotations

import io

import numpy as np
import pytest
from browser.pages import (
    canvas_box,
    choose,
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
    assert "Grad-CAM for espresso" in status(explorer)
    share, label = top_row(explorer)
    assert label == "espresso"
    assert share == pytest.approx(95.1, abs=0.5)
    assert "strongest" in explorer.locator(".xai-twin").first.inner_text()
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
    assert page.get_by_role("button", name="Grad-CAM", exact=True).count() == 1
    assert page.get_by_role("button", name="▸ Perturbation").count() == 1
    assert page.locator(".xai-status").inner_text() in (
        "Starting",
        "Loading PyTorch and the model",
    ) or "espresso" in status(page)


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
    assert "blocks." in status(explorer)
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
    assert status(explorer).partition("\n")[0] == words.partition("\n")[0]


def test_click_a_prediction_or_search_any_label_to_explain_it(explorer):
    explorer.locator(".xai-row button").nth(1).click()
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.includes('for cup')")
    search = explorer.get_by_label("Explain")
    search.fill("daisy")
    search.press("Enter")
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.includes('for daisy')")
    search.fill("no such thing at all xyzzy")
    search.press("Enter")
    explorer.wait_for_selector(".xai-error", timeout=20_000)
    assert "no such thing" in explorer.locator(".xai-error").inner_text()
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
    assert region(explorer) != before


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
    assert abs(region(explorer)[3] - (width + 20)) <= 2
    assert abs(readout(explorer, "Window height (px)") - (height + 16)) <= 2
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
    settle(explorer)
    assert picture(explorer) == explained


def test_stop_stops_and_the_picture_stays(explorer):
    choose(explorer, "RISE")
    explorer.wait_for_function("document.querySelector('.xai-status').innerText.includes('%')", timeout=60_000)
    choose(explorer, "Stop")
    explorer.wait_for_selector(".xai-kind-stopped", timeout=10_000)
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
    explorer.wait_for_selector("a.xai-save")
    saved = Image.open(io.BytesIO(link_bytes(explorer)))
    assert saved.format == "PNG"
    assert saved.size == (720, 720)
    assert np.asarray(saved).std() > 20
    choose(explorer, "Python code")
    explorer.wait_for_selector(".xai-code")
    assert "xw.explain(model, " in explorer.locator(".xai-code").inner_text()


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


def test_uploads_good_and_bad(explorer):
    rng = np.random.default_rng(0)
    good = png((rng.random((60, 90, 3)) * 255).astype(np.uint8))
    for name, content in {
        "truncated.png": good[: len(good) // 2],
        "tiny.png": png(np.zeros((1, 1, 3), np.uint8)),
        "words.png": b"this is not a picture",
    }.items():
        upload(explorer, name, content)
        explorer.wait_for_selector(".xai-error", timeout=20_000)
        explorer.wait_for_function(f"document.querySelector('.xai-error').innerText.includes('{name}')")
        assert "Grad-CAM" in explorer.locator(".xai-twin").inner_text()  # the last good picture stays
    for size in (9, 40):  # the server would end the connection at the second
        upload(explorer, f"large{size}.png", b"\x89PNG" + b"0" * (size * 2**20))
        explorer.get_by_text(f"large{size}.png is larger than 8 MB and was not sent.").wait_for(timeout=20_000)
    before = picture(explorer)
    upload(explorer, "noise.png", good)
    wait_for_change(explorer, before)
    explorer.wait_for_function("document.body.innerText.includes('noise.png')")
    settle(explorer)
    assert "Grad-CAM" in status(explorer)


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
    assert scrolled(explorer)[0] <= 0
    box = canvas_box(explorer)
    assert box["height"] >= 560
    assert box["width"] / box["height"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("width", [1024, 390])
def test_narrow_pages_stack_and_do_not_overflow(open_app, width):
    page = open_app("explorer", width, 844)
    ready(page)
    assert scrolled(page)[1] <= 0
    boxes = {name: page.locator(f".xai-{name}").first.bounding_box() for name in ("left", "main", "right")}
    if width == 390:
        assert boxes["main"]["y"] < boxes["left"]["y"] < boxes["right"]["y"]
    else:
        assert boxes["right"]["y"] >= boxes["left"]["y"] + boxes["left"]["height"]
        assert boxes["main"]["x"] > boxes["left"]["x"]
    choose(page, "Saliency")
    page.wait_for_function("document.querySelector('.xai-status').innerText.startsWith('Saliency')")


def test_touch_drags_the_occluder(chromium, voila_server):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(voila_server("explorer").url, wait_until="commit")
    page.wait_for_selector("#loading", state="attached", timeout=30_000)
    page.wait_for_selector("#loading", state="detached", timeout=60_000)
    ready(page)
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
        timeout=20_000,
    )
    context.close()


def test_dark_theme_keeps_the_text_readable(open_app):
    page = open_app("explorer", theme="dark")
    ready(page)
    ink, paper = page.evaluate(
        "() => { const n = v => v.match(/\\d+/g).slice(0, 3).map(Number);"
        " return [n(getComputedStyle(document.querySelector('.xai-title')).color),"
        " n(getComputedStyle(document.querySelector('#rendered_cells')).backgroundColor)] }"
    )
    assert contrast(ink, paper) >= 4.5


def contrast(one, other):
    """WCAG contrast ratio of two sRGB colors."""

    def luminance(color):
        linear = [(c / 255) / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
