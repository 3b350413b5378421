"""The verdict beside a map, as a person sees it: it comes by itself, unfolds, and follows the question."""

from __future__ import annotations

import pytest
from browser.pages import IDLE, choose, ready, wait_for_status

pytestmark = pytest.mark.browser

DONE = "[...document.querySelectorAll('button')].some(e => /^Trust: \\d of \\d passed$/.test(e.innerText))"
TESTING = "[...document.querySelectorAll('button')].some(e => /^Trust: testing/.test(e.innerText))"
SCROLLED = "() => { const e = document.querySelector('#rendered_cells'); return e.scrollHeight - e.clientHeight }"


def test_evidence_comes_by_itself_and_unfolds(open_app, assert_quiet):
    page = open_app("explorer")
    ready(page)
    wait_for_status(page, "Grad-CAM")
    page.wait_for_selector(IDLE)
    page.wait_for_function(DONE, timeout=90_000)
    page.get_by_role("button", name="Trust:").click()
    panel = page.locator(".xai-evidence")
    panel.wait_for()
    told = panel.inner_text()
    for words in ("Input dominance", "Model randomization", "must be", "< 0.460", "tests passed"):
        assert words in told
    assert any(f"{mark} {word}" in told for mark, word in (("✓", "pass"), ("✗", "fail"), ("≈", "borderline")))
    assert page.evaluate(SCROLLED) <= 0
    choose(page, "Receipt")
    page.wait_for_selector(".xai-receipt")
    assert panel.count() == 0 or not panel.is_visible()  # there is room for one
    choose(page, "Saliency")
    wait_for_status(page, "Saliency")
    page.wait_for_function(TESTING)
    page.wait_for_function(DONE, timeout=90_000)
    assert_quiet(page)
