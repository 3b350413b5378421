"""The verdict beside a map, as a person sees it: it comes by itself, unfolds, and follows the question."""

from __future__ import annotations

import pytest
from browser.pages import IDLE, becomes, choose, has, ready, wait_for_status

pytestmark = pytest.mark.browser

DONE = "[...document.querySelectorAll('button')].some(e => /^Trust: \\d of \\d passed$/.test(e.innerText))"
TESTING = "[...document.querySelectorAll('button')].some(e => /^Trust: testing/.test(e.innerText))"
SCROLLED = "() => { const e = document.querySelector('#rendered_cells'); return e.scrollHeight - e.clientHeight }"


def test_evidence_comes_by_itself_and_unfolds(open_app, assert_quiet):
    page = open_app("explorer")
    ready(page)
    wait_for_status(page, "Grad-CAM")
    page.wait_for_selector(IDLE)
    page.wait_for_function(DONE, timeout=180_000)
    page.get_by_role("button", name="Trust:").click()
    panel = page.locator(".xai-evidence")
    panel.wait_for()
    becomes(panel.inner_text, has("Input dominance", "Model randomization", "must be", "< 0.460", "tests passed"))
    marks = ("✓ pass", "✗ fail", "≈ borderline")
    becomes(panel.inner_text, lambda told: any(mark in told for mark in marks))
    becomes(lambda: page.evaluate(SCROLLED), lambda down: down <= 0)
    choose(page, "Receipt")
    page.wait_for_selector(".xai-receipt")
    becomes(panel.is_visible, False)  # there is room for one
    choose(page, "Saliency")
    wait_for_status(page, "Saliency")
    page.wait_for_function(TESTING)
    page.wait_for_function(DONE, timeout=180_000)
    assert_quiet(page)
