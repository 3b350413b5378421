"""Training a decoder for the bundled ImageNet network on photos of one's own, on a served page."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from browser.pages import becomes
from PIL import Image

import xaiwidgets as xw

pytestmark = pytest.mark.browser

LOADED, SOON = 120_000, 60_000
#: Six hundred crops through the network on a busy machine.
TRAINED = 300_000
PHOTOS = ("coffee", "chelsea", "china", "rocket", "astronaut")


def chip(page, title):
    found = page.locator("button.xai-chip", has_text=re.compile(f"^{re.escape(title)}$"))
    if not found.is_visible():
        page.locator(".xai-methods > .widget-vbox", has=found).locator(".xai-family").click()
    return found


def jpeg(name):
    buffer = io.BytesIO()
    Image.fromarray(xw.read_picture(name).pixels).resize((240, 180)).save(buffer, "JPEG")
    return {"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def add(page, files):
    with page.expect_file_chooser() as chooser:
        page.locator(".xai-addphotos").click()
    chooser.value.set_files(files)


def options(page, label):
    """Return what a list offers."""
    found = page.get_by_label(label, exact=True).locator("option").all_inner_texts()
    return [one.replace("\xa0", " ") for one in found]


def says(page, words):
    page.wait_for_function(
        "words => document.querySelector('.xai-status').innerText.includes(words)", arg=words, timeout=SOON
    )


def test_files_that_are_too_large_do_not_end_the_page(open_app, assert_quiet, tmp_path):
    """Photos are made smaller before they are sent; of other files so many are sent as fit into a message."""
    page = open_app("synthesislab")
    page.wait_for_function("document.querySelector('.xai-status')?.innerText.includes('step')", timeout=LOADED)
    chip(page, "Learned inversion").click()
    page.locator(".xai-addphotos").wait_for(timeout=SOON)
    noise = np.random.default_rng(0).integers(0, 255, (1600, 1600, 3), dtype=np.uint8)
    large = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(large):
        Image.fromarray(np.roll(noise, number, axis=1)).save(path, compress_level=0)
    assert sum(path.stat().st_size for path in large) > 16 * 2**20
    add(page, large)
    page.get_by_text("3 photos", exact=True).wait_for(timeout=SOON)
    add(page, [{"name": f"{k}.jpg", "mimeType": "image/jpeg", "buffer": bytes(3 * 2**20)} for k in range(3)])
    page.get_by_text("1 of 3 files do not fit into 8 MB and were not sent").wait_for(timeout=SOON)
    says(page, "Left out: 0.jpg")
    with page.expect_file_chooser() as chooser:
        page.locator(".xai-upload").click()
    chooser.value.set_files({"name": "one.jpg", "mimeType": "image/jpeg", "buffer": bytes(9 * 2**20)})
    page.get_by_text("one.jpg is larger than 8 MB and was not sent.").wait_for(timeout=SOON)
    add(page, [jpeg("coffee")])
    page.get_by_text("4 photos", exact=True).wait_for(timeout=SOON)
    assert_quiet(page)


def test_photos_are_added_learned_from_stopped_and_gone_on_with(open_app, assert_offline, assert_quiet):
    page = open_app("synthesislab")
    page.wait_for_function("document.querySelector('.xai-status')?.innerText.includes('step')", timeout=LOADED)
    chip(page, "Learned inversion").click()
    button = page.get_by_role("button", name=re.compile(r"^(Train|Go on|Stop.*)$"))
    button.wait_for(timeout=SOON)
    becomes(lambda: options(page, "Pictures"), ["Photos you add", "Bundled photos, to try it"])
    assert page.get_by_placeholder("path of a folder").count() == 0
    says(page, "needs a network that was trained for this one")
    button.click()
    says(page, "add at least 5 photos")
    add(page, [*map(jpeg, PHOTOS), {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"}])
    says(page, "Left out: notes.jpg")
    page.get_by_text("5 photos", exact=True).wait_for(timeout=SOON)
    page.get_by_label("Layer", exact=True).locator("visible=true").select_option("global_pool.flatten")
    epochs = page.get_by_text("Epochs", exact=True).locator("xpath=..").locator(".widget-readout")
    epochs.fill("6")
    epochs.press("Enter")
    button.click()
    page.get_by_role("button", name=re.compile(r"Stop \(epoch \d of 6, error")).wait_for(timeout=TRAINED)
    becomes(page.get_by_alt_text("Pictures not trained on, each above what is made of it").is_visible, True)
    button.click()
    page.get_by_text(re.compile(r"^Stopped after epoch \d")).wait_for(timeout=SOON)
    button.click()
    page.get_by_text(re.compile(r"held out\. Went on after epoch \d")).wait_for(timeout=TRAINED)
    page.get_by_role("button", name="Train", exact=True).wait_for(timeout=TRAINED)
    says(page, "Done: coffee, step 3")
    fitting = ["the newest that fits", "decoder of global_pool.flatten of efficientnet_lite0, 5 photos"]
    becomes(lambda: options(page, "Decoder"), fitting)
    overflow = "document.querySelector('#rendered_cells').scrollWidth - innerWidth"
    becomes(lambda: page.evaluate(overflow), lambda over: over <= 0)
    assert_offline(page)
    assert_quiet(page)
