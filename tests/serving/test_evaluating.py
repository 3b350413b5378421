"""The commands that evaluate: what they print and write, and what they refuse."""

from __future__ import annotations

import csv

import pytest

from xaiwidgets.core.metric_cards import metric_cards
from xaiwidgets.serving import cli


def test_metrics_lists_every_card(capsys):
    assert cli.main(["metrics"]) == 0
    told = capsys.readouterr().out
    for card in metric_cards():
        assert f"{card.id} " in told


def test_a_photo_is_evaluated_and_written(tmp_path, capsys):
    out, kept = tmp_path / "scores.csv", tmp_path / "kept.jsonl"
    words = ["evaluate", "coffee", "--method", "saliency", "--method", "grad_cam", "--metric", "pointing_game"]
    assert cli.main([*words, "-o", str(out), "--resume", str(kept)]) == 0
    told = capsys.readouterr()
    assert "2 of 2" in told.err
    assert "place of its object" in told.out  # a photo comes without the place of its object
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["saliency", "grad_cam"]
    assert len(kept.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("evaluate coffee --method saliency --metric beauty", "metric must be one of"),
        ("evaluate coffee --method nonsense --metric pointing_game", "method must be one of"),
        ("evaluate coffee --method saliency --metric pointing_game -m tolerance=-1", "tolerance"),
        ("evaluate coffee --method saliency --method rise --metric pointing_game -k samples=3", "-k needs a single"),
        ("evaluate coffee --method saliency --metric pointing_game -o scores.xlsx", ".csv or .jsonl"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, says, capsys):
    assert cli.main(words.split()) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
