"""A study as a person answers it, through Voila in a real browser: by keys, with a reload in between."""

from __future__ import annotations

import csv
import io

import pytest

pytestmark = pytest.mark.browser

LOADED, SOON = 120_000, 60_000


def says(page, words, timeout=SOON):
    page.wait_for_function("words => !!document.body?.innerText.includes(words)", arg=words, timeout=timeout)


def drawn(page):
    """Wait until the pictures are there, and the question takes answers."""
    page.wait_for_function(
        """() => {
          const c = document.querySelector('canvas.xai-question');
          if (!c || c.offsetParent === null) return false;
          const d = c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data;
          return d[3] > 0;
        }""",
        timeout=SOON,
    )
    page.wait_for_timeout(350)  # what comes sooner is taken for a key that was pressed twice


def test_a_study_is_answered_by_keys_over_a_reload(open_app, assert_offline, assert_quiet, tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_STUDY", str(tmp_path))
    page = open_app("study", fresh=True)
    says(page, "Which network is better?", LOADED)
    page.get_by_role("button", name="Start").click()
    for number, key in enumerate(("1", "ArrowRight"), 1):
        says(page, f"Question {number} of 4")
        drawn(page)
        html = page.content()
        assert not any(word in html for word in ("secret_network", "secret_method", '"better"'))
        page.keyboard.press(key)
    says(page, "Question 3 of 4")
    page.reload(wait_until="commit")
    says(page, "has answered 2 of 4", LOADED)
    page.get_by_role("button", name="Go on").click()
    for number, key in enumerate(("3", "ArrowLeft"), 3):
        says(page, f"Question {number} of 4")
        drawn(page)
        page.keyboard.press(key)
    says(page, "Download the answers (CSV)")
    with page.expect_download() as waiting:
        page.get_by_text("Download the answers (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text("utf-8"))))
    assert [int(row["choice"]) for row in rows] == [1, 5, 3, 1]
    scores = [(int(row["choice"]) - 3) * (1 if row["first"] == "1" else -1) for row in rows]
    assert [float(row["score"]) for row in rows] == scores
    assert len({row["item"] for row in rows}) == 4
    assert len(list(tmp_path.glob("answers-*-01.jsonl"))) == 1
    assert_offline(page)
    assert_quiet(page)
