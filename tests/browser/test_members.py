"""The members of a combined method, chosen with chips as a person does it."""

from __future__ import annotations

import re

import pytest
from browser.pages import IDLE, becomes, choose, has, picture, ready, settle, wait_for_change, wait_for_status

pytestmark = pytest.mark.browser

MEMBERS = ".xai-members:visible"


@pytest.fixture(scope="module")
def page(open_shared):
    found = open_shared("explorer")
    ready(found)
    return found


def chip(page, title):
    """Return the chip of a member, not the one of the same name in the picker."""
    return page.locator(f"{MEMBERS} button.xai-chip", has_text=re.compile(f"^{re.escape(title)}$"))


def told(page, words):
    page.wait_for_function(
        "words => [...document.querySelectorAll('.xai-members')].find(e => e.offsetParent)?.innerText.includes(words)",
        arg=words,
    )


def test_members_are_taken_in_and_out_and_the_map_follows(page, assert_quiet):
    choose(page, "AGG-Mean")
    wait_for_status(page, "AGG-Mean for espresso")
    page.wait_for_selector(IDLE, timeout=120_000)
    told(page, "5 of ")
    told(page, "Saliency, Integrated gradients, Grad-CAM")
    settle(page)
    five = picture(page)
    page.locator(MEMBERS).get_by_role("button", name="Members", exact=True).click()
    chip(page, "SmoothGrad").click()
    told(page, "4 of ")
    wait_for_change(page, five, 60_000)
    chip(page, "Integrated gradients").click()
    chip(page, "Layer-wise relevance propagation").click()
    told(page, "2 of ")
    page.wait_for_selector(IDLE, timeout=120_000)
    settle(page)
    two = picture(page)
    assert two != five
    chip(page, "Saliency").click()  # one alone is no mean
    told(page, "at least 2")
    becomes(lambda: chip(page, "Saliency").get_attribute("class"), has("xai-on"))
    choose(page, "Python code")
    page.wait_for_selector(".xai-code")
    becomes(page.locator(".xai-code").inner_text, has("members='saliency,grad_cam'"))
    choose(page, "Python code")
    page.locator(MEMBERS).get_by_role("button", name="reset", exact=True).click()
    told(page, "5 of ")
    page.wait_for_function(f"window.xai.hash() === {five}", timeout=120_000)
    assert_quiet(page)


def test_the_chips_stay_inside_their_column(page):
    panel = page.locator(f"{MEMBERS} .xai-rules")
    if not panel.is_visible():
        choose(page, "AGG-Mean")
        page.locator(MEMBERS).get_by_role("button", name="Members", exact=True).click()
    column = page.locator(".xai-right").first.bounding_box()
    becomes(page.locator(f"{MEMBERS} button.xai-chip").count, lambda count: count > 5)
    for box in (one.bounding_box() for one in page.locator(f"{MEMBERS} button.xai-chip:visible").all()):
        assert box["x"] >= column["x"] - 1
        assert box["x"] + box["width"] <= column["x"] + column["width"] + 1
